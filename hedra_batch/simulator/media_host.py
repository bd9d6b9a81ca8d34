"""The media host: serves finished videos on a port of its own, for requests with a signed link and without a key."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from aiohttp import web
from aiohttp.typedefs import Handler

from hedra_batch.simulator.faults import FaultInjector
from hedra_batch.simulator.generations import Generations
from hedra_batch.simulator.movie import fill_up, make_movie
from hedra_batch.simulator.recording import KEY_HEADER, RECORD, ConnectionCutError


@dataclass(frozen=True, slots=True)
class VideoLinks:
    """The addresses of one finished video."""

    #: The file; None when the service forgets to say it.
    file: str | None
    #: A playlist, which is no file.
    streaming: str | None
    preview: str


class Links:
    """Signs names of files for a time, and checks what was signed."""

    def __init__(self, secret: str, lifetime_seconds: float, clock: Callable[[], float]) -> None:
        self._secret = secret.encode()
        self._lifetime_seconds = lifetime_seconds
        self._clock = clock
        #: The media host; known once it listens.
        self.host_url = ""

    def sign(self, name: str, *, is_expired: bool = False) -> str:
        lifetime_seconds = -1.0 if is_expired else self._lifetime_seconds
        expires = f"{self._clock() + lifetime_seconds:.3f}"
        query = urlencode({"Expires": expires, "Signature": self._signature(name, expires)})
        return f"{self.host_url}/media/{name}?{query}"

    def is_signed(self, name: str, query: Mapping[str, str]) -> bool:
        expected = self._signature(name, query.get("Expires", ""))
        return hmac.compare_digest(expected.encode(), query.get("Signature", "").encode())

    def is_expired(self, query: Mapping[str, str]) -> bool:
        return float(query["Expires"]) <= self._clock()

    def _signature(self, name: str, expires: str) -> str:
        return hmac.new(self._secret, f"{name}\n{expires}".encode(), hashlib.sha256).hexdigest()[:32]


class MediaRefusalError(Exception):
    """Ends a media request with a small XML body, which is no video."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message

    def answer(self) -> web.Response:
        content = f"<Code>{self.code}</Code><Message>{escape(self.message)}</Message>"
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{content}</Error>'
        return web.Response(status=self.status, text=text, content_type="application/xml")


class MediaHost:
    """The one route of the media host."""

    def __init__(self, generations: Generations, links: Links, faults: FaultInjector, least_bytes: int = 0) -> None:
        self._generations = generations
        self._links = links
        self._faults = faults
        self._least_bytes = least_bytes
        self._tells_length = itertools.cycle((True, False))

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except MediaRefusalError as refusal:
            return refusal.answer()
        except web.HTTPError as error:
            return MediaRefusalError(error.status, "NoSuchKey", error.reason).answer()

    async def read(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self._check(name, request)
        movie = self._movie(name)
        answer = self._answer(request, movie, f'"{name}-{len(movie)}"')
        if self._faults.should_inject("cut-download", request):
            self._cut_download(request, answer)
        return answer

    def _check(self, name: str, request: web.Request) -> None:
        if KEY_HEADER in request.headers:
            raise MediaRefusalError(400, "InvalidArgument", "Only one way of authorization is allowed.")
        if not self._links.is_signed(name, request.query):
            raise MediaRefusalError(403, "SignatureDoesNotMatch", "The signature does not match.")
        if self._links.is_expired(request.query):
            raise MediaRefusalError(403, "AccessDenied", "Request has expired")

    def _movie(self, name: str) -> bytes:
        stem, _, suffix = name.rpartition(".")
        generation = self._generations.find_video(stem)
        if not generation or suffix != "mp4":
            raise MediaRefusalError(404, "NoSuchKey", "The specified key does not exist.")
        movie = make_movie(generation.width, generation.height, generation.duration_ms, generation.id)
        return fill_up(movie, self._least_bytes)

    def _answer(self, request: web.Request, movie: bytes, tag: str) -> web.Response:
        if self._faults.should_inject("new-version", request):
            tag = f'"{secrets.token_hex(8)}"'
        headers = {"Accept-Ranges": "bytes", "ETag": tag}
        if not _is_part_wanted(request, tag) or self._faults.should_inject("ignored-range", request):
            return web.Response(body=movie, content_type="video/mp4", headers=headers)
        start, stop = _read_range(request, len(movie))
        told, sent = start, start
        if self._faults.should_inject("wrong-range", request):
            sent = start // 2
            told = sent if self._faults.flip_coin() else start
        headers["Content-Range"] = f"bytes {told}-{told + stop - start - 1}/{len(movie)}"
        part = movie[sent : sent + stop - start]
        return web.Response(status=206, body=part, content_type="video/mp4", headers=headers)

    def _cut_download(self, request: web.Request, answer: web.Response) -> None:
        """Send half of the body; every other time without a length, so that nothing tells that more was to come."""
        body = answer.body if isinstance(answer.body, bytes) else b""
        request[RECORD].status = answer.status
        headers = {**answer.headers, "Connection": "close"}
        if next(self._tells_length):
            headers["Content-Length"] = str(len(body))
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{name}: {value}" for name, value in headers.items())]
        if isinstance(request.transport, asyncio.Transport):
            request.transport.write("\r\n".join([*lines, "", ""]).encode() + body[: len(body) // 2])
            request.transport.close()
        raise ConnectionCutError


def _is_part_wanted(request: web.Request, tag: str) -> bool:
    """Tell whether a part is asked for, of this version if of one: else the whole is the answer (RFC 9110, 13.1.5)."""
    return "Range" in request.headers and request.headers.get("If-Range", tag) == tag


def _read_range(request: web.Request, length_bytes: int) -> tuple[int, int]:
    try:
        start, stop, _ = request.http_range.indices(length_bytes)
    except ValueError as error:
        raise MediaRefusalError(416, "InvalidRange", "The range cannot be read.") from error
    if start >= stop:
        raise MediaRefusalError(416, "InvalidRange", "The range is outside of the file.")
    return start, stop
