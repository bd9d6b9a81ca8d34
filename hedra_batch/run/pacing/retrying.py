"""Requests that cost nothing: paced, repeated with growing pauses, and given up when the API stays away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina
from stamina.instrumentation import set_on_retry_hooks

from hedra_batch.errors import GarbledError, JobError, OutOfCreditsError, RetryError, ThrottledError
from hedra_batch.run.pacing.outage import OutageGuard, make_broken_contract
from hedra_batch.run.pacing.rate import Cooldown, RateLimiter
from hedra_batch.run.settings import RunSettings

T = TypeVar("T")

#: Unreadable answers to one request after which the API is said to have broken its contract.
GARBLED_LIMIT = 6

# What is tried again is told by the run's own log; stamina would write a bare line to stderr.
set_on_retry_hooks([])


class RetryingClient:
    """Sends requests that cost nothing, again and again until they are answered."""

    def __init__(self, settings: RunSettings, outage_guard: OutageGuard, pace: RateLimiter, pause: Cooldown) -> None:
        self._settings = settings
        self._outage_guard = outage_guard
        self._pace = pace
        self._cooldown = pause

    async def read(self, request: Callable[[], Awaitable[T]], *, is_paced: bool = True) -> T:
        """Return the answer. Raises JobError for a refusal, StopRunError when it makes no sense to go on."""
        attempts = stamina.retry_context(
            on=_should_retry,
            attempts=None,
            timeout=None,
            wait_initial=self._settings.first_pause_seconds,
            wait_max=self._settings.longest_pause_seconds,
            wait_jitter=self._settings.first_pause_seconds,
        )
        garbled = 0
        async for attempt in attempts:
            with attempt:
                try:
                    answer = await self.read_once(request, is_paced=is_paced)
                except GarbledError as error:
                    garbled += 1
                    if garbled >= GARBLED_LIMIT:
                        raise make_broken_contract(error) from error
                    raise
        return answer

    async def read_once(self, request: Callable[[], Awaitable[T]], *, is_paced: bool = True) -> T:
        """Return the answer of one try. Raises RetryError too, for callers that come back to it by themselves."""
        turn_time = await (self._pace.wait() if is_paced else self._cooldown.wait())
        try:
            answer = await request()
        except (RetryError, OutOfCreditsError) as error:
            self._outage_guard.note_failure(error)
            if isinstance(error, ThrottledError):
                self._slow_down(error, turn_time)
            raise
        except JobError:
            self._note_answer(turn_time)
            raise
        self._note_answer(turn_time)
        return answer

    def _slow_down(self, refusal: ThrottledError, turn_time: float | None) -> None:
        if turn_time is not None:
            self._pace.cut(turn_time, str(refusal))
        seconds = refusal.retry_after_seconds or self._settings.throttle_seconds
        self._cooldown.extend(seconds, "the API asks to slow down")

    def _note_answer(self, turn_time: float | None) -> None:
        self._outage_guard.note_answer()
        if turn_time is not None:
            self._pace.note_accepted(turn_time)


def _should_retry(error: Exception) -> bool | float:
    if isinstance(error, RetryError):
        return error.retry_after_seconds or True
    return False
