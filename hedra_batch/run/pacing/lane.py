"""One lane for each group of requests: its rate, its cooldown, and how both follow what the API answers.

This is the one place that reacts to a 429 about pace, to an API that cannot be reached, and to one that takes no more
for now. By how much is said in `rate` and in the settings of a run; a limit of generations at once is `concurrency`'s.
"""

from __future__ import annotations

from hedra_batch.errors import HedraBatchError, NotSentError, ThrottledError
from hedra_batch.run.pacing.backoff import Backoff
from hedra_batch.run.pacing.outage import OutageGuard
from hedra_batch.run.pacing.rate import Cooldown, Gate, RateLimiter
from hedra_batch.run.settings import RunSettings
from hedra_batch.units import Rate


class Lane:
    """Lets requests of one group through, and takes what became of each into account."""

    def __init__(
        self,
        name: str,
        rate: Rate,
        settings: RunSettings,
        outage_guard: OutageGuard,
        cooldown: Cooldown,
        *gates: Gate,
        free_turns: int = 0,
        since_last_seconds: float | None = None,
    ) -> None:
        """Make a lane; `since_last_seconds` is the age of the last request."""
        self._outage_guard = outage_guard
        self.cooldown = cooldown
        self.limiter = RateLimiter(
            rate,
            cooldown,
            *gates,
            name=name,
            free_turns=free_turns,
            since_last_seconds=since_last_seconds,
        )
        self._throttled = Backoff(settings.throttle_seconds, settings.longest_throttle_seconds)
        self._unreachable = Backoff(settings.first_pause_seconds, settings.longest_pause_seconds)

    async def wait(self) -> float:
        """Return when the next request may go: the time of its turn."""
        return await self.limiter.wait()

    async def wait_for_cooldown(self) -> None:
        """Return when its requests do not pause, for what takes no turn."""
        await self.cooldown.wait()

    def on_accepted(self, turn_time: float | None) -> None:
        """The API took a request: what refusals have made of the rate comes back step by step."""
        self.on_answered()
        self._outage_guard.has_taken_key = True
        if turn_time is not None:
            self.limiter.on_accepted(turn_time)

    def on_answered(self) -> None:
        """The API answered, if only with a clear no to the request itself."""
        self.on_present()
        self.on_unclear()

    def on_present(self) -> None:
        """The API is there, whatever it said."""
        self._outage_guard.on_answer()

    def on_unclear(self) -> None:
        """What came is no sign of a limit; whether the API is there is not told by it."""
        self._throttled.reset()
        self._unreachable.reset()

    def on_failed(self, error: HedraBatchError, turn_time: float | None) -> None:
        """The API gave no useful answer, or asked to slow down: then its rate is cut, and its requests pause.

        Raises StopRunError when the API has been away for too long.
        """
        self._outage_guard.on_failure(error)
        if isinstance(error, ThrottledError):
            if turn_time is not None:
                self.limiter.cut(turn_time, str(error))
            self.pause(error, "the API asks to slow down")

    def on_unreachable(self, error: NotSentError) -> None:
        """The API could not be reached by a request that is not repeated: its kind pauses. Raises StopRunError."""
        self._outage_guard.on_failure(error)
        self._pause(self._unreachable, "the API cannot be reached")

    def pause(self, refusal: ThrottledError, reason: str) -> None:
        """Pause its requests for as long as a refusal asks, or longer each time where it names no time."""
        self._pause(self._throttled, reason, refusal.retry_after_seconds)

    def _pause(self, backoff: Backoff, reason: str, asked_seconds: float | None = None) -> None:
        # Of those that were under way together, the first slows down for all.
        grown_seconds = backoff.last_seconds if self.cooldown.is_on else backoff.next_seconds()
        self.cooldown.extend(asked_seconds or grown_seconds, reason)

    def on_used_up(self, seconds: float) -> None:
        """An answer said that the API takes no more requests of this group for so long."""
        self.cooldown.extend(seconds, "the API says that it takes no more for now (X-RateLimit-Remaining: 0)")
