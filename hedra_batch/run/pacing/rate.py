"""How fast: an even rate for requests that follows what the API bears, and the gates that requests wait at."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from aiolimiter import AsyncLimiter

from hedra_batch.units import Rate, write_duration

logger = logging.getLogger(__name__)

#: A turn that is late by less is made up for, and by half an interval where that is more.
LATENESS_SECONDS = 0.005
#: What is left of a pace after a refusal.
CUT_SHARE = 1 / 2
#: What a pace never falls below, as a share of the configured one.
SLOWEST_SHARE = 1 / 32
#: Requests that the API takes in a row before the pace rises, and by what share of the configured one.
ACCEPTED_IN_A_ROW = 10
RISE_SHARE = 0.1
#: A pause that becomes longer by less is not told again.
LOGGED_SECONDS = 1.0


class Gate(Protocol):
    """Something that requests wait for."""

    @property
    def is_on(self) -> bool:
        """Whether requests have to wait now."""

    async def wait(self) -> None:
        """Return when they need not."""


class Cooldown:
    """A pause of some requests."""

    def __init__(self, what: str = "requests") -> None:
        self._what = what
        self._until = 0.0
        #: Why requests pause, or did last.
        self.reason = ""
        #: When the latest pause began, on the event loop's clock.
        self.began_time = float("-inf")

    def extend(self, seconds: float, reason: str) -> None:
        """Pause at least so long from now on."""
        now = asyncio.get_running_loop().time()
        if not self.is_on:
            self.began_time = now
        if now + seconds > self._until:
            if not self.is_on or now + seconds > self._until + LOGGED_SECONDS:
                logger.info("%s pause for %s: %s", self._what, write_duration(seconds), reason)
            self._until, self.reason = now + seconds, reason

    @property
    def is_on(self) -> bool:
        return asyncio.get_running_loop().time() < self._until

    @property
    def remaining_seconds(self) -> float:
        return max(self._until - asyncio.get_running_loop().time(), 0.0)

    async def wait(self) -> None:
        loop = asyncio.get_running_loop()
        while (remaining := self._until - loop.time()) > 0:  # noqa: ASYNC110 - it may be extended meanwhile
            await asyncio.sleep(remaining)


class Backlog:
    """The results that are ready and wait for room to be downloaded: they go first, since signed links expire."""

    def __init__(self) -> None:
        self.count = 0
        self._cleared = asyncio.Event()
        self._cleared.set()

    def grow(self) -> None:
        self.count += 1
        self._cleared.clear()

    def shrink(self) -> None:
        self.count -= 1
        if not self.count:
            self._cleared.set()

    @property
    def is_on(self) -> bool:
        return self.count > 0

    async def wait(self) -> None:
        await self._cleared.wait()


class FirstRead:
    """What an earlier run left in flight: it is read once before anything is submitted, which waits only so long."""

    def __init__(self, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        self._until = float("-inf")
        self._unread: set[int] = set()
        self._ended = asyncio.Event()

    def begin(self, keys: Iterable[int]) -> None:
        self._unread = set(keys)
        self._until = asyncio.get_running_loop().time() + self._longest_seconds

    def on_read(self, key: int) -> None:
        """One was read, if only in vain, or is not followed any more."""
        self._unread.discard(key)
        if not self._unread:
            self._ended.set()

    @property
    def is_on(self) -> bool:
        return bool(self._unread) and asyncio.get_running_loop().time() < self._until

    async def wait(self) -> None:
        if self.is_on:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._until):
                    await self._ended.wait()


class RateLimiter:
    """Lets one request through at a time, in the order of asking, evenly spread: in any window one more at most.

    The rate halves when the API refuses to go so fast, and comes back step by step as it takes what it gets.
    """

    def __init__(
        self,
        rate: Rate,
        cooldown: Cooldown,
        *gates: Gate,
        name: str = "request",
        free_turns: int = 0,
        since_last_seconds: float | None = None,
    ) -> None:
        """Make a limiter; `since_last_seconds` is how long ago an earlier run sent its last request.

        The first `free_turns`, whatever is sent in them, are not held to the rate; the gates count for them too.
        """
        self._configured = self._rate = rate
        self._name = name
        self._cooldown = cooldown
        self._gates: tuple[Gate, ...] = (cooldown, *gates)
        self._turn = asyncio.Lock()
        self._bucket = _Bucket(rate)
        self._accepted_in_a_row = 0
        self._free_turns = free_turns
        self._first_wait_seconds = 0.0
        #: When the pace lets the next one go, on the event loop's clock.
        self._next_time = float("-inf")
        if since_last_seconds is not None:
            self._first_wait_seconds = max(rate.interval_seconds - max(since_last_seconds, 0.0), 0.0)

    async def wait(self) -> float:
        """Return when the next request may go: the time of its turn, on the event loop's clock."""
        async with self._turn:
            await self._wait_for_earlier_run()
            if self._free_turns:
                await self._pass_gates()
                self._free_turns -= 1
                return asyncio.get_running_loop().time()
            await self._keep_pace()
            turn_time = asyncio.get_running_loop().time()
            self._next_time = turn_time + self._rate.interval_seconds
            return turn_time

    async def _wait_for_earlier_run(self) -> None:
        """Keep the first request away from the last one of an earlier run."""
        if self._first_wait_seconds:
            self._next_time = asyncio.get_running_loop().time() + self._first_wait_seconds
            await asyncio.sleep(self._first_wait_seconds)
            self._first_wait_seconds = 0.0

    async def _keep_pace(self) -> None:
        """Return when both the rate and all gates let a request through."""
        while True:
            has_waited = await self._pass_gates()
            await self._bucket.draw()
            # A gate that closed meanwhile outlasts this turn, and a turn kept through it would be a burst after it.
            if not self._is_held:
                break
        if has_waited or self._bucket.rate != self._rate:
            # From here on, one whole interval; a limiter that is in use takes no other rate.
            self._bucket = _Bucket(self._rate)
            await self._bucket.draw()

    @property
    def rate(self) -> Rate:
        """How fast requests may go now."""
        return self._rate

    @property
    def is_awaited(self) -> bool:
        """Whether a request waits for its turn."""
        return self._turn.locked()

    @property
    def next_seconds(self) -> float:
        """How long the pace alone still keeps the next request."""
        return max(self._next_time - asyncio.get_running_loop().time(), 0.0)

    def on_accepted(self, turn_time: float) -> None:
        """The API took the request of a turn: after some of them, a rate that was cut rises again."""
        if self._rate == self._configured or turn_time <= self._cooldown.began_time:
            return
        self._accepted_in_a_row += 1
        if self._accepted_in_a_row >= ACCEPTED_IN_A_ROW:
            self._change(
                self._rate.count + self._configured.count * RISE_SHARE,
                f"{ACCEPTED_IN_A_ROW} requests in a row were accepted",
            )

    def cut(self, turn_time: float, reason: str) -> None:
        """Halve the pace because the API refused the request of a turn; to be called before the pause is extended.

        One that was under way when the latest pause began tells nothing new.
        """
        if turn_time > self._cooldown.began_time:
            self._change(self._rate.count * CUT_SHARE, reason[:1].lower() + reason[1:])

    def _change(self, count: float, reason: str) -> None:
        self._accepted_in_a_row = 0
        configured = self._configured
        count = min(max(count, configured.count * SLOWEST_SHARE), configured.count)
        if count != self._rate.count:
            before, self._rate = self._rate, Rate(count, configured.per_seconds)
            logger.info("the %s pace goes from %s to %s: %s", self._name, before, self._rate, reason)

    @property
    def _is_held(self) -> bool:
        return any(gate.is_on for gate in self._gates)

    async def _pass_gates(self) -> bool:
        """Return when no gate is closed, and whether one was."""
        has_waited = False
        while self._is_held:
            has_waited = True
            for gate in self._gates:
                await gate.wait()
        return has_waited


class _Bucket:
    """A limiter for one request an interval, with some room beside for turns that come late."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        # The library's own way, a bucket of so many requests, lets twice the rate through in its first period; a bucket
        # of one loses for good what each wakeup is late.
        self._spare = max(0.5, LATENESS_SECONDS / rate.interval_seconds)
        self._limiter = AsyncLimiter(1 + self._spare, (1 + self._spare) * rate.interval_seconds)

    async def draw(self) -> None:
        """Return when the next one may go."""
        if self._limiter.has_capacity(self._limiter.max_rate):
            # Time in which nobody asked is not saved up.
            await self._limiter.acquire(self._spare)
        await self._limiter.acquire()
