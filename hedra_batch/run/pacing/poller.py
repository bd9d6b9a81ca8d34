"""One poller over all generations in flight: when one must be read, all that may be are read with it."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from hedra_batch.api.protocol import Api, Phase, Reading
from hedra_batch.decide import is_denial_believed
from hedra_batch.errors import HedraBatchError, NotFoundError, UnfinishedError
from hedra_batch.inputs import PriceKey, find_price_key
from hedra_batch.job import Attempt
from hedra_batch.run.pacing.rate import FirstRead
from hedra_batch.run.pacing.schedule import Due, Outlook, Schedule, Usual
from hedra_batch.run.settings import RunSettings
from hedra_batch.state import State

logger = logging.getLogger(__name__)

#: Reads that may be under way together, so that a slow answer keeps nobody else waiting.
READS_AT_ONCE = 4
#: Of what is read at once, for there is no reason to wait.
AT_ONCE = Due(0.0, 0.0)


@dataclass(slots=True)
class _Followed:
    """One generation that is followed. Times are of the event loop's clock."""

    attempt: Attempt
    ended: asyncio.Future[Reading | None]
    accepted_time: float
    #: When it was last known to run; None while nobody knows, since an earlier run has sent it.
    running_time: float | None
    outlook: Outlook
    missing_at: str | None

    @property
    def is_overdue(self) -> bool:
        return self.attempt.state is State.OVERDUE


