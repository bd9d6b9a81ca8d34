"""After a run folder was put back from a backup, or moved: what was bought since its last entry is found by the server.

The account's list is read before anything is planned. What is not in it may still arrive, so nothing of that is bought
before the quiet window is over and the list was read once more; what runs is followed meanwhile. What the list shows is
kept in the ledger, so that it is recognised whenever the manifest asks for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from hedra_batch.api.protocol import Api, Phase, Reading, SentRequest
from hedra_batch.decide import Deduplication
from hedra_batch.errors import JobError, UnfinishedError
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger import events
from hedra_batch.ledger.backend import TakenError
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.records import LatestAttempt, Purchase
from hedra_batch.planning.plan import PlannedJob
from hedra_batch.planning.selection import Selection, page_through
from hedra_batch.progress import Progress
from hedra_batch.run.recovery import Recovery
from hedra_batch.run.settings import RunSettings
from hedra_batch.state import ENDS, UNSENT
from hedra_batch.units import write_duration

logger = logging.getLogger(__name__)

#: Numbers after the last known one that are looked for: a gap between them hides no later one.
NUMBERS_AHEAD = 20


class Restoration:
    """Knows what a restored ledger does not; without a restore it has nothing to do."""

    def __init__(self, ledger: Ledger, api: Api, settings: RunSettings, recovery: Recovery) -> None:
        self._ledger = ledger
        self._api = api
        self._settings = settings
        self._recovery = recovery
        self._wanted: Selection | None = None
        #: What the list shows, by the keys that it shows.
        self._readings: dict[str, Reading] = {}
        self._is_listed = True
        self._is_over = False
        self._lock = asyncio.Lock()

    @property
    def _is_open(self) -> bool:
        restore = self._ledger.restore
        return restore is not None and not restore.is_settled and not self._is_over

    async def recover(self, selection: Selection, progress: Progress) -> None:
        """Do what the loss of a whole ledger asks for."""
        await self._recovery.recover(selection, progress)

    async def look(self, wanted: Selection) -> None:
        """Look for what was bought since, and give it its rows, so that a plan knows of it. Nothing is waited for."""
        self._wanted = wanted
        if not self._is_open or not self._ledger.restore:
            return
        if self._count_window() <= 0:
            await self.settle()
            return
        logger.warning(
            "This run folder was put back from a backup, or moved. Before anything is bought, the server is asked what "
            "was bought since %s.",
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
                await self._look_once()
                self._is_over = True
                if self._is_listed:
                    await self._ledger.note_shown((), is_settled=True)
        return True

    async def choose_purchase(self, job: Job, least: int) -> int | Purchase | None:
        """Choose what a job's next attempt is: the latest of those bought in the unknown time, else a new one.

        None where the server does not tell now.
        """
        number = await self._recovery.choose_purchase(job, least)
        if not isinstance(number, int) or self._ledger.restore is None:
            return number
        await self.settle()
        if self._is_over and await self._has_row(job, number):
            # It was found meanwhile; the next run goes on with it.
            return None
        if not self._ledger.restore.is_settled and not await self._ask(job, number):
            return None
        return max(self._list_shown(job, number), default=number)

    async def _has_row(self, job: Job, number: int) -> bool:
        known = await self._ledger.look(lambda reader: list(reader.find_all([(job.edition, job.id)])))
        return any(latest.number >= number for latest in known)

    # Looking

    async def _look_once(self) -> None:
        restore = self._ledger.restore
        assert restore, "otherwise there is nothing to look for"
        try:
            async for reading in self._api.list_since(restore.since):
                self._readings |= {key: reading for key in (reading.remote_id, reading.request_key) if key}
            self._is_listed = True
        except (JobError, UnfinishedError) as error:
            self._is_listed = False
            logger.warning("%s Each job is asked for by itself.", error)
        await self._ledger.note_shown(self._readings, is_settled=False)
        if self._wanted:
            async for page in page_through(self._wanted, self._ledger):
                await asyncio.gather(*(self._record(planned.job, planned) for planned in page if planned.job))

    async def _ask(self, job: Job, least: int) -> bool:
        """Ask for one job by its ids; tells whether the server told."""
        try:
            for number in range(least, least + NUMBERS_AHEAD):
                key = self._ledger.derive_lost_key(job, number)
                if not await self._api.find(SentRequest(key, None, Deduplication.PROVEN)):
                    break
                await self._ledger.note_shown([key], is_settled=False)
        except (JobError, UnfinishedError) as error:
            logger.warning("%s: not sent now: whether it was bought before cannot be read (%s)", job.id, error)
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
        passed_seconds = self._settings.clock.least_seconds_since(self._ledger.restore.mark)
        return self._settings.quiet_window_seconds - passed_seconds

    # Recording

    async def _record(self, job: Job, planned: PlannedJob) -> None:
        """Give what was bought for a job its rows; of earlier attempts only those that the server has ended."""
        least = _find_least(planned.latest)
        if least is None or (not self._is_listed and not await self._ask(job, least)):
            return
        for number, is_last in _mark_last(self._list_shown(job, least)):
            reading = self._readings.get(self._ledger.derive_lost_key(job, number))
            if is_last or (reading and reading.phase is Phase.FAILED):
                attempt = await self._make_row(job, number, planned.latest)
                await self._adopt(attempt, reading, is_ended=not is_last)

    async def _make_row(self, job: Job, number: int, latest: LatestAttempt | None) -> Attempt:
        logger.info("%s: attempt %d was bought in the time that is not known", job.id, number)
        if latest and latest.state in UNSENT and latest.number == number:
            return await self._ledger.rewrite(latest.attempt_key, job, self._api.estimate(job.inputs.fields))
        [attempt] = await self._ledger.record([(job, number)], self._api.estimate)
        return attempt

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
        if is_ended:
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


def _mark_last(numbers: list[int]) -> Iterator[tuple[int, bool]]:
    yield from ((number, number == numbers[-1]) for number in numbers)
