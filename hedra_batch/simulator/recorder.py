"""Gives every request its id, writes it down before it is answered, and cuts the connections that faults cut."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler

from hedra_batch.simulator.journal import Journal
from hedra_batch.simulator.routes import BASE_PATH, Route

KEY_HEADER = "X-API-Key"


@dataclass(slots=True)
class RequestRecord:
    """One request, as it came and as it was answered."""

    #: When it came, in seconds since 1970 on the service's clock.
    at: float
    method: str
    #: Without the query, which may be signed.
    path: str
    request_id: str
    #: The fingerprint of the key that came along, never the key.
    key: str | None
    #: None when the connection was cut without an answer.
    status: int | None = None
    #: The id that the body of POST /generations asked for.
    generation_id: str | None = None
    #: The fault that struck last.
    fault: str | None = None


VISIT = web.RequestKey("VISIT", RequestRecord)


class ConnectionCutError(Exception):
    """Ends the handling of a request without an answer."""


def fingerprint(key: str) -> str:
    """Name a key without telling it."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def route_of(request: web.Request) -> str:
    """Name the route of a request; of an unknown one the name is in no table."""
    resource = request.match_info.route.resource
    path = resource.canonical.removeprefix(BASE_PATH) if resource else request.path
    return f"{request.method} {path}"


def _cut(request: web.Request) -> None:
    """Drop the connection, unless a handler has closed it in its own way."""
    if request.transport and not request.transport.is_closing():
        request.transport.abort()


class Recorder:
    """The outermost layer of both hosts."""

    def __init__(self, journal: Journal[RequestRecord], clock: Callable[[], float]) -> None:
        self._journal = journal
        self._clock = clock

    @web.middleware
    async def layer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Record one request; the line is on file before the first byte of the answer leaves."""
        visit = request[VISIT] = self._visit(request)
        try:
            visit.generation_id = await _wanted_id(request)
            answer = await handler(request)
            visit.status = answer.status
        except (ConnectionCutError, ConnectionError):
            # The other one is the sender's doing: it went away in the middle of its own request.
            _cut(request)
            answer = web.Response()
        answer.headers["x-request-id"] = visit.request_id
        self._journal.append(visit)
        return answer

    def _visit(self, request: web.Request) -> RequestRecord:
        key = request.headers.get(KEY_HEADER)
        return RequestRecord(
            at=self._clock(),
            method=request.method,
            path=request.path,
            request_id=uuid.uuid4().hex,
            key=fingerprint(key) if key else None,
        )


async def _wanted_id(request: web.Request) -> str | None:
    """Read the id that a submission asks for, whatever becomes of the request."""
    if route_of(request) != Route.CREATE_GENERATION:
        return None
    try:
        wanted = json.loads(await request.read())["generation_id"]
    except (ValueError, LookupError, TypeError):
        return None
    return wanted if isinstance(wanted, str) else None