class Poller:
    """Reads generations until the server has ended them, those that are due at a time together."""

    def __init__(
        self,
        api: Api,
        settings: RunSettings,
        on_fraction: Callable[[int, float], None],
        record_missing: Callable[[int, str | None], Awaitable[None]],
        first_read: FirstRead | None = None,
    ) -> None:
        self._api = api
        self._settings = settings
        self._schedule = Schedule(settings.shortest_poll_seconds, settings.longest_poll_seconds)
        self._on_fraction = on_fraction
        self._record_missing = record_missing
        self.first_read = first_read or FirstRead(settings.first_read_seconds)
        self._followed: dict[str, _Followed] = {}
        #: When each is due next, the first in front; what is being read is not in it.
        self._due: list[tuple[Due, str]] = []
        self._usual: defaultdict[PriceKey, Usual] = defaultdict(Usual)
        self._changed = asyncio.Event()
        self._room = asyncio.Semaphore(READS_AT_ONCE)
        self._began_time = float("inf")
        self._ended_by: Exception | None = None
        #: Whether the run waits for nothing but what is overdue, which is then read once more and returned.
        self._is_idle = False

    async def follow(self, attempt: Attempt) -> Reading | None:
        """Return the generation once it is complete, ended with an error, or overdue; None if that cannot be read then.

        One that is overdue already is returned as it is when nothing else is followed. Raises NotFoundError when the
        server has not known it for a day.
        """
        if self._ended_by:
            raise self._ended_by
        remote_id = attempt.remote_id or ""
        self._followed[remote_id] = followed = self._begin(attempt)
        self._push(remote_id, self._find_first_due(followed))
        try:
            return await followed.ended
        finally:
            self._followed.pop(remote_id, None)

    def _begin(self, attempt: Attempt) -> _Followed:
        loop = asyncio.get_running_loop()
        accepted_at = attempt.accepted_at
        age_seconds = max(self._settings.clock.age_seconds(accepted_at), 0.0) if accepted_at else 0.0
        model_seconds = self._api.find_usual_seconds(attempt.fields)
        # What the service did not estimate was recorded with the time that its model usually takes.
        # One of 0 says nothing of what has just begun.
        end_seconds = attempt.eta_seconds if attempt.eta_seconds and attempt.eta_seconds != model_seconds else None
        outlook = Outlook(end_seconds, 0.0, self._usual[find_price_key(attempt.fields)].bounds, model_seconds)
        accepted_time = loop.time() - age_seconds
        running_time = accepted_time if accepted_time >= self._began_time else None
        return _Followed(attempt, loop.create_future(), accepted_time, running_time, outlook, attempt.missing_at)

    def _find_first_due(self, followed: _Followed) -> Due:
        """Read at once what may have ended while nobody looked: all that an earlier run has left."""
        now = asyncio.get_running_loop().time()
        age_seconds = now - followed.accepted_time
        is_left = followed.accepted_time < self._began_time < float("inf")
        if followed.is_overdue or is_left or age_seconds >= followed.outlook.earliest_seconds:
            return AT_ONCE
        return self._schedule.find_due(now, age_seconds, followed.outlook)

    def on_busy(self) -> None:
        """The run waits for something: what is overdue is followed until that ends."""
        self._is_idle = False

    def on_idle(self) -> None:
        """Nothing else keeps the run going: read what is overdue once more, and return it however it stands."""
        self._is_idle = True
        self._due = [(AT_ONCE, remote_id) for _, remote_id in self._due]
        self._changed.set()

    async def run(self) -> None:
        """Read what is due, for ever; an error that ends this ends all that wait for it too."""
        self._began_time = asyncio.get_running_loop().time()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._room.acquire()
                    reading = group.create_task(self._read(await self._wait_for_due()))
                    reading.add_done_callback(lambda _: self._room.release())
        except* Exception as errors:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            self._end(_find_first(errors))

    def _end(self, error: Exception) -> None:
        self._ended_by = error
        for followed in self._followed.values():
            if not followed.ended.done():
                followed.ended.set_exception(error)

    async def _wait_for_due(self) -> list[str]:
        """Return the ids that are due, as many as one request takes."""
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            if ids := self._take_due(loop.time()):
                return ids
            delay = self._due[0][0].by_time - loop.time() if self._due else None
            with suppress(TimeoutError):
                # Not `wait_for`: that of Python 3.11 loses a cancellation that comes together with the event.
                async with asyncio.timeout(delay):
                    await self._changed.wait()

    def _take_due(self, now: float) -> list[str]:
        """Take the first that are due and, as far as there is room in one request, those that may be read by now."""
        if not self._due or self._due[0][0].by_time > now:
            return []
        ready = (item for item in self._due if item[0].from_time <= now and item[1] in self._followed)
        taken = {remote_id for _, remote_id in heapq.nsmallest(self._api.reads_together, ready)}
        self._due = [item for item in self._due if item[1] in self._followed and item[1] not in taken]
        heapq.heapify(self._due)
        return list(taken)

    def _push(self, remote_id: str, due: Due) -> None:
        heapq.heappush(self._due, (due, remote_id))
        self._changed.set()

    async def _read(self, ids: list[str]) -> None:
        """Read what is due; what cannot be read now is due again later, and keeps nobody else waiting."""
        now = asyncio.get_running_loop().time()
        ages = {each: now - followed.accepted_time for each in ids if (followed := self._followed.get(each))}
        unread = set(ages)
        async for remote_id, answer in self._api.read(ages):
            unread.discard(remote_id)
            followed = self._followed.get(remote_id)
            if followed and not followed.ended.done():
                await self._on_answer(followed, answer)
        for remote_id in unread:
            self._push(remote_id, AT_ONCE)

    async def _on_answer(self, followed: _Followed, answer: Reading | HedraBatchError) -> None:
        self.first_read.on_read(followed.attempt.key)
        if isinstance(answer, Reading):
            await self._on_reading(followed, answer)
        elif isinstance(answer, NotFoundError):
            await self._on_missing(followed, answer)
        else:
            logger.debug("%s: it cannot be read now: %s", followed.attempt.label, answer)
            self._put_off(followed, answer)

    async def _on_missing(self, followed: _Followed, error: NotFoundError) -> None:
        """Count for how long the server has not known it, over as many runs as that takes."""
        clock = self._settings.clock
        if followed.missing_at is None:
            followed.missing_at = clock.now_text()
            await self._record_missing(followed.attempt.key, followed.missing_at)
        if is_denial_believed(clock.age_seconds(followed.missing_at), self._settings.missing_seconds):
            followed.ended.set_exception(error)
        else:
            self._put_off(followed, error)

    async def _on_reading(self, followed: _Followed, reading: Reading) -> None:
        if followed.missing_at:
            followed.missing_at = None
            await self._record_missing(followed.attempt.key, None)
        self._on_fraction(followed.attempt.key, reading.progress)
        has_ended = reading.phase is not Phase.RUNNING
        if has_ended:
            self._learn_duration(followed)
        if has_ended or (self._is_idle if followed.is_overdue else self._is_too_late(followed.attempt)):
            followed.ended.set_result(reading)
            return
        self._on_running(followed, reading.eta_seconds)
        self._postpone(followed)

    def _on_running(self, followed: _Followed, eta_seconds: float | None) -> None:
        """Take a new estimate into account; one of 0 for what runs on says only that it is late."""
        followed.running_time = now = asyncio.get_running_loop().time()
        age_seconds = now - followed.accepted_time
        usual = self._usual[find_price_key(followed.attempt.fields)].bounds
        outlook = replace(followed.outlook, usual=usual)
        if eta_seconds:
            outlook = replace(outlook, end_seconds=age_seconds + eta_seconds, estimated_at_seconds=age_seconds)
        followed.outlook = outlook

    def _learn_duration(self, followed: _Followed) -> None:
        """Take it to have ended midway between the last time that it was known to run and now."""
        if followed.running_time is not None:
            ended_time = (followed.running_time + asyncio.get_running_loop().time()) / 2
            self._usual[find_price_key(followed.attempt.fields)].add(ended_time - followed.accepted_time)

    def _is_too_late(self, attempt: Attempt) -> bool:
        expected_seconds = (attempt.eta_seconds or 0.0) * self._settings.overdue_factor
        limit_seconds = max(self._settings.overdue_seconds, expected_seconds)
        mark = attempt.accepted_mark
        return mark is not None and self._settings.clock.least_seconds_since(mark) > limit_seconds

    def _put_off(self, followed: _Followed, error: HedraBatchError) -> None:
        """Read again later what could not be read; what is overdue, or is so by now, keeps no run going for that."""
        if self._is_idle and followed.is_overdue:
            followed.ended.set_exception(UnfinishedError(f"It is overdue and cannot be read now: {error}"))
        elif not followed.is_overdue and self._is_too_late(followed.attempt):
            followed.ended.set_result(None)
        else:
            self._postpone(followed)

    def _postpone(self, followed: _Followed) -> None:
        now = asyncio.get_running_loop().time()
        if followed.is_overdue:
            due = Due(now + self._settings.overdue_poll_seconds, now + self._settings.overdue_poll_seconds)
        else:
            due = self._schedule.find_due(now, now - followed.accepted_time, followed.outlook)
        self._push(followed.attempt.remote_id or "", due)


def _find_first(errors: BaseExceptionGroup[Exception]) -> Exception:
    """Find the first of the errors that ended the reading together."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, Exception) else RuntimeError(str(error))
