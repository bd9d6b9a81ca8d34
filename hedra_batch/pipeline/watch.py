"""One watch over all generations in flight: what is due is read together, each at its own time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from hedra_batch.api.answers import COMPLETE, ERROR, Generation
from hedra_batch.api.client import PAGE_SIZE, HedraClient
from hedra_batch.errors import (
    HedraBatchError,
    JobError,
    NotFoundError,
    OutOfCreditsError,
    RetryError,
    UnfinishedError,
)
from hedra_batch.job import Attempt, State
from hedra_batch.pipeline.reader import Reader
from hedra_batch.pipeline.settings import RunSettings

logger = logging.getLogger(__name__)

#: Reads that end like this are made again at their next turn: an account without credits can read all the same.
LATER = (RetryError, OutOfCreditsError)
#: Lists in a row that fail while a status can be read, after which the list is taken for broken.
LIST_FAILURES_LIMIT = 3
#: Reads that fall due within this time are made together.
TOGETHER_SECONDS = 0.5


@dataclass(slots=True)
class _Followed:
    attempt: Attempt
    ended: asyncio.Future[Generation | None]
    #: On the event loop's clock.
    due_time: float
    eta_seconds: float | None
    missing_at: str | None


class Watch:
    """Reads generations until the server has ended them. Times are of the event loop's clock."""

    def __init__(
        self,
        client: HedraClient,
        reader: Reader,
        settings: RunSettings,
        note_fraction: Callable[[int, float], None],
        record_missing: Callable[[int, str | None], Awaitable[None]],
    ) -> None:
        self._client = client
        self._reader = reader
        self._settings = settings
        self._note_fraction = note_fraction
        self._record_missing = record_missing
        self._followed: dict[str, _Followed] = {}
        self._changed = asyncio.Event()
        self._ended_by: Exception | None = None
        #: Whether nobody waits but for what is stuck, which is then read once more and let go.
        self._lets_go = False
        #: Whether the server filters its list by ids; a first answer with other items shows that it does not.
        self._lists_by_ids = True
        self._list_failures = 0

    async def follow(self, attempt: Attempt) -> Generation | None:
        """Return the generation once it is complete, ended with an error, or overdue; None if that cannot be read then.

        One that is stuck already is returned as it is when nothing else is followed. Raises NotFoundError when the
        server has not known it for a day.
        """
        if self._ended_by:
            raise self._ended_by
        loop = asyncio.get_running_loop()
        followed = _Followed(attempt, loop.create_future(), loop.time(), attempt.eta_seconds, attempt.missing_at)
        if attempt.eta_seconds is not None and attempt.state is not State.STUCK:
            followed.due_time += self._next_delay(followed)
        generation_id = attempt.generation_id or ""
        self._followed[generation_id] = followed
        self._changed.set()
        try:
            return await followed.ended
        finally:
            self._followed.pop(generation_id, None)

    def let_go(self) -> None:
        """Read what is stuck once more, and return it however it stands: nothing else keeps the run going."""
        self._lets_go = True
        for followed in self._followed.values():
            followed.due_time = 0.0
        self._changed.set()

    async def run(self) -> None:
        """Read what is due, for ever; an error that ends this ends all that wait for it too."""
        try:
            while True:
                due = await self._wait_for_due()
                await self._read(due)
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            self._ended_by = error
            for followed in self._followed.values():
                if not followed.ended.done():
                    followed.ended.set_exception(error)

    async def _wait_for_due(self) -> list[str]:
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            waiting = sorted(
                (followed.due_time, key) for key, followed in self._followed.items() if not followed.ended.done()
            )
            horizon = loop.time() + TOGETHER_SECONDS
            if waiting and waiting[0][0] <= loop.time():
                return [key for due_time, key in waiting[:PAGE_SIZE] if due_time <= horizon]
            delay = waiting[0][0] - loop.time() if waiting else None
            with suppress(TimeoutError):
                # Not `wait_for`: that of Python 3.11 loses a cancellation that comes together with the event.
                async with asyncio.timeout(delay):
                    await self._changed.wait()

    async def _read(self, ids: list[str]) -> None:
        """Read what is due; what cannot be read now is due again later, and keeps nobody else waiting."""
        listed: dict[str, Generation] = {}
        if self._lists_by_ids:
            try:
                listed = await self._list(ids)
            except LATER as error:
                logger.debug("the list of generations cannot be read now: %s", error)
                if not await self._can_read_without_list(ids, error):
                    return
        for generation_id in ids:
            generation = listed.get(generation_id) or await self._read_one(generation_id)
            if generation is not None:
                await self._note(generation_id, generation)

    async def _can_read_without_list(self, ids: list[str], error: HedraBatchError) -> bool:
        """Find out by one status whether it is the API that is away, or only its list that is broken."""
        self._list_failures += 1
        probe, *others = ids
        generation = await self._read_one(probe)
        if generation is not None:
            await self._note(probe, generation)
            if self._list_failures >= LIST_FAILURES_LIMIT:
                self._give_up_lists()
                return True
        for followed in filter(None, map(self._followed.get, others)):
            self._put_off(followed, error)
        return False

    async def _list(self, ids: list[str]) -> dict[str, Generation]:
        """Read many with one request; when the server does not filter by ids, never try again in this run."""
        try:
            listed = await self._reader.read_once(lambda: self._client.list_generations(ids))
        except JobError:
            listed = None
        if listed is None or not {item.generation_id for item in listed} <= set(ids):
            self._give_up_lists()
            return {}
        self._list_failures = 0
        return {item.generation_id: item for item in listed}

    def _give_up_lists(self) -> None:
        logger.warning("the API does not list generations by ids: each is read by itself from now on")
        self._lists_by_ids = False

    async def _read_one(self, generation_id: str) -> Generation | None:
        """Read by itself what a list did not have: just accepted, it may be in neither place yet."""
        followed = self._followed.get(generation_id)
        if followed is None or followed.ended.done():
            return None
        try:
            return await self._reader.read_once(lambda: self._client.read_status(generation_id))
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
        if generation.status in (COMPLETE, ERROR) or is_given_back:
            followed.ended.set_result(generation)
            return
        followed.eta_seconds = generation.eta_seconds
        self._postpone(followed)

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
        followed.due_time = asyncio.get_running_loop().time() + self._next_delay(followed)

    def _next_delay(self, followed: _Followed) -> float:
        """Half of the time that is left by the server's guess; without one, longer the longer it takes."""
        if followed.attempt.state is State.STUCK:
            return self._settings.overdue_poll_seconds
        if followed.eta_seconds is not None:
            delay_seconds = followed.eta_seconds / 2
        else:
            accepted_at = followed.attempt.accepted_at
            delay_seconds = self._settings.clock.age_seconds(accepted_at) / 4 if accepted_at else 0.0
        return min(max(delay_seconds, self._settings.shortest_poll_seconds), self._settings.longest_poll_seconds)
