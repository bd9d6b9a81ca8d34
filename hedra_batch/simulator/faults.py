"""The named faults, and the FaultInjector that decides when one strikes and carries out those of the API."""

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
from hedra_batch.simulator.recording import RECORD, ConnectionCutError, route_of
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
    "ignored-range": "the whole of a video is sent to those who ask for a part",
    "wrong-range": "another part of a video is sent than was asked for; half of them do not say so",
    "new-version": "a video has another ETag than before",
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
    **dict.fromkeys(("cut-download", "ignored-range", "wrong-range", "new-version"), frozenset({Route.READ_MEDIA})),
    "expired-link": _LINKING,
    "missing-link": _LINKING,
}

_SLOW_SECONDS = (1.0, 90.0)
_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
#: Valid JSON in which nothing has its published type.
_MISTYPED = json.dumps({"id": 7, "status": ["queued"], "progress": "half", "data": "none", "remaining": None})


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


class FaultInjector:
    """Injects faults request by request: planned ones first, then by chance from the seed.

    Its middleware stands between authentication and the routes; the hosts inject those faults that spoil links or
    downloads.
    """

    def __init__(
        self,
        probabilities: Mapping[str, float],
        seed: int,
        real_seconds: Callable[[float], float],
        arrival_delay_seconds: float,
    ) -> None:
        #: Read for every request: its owner can change it while the service runs.
        self._probabilities = probabilities
        self._random = random.Random(seed)  # noqa: S311 - must repeat itself from its seed; guards nothing
        #: How long simulated seconds take.
        self._real_seconds = real_seconds
        self._arrival_delay_seconds = arrival_delay_seconds
        self._planned: Counter[tuple[str, str]] = Counter()
        self._arrivals: set[asyncio.Task[None]] = set()

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

    def should_inject(self, name: str, request: web.Request) -> bool:
        """Decide whether the fault strikes this request, and note it on the record; each call draws anew."""
        route = route_of(request)
        if route not in ROUTES[name]:
            return False
        is_struck = self._take_planned(name, route) or self._draw(name)
        if is_struck:
            request[RECORD].fault = name
        return is_struck

    def flip_coin(self) -> bool:
        """Choose one of two ways in which a fault can show."""
        return self._random.choice((True, False))

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        await self._inject_before(request, handler)
        return await self._inject_after(request, await handler(request))

    async def close(self) -> None:
        for arrival in self._arrivals:
            arrival.cancel()
        await asyncio.gather(*self._arrivals, return_exceptions=True)

    def _take_planned(self, name: str, route: str) -> bool:
        for where in (route, _ANYWHERE):
            if self._planned[name, where]:
                self._planned[name, where] -= 1
                return True
        return False

    def _draw(self, name: str) -> bool:
        probability = self._probabilities.get(name, 0.0)
        return probability > 0 and self._random.random() < probability

    async def _inject_before(self, request: web.Request, handler: Handler) -> None:
        if self.should_inject("lost-request", request):
            raise ConnectionCutError
        if self.should_inject("5xx-before", request):
            raise refusals.unavailable()
        if self.should_inject("429", request):
            raise refusals.throttled("Too many requests.", 1 if self.flip_coin() else None)
        if self.should_inject("400", request):
            raise refusals.refuse(400, "INVALID_ARGUMENT", "The request was refused without a reason.")
        if self.should_inject("lost-answer", request):
            await self._lose_answer(request, handler)

    async def _inject_after(self, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        if self.should_inject("slow", request):
            await asyncio.sleep(self._real_seconds(self._random.uniform(*_SLOW_SECONDS)))
        if self.should_inject("5xx-after", request):
            return web.Response(status=502, text=_HTML, content_type="text/html")
        if self.should_inject("garbage", request):
            return self._corrupt(answer)
        return answer

    def _corrupt(self, answer: web.StreamResponse) -> web.Response:
        text = answer.text if isinstance(answer, web.Response) else None
        is_truncated = text and self.flip_coin()
        garbage = text[: len(text) // 2] if text and is_truncated else _MISTYPED
        return web.Response(text=garbage, content_type="application/json")

    async def _lose_answer(self, request: web.Request, handler: Handler) -> None:
        # Read now: once the connection is cut, the body is out of reach.
        await request.read()
        if self._arrival_delay_seconds:
            arrival = asyncio.create_task(self._arrive_late(request, handler))
            self._arrivals.add(arrival)
            arrival.add_done_callback(self._arrivals.discard)
        else:
            await _handle_unanswered(request, handler)
        raise ConnectionCutError

    async def _arrive_late(self, request: web.Request, handler: Handler) -> None:
        await asyncio.sleep(self._real_seconds(self._arrival_delay_seconds))
        await _handle_unanswered(request, handler)


async def _handle_unanswered(request: web.Request, handler: Handler) -> None:
    """Do all that the request asks for; the sender learns nothing of it, refusals included."""
    with suppress(RefusalError):
        await handler(request)
