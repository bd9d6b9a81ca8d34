"""After the loss of a ledger: whatever may have been sent gets a row again, and the runner does the rest.

The phase ends before anything is sent, so that all of it counts towards the budget.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence

from hedra_batch.api.protocol import Api, SentRequest
from hedra_batch.decide import Deduplication
from hedra_batch.errors import JobError, UnfinishedError
from hedra_batch.inputs import FieldValues, Spellings, find_digest, respell
from hedra_batch.job import Job
from hedra_batch.ledger.ledger import Estimate, Ledger
from hedra_batch.ledger.records import Purchase
from hedra_batch.ledger.renames import Rename
from hedra_batch.planning.plan import Step
from hedra_batch.planning.selection import Selection, page_through
from hedra_batch.progress import Progress
from hedra_batch.run.attribution import InputsByDigest
from hedra_batch.run.stations.reserve import find_sent_digest
from hedra_batch.state import State

logger = logging.getLogger(__name__)

FindJob = Callable[[str], Job | None]


class Transfers:
    """What counts for another job than the one that it was bought for, as the file beside the identity has it."""

    def __init__(self, renames: Sequence[Rename], list_inputs: Callable[[Job], InputsByDigest]) -> None:
        self._list_inputs = list_inputs
        self._by_purchase: defaultdict[tuple[str, str, int], list[Rename]] = defaultdict(list)
        self._by_job: defaultdict[tuple[str, str], dict[tuple[str, str, int], Rename]] = defaultdict(dict)
        for rename in renames:
            purchase = (rename.edition, rename.bought_as, rename.number)
            self._by_purchase[purchase].append(rename)
            self._by_job[rename.edition, rename.job_id][purchase] = rename

    def is_own(self, job: Job, number: int, find: FindJob) -> bool:
        """Tell whether what was bought under the id of a job with this number is no other job's."""
        renames = self._by_purchase.get((job.edition, job.id, number))
        return renames is None or self._find_claimant(renames, find) == job.id

    def find_moved(self, job: Job, find: FindJob) -> list[Rename]:
        """Find what was bought under other ids and counts for a job now, the newest first."""
        moved = self._by_job.get((job.edition, job.id), {})
        return [
            rename
            for purchase, rename in reversed(moved.items())
            if rename.bought_as != job.id and self._find_claimant(self._by_purchase[purchase], find) == job.id
        ]

    def _find_claimant(self, renames: Sequence[Rename], find: FindJob) -> str | None:
        """Find the last job that it counted for and that still asks for it."""
        for job_id in (*(rename.job_id for rename in reversed(renames)), renames[0].bought_as):
            job = find(job_id)
            if job and renames[-1].digest in self._list_inputs(job):
                return job_id
        return None


