"""The station of waiting: an accepted attempt ends as a result with a file name, or as a failure."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from hedra_batch.api.protocol import Phase
from hedra_batch.decide import after_denial
from hedra_batch.errors import JobError, UnfinishedError
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger import events
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.run.billing import Billing
from hedra_batch.run.pacing.poller import Poller
from hedra_batch.run.renaming import list_takes
from hedra_batch.state import State

logger = logging.getLogger(__name__)


class Tracker:
    """Takes an attempt from ACCEPTED or OVERDUE to READY, FAILED or HELD_MISSING, as the server ends it."""

    def __init__(
        self, ledger: Ledger, poller: Poller, folder: Path, on_link: Callable[[int, str | None], None], billing: Billing
    ) -> None:
        self._ledger = ledger
        self._poller = poller
        self._folder = folder
        self._on_link = on_link
        self._billing = billing

    async def process(self, attempt: Attempt, job: Job | None) -> Attempt:
        """Wait for the end; the charge and a fresh link come with the read that sees it.

        Raises UnfinishedError for one that is overdue when the run has nothing else to wait for.
        """
        try:
            reading = await self._poller.follow(attempt)
        except JobError as error:
            logger.error(
                "%s: held: it was accepted, but the server has not known it for a day: %s", attempt.label, error
            )
            message = f"It was accepted and may be charged, but the server has not known it for a day: {error}"
            event = events.deny(attempt.state, after_denial(attempt.state), error.code, message)
            return await self._ledger.apply(attempt, event)
        if reading is None:
            return await self._leave_running(attempt, "cannot be read")
        if reading.phase is not Phase.RUNNING:
            await self._billing.on_charged(attempt, reading.charged)
        if reading.phase is Phase.FAILED:
            message = reading.error or "The server gave no reason."
            logger.error("%s: failed: %s", attempt.label, message)
            return await self._ledger.apply(
                attempt, events.fail(reading.error_code or "unknown", message, reading.charged)
            )
        if reading.phase is Phase.RUNNING:
            return await self._leave_running(attempt, f"is still at {reading.progress:.0%}")
        self._on_link(attempt.key, reading.link)
        outputs = self._list_takes(job.output if job else attempt.wanted_output, is_recovered=attempt.body is None)
        return await self._ledger.apply(attempt, events.make_ready(outputs, reading.asset_id, reading.charged))

    async def _leave_running(self, attempt: Attempt, how: str) -> Attempt:
        """Write down that it is far over its time. It is not sent again for that: it is paid for and may end."""
        overdue = f"It was accepted at {attempt.accepted_at} and {how}, far over its expected time."
        message = f"{overdue} It is paid for, so it is not sent again; it is read more rarely from now on."
        if attempt.state is State.OVERDUE:
            raise UnfinishedError(message)
        logger.warning("%s: overdue: %s", attempt.label, message)
        return await self._ledger.apply(attempt, events.mark_overdue(message))

    def _list_takes(self, wanted: str, *, is_recovered: bool) -> Iterator[str]:
        """Yield the names that nothing on the disk has.

        After the loss of a ledger, a file that is there already is the result itself, most likely.
        """
        names = list_takes(wanted)
        return (output for output in names if is_recovered or not os.path.lexists(f"{self._folder}/{output}"))
