"""What the service writes down: lists of records that outlive the process, and every request to either host."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler

from hedra_batch.errors import UsageError
from hedra_batch.simulator.schema import BASE_PATH, Route

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import DataclassInstance

    Record = TypeVar("Record", bound=DataclassInstance)
else:
    Record = TypeVar("Record")

KEY_HEADER = "X-API-Key"


class Journal(Generic[Record]):
    """The records of one kind.

    A line has reached the operating system when `append` returns, so killing the process loses none of them.
    """

    def __init__(self, kind: type[Record], folder: Path | None, name: str) -> None:
        self._kind = kind
        self._path = folder / name if folder else None
        self._file: BinaryIO | None = None
        self.records: list[Record] = self._read(self._path) if self._path and self._path.exists() else []

    def append(self, *records: Record) -> None:
        self.records += records
        if self._path:
            self._file = self._file or _open_to_append(self._path)
            self._file.write(b"".join(_to_line(record) for record in records))
            self._file.flush()

    def close(self) -> None:
        """Close the file; the next `append` opens it again."""
        if self._file:
            self._file.close()
            self._file = None

    def _read(self, path: Path) -> list[Record]:
        content = path.read_bytes()
        whole, _, torn = content.rpartition(b"\n")
        if torn:
            # The process was killed while it wrote this line, so nothing that rests on it was ever answered.
            os.truncate(path, len(content) - len(torn))
        return [self._from_line(path, number, line) for number, line in enumerate(whole.split(b"\n"), 1) if line]

    def _from_line(self, path: Path, number: int, line: bytes) -> Record:
        try:
            return self._kind(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{path}:{number} is no record of the simulator; give it another folder.") from error


def _open_to_append(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def _to_line(record: DataclassInstance) -> bytes:
    return json.dumps(asdict(record), separators=(",", ":")).encode() + b"\n"


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


RECORD = web.RequestKey("RECORD", RequestRecord)


class ConnectionCutError(Exception):
    """Ends the handling of a request without an answer."""


def fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def route_of(request: web.Request) -> str:
    """Return the method and path as `Route` has them; of an unknown route, a name that is in no table."""
    resource = request.match_info.route.resource
    path = resource.canonical.removeprefix(BASE_PATH) if resource else request.path
    return f"{request.method} {path}"


def _cut(request: web.Request) -> None:
    """Drop the connection, unless a handler has closed it already."""
    if request.transport and not request.transport.is_closing():
        request.transport.abort()


class Recorder:
    """The outermost middleware of both hosts."""

    def __init__(self, journal: Journal[RequestRecord], clock: Callable[[], float]) -> None:
        self._journal = journal
        self._clock = clock

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Write the record to its file before the first byte of the answer leaves."""
        record = request[RECORD] = self._make_record(request)
        try:
            record.generation_id = await _read_reserved_id(request)
            answer = await handler(request)
            record.status = answer.status
        except (ConnectionCutError, ConnectionError):
            # The other one is the sender's doing: it went away in the middle of its own request.
            _cut(request)
            answer = web.Response()
        answer.headers["x-request-id"] = record.request_id
        self._journal.append(record)
        return answer

    def _make_record(self, request: web.Request) -> RequestRecord:
        key = request.headers.get(KEY_HEADER)
        return RequestRecord(
            at=self._clock(),
            method=request.method,
            path=request.path,
            request_id=uuid.uuid4().hex,
            key=fingerprint(key) if key else None,
        )


async def _read_reserved_id(request: web.Request) -> str | None:
    """Read the id that a submission asks for, whatever becomes of the request."""
    if route_of(request) != Route.CREATE_GENERATION:
        return None
    try:
        wanted = json.loads(await request.read())["generation_id"]
    except (ValueError, LookupError, TypeError):
        return None
    return wanted if isinstance(wanted, str) else None
