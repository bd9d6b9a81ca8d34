"""The limit of submissions in a window of time, and the headers that tell of it.

v2's document names no limit; 429 with these headers is what v3's document publishes.
"""

from __future__ import annotations

import math

from aiohttp import web
from aiohttp.typedefs import Handler

from hedra_batch.simulator import refusals
from hedra_batch.simulator.recorder import route_of
from hedra_batch.simulator.routes import Route
from hedra_batch.simulator.settings import SimulatorSettings


class Limit:
    """The layer before all others that counts submissions; windows begin with whole multiples of their length."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._window = 0
        self._count = 0

    @web.middleware
    async def layer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let one request through, or refuse it before anything is looked at."""
        most = self._settings.window_submissions
        if most is None or route_of(request) != Route.CREATE_GENERATION:
            return await handler(request)
        self._enter_window()
        self._count += 1
        headers = self._headers(most)
        answer = self._refuse(most) if self._count > most else await handler(request)
        answer.headers.update(headers)
        return answer

    def _enter_window(self) -> None:
        window = int(self._settings.clock() // self._settings.window_seconds)
        if window != self._window:
            self._window, self._count = window, 0

    def _headers(self, most: float) -> dict[str, str]:
        ends_at = (self._window + 1) * self._settings.window_seconds
        remaining = max(0, math.floor(most - self._count))
        return {
            "X-RateLimit-Limit": f"{most:g}",
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(math.ceil(ends_at)),
        }

    def _refuse(self, most: float) -> web.Response:
        ends_at = (self._window + 1) * self._settings.window_seconds
        refusal = refusals.throttled(
            f"Rate limit exceeded: {most:g} submissions in {self._settings.window_seconds:g} s.",
            math.ceil(ends_at - self._settings.clock()),
        )
        return web.json_response(refusal.body, status=refusal.status, headers=refusal.headers)
