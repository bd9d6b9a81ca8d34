"""The named faults, the dice that decide when one strikes, and the layer that carries those of the API out."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Handler

from hedra_batch.errors import UsageError
from hedra_batch.simulator import refusals
from hedra_batch.simulator.recording import VISIT, ConnectionCutError, route_of
from hedra_batch.simulator.refusals import RefusalError
from hedra_batch.simulator.schema import API_ROUTES, Route

#: Every fault and what it does, as `--help` lists them.
FAULTS: dict[str, str] = {
    "lost-request": "POST /generations: the connection is cut before the request is processed",
    "lost-answer": "POST /generations: processed and billed, then the connection is cut without an answer",
    "5xx-before": "503 before anything is processed",
    "5xx-after": "POST /generations: 502 with an HTML body after it was accepted and billed",
    "429": "429 before anything is processed; half of them with Retry-After: 1",
    "400": "POST /generations: 400 before anything is processed, though nothing is wrong with it",
    "slow": "the answer comes 1 to 90 simulated seconds late",
    "garbage": "200 with a truncated or mistyped JSON body, after the request was processed",
    "cut-download": "a media body ends in the middle; half of them without Content-Length",
    "expired-link": "the links of a finished video have expired already",
    "missing-link": "a finished video is listed without its links",
}

#: Where a planned fault strikes that is bound to no route.
_ANYWHERE = "anywhere"

_PAID = frozenset({Route.CREATE_GENERATION})
_LINKING = frozenset({Route.READ_STATUS, Route.LIST_GENERATIONS, Route.LIST_ASSETS})

#: The routes that each fault can strike.
ROUTES: dict[str, frozenset[Route]] = {
    "lost-request": _PAID,
    "lost-answer": _PAID,
    "5xx-before": API_ROUTES,
    "5xx-after": _PAID,
    "429": API_ROUTES,
    "400": _PAID,
    "slow": API_ROUTES,
    "garbage": API_ROUTES,
    "cut-download": frozenset({Route.READ_MEDIA}),
    "expired-link": _LINKING,
    "missing-link": _LINKING,
}


def check_faults(faults: Mapping[str, float]) -> None:
    """Refuse a name that is no fault, and a number that is no probability."""
    for name, probability in faults.items():
        if name not in FAULTS:
            raise UsageError(f"There is no fault {name!r}; the faults are {', '.join(FAULTS)}.")
        if not 0 <= probability <= 1:
            raise UsageError(f"The probability of {name} is {probability:g}; give one from 0 to 1.")


def parse_faults(texts: Iterable[str]) -> dict[str, float]:
    """Read `NAME=PROBABILITY` texts."""
    faults = dict(_parse_fault(text) for text in texts)
    check_faults(faults)
    return faults


def _parse_fault(text: str) -> tuple[str, float]:
    name, _, probability = text.partition("=")
    try:
        return name.strip(), float(probability)
    except ValueError as error:
        raise UsageError(f"{text!r} is no fault; write NAME=PROBABILITY, as in lost-answer=0.1.") from error


class Faults:
    """Decides, request by request, which faults strike: planned ones first, then by chance from the seed."""

    def __init__(self, chances: Mapping[str, float], seed: int) -> None:
        #: Read for every throw: whoever holds it can change the weather while the service runs.
        self._chances = chances
        self._random = random.Random(seed)  # noqa: S311 - must repeat itself from its seed; guards nothing
        self._planned: Counter[tuple[str, str]] = Counter()

    def plan(self, name: str, times: int = 1, route: str | None = None) -> None:
        """Make a fault strike the next `times` requests of a route, by default POST /generations.

        A fault that cannot strike that one strikes wherever it can.
        """
        check_faults({name: 1})
        possible = ROUTES[name]
        chosen = route or (Route.CREATE_GENERATION if Route.CREATE_GENERATION in possible else _ANYWHERE)
        if chosen not in {*possible, _ANYWHERE}:
            raise UsageError(f"{name} cannot strike {chosen!r}; it strikes {', '.join(sorted(possible))}.")
        self._planned[name, chosen] += times

    def strikes(self, name: str, route: str) -> bool:
        """Whether the fault strikes this time; each call is one throw of the dice."""
        if route not in ROUTES[name]:
            return False
        for place in (route, _ANYWHERE):
            if self._planned[name, place]:
                self._planned[name, place] -= 1
                return True
        chance = self._chances.get(name, 0.0)
        return chance > 0 and self._random.random() < chance

    def has_even_throw(self) -> bool:
        """Choose one of two ways in which a fault can show."""
        return self._random.choice((True, False))

    def seconds(self, least: float, most: float) -> float:
        """Draw a length of time between the two."""
        return self._random.uniform(least, most)


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
