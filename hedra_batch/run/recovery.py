"""After the loss of a ledger: whatever may have been sent gets a row again, and the runner does the rest.

The phase ends before anything is sent, so that all of it counts towards the budget.
"""

from __future__ import annotations

import asyncio
import logging

from hedra_batch.api.protocol import Api, SentRequest
from hedra_batch.decide import Deduplication
from hedra_batch.errors import JobError, UnfinishedError
from hedra_batch.job import Job
from hedra_batch.ledger.ledger import Estimate, Ledger
from hedra_batch.planning.plan import Step
from hedra_batch.planning.selection import Selection, page_through
from hedra_batch.progress import Progress
from hedra_batch.run.settings import RunSettings
from hedra_batch.state import State
from hedra_batch.units import write_duration

logger = logging.getLogger(__name__)


class Recovery:
    """Knows which attempts a ledger that was lost may have had; without a loss it has nothing to do."""

    def __init__(self, ledger: Ledger, api: Api, estimate: Estimate, settings: RunSettings) -> None:
        self._ledger = ledger
        self._api = api
        self._estimate = estimate
        self._settings = settings
        #: The highest number that a lost attempt may have.
        self._highest = ledger.loss.highest_attempt if ledger.loss else 0

    async def recover(self, selection: Selection, progress: Progress) -> None:
        """Record each selected job that a lost ledger may have known, under the latest number that the server shows."""
        if not self._highest:
            return
        await self._wait_for_late_arrivals()
        async for page in page_through(selection, self._ledger):
            lost = [planned.job for planned in page if planned.step is Step.RECOVER and planned.job]
            numbered = [(job, number) for job in lost if (number := await self.choose_number(job, 1)) is not None]
            for attempt in await self._ledger.record(numbered, self._estimate):
                progress.on_change(attempt.key, attempt.label, State.NEW, attempt.state)

    async def choose_number(self, job: Job, least: int) -> int | None:
        """Choose the number of a job's next attempt: the latest that the server has without a row here, else the least.

        The least itself needs no look: where it may be lost, it begins as an unknown outcome, which is looked for
        anyway. None where the server does not tell now.
        """
        try:
            for number in range(self._highest, least, -1):
                request = SentRequest(self._ledger.derive_lost_key(job, number), None, Deduplication.PROVEN)
                if await self._api.find(request):
                    return number
        except (JobError, UnfinishedError) as error:
            logger.warning("%s: not sent now: whether it was bought before cannot be read (%s)", job.id, error)
            return None
        return least

    async def _wait_for_late_arrivals(self) -> None:
        """Look for later attempts only when none can still arrive that was sent before the ledger was lost."""
        if self._ledger.loss is None or self._highest < 2:
            return
        passed_seconds = self._settings.clock.least_seconds_since(self._ledger.loss.mark)
        remaining_seconds = self._settings.quiet_window_seconds - passed_seconds
        if remaining_seconds > 0:
            logger.warning(
                "The ledger was lost. A request sent before may still arrive, so nothing is sent for %s.",
                write_duration(remaining_seconds),
            )
            await asyncio.sleep(remaining_seconds)
