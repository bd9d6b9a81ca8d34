"""The rows of planned jobs: an attempt is processed only once it has one."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from hedra_batch.job import Attempt, Job
from hedra_batch.ledger.ledger import Estimate, Ledger
from hedra_batch.ledger.records import Purchase
from hedra_batch.money import Money
from hedra_batch.planning.plan import PlannedJob, Step
from hedra_batch.planning.selection import Selection
from hedra_batch.progress import Progress
from hedra_batch.run.restoration import Restoration

logger = logging.getLogger(__name__)


class Recorder:
    """Records attempts, each under a number that no lost ledger can have used for something else."""

    def __init__(self, ledger: Ledger, estimate: Estimate, restoration: Restoration) -> None:
        self._ledger = ledger
        self._estimate = estimate
        self._restoration = restoration

    async def settle_restore(self) -> bool:
        """Return when it is known what a restored ledger does not have; tells whether plans may be outdated."""
        return await self._restoration.settle()

    async def recover(self, selection: Selection, progress: Progress) -> None:
        """Give rows to what a ledger that was lost may have known."""
        await self._restoration.recover(selection, progress)

    def price(self, planned: PlannedJob) -> Money | None:
        return self._estimate(planned.job.inputs.fields) if planned.job else None

    async def record(self, planned_jobs: Sequence[PlannedJob]) -> list[tuple[Attempt, PlannedJob]]:
        """Return planned jobs with their attempts; new ones are recorded in one commit."""
        added: list[tuple[PlannedJob, Job, int | Purchase]] = []
        for planned in planned_jobs:
            if planned.step is Step.ADD and planned.job:
                number = await self._restoration.choose_purchase(planned.job, planned.next_number)
                added += [] if number is None else [(planned, planned.job, number)]
        known = {one.latest.attempt_key: one for one in planned_jobs if one.latest and one.step is not Step.ADD}
        begun = await self._ledger.record([(job, number) for _, job, number in added], self._estimate)
        return [
            *((attempt, known[attempt.key]) for attempt in await self._ledger.attempts(list(known))),
            *((attempt, planned) for attempt, (planned, *_) in zip(begun, added, strict=True)),
        ]

    async def record_next(self, ended: Attempt, job: Job) -> Attempt | None:
        """Record the attempt that follows one that ended.

        None where it cannot be told now which number is free, and where another has followed it already.
        """
        number = ended.number + 1
        if ended.bought_as == job.id and await self._ledger.find_next_number(job, number) > number:
            return None
        purchase = await self._restoration.choose_purchase(job, number)
        if purchase is None:
            return None
        [following] = await self._ledger.record([(job, purchase)], self._estimate)
        logger.warning(
            "%s: attempt %d begins and costs again: a failure like '%s' may pass",
            ended.label,
            following.number,
            ended.error_code,
        )
        return following
