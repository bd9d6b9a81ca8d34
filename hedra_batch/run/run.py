"""One run, as the batch asks it: priced, processed, fetched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from hedra_batch.errors import HedraBatchError, JobError, UnfinishedError
from hedra_batch.job import Attempt
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.records import JobIdentity
from hedra_batch.money import Money
from hedra_batch.planning.plan import counts_for
from hedra_batch.planning.selection import Selection
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.progress import Pace, Progress
from hedra_batch.run.billing import Billing
from hedra_batch.run.restoration import Restoration
from hedra_batch.run.runner import Runner, Station
from hedra_batch.run.stations.fetch import Fetcher
from hedra_batch.run.together import do_together
from hedra_batch.state import State

logger = logging.getLogger(__name__)


class Wanted:
    """What the manifest still asks for, in this edition or another."""

    def __init__(self) -> None:
        self.selection: Selection | None = None

    def includes(self, attempt: Attempt) -> bool:
        """Tell whether an attempt was made for inputs that are still asked for under its id."""
        job = self.selection.find_job(attempt.job_id) if self.selection else None
        return job is not None and counts_for(job, attempt)


class Run:
    """One run over a ledger that is open; it neither prints nor exits."""

    def __init__(
        self,
        ledger: Ledger,
        fetcher: Fetcher,
        restoration: Restoration,
        runner: Runner,
        wanted: Wanted,
        progress: Progress,
        billing: Billing,
        read_pace: Callable[[], Pace],
    ) -> None:
        self._ledger = ledger
        self._fetcher = fetcher
        self._restoration = restoration
        self._runner = runner
        self._wanted = wanted
        self._progress = progress
        self.billing = billing
        self.read_pace = read_pace

    @property
    def stations(self) -> Mapping[State, Station]:
        """What takes an attempt on from each state."""
        return self._runner.stations

    @property
    def closed_by(self) -> HedraBatchError | None:
        return self._runner.closed_by

    @property
    def left_out(self) -> Mapping[JobIdentity, Money | None]:
        return self._runner.left_out

    async def look_for_restored(self, wanted: Selection) -> None:
        """Give rows to what was bought for a manifest in a time that a restored ledger does not have.

        Raises StopRunError and UserError where key or address are not right.
        """
        restore = self._ledger.restore
        if restore and not restore.is_settled:
            await self.billing.ask_models()
        await self._restoration.look(wanted)

    async def close_submitting(self, reason: HedraBatchError) -> None:
        """Buy nothing in this run; what was bought before is followed and fetched."""
        await self._runner.close(reason)

    async def process(self, selection: Selection, summary: PlanSummary) -> None:
        """Process all jobs of a selection that was priced. Raises StopRunError when the run cannot go on."""
        await self.billing.read_refunds()
        if not summary.processed:
            return
        self._wanted.selection = selection
        self._progress.start()
        await self._runner.run(selection, summary.sent)

    async def follow(self, selection: Selection, summary: PlanSummary) -> None:
        """Follow and fetch what an earlier run sent, and submit nothing. Raises StopRunError when it cannot go on."""
        if summary.sent:
            self._wanted.selection = selection
            self._progress.start()
            await self._runner.follow(selection, summary.sent)

    async def restore(self, keys: Sequence[int]) -> list[State]:
        """Fetch anew what is done, ready or lost, by its ids alone; returns the state of each then."""
        return await do_together(self._restore(key) for key in keys)

    async def _restore(self, key: int) -> State:
        attempt = await self._ledger.attempt(key)
        try:
            if attempt.state is State.HELD_LOST:
                attempt = await self._fetcher.recheck(attempt, None)
            return (await self._fetcher.process(attempt, None)).state
        except (UnfinishedError, JobError) as reason:
            logger.warning("%s: %s", attempt.label, reason)
            return State.READY if attempt.state is State.DONE else attempt.state
