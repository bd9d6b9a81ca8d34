"""Requests that cost nothing: paced, repeated with growing pauses, and given up when the API stays away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina

from hedra_batch.errors import (
    ApiUnreachableError,
    BrokenContractError,
    GarbledError,
    JobError,
    NotSentError,
    RetryError,
    ThrottledError,
)
from hedra_batch.pipeline.pace import Pace, Pause
from hedra_batch.pipeline.settings import RunSettings

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: Unreadable answers in a row after which the API is said to have broken its contract.
GARBLED_LIMIT = 6


class Reach:
    """Whether the API answers, and how long the run still waits for it; shared by all requests of a run."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._has_answered = False
        self._failing_since: float | None = None
        self._garbled_in_a_row = 0

    def note_answer(self) -> None:
        """Note that a useful answer came."""
        self._has_answered = True
        self._failing_since = None
        self._garbled_in_a_row = 0

    def note_failure(self, error: RetryError) -> None:
        """Note a failure that may be tried again. Raises StopRunError when the run has waited long enough."""
        if isinstance(error, GarbledError):
            self._note_garbled(error)
        if isinstance(error, ThrottledError):
            self._has_answered = True
            return
        now = asyncio.get_running_loop().time()
        if self._failing_since is None:
            self._failing_since = now
            logger.warning("the API does not answer, waiting for it: %s", error)
        self._has_answered = self._has_answered or not isinstance(error, NotSentError)
        limit_seconds = self._settings.outage_seconds if self._has_answered else self._settings.first_answer_seconds
        if now - self._failing_since >= limit_seconds:
            raise ApiUnreachableError(
                f"The API could not be reached for {limit_seconds:.0f} s: {error} "
                "What was submitted goes on there; run the same line again to follow it."
            ) from error

    def _note_garbled(self, error: GarbledError) -> None:
        self._garbled_in_a_row += 1
        if self._garbled_in_a_row >= GARBLED_LIMIT:
            raise BrokenContractError(
                f"The API's answers are not what its published document says ({error}). "
                "Check the base URL, and whether there is a newer version of this program."
            ) from error


class Reader:
    """Sends requests that cost nothing, again and again until they are answered."""

    def __init__(self, settings: RunSettings, reach: Reach, pace: Pace, pause: Pause) -> None:
        self._settings = settings
        self._reach = reach
        self._pace = pace
        self._pause = pause

    async def read(self, request: Callable[[], Awaitable[T]], *, is_paced: bool = True) -> T:
        """Return the answer. Raises JobError for a refusal, StopRunError when it makes no sense to go on."""
        attempts = stamina.retry_context(
            on=self._judge,
            attempts=None,
            timeout=None,
            wait_initial=self._settings.first_pause_seconds,
            wait_max=self._settings.longest_pause_seconds,
            wait_jitter=self._settings.first_pause_seconds,
        )
        async for attempt in attempts:
            with attempt:
                if is_paced:
                    await self._pace.wait()
                else:
                    await self._pause.wait()
                answer = await request()
                self._reach.note_answer()
        return answer

    def _judge(self, error: Exception) -> bool | float:
        if isinstance(error, JobError):
            self._reach.note_answer()
        if not isinstance(error, RetryError):
            return False
        self._reach.note_failure(error)
        if isinstance(error, ThrottledError):
            self._pause.extend(error.retry_after_seconds or self._settings.throttle_seconds)
        return error.retry_after_seconds or True