class Recovery:
    """Knows which attempts a ledger that was lost may have had; without a loss it has nothing to do."""

    def __init__(self, ledger: Ledger, api: Api, estimate: Estimate) -> None:
        self._ledger = ledger
        self._api = api
        self._estimate = estimate
        #: The highest number that a lost attempt may have.
        self._highest = ledger.loss.highest_attempt if ledger.loss else 0
        self._transfers = Transfers([], self.list_inputs)
        self._find_job: FindJob = lambda _: None
        self._spellings: Spellings | None = None

    async def is_needed(self, selection: Selection) -> bool:
        """Tell whether there are selected jobs that a lost ledger may have known, and this one does not."""
        async for page in page_through(selection, self._ledger):
            if any(planned.step is Step.RECOVER for planned in page):
                return True
        return False

    async def recover(self, selection: Selection, progress: Progress, found_late: Collection[str]) -> None:
        """Record each selected job that a lost ledger may have known, under the latest number that the server shows.

        What was found after the plan was made is left to the next run, by its digest.
        """
        self._find_job = selection.find_any
        self._transfers = Transfers(self._ledger.read_renames(), self.list_inputs)
        async for page in page_through(selection, self._ledger):
            lost = [
                planned.job
                for planned in page
                if planned.step is Step.RECOVER and planned.job and planned.job.inputs.digest not in found_late
            ]
            found = [(job, purchase) for job in lost for purchase in await self._find_purchases(job)]
            for attempt in await self._ledger.record(found, self._estimate):
                progress.on_change(attempt.key, attempt.label, State.NEW, attempt.state)

    async def choose_purchase(self, job: Job, least: int) -> int | Purchase | None:
        """Choose what a job's next attempt is: the latest that the server has without a row here, else a new one.

        None where the server does not tell now.
        """
        if not self._highest:
            return least
        least = await self._ledger.find_next_number(job, least)
        return await self._find_any(job, list(self._list_own(job, least)))

    async def _find_purchases(self, job: Job) -> Sequence[int | Purchase]:
        """Find what a lost ledger had for a job; nothing where the server does not tell now."""
        moved = [
            self.make_purchase(rename.bought_as, rename.number, rename.digest, self.list_inputs(job)[rename.digest])
            for rename in self._transfers.find_moved(job, self._find_job)
        ]
        own = list(self._list_own(job, 1))
        # What the account's list shows has its row already.
        moved, own = await self._without_rows(job, moved), await self._without_rows(job, own)
        if not moved:
            found = await self._find_any(job, own)
            return [] if found is None else [found]
        try:
            shown = [purchase for purchase in (*own, *moved) if await self._is_shown(job, purchase)]
        except (JobError, UnfinishedError) as error:
            warn_untold(job, error)
            return []
        return shown or moved[:1]

    async def _without_rows(self, job: Job, purchases: Sequence[Purchase]) -> list[Purchase]:
        """Leave out what has a row already, also where that is for other inputs."""
        ids = {purchase.bought_as for purchase in purchases}
        used = await self._ledger.look(lambda reader: reader.find_numbers(job.edition, ids))
        return [purchase for purchase in purchases if (purchase.bought_as, purchase.number) not in used]

    async def _find_any(self, job: Job, purchases: Sequence[Purchase]) -> int | Purchase | None:
        """Find the first of some purchases that the server shows, else the lowest number as the job is written now.

        That needs no look where there is no other: it begins as an unknown outcome, which is looked for anyway.
        """
        if not purchases:
            return self._highest + 1
        least = min(purchases, key=lambda each: (each.number, each.digest != job.inputs.digest))
        if len(purchases) == 1:
            return least
        try:
            for purchase in purchases:
                if await self._is_shown(job, purchase):
                    return purchase
        except (JobError, UnfinishedError) as error:
            warn_untold(job, error)
            return None
        return least

    async def _is_shown(self, job: Job, purchase: Purchase) -> bool:
        key = self._ledger.keys.of_purchase(job.edition, purchase)
        restore = self._ledger.restore
        if restore and restore.is_settled:
            # All that there was has been read.
            return key in restore.shown
        return bool(await self._api.find(SentRequest(key, None, Deduplication.PROVEN)))

    def _list_own(self, job: Job, least: int) -> Iterator[Purchase]:
        """List what may have been bought under the id of a job, the highest number first."""
        for number in range(max(self._highest, least), least - 1, -1):
            if self._transfers.is_own(job, number, self._find_job):
                spelled = self.list_inputs(job) if number <= self._highest else {job.inputs.digest: job.inputs.fields}
                for digest, fields in spelled.items():
                    yield self.make_purchase(job.id, number, digest, fields)

    def make_purchase(self, bought_as: str, number: int, digest: str, fields: FieldValues) -> Purchase:
        return Purchase(bought_as, number, fields, digest, find_sent_digest(fields, digest, self._api))

    def list_inputs(self, job: Job) -> InputsByDigest:
        """List the inputs of a job with its model under each name that the list of models has for it."""
        if self._spellings is None:
            self._spellings = Spellings(self._api.spell_models())
        fields = job.inputs.fields
        others = [respell(fields, name) for name in self._spellings.find(job.inputs.model)]
        return {job.inputs.digest: fields} | {find_digest(other): other for other in others}


def warn_untold(job: Job, error: Exception) -> None:
    """Say why a job is left out of this run."""
    logger.warning("%s: not sent now: whether it was bought before cannot be read (%s)", job.id, error)
