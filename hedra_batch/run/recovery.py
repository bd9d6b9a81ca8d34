"""The phase after the loss of a ledger: whatever may have been sent gets a row again, and the runner does the rest.

It ends before anything is sent, so that all of it counts towards the budget.
"""

from __future__ import annotations

import asyncio
import logging

from hedra_batch.api.protocol import Api, SentRequest
from hedra_batch.decide import Deduplication
from hedra_batch.errors import JobError
from hedra_batch.job import Job
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.planning.plan import Step
from hedra_batch.planning.selection import Selection, page_through
from hedra_batch.progress import Progress
from hedra_batch.run.settings import RunSettings
from hedra_batch.state import State

logger = logging.getLogger(__name__)


async def recover(selection: Selection, ledger: Ledger, api: Api, settings: RunSettings, progress: Progress) -> None:
    """Record each selected job that a lost ledger may have known, under the latest number that the server shows.

    The first number needs no look: it begins as an unknown outcome, which is looked for anyway.
    """
    if ledger.loss is None:
        return
    await _wait_for_late_arrivals(ledger, settings)
    async for page in page_through(selection, ledger):
        lost = [planned.job for planned in page if planned.step is Step.RECOVER and planned.job]
        numbered = [(job, number) for job in lost if (number := await _find_number(job, ledger, api)) is not None]
        for attempt in await ledger.record(numbered, api.estimate):
            progress.on_change(attempt.key, attempt.label, State.NEW, attempt.state)


async def _wait_for_late_arrivals(ledger: Ledger, settings: RunSettings) -> None:
    """Look for later attempts only when none can still arrive that was sent before the ledger was lost."""
    if ledger.loss is None or ledger.loss.highest_attempt < 2:
        return
    passed_seconds = settings.clock.least_seconds_since(ledger.loss.mark)
    remaining_seconds = settings.quiet_window_seconds - passed_seconds
    if remaining_seconds > 0:
        logger.warning("the ledger was lost: for %.0f s more, a request of then may arrive", remaining_seconds)
        await asyncio.sleep(remaining_seconds)


async def _find_number(job: Job, ledger: Ledger, api: Api) -> int | None:
    """Find the latest attempt that the server has, else the first; None where the server does not tell now."""
    highest = ledger.loss.highest_attempt if ledger.loss else 1
    try:
        for number in range(highest, 1, -1):
            request = SentRequest(ledger.derive_lost_key(job, number), None, Deduplication.PROVEN)
            if await api.find(request):
                return number
    except JobError as error:
        logger.warning("%s: whether it has a later attempt cannot be read now: %s", job.id, error)
        return None
    return 1
