"""A service that answers each route as a test says, and requests without pace or patience."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web

from hedra_batch.api.v2.adapter import HedraV2
from hedra_batch.api.v2.client import HedraClient
from hedra_batch.errors import RetryError

T = TypeVar("T")

#: What a route answers: JSON, or a status that is none of success with the service's own words.
Script = Callable[[web.Request], Any]

ROUTES = {
    "models": ("GET", "/models"),
    "balance": ("GET", "/billing/credits"),
    "generate": ("POST", "/generations"),
    "list": ("GET", "/generations"),
    "status": ("GET", "/generations/{id}/status"),
    "assets": ("GET", "/assets"),
    "announce": ("POST", "/assets"),
    "upload": ("POST", "/assets/{id}/upload"),
}


#: The class of error that the service gives with a status.
CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHORIZED",
    402: "INSUFFICIENT_BALANCE",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    410: "GONE",
    412: "FAILED_PRECONDITION",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


class PlainCalls:
    """Sends at once, and again until there is an answer."""

    async def until_answered(self, request: Callable[[], Awaitable[T]], *, is_paced: bool = True) -> T:
        while True:
            try:
                return await self.once(request, is_paced=is_paced)
            except RetryError:
                await asyncio.sleep(0.001)

    async def once(self, request: Callable[[], Awaitable[T]], *, is_paced: bool = True) -> T:
        assert is_paced in (True, False)
        return await request()


@dataclass
class Service:
    """What was asked of a scripted service."""

    url: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    queries: list[dict[str, str]] = field(default_factory=list)


@asynccontextmanager
async def serve(**scripts: Script) -> AsyncIterator[Service]:
    """Serve some routes; on all others nothing is known."""
    service = Service()
    app = web.Application()
    for name, (method, path) in ROUTES.items():
        app.router.add_route(method, path, _answer_by(service, name, scripts.get(name, lambda _: 404)))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()


@asynccontextmanager
async def open_api(url: str) -> AsyncIterator[HedraV2]:
    async with HedraClient(url, "key-of-the-tests") as client:
        yield HedraV2(client, PlainCalls())


@asynccontextmanager
async def open_scripted(**scripts: Script) -> AsyncIterator[tuple[HedraV2, Service]]:
    async with serve(**scripts) as service, open_api(service.url) as api:
        yield api, service


def _answer_by(service: Service, name: str, script: Script) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        service.counts[name] += 1
        service.queries.append(dict(request.query))
        told = script(request)
        if inspect.isawaitable(told):
            told = await told
        if isinstance(told, web.Response):
            return told
        if isinstance(told, int):
            return web.json_response(refuse(told), status=told)
        return web.json_response(told)

    return answer


def refuse(status: int, message: str = "No.") -> dict[str, Any]:
    """Write a refusal as the service itself does."""
    code = CODES.get(status, "UNKNOWN")
    return {"code": code, "error_code": code, "messages": [message]}


def make_page(status: int) -> web.Response:
    """Answer as a gateway does that stands before the service."""
    text = f"<html><head><title>{status} Gateway</title></head><body>Sorry.</body></html>"
    return web.Response(status=status, text=text, content_type="text/html")


def make_item(remote_id: str, status: str = "processing", **fields: Any) -> dict[str, Any]:
    return {"id": remote_id, "status": status, "progress": 0.5, **fields}


def make_list(*items: Any) -> dict[str, Any]:
    return {"page_info": {}, "data": list(items)}
