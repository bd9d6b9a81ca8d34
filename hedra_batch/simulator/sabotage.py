"""Carries the faults of the API out; drawing them is left to `faults`, cutting the connection to `recorder`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Handler

from hedra_batch.simulator import refusals
from hedra_batch.simulator.faults import Faults
from hedra_batch.simulator.recorder import VISIT, ConnectionCutError, route_of
from hedra_batch.simulator.refusals import RefusalError

_SLOW_SECONDS = (1.0, 90.0)
_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
#: Valid JSON in which nothing has its published type.
_MISTYPED = json.dumps({"id": 7, "status": ["queued"], "progress": "half", "data": "none", "remaining": None})


class Saboteur:
    """The layer that stands between the gate and the routes and spoils what the dice say."""

    def __init__(self, faults: Faults, real_seconds: Callable[[float], float], arrival_delay_seconds: float) -> None:
        self._faults = faults
        #: How long simulated seconds take.
        self._real_seconds = real_seconds
        self._arrival_delay_seconds = arrival_delay_seconds
        self._arrivals: set[asyncio.Task[None]] = set()

    @web.middleware
    async def layer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handle one request, more or less."""
        await self._spoil_before(request, handler)
        return await self._spoil_after(request, await handler(request))

    async def close(self) -> None:
        """Drop the requests that have not arrived yet."""
        for arrival in self._arrivals:
            arrival.cancel()
        await asyncio.gather(*self._arrivals, return_exceptions=True)

    def _strikes(self, name: str, request: web.Request) -> bool:
        strikes = self._faults.strikes(name, route_of(request))
        if strikes:
            request[VISIT].fault = name
        return strikes

    async def _spoil_before(self, request: web.Request, handler: Handler) -> None:
        if self._strikes("lost-request", request):
            raise ConnectionCutError
        if self._strikes("5xx-before", request):
            raise refusals.unavailable()
        if self._strikes("429", request):
            retry_after_seconds = 1 if self._faults.has_even_throw() else None
            raise refusals.throttled("Too many requests.", retry_after_seconds)
        if self._strikes("400", request):
            raise refusals.refuse(400, "INVALID_ARGUMENT", "The request was refused without a reason.")
        if self._strikes("lost-answer", request):
            await self._lose_answer(request, handler)

    async def _spoil_after(self, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        if self._strikes("slow", request):
            await asyncio.sleep(self._real_seconds(self._faults.seconds(*_SLOW_SECONDS)))
        if self._strikes("5xx-after", request):
            return web.Response(status=502, text=_HTML, content_type="text/html")
        if self._strikes("garbage", request):
            return self._garbled(answer)
        return answer

    def _garbled(self, answer: web.StreamResponse) -> web.Response:
        text = answer.text if isinstance(answer, web.Response) else None
        is_cut_short = text and self._faults.has_even_throw()
        garbage = text[: len(text) // 2] if text and is_cut_short else _MISTYPED
        return web.Response(text=garbage, content_type="application/json")

    async def _lose_answer(self, request: web.Request, handler: Handler) -> None:
        # Read now: once the connection is cut, the body is out of reach.
        await request.read()
        if self._arrival_delay_seconds:
            arrival = asyncio.create_task(self._arrive_late(request, handler))
            self._arrivals.add(arrival)
            arrival.add_done_callback(self._arrivals.discard)
        else:
            await _handle_in_vain(request, handler)
        raise ConnectionCutError

    async def _arrive_late(self, request: web.Request, handler: Handler) -> None:
        await asyncio.sleep(self._real_seconds(self._arrival_delay_seconds))
        await _handle_in_vain(request, handler)


async def _handle_in_vain(request: web.Request, handler: Handler) -> None:
    """Do all that the request asks for; nobody will hear of it, refusals included."""
    with suppress(RefusalError):
        await handler(request)
