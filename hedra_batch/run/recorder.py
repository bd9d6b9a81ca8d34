"""Which attempt of a job is the next, and its row in the ledger; what a lost one may have had is looked for first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from hedra_batch.api.v2.client import HedraClient
from hedra_batch.errors import JobError, NotFoundError
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.planning.plan import PlannedJob, Step, may_try_again
from hedra_batch.run.pacing.retrying import RetryingClient
from hedra_batch.run.settings import RunSettings

logger = logging.getLogger(__name__)


class Recorder:
    """Makes sure that whatever is carried has its row."""

    def __init__(
        self,
        ledger: Ledger,
        client: HedraClient,
        reader: RetryingClient,
        estimate_credits: Callable[[dict[str, str | int]], int | None],
        settings: RunSettings,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._retrying = reader
        self._estimate_credits = estimate_credits
        self._settings = settings

    async def record(self, planned_jobs: Sequence[PlannedJob]) -> list[tuple[Attempt, PlannedJob]]:
        """Return what is to be carried of some entries, each with its attempt; new ones are recorded in one commit."""
        known = {
            planned.latest.attempt_key: planned for planned in planned_jobs if planned.latest and _goes_on(planned)
        }
        numbered = [(planned, await self._choose_number(planned)) for planned in planned_jobs if not _goes_on(planned)]
        added = [(planned, planned.job, number) for planned, number in numbered if planned.job and number is not None]
        begun = await self._ledger.record([(job, number) for _, job, number in added], self._estimate_credits)
        return [
            *((attempt, known[attempt.key]) for attempt in await self._ledger.attempts(list(known))),
            *((attempt, replace(planned, step=Step.ADD)) for attempt, (planned, *_) in zip(begun, added, strict=True)),
        ]

    async def record_next(self, attempt: Attempt, job: Job) -> Attempt | None:
        """Record the attempt that follows one that ended badly; None where a person must ask for it."""
        await self.wait_for_late_arrivals()
        number = await self._find_lost(job, attempt.number + 1)
        if number is None and may_try_again(attempt.state, attempt.error_code, attempt.number, self._settings.attempts):
            number = attempt.number + 1
        if number is None:
            return None
        logger.warning("%s: attempt %d follows the one that failed: %s", attempt.label, number, attempt.error_code)
        [following] = await self._ledger.record([(job, number)], self._estimate_credits)
        return following

    async def wait_for_late_arrivals(self) -> None:
        """Look for later attempts only when none can still arrive that was sent before the ledger was lost."""
        loss = self._ledger.loss
        if loss is None or loss.highest_attempt < 2:
            return
        passed_seconds = self._settings.clock.least_seconds_since(loss.mark)
        remaining_seconds = self._settings.quiet_window_seconds - passed_seconds
        if remaining_seconds > 0:
            logger.warning("the ledger was lost: for %.0f s more, a request of then may arrive", remaining_seconds)
            await asyncio.sleep(remaining_seconds)

    async def _choose_number(self, planned: PlannedJob) -> int | None:
        if planned.job is None:
            return None
        # The first one that may be lost is looked for where its outcome is settled, if it is carried in any case.
        is_carried = Step.ADD in (planned.step, planned.otherwise)
        try:
            found = await self._find_lost(planned.job, planned.next_number + is_carried)
        except JobError as error:
            logger.warning("%s: whether it has a later attempt cannot be read now: %s", planned.label, error)
            return None
        return found or (planned.next_number if is_carried else None)

    async def _find_lost(self, job: Job, first: int) -> int | None:
        """Find the next attempt that the server has and that a lost ledger may have had."""
        highest = self._ledger.loss.highest_attempt if self._ledger.loss else 0
        for number in range(first, highest + 1):
            if await self._is_at_server(self._ledger.derive_lost_id(job, number)):
                return number
        return None

    async def _is_at_server(self, generation_id: str) -> bool:
        try:
            await self._retrying.read(lambda: self._client.read_status(generation_id))
        except NotFoundError:
            return False
        return True


def _goes_on(planned: PlannedJob) -> bool:
    """Tell whether an attempt that is recorded is what the run is about."""
    return planned.step in (Step.CARRY, Step.REWRITE)
