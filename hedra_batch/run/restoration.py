"""After a run folder was put back from a backup, or moved: what was bought since its last entry is found by the server.

The account's list is read before anything is planned. What is not in it may still arrive, so nothing of that is bought
before the quiet window is over and the list was read once more; what runs is followed meanwhile. What the list shows is
kept in the ledger, so that it is recognised whenever the manifest asks for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence

from hedra_batch.api.protocol import Api, Phase, Reading, SentRequest
from hedra_batch.decide import Deduplication
from hedra_batch.errors import JobError, UnfinishedError
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger import events
from hedra_batch.ledger.backend import TakenError
from hedra_batch.ledger.ledger import Estimate, Ledger
from hedra_batch.ledger.records import LatestAttempt, ListedRequest, Purchase
from hedra_batch.planning.plan import PlannedJob, is_paid_for
from hedra_batch.planning.selection import Selection, page_through
from hedra_batch.progress import Progress
from hedra_batch.run.attribution import NUMBERS_AHEAD, Attribution, FoundPurchase
from hedra_batch.run.recovery import Recovery, warn_untold
from hedra_batch.run.settings import RunSettings
from hedra_batch.run.together import do_together
from hedra_batch.state import ENDS, UNSENT
from hedra_batch.units import write_duration

logger = logging.getLogger(__name__)


class Restoration:
    """Knows what a restored ledger does not; without a restore it has nothing to do."""

    def __init__(self, ledger: Ledger, api: Api, estimate: Estimate, settings: RunSettings, recovery: Recovery) -> None:
        self._ledger = ledger
        self._api = api
        self._estimate = estimate
        self._settings = settings
        self._recovery = recovery
        self._wanted: Selection | None = None
        #: What the list shows, by the keys that it shows.
        self._readings: dict[str, Reading] = {}
        self._is_listed = True
        self._is_over = False
        #: Whether a lost ledger was recovered from in this run.
        self._is_recovered = False
        #: What was found after the plan was made, by the digests of those who ask for it.
        self._found_late: set[str] = set()
        self._lock = asyncio.Lock()

    @property
    def _is_open(self) -> bool:
        restore = self._ledger.restore
        return restore is not None and not restore.is_settled and not self._is_over

    async def recover(self, selection: Selection, progress: Progress) -> None:
        """Do what the loss of a whole ledger asks for, once all that was sent before it must have arrived."""
        if self._is_recovered or not self._ledger.loss:
            return
        self._is_recovered = True
        if await self._recovery.is_needed(selection):
            await self.settle()
            await self._recovery.recover(selection, progress, self._found_late)

    async def look(self, wanted: Selection) -> None:
        """Look for what was bought since, and give it its rows, so that a plan knows of it. Nothing is waited for.

        Once all is read, what was shown and had no job is held against the jobs of each later run.
        """
        self._wanted = wanted
        if self._ledger.restore is None:
            return
        if not self._is_open:
            await self._give_rows()
            return
        if self._count_window() <= 0:
            await self._settle()
            return
        logger.warning(
            "%s. Before anything is bought, the server is asked what was bought since %s.",
            "The ledger was lost" if self._ledger.loss else "This run folder was put back from a backup, or moved",
            self._ledger.restore.since or "the beginning",
        )
        await self._look_once()

    async def settle(self) -> bool:
        """Return when nothing can arrive any more and that was looked at; tells whether anything may have changed."""
        if not self._is_open:
            return False
        async with self._lock:
            if self._is_open:
                await self._wait_for_late_arrivals()
                self._found_late = await self._settle()
        return True

    async def choose_purchase(self, job: Job, least: int) -> int | Purchase | None:
        """Choose what a job's next attempt is: the latest of those bought in the unknown time, else a new one.

        None where the server does not tell now, and for what was found meanwhile: the next run goes on with it.
        """
        if self._ledger.restore is None:
            return least
        await self.settle()
        if job.inputs.digest in self._found_late or (self._is_over and await self._has_row(job, least)):
            return None
        number = await self._recovery.choose_purchase(job, least)
        if not isinstance(number, int):
            return number
        if not self._ledger.restore.is_settled and not await self._ask(job, number):
            return None
        # Each of those that no job asks for has used a number of the id that it was bought under.
        named = {key: echo for key, echo in self._ledger.restore.shown.items() if echo.name == job.id}
        used = await self._find_unexplained(named) if named else {}
        return max(self._list_shown(job, number), default=number + len(used))

    async def _settle(self) -> set[str]:
        """Look for the last time; returns the digests of what was found."""
        found = await self._look_once()
        self._is_over = True
        if self._is_listed:
            await self._ledger.note_shown({}, is_settled=True)
        return found

    async def _has_row(self, job: Job, number: int) -> bool:
        known = await self._ledger.look(lambda reader: list(reader.find_all([job.identity])))
        return any(latest.number >= number for latest in known)

    # Looking

    async def _look_once(self) -> set[str]:
        """Read the list, and give rows to what it shows of the manifest; returns the digests of those."""
        restore = self._ledger.restore
        assert restore, "otherwise there is nothing to look for"
        try:
            async for reading in self._api.list_since(restore.since):
                self._readings |= {key: reading for key in (reading.remote_id, reading.request_key) if key}
            self._is_listed = True
        except (JobError, UnfinishedError) as error:
            self._is_listed = False
            logger.warning("%s Each job is asked for by itself.", error)
        echoes = {
            key: ListedRequest(reading.name or "", reading.prompt or "")
            for key, reading in self._readings.items()
            if self._ledger.keys.may_be_ours(key)
        }
        await self._ledger.note_shown(echoes, is_settled=False)
        return await self._give_rows()

    async def _give_rows(self) -> set[str]:
        """Give rows to what was shown of the manifest; returns the digests of those."""
        found = await self._attribute(self._wanted) if self._wanted else []
        for shown, is_last in _mark_last(found):
            await self._record(shown, is_last=is_last)
        return {shown.job.inputs.digest for shown in found}

    async def _attribute(self, wanted: Selection) -> list[FoundPurchase]:
        """Find out what the keys were made for that no row has."""
        if self._is_open and not self._is_listed and not self._ledger.loss:
            async for page in page_through(wanted, self._ledger):
                await do_together(self._ask_for(planned) for planned in page)
        echoes = await self._find_unexplained(self._ledger.restore.shown if self._ledger.restore else {})
        if not echoes:
            return []
        attribution = Attribution(
            echoes, self._recovery.list_inputs, self._ledger.keys.of_purchase, is_repeated=not self._is_open
        )
        found: list[FoundPurchase] = []
        edition = ""
        async for page in page_through(wanted, self._ledger):
            for planned in page:
                if planned.job and (self._is_open or not is_paid_for(planned.job, planned.latest)):
                    edition = planned.job.edition
                    found += attribution.look_at(planned.job, planned.latest)
        found += await self._ledger.look(lambda reader: list(attribution.search(sorted(reader.read_ids(edition)))))
        return found

    async def _find_unexplained(self, shown: Mapping[str, ListedRequest]) -> dict[str, ListedRequest]:
        known = await self._ledger.look(lambda reader: reader.find_requests(sorted(shown)))
        return {key: echo for key, echo in shown.items() if key not in known}

    async def _ask_for(self, planned: PlannedJob) -> None:
        """Ask for one job where there is no list."""
        least = _find_least(planned.latest)
        if planned.job and least is not None:
            await self._ask(planned.job, least)

    async def _ask(self, job: Job, least: int) -> bool:
        """Ask for one job by its ids; tells whether the server told."""
        try:
            for number in range(least, least + NUMBERS_AHEAD):
                key = self._ledger.keys.of_job(job, number)
                if not await self._api.find(SentRequest(key, None, Deduplication.PROVEN)):
                    break
                await self._ledger.note_shown({key: ListedRequest()}, is_settled=False)
        except (JobError, UnfinishedError) as error:
            warn_untold(job, error)
            return False
        return True

    async def _wait_for_late_arrivals(self) -> None:
        if (remaining_seconds := self._count_window()) > 0:
            logger.warning(
                "What the server does not show may still arrive, so nothing new is bought for %s. What runs is "
                "followed meanwhile.",
                write_duration(remaining_seconds),
            )
            await asyncio.sleep(remaining_seconds)

    def _count_window(self) -> float:
        assert self._ledger.restore, "otherwise there is no window"
        return self._settings.count_quiet_window(self._ledger.restore.mark)

    # Recording

    async def _record(self, shown: FoundPurchase, *, is_last: bool) -> None:
        """Give what was bought its row; what the server has ended before the last one ends at once."""
        job, (bought_as, number, fields, digest, _) = shown.job, shown.purchase
        # One that a later attempt has followed already is no longer what its job waits for.
        is_last = is_last and not await self._has_row(job, number + 1)
        purchase = self._recovery.make_purchase(bought_as, number, digest, fields)
        attempt = await self._ledger.record_shown(job, purchase, self._estimate)
        if attempt is None:
            logger.warning("%s: what the server shows cannot be right: attempt %d was another one", job.id, number)
            return
        logger.info("%s: attempt %d was bought in the time that is not known", job.id, number)
        reading = self._readings.get(shown.key)
        await self._adopt(attempt, reading, is_ended=not is_last)

    async def _adopt(self, attempt: Attempt, reading: Reading | None, *, is_ended: bool) -> None:
        """Take over what the list says; what it does not say is asked for like any unknown outcome."""
        if reading is None:
            return
        is_ours = reading.remote_id == attempt.request_key
        shows = Deduplication.PROVEN if is_ours else Deduplication.NONE
        event = events.accept(
            reading.remote_id, asset_id=reading.asset_id, eta_seconds=reading.eta_seconds, shows=shows
        )
        try:
            accepted = await self._ledger.apply(attempt, event)
        except TakenError as conflict:
            logger.warning("%s: what the server shows cannot be right: %s", attempt.label, conflict)
            return
        if is_ended and reading.phase is Phase.FAILED:
            code, error = reading.error_code or "unknown", reading.error or "The server gave no reason."
            await self._ledger.apply(accepted, events.fail(code, error, reading.charged))

    def _list_shown(self, job: Job, least: int) -> list[int]:
        return [number for number in range(least, least + NUMBERS_AHEAD) if self._ledger.is_shown(job, number)]


def _find_least(latest: LatestAttempt | None) -> int | None:
    """Find the lowest number under which a job may have been bought since; None while it may not be bought again."""
    if latest is None:
        return 1
    if latest.bought_as != latest.job_id:
        return 1 if latest.state in ENDS else None
    if latest.state in UNSENT:
        return latest.number
    return latest.number + 1 if latest.state in ENDS else None


def _mark_last(found: Sequence[FoundPurchase]) -> Iterator[tuple[FoundPurchase, bool]]:
    """Yield all with whether it is the last that was bought under its id."""
    last = {shown.job.id: shown.key for shown in sorted(found, key=lambda each: each.purchase.number)}
    yield from ((shown, last[shown.job.id] == shown.key) for shown in found)
