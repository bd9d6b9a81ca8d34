"""Requests that cost nothing: paced, repeated with growing pauses, and given up when the API stays away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina
from stamina.instrumentation import set_on_retry_hooks

from hedra_batch.errors import GarbledError, JobError, OutOfCreditsError, RetryError, UnavailableError
from hedra_batch.run.pacing.lane import Lane
from hedra_batch.run.pacing.outage import make_broken_contract
from hedra_batch.run.settings import RunSettings

T = TypeVar("T")

#: Unreadable answers to one request after which the API is said to have broken its contract.
GARBLED_LIMIT = 6

#: For how long an API that is away may wish to be left alone: it may be back long before that.
LONGEST_WISH_SECONDS = 120.0

# What is tried again is told by the run's own log; stamina would write a bare line to stderr.
set_on_retry_hooks([])


class RetryingClient:
    """Sends requests that cost nothing, again and again until they are answered."""

    def __init__(self, settings: RunSettings, lane: Lane) -> None:
        self._settings = settings
        self._lane = lane

    async def until_answered(self, request: Callable[[], Awaitable[T]], *, is_paced: bool = True) -> T:
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
                    answer = await self.once(request, is_paced=is_paced)
                except GarbledError as error:
                    garbled += 1
                    if garbled >= GARBLED_LIMIT:
                        raise make_broken_contract(error) from error
                    raise
        return answer

    async def once(self, request: Callable[[], Awaitable[T]], *, is_paced: bool = True) -> T:
        """Return the answer of one try. Raises RetryError too, for callers that come back to it by themselves."""
        turn_time = None
        if is_paced:
            turn_time = await self._lane.wait()
        else:
            await self._lane.wait_for_cooldown()
        try:
            answer = await request()
        except (RetryError, OutOfCreditsError) as error:
            self._lane.on_failed(error, turn_time)
            raise
        except JobError:
            self._lane.on_accepted(turn_time)
            raise
        self._lane.on_accepted(turn_time)
        return answer


def _should_retry(error: Exception) -> bool | float:
    if isinstance(error, UnavailableError) and error.retry_after_seconds:
        return min(error.retry_after_seconds, LONGEST_WISH_SECONDS)
    if isinstance(error, RetryError):
        return error.retry_after_seconds or True
    return False
