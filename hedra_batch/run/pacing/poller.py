"""One watch over all generations in flight: what is due is read together, each at its own time."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from hedra_batch.api.v2.answers import COMPLETE, ERROR, Generation
from hedra_batch.api.v2.client import PAGE_SIZE, HedraClient
from hedra_batch.errors import (
    HedraBatchError,
    JobError,
    NotFoundError,
    OutOfCreditsError,
    RetryError,
    ThrottledError,
    UnfinishedError,
)
from hedra_batch.inputs import PriceKey, find_price_key
from hedra_batch.job import Attempt, State
from hedra_batch.run.pacing.retrying import RetryingClient
from hedra_batch.run.pacing.schedule import Outlook, Schedule, Usual
from hedra_batch.run.settings import RunSettings

logger = logging.getLogger(__name__)

#: Reads that end like this are made again at their next turn: an account without credits can read all the same.
LATER = (RetryError, OutOfCreditsError)
#: Lists in a row that fail while a status can be read, after which the list is taken for broken.
LIST_FAILURES_LIMIT = 3
#: For so long, a generation that was just accepted may be missing from the list.
LIST_LAG_SECONDS = 120.0
#: Reads that may be under way together, so that a slow answer keeps nobody else waiting.
READS_AT_ONCE = 4
#: An end tells how long a generation took only when it was known to run shortly before, as a share of that time.
FRESH_SHARE = 0.25


@dataclass(slots=True)
class _Followed:
    """One generation that is followed. Times are of the event loop's clock."""

    attempt: Attempt
    ended: asyncio.Future[Generation | None]
    accepted_time: float
    #: When it was last known to run.
    running_time: float
    outlook: Outlook
    missing_at: str | None


