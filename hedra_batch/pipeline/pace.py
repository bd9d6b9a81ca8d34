"""How fast: an even pace for requests, and a pause that all paces keep."""

from __future__ import annotations

import asyncio
import logging

from aiolimiter import AsyncLimiter

from hedra_batch.quantity import Rate

logger = logging.getLogger(__name__)


class Pause:
    """A pause that the server asked for; all paces keep it."""

    def __init__(self) -> None:
        self._until = 0.0

    def extend(self, seconds: float, reason: str) -> None:
        """Pause at least so long from now on."""
        now = asyncio.get_running_loop().time()
        if now + seconds > self._until:
            logger.info("%s: all requests pause for %.1f s", reason, seconds)
            self._until = now + seconds

    @property
    def is_on(self) -> bool:
        """Whether requests have to wait now."""
        return asyncio.get_running_loop().time() < self._until

    async def wait(self) -> None:
        """Return when no pause is on."""
        loop = asyncio.get_running_loop()
        while (remaining := self._until - loop.time()) > 0:  # noqa: ASYNC110 - it may be extended meanwhile
            await asyncio.sleep(remaining)


class Pace:
    """Lets one request through at a time, in the order of asking, evenly spread: no burst in any window."""

    def __init__(self, rate: Rate, pause: Pause, since_last_seconds: float | None = None) -> None:
        """Make a pace; `since_last_seconds` is how long ago an earlier run sent its last request."""
        # A bucket of one: a larger one lets twice the rate through in its first period.
        self._limiter = AsyncLimiter(1, rate.interval_seconds)
        self._first_wait_seconds = 0.0
        if since_last_seconds is not None:
            self._first_wait_seconds = max(rate.interval_seconds - max(since_last_seconds, 0.0), 0.0)
        self._turn = asyncio.Lock()
        self._pause = pause

    async def wait(self) -> None:
        """Return when the next request may go."""
        async with self._turn:
            await asyncio.sleep(self._first_wait_seconds)
            self._first_wait_seconds = 0.0
            while True:
                await self._pause.wait()
                await self._limiter.acquire()
                # A pause that came meanwhile outlasts this turn, and a turn kept through it would be a burst after it.
                if not self._pause.is_on:
                    return
