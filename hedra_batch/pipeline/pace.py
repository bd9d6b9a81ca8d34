"""How fast and how much: an even pace for requests, a pause for everybody, and the slots in flight."""

from __future__ import annotations

import asyncio
import logging

from aiolimiter import AsyncLimiter

from hedra_batch.errors import HedraBatchError
from hedra_batch.quantity import Rate

logger = logging.getLogger(__name__)


class Pause:
    """A pause that the server asked for; all paces keep it."""

    def __init__(self) -> None:
        self._until = 0.0

    def extend(self, seconds: float) -> None:
        """Pause at least so long from now on."""
        now = asyncio.get_running_loop().time()
        if now + seconds > self._until:
            logger.warning("the API asks to slow down: all requests pause for %.0f s", seconds)
            self._until = now + seconds

    async def wait(self) -> None:
        """Return when no pause is on."""
        loop = asyncio.get_running_loop()
        while (remaining := self._until - loop.time()) > 0:  # noqa: ASYNC110 - it may be extended meanwhile
            await asyncio.sleep(remaining)


class Pace:
    """Lets one request through at a time, in the order of asking, evenly spread: no burst in any window."""

    def __init__(self, rate: Rate, pause: Pause) -> None:
        # A bucket of one: a larger one lets twice the rate through in its first period.
        self._limiter = AsyncLimiter(1, rate.interval_seconds)
        self._turn = asyncio.Lock()
        self._pause = pause

    async def wait(self) -> None:
        """Return when the next request may go."""
        async with self._turn:
            await self._pause.wait()
            await self._limiter.acquire()
            await self._pause.wait()


class SubmittingClosedError(HedraBatchError):
    """Nothing more is submitted in this run; the attempt stays RESERVED for the next one."""


class Slots:
    """The generations that the server works on at once, and the door to it.

    Attempts that an earlier run left in flight take their slots without asking, so there can be more of them
    than the limit; new ones wait until there is room.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken: set[int] = set()
        self._room = asyncio.Condition()
        self.is_closed = False

    def take_over(self, key: int) -> None:
        """Note an attempt that is in flight already."""
        self._taken.add(key)

    async def enter(self, key: int) -> None:
        """Wait for room, then take a slot. Raises SubmittingClosedError once nothing more is submitted."""
        async with self._room:
            await self._room.wait_for(lambda: self.is_closed or key in self._taken or len(self._taken) < self._size)
            if self.is_closed:
                raise SubmittingClosedError("Submitting is closed for this run.")
            self._taken.add(key)

    async def leave(self, key: int) -> None:
        """Give the slot back; harmless for one that was never taken."""
        async with self._room:
            self._taken.discard(key)
            self._room.notify()

    async def close(self) -> None:
        """Let nobody in any more, and send away those who wait."""
        async with self._room:
            self.is_closed = True
            self._room.notify_all()