class Poller:
    """Reads generations until the server has ended them, those that are due at a time together."""

    def __init__(
        self,
        client: HedraClient,
        reader: RetryingClient,
        settings: RunSettings,
        note_fraction: Callable[[int, float], None],
        record_missing: Callable[[int, str | None], Awaitable[None]],
        find_model_seconds: Callable[[Attempt], float | None],
    ) -> None:
        self._client = client
        self._retrying = reader
        self._settings = settings
        self._schedule = Schedule(settings.shortest_poll_seconds, settings.longest_poll_seconds)
        self._note_fraction = note_fraction
        self._record_missing = record_missing
        self._find_model_seconds = find_model_seconds
        self._followed: dict[str, _Followed] = {}
        #: When each is due next, soonest first; what is being read is not in it.
        self._due: list[tuple[float, str]] = []
        self._usual: defaultdict[PriceKey, Usual] = defaultdict(Usual)
        self._changed = asyncio.Event()
        self._room = asyncio.Semaphore(READS_AT_ONCE)
        self._ended_by: Exception | None = None
        #: Whether nobody waits but for what is stuck, which is then read once more and let go.
        self._lets_go = False
        #: Whether the server filters its list by ids; an answer with other items shows that it does not.
        self._lists_by_ids = True
        self._list_failures = 0
        self._list_failed_time = float("-inf")
        self._list_misses = 0

    async def follow(self, attempt: Attempt) -> Generation | None:
        """Return the generation once it is complete, ended with an error, or overdue; None if that cannot be read then.

        One that is stuck already is returned as it is when nothing else is followed. Raises NotFoundError when the
        server has not known it for a day.
        """
        if self._ended_by:
            raise self._ended_by
        generation_id = attempt.generation_id or ""
        self._followed[generation_id] = followed = self._take_up(attempt)
        self._push(generation_id, self._find_first_due(followed))
        try:
            return await followed.ended
        finally:
            self._followed.pop(generation_id, None)

    def _take_up(self, attempt: Attempt) -> _Followed:
        loop = asyncio.get_running_loop()
        accepted_at = attempt.accepted_at
        age_seconds = max(self._settings.clock.age_seconds(accepted_at), 0.0) if accepted_at else 0.0
        model_seconds = self._find_model_seconds(attempt)
        # What the service did not estimate was recorded with the time that its model usually takes.
        end_seconds = attempt.eta_seconds if attempt.eta_seconds != model_seconds else None
        outlook = Outlook(end_seconds, 0.0, self._usual[find_price_key(attempt.fields)].bounds, model_seconds)
        accepted_time = loop.time() - age_seconds
        return _Followed(attempt, loop.create_future(), accepted_time, accepted_time, outlook, attempt.missing_at)

    def _find_first_due(self, followed: _Followed) -> float:
        """Read at once what may have ended while nobody looked."""
        now = asyncio.get_running_loop().time()
        is_stuck = followed.attempt.state is State.STUCK
        age_seconds = now - followed.accepted_time
        if is_stuck or age_seconds >= followed.outlook.earliest_seconds:
            return now
        return self._schedule.find_due(now, age_seconds, followed.outlook)

    def hold_on(self) -> None:
        """Follow what is stuck, too, until it is let go again."""
        self._lets_go = False

    def let_go(self) -> None:
        """Read what is stuck once more, and return it however it stands: nothing else keeps the run going."""
        self._lets_go = True
        self._due = sorted((0.0, generation_id) for _, generation_id in self._due)
        self._changed.set()

    async def run(self) -> None:
        """Read what is due, for ever; an error that ends this ends all that wait for it too."""
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
            delay = self._due[0][0] - loop.time() if self._due else None
            with suppress(TimeoutError):
                # Not `wait_for`: that of Python 3.11 loses a cancellation that comes together with the event.
                async with asyncio.timeout(delay):
                    await self._changed.wait()

    def _take_due(self, now: float) -> list[str]:
        most = PAGE_SIZE if self._lists_by_ids else 1
        ids: list[str] = []
        while self._due and self._due[0][0] <= now and len(ids) < most:
            _, generation_id = heapq.heappop(self._due)
            if generation_id in self._followed:
                ids.append(generation_id)
        return ids

    def _push(self, generation_id: str, due_time: float) -> None:
        heapq.heappush(self._due, (due_time, generation_id))
        self._changed.set()

    async def _read(self, ids: list[str]) -> None:
        """Read what is due; what cannot be read now is due again later, and keeps nobody else waiting."""
        listed = await self._list(ids) if self._lists_by_ids else {}
        if listed is None:
            return
        # What was listed first: to read the others by themselves may take long.
        for generation_id in sorted(ids, key=lambda each: each not in listed):
            generation = listed.get(generation_id) or await self._read_one(generation_id)
            if generation is not None:
                self._note_list(generation_id, is_listed=generation_id in listed)
                await self._note(generation_id, generation)

    async def _list(self, ids: list[str]) -> dict[str, Generation] | None:
        """Read many with one request; None where all of them are due again, together or each by itself."""
        began_time = asyncio.get_running_loop().time()
        try:
            listed = await self._retrying.read_once(lambda: self._client.list_generations(ids))
        except LATER as error:
            logger.debug("the list of generations cannot be read now: %s", error)
            self._note_list_failure(error, began_time)
            await self._probe(ids, error)
            return None
        except JobError:
            listed = None
        self._list_failures = 0
        if listed is None or len(listed) > len(ids) or not {item.generation_id for item in listed} <= set(ids):
            self._give_up_lists(ids)
            return None
        return {item.generation_id: item for item in listed}

    def _note_list_failure(self, error: HedraBatchError, began_time: float) -> None:
        """Count the failures of the list itself, those of requests that were under way together once."""
        if began_time > self._list_failed_time and not isinstance(error, ThrottledError):
            self._list_failed_time = asyncio.get_running_loop().time()
            self._list_failures += 1

    async def _probe(self, ids: list[str], error: HedraBatchError) -> None:
        """Find out by one status whether it is the API that is away, or only its list that is broken."""
        probe, *others = ids
        generation = await self._read_one(probe)
        if generation is not None:
            await self._note(probe, generation)
            if self._list_failures >= LIST_FAILURES_LIMIT:
                self._give_up_lists(others)
                return
        for followed in filter(None, map(self._followed.get, others)):
            self._put_off(followed, error)

    def _note_list(self, generation_id: str, *, is_listed: bool) -> None:
        """Notice a list that keeps back what a status shows, though it is not new any more."""
        followed = self._followed.get(generation_id)
        if is_listed or followed is None:
            self._list_misses = 0
        elif asyncio.get_running_loop().time() - followed.accepted_time > LIST_LAG_SECONDS:
            self._list_misses += 1
        if self._list_misses >= LIST_FAILURES_LIMIT:
            self._give_up_lists([])

    def _give_up_lists(self, ids: list[str]) -> None:
        """Read each generation by itself for the rest of the run, those at once that are due now."""
        if self._lists_by_ids:
            logger.warning("the API does not list generations by ids: each is read by itself from now on")
        self._lists_by_ids = False
        for generation_id in ids:
            self._push(generation_id, 0.0)

    async def _read_one(self, generation_id: str) -> Generation | None:
        """Read by itself what a list did not have: just accepted, it may be in neither place yet."""
        followed = self._followed.get(generation_id)
        if followed is None or followed.ended.done():
            return None
        try:
            return await self._retrying.read_once(lambda: self._client.read_status(generation_id))
        except NotFoundError as error:
            await self._note_missing(followed, error)
        except (JobError, *LATER) as error:
            logger.debug("%s: it cannot be read now: %s", followed.attempt.label, error)
            self._put_off(followed, error)
        return None

    async def _note_missing(self, followed: _Followed, error: NotFoundError) -> None:
        """Count for how long the server has not known it, over as many runs as that takes."""
        clock = self._settings.clock
        if followed.missing_at is None:
            followed.missing_at = clock.now_text()
            await self._record_missing(followed.attempt.key, followed.missing_at)
        if clock.age_seconds(followed.missing_at) > self._settings.missing_seconds:
            followed.ended.set_exception(error)
        else:
            self._put_off(followed, error)

    async def _note(self, generation_id: str, generation: Generation) -> None:
        followed = self._followed.get(generation_id)
        if followed is None or followed.ended.done():
            return
        if followed.missing_at:
            followed.missing_at = None
            await self._record_missing(followed.attempt.key, None)
        self._note_fraction(followed.attempt.key, generation.progress)
        is_stuck = followed.attempt.state is State.STUCK
        is_given_back = self._lets_go if is_stuck else self._is_overdue(followed.attempt)
        has_ended = generation.status in (COMPLETE, ERROR)
        if has_ended:
            self._note_end(followed)
        if has_ended or is_given_back:
            followed.ended.set_result(generation)
            return
        self._note_running(followed, generation.eta_seconds)
        self._postpone(followed)

    def _note_running(self, followed: _Followed, eta_seconds: float | None) -> None:
        """Take a new estimate into account; one of 0 for what runs on says only that it is late."""
        followed.running_time = asyncio.get_running_loop().time()
        age_seconds = followed.running_time - followed.accepted_time
        usual = self._usual[find_price_key(followed.attempt.fields)].bounds
        outlook = replace(followed.outlook, usual=usual)
        if eta_seconds:
            outlook = replace(outlook, end_seconds=age_seconds + eta_seconds, told_seconds=age_seconds)
        followed.outlook = outlook

    def _note_end(self, followed: _Followed) -> None:
        now = asyncio.get_running_loop().time()
        age_seconds = now - followed.accepted_time
        if now - followed.running_time <= age_seconds * FRESH_SHARE:
            self._usual[find_price_key(followed.attempt.fields)].note(age_seconds)

    def _is_overdue(self, attempt: Attempt) -> bool:
        expected_seconds = (attempt.eta_seconds or 0.0) * self._settings.overdue_factor
        limit_seconds = max(self._settings.overdue_seconds, expected_seconds)
        mark = attempt.accepted_mark
        return mark is not None and self._settings.clock.least_seconds_since(mark) > limit_seconds

    def _put_off(self, followed: _Followed, error: HedraBatchError) -> None:
        """Read again later what could not be read now; what is stuck, or is so by now, keeps no run going for that."""
        is_stuck = followed.attempt.state is State.STUCK
        if self._lets_go and is_stuck:
            followed.ended.set_exception(UnfinishedError(f"It is overdue and cannot be read now: {error}"))
        elif not is_stuck and self._is_overdue(followed.attempt):
            followed.ended.set_result(None)
        else:
            self._postpone(followed)

    def _postpone(self, followed: _Followed) -> None:
        now = asyncio.get_running_loop().time()
        if followed.attempt.state is State.STUCK:
            due_time = now + self._settings.overdue_poll_seconds
        else:
            due_time = self._schedule.find_due(now, now - followed.accepted_time, followed.outlook)
        self._push(followed.attempt.generation_id or "", due_time)


def _find_first(errors: BaseExceptionGroup[Exception]) -> Exception:
    """Find the first of the errors that ended the reading together."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, Exception) else RuntimeError(str(error))
