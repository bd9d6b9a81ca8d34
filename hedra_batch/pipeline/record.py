"""Which attempt of a job is the next, and its row in the ledger; what a lost one may have had is looked for first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from hedra_batch.api.client import HedraClient
from hedra_batch.errors import NotFoundError
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger.store import Ledger
from hedra_batch.pipeline.plan import Entry, Plan, Step, may_try_again
from hedra_batch.pipeline.reader import Reader

logger = logging.getLogger(__name__)


class Recorder:
    """Makes sure that whatever is carried has its row."""

    def __init__(
        self,
        ledger: Ledger,
        client: HedraClient,
        reader: Reader,
        estimate_credits: Callable[[dict[str, str | int]], int | None],
        attempts_limit: int,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._reader = reader
        self._estimate_credits = estimate_credits
        self._attempts_limit = attempts_limit

    async def record(self, plan: Plan) -> list[tuple[int, Entry]]:
        """Return what is to be carried, each with the key of its attempt; new ones are recorded all at once."""
        carried = [entry for entry in plan.to_carry if entry.step in (Step.CARRY, Step.REWRITE)]
        others = (entry for entry in plan.to_carry if entry.step in (Step.ADD, Step.SEARCH))
        numbered = [(entry, await self._choose_number(entry)) for entry in others]
        added = [(entry, entry.job, number) for entry, number in numbered if entry.job and number is not None]
        keys = await self._ledger.record([(job, number) for _, job, number in added], self._estimate_credits)
        return [
            *((entry.standing.attempt_key, entry) for entry in carried if entry.standing),
            *((key, replace(entry, step=Step.ADD)) for key, (entry, *_) in zip(keys, added, strict=True)),
        ]

    async def record_next(self, attempt: Attempt, job: Job) -> int | None:
        """Record the attempt that follows one that ended badly; None where a person must ask for it."""
        number = await self._find_lost(job, attempt.number + 1)
        if number is None and may_try_again(attempt.state, attempt.error_code, attempt.number, self._attempts_limit):
            number = attempt.number + 1
        if number is None:
            return None
        logger.warning("%s: attempt %d follows the one that failed: %s", attempt.label, number, attempt.error_code)
        [key] = await self._ledger.record([(job, number)], self._estimate_credits)
        return key

    async def _choose_number(self, entry: Entry) -> int | None:
        if entry.job is None or entry.step is Step.SEARCH:
            return await self._find_lost(entry.job, entry.next_number) if entry.job else None
        # The first one that may be lost is looked for where its outcome is settled.
        return await self._find_lost(entry.job, entry.next_number + 1) or entry.next_number

    async def _find_lost(self, job: Job, first: int) -> int | None:
        """Find the next attempt that the server has and that a lost ledger may have had."""
        highest = self._ledger.loss.highest_attempt if self._ledger.loss else 0
        for number in range(first, highest + 1):
            if await self._is_at_server(self._ledger.derive_lost_id(job, number)):
                return number
        return None

    async def _is_at_server(self, generation_id: str) -> bool:
        try:
            await self._reader.read(lambda: self._client.read_status(generation_id))
        except NotFoundError:
            return False
        return True
