"""Downloads of results, in a session of their own that knows no key and trusts neither links nor hosts."""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
from yarl import URL

from hedra_batch import __version__
from hedra_batch.api.addresses import MEDIA_NETWORKS_VARIABLE, Network, PrivateAddressError, SocketFactory
from hedra_batch.api.encoding import Decoder, list_codings
from hedra_batch.api.failures import describe_failure
from hedra_batch.api.pages import is_page_type, refuse_page
from hedra_batch.api.ranges import Part, Version, find_version, is_rest, is_whole_range
from hedra_batch.errors import DownloadError, Obstacle

T = TypeVar("T")

#: Bytes that are handed on at once: larger ones halve the cost of writing a file.
CHUNK_BYTES = 2**20
#: No result is as large; a body that goes on for ever must not fill the disk.
SIZE_LIMIT_BYTES = 4 * 2**30
CONNECT_TIMEOUT_SECONDS = 15.0
#: A download may be slow, but it may neither stand still nor crawl for ever.
STALL_TIMEOUT_SECONDS = 60.0
TOTAL_TIMEOUT_SECONDS = 3600.0
REDIRECTS_LIMIT = 3

#: What a host says of all that is asked of it, and not of one file (RFC 9110, 15.5; RFC 6585, 6).
_REFUSALS = {
    **dict.fromkeys((400, 401, 402, 403, 405), Obstacle.REFUSAL),
    **dict.fromkeys((407, 511), Obstacle.PROXY),
    429: Obstacle.OUTAGE,
}
_RESETS = frozenset({errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: What aiohttp raises when a request or a body breaks off; its parser in Python lets inner errors through.
_BREAKS = (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Download:
    """A body that is arriving."""

    #: All of it, or what is missing of the part that is here. Raises DownloadError where it is cut short.
    chunks: AsyncIterator[bytes]
    #: Where the chunks go on: 0 for the whole, which may be another version than the part is of.
    offset_bytes: int = 0
    #: What a part of it can be told by; None for what can only be fetched from its beginning.
    version: Version | None = None


class MediaClient:
    """Fetches media by their signed links. Raises DownloadError, with no part of the link in it.

    A link is whatever the server says, so private networks are out of its reach but for those that are allowed.
    """

    def __init__(
        self,
        *,
        allows_private_hosts: bool = False,
        allowed_networks: Sequence[Network] = (),
        size_limit_bytes: int = SIZE_LIMIT_BYTES,
        stall_timeout_seconds: float = STALL_TIMEOUT_SECONDS,
        total_timeout_seconds: float = TOTAL_TIMEOUT_SECONDS,
    ) -> None:
        # Where each connection is made, after names and odd spellings became addresses: nothing can change in between.
        self._socket_factory = None if allows_private_hosts else SocketFactory(allowed_networks)
        self._size_limit_bytes = size_limit_bytes
        self._stall_timeout_seconds = stall_timeout_seconds
        self._timeout = aiohttp.ClientTimeout(
            total=total_timeout_seconds, sock_connect=CONNECT_TIMEOUT_SECONDS, sock_read=stall_timeout_seconds
        )

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=self._socket_factory),
            headers={"User-Agent": f"hedra-batch/{__version__}", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=CHUNK_BYTES,
            timeout=self._timeout,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    @asynccontextmanager
    async def open(self, link: str, part: Part | None = None) -> AsyncIterator[Download]:
        """Begin a download, or go on with a part of it; the body is read while the context is open."""
        async with await _translate(self._ask(link, part), find_cut) as response:
            yield await self._begin(response, part)

    async def _begin(self, response: aiohttp.ClientResponse, part: Part | None) -> Download:
        if part and is_rest(response, part):
            chunks = self._read_chunks(response, part.size_bytes, part.version.length_bytes)
            return Download(chunks, offset_bytes=part.size_bytes, version=part.version)
        _check_answer(response)
        length_bytes = await _translate(self._find_length(response))
        chunks = self._read_chunks(response, 0, length_bytes)
        if codings := _list_codings(response):
            return Download(refuse_page(self._decode(chunks, codings), _read_type(response)))
        chunks = refuse_page(chunks, _read_type(response))
        return Download(chunks, version=find_version(response, length_bytes))

    async def _ask(self, link: str, part: Part | None) -> aiohttp.ClientResponse:
        """Ask for what is missing of a part, and for the whole where the host has another version or goes wrong."""
        if part:
            # A host that breaks at the question for a part would do so each time.
            with suppress(
                aiohttp.ClientOSError,
                aiohttp.ServerDisconnectedError,
                aiohttp.ClientResponseError,
                aiohttp.http.HttpProcessingError,
            ):
                response = await self._follow(link, part.headers)
                if response.status == 200 or is_rest(response, part):
                    return response
                response.close()
        return await self._follow(link, {})

    async def _follow(self, link: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Follow redirects by hand: where they lead is signed as well, and aiohttp would rewrite its quoting."""
        url = URL(link, encoded=True)
        for _ in range(REDIRECTS_LIMIT + 1):
            response = await self._get(url, headers)
            if response.status not in _REDIRECTS or "Location" not in response.headers:
                return response
            response.close()
            url = url.join(URL(response.headers["Location"], encoded=True))
        raise DownloadError(
            f"The link to the result is redirected more than {REDIRECTS_LIMIT} times.", Obstacle.REDIRECT
        )

    async def _get(self, url: URL, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        if url.scheme not in {"https", "http"}:
            raise DownloadError("The link to the result is neither https nor http.")
        return await self._session.get(url, headers=headers, allow_redirects=False)

    async def _find_length(self, response: aiohttp.ClientResponse) -> int | None:
        """Find out how long the body is, for a plain one without a length that is cut looks like a whole one."""
        length_bytes = response.content_length
        if length_bytes is None:
            length_bytes = await self._ask_length(response.url, _list_codings(response))
        if length_bytes is None and not _marks_its_end(response):
            raise DownloadError(
                "The media host does not tell the length of the result, so a cut could go unnoticed.",
                Obstacle.PAGE if is_page_type(_read_type(response)) else Obstacle.LENGTH,
            )
        self._check_size(length_bytes or 0)
        return length_bytes

    async def _ask_length(self, url: URL, codings: Sequence[str]) -> int | None:
        """Ask for one byte: the answer names the length of the whole (RFC 9110, 14.4).

        It is that of the body only with the same codings: a host that compresses on the fly leaves parts as they are.
        """
        async with await self._get(url, {"Range": "bytes=0-0"}) as response:
            told = re.fullmatch(r"bytes 0-0/([0-9]{1,18})", response.headers.get("Content-Range", ""))
            is_told = response.status == 206 and _list_codings(response) == codings
            return int(told[1]) if is_told and told else None

    async def _read_chunks(
        self, response: aiohttp.ClientResponse, size_bytes: int, length_bytes: int | None
    ) -> AsyncIterator[bytes]:
        while True:
            chunk = await _translate(self._read_chunk(response))
            # An empty piece may stand between two others, and an empty body has no other sign of its end.
            if not chunk and response.content.at_eof():
                break
            size_bytes += len(chunk)
            self._check_size(size_bytes)
            if length_bytes is not None and size_bytes > length_bytes:
                raise DownloadError(f"More than the {length_bytes} bytes that were told arrived.")
            yield chunk
        if length_bytes is not None and size_bytes != length_bytes:
            raise DownloadError(f"Only {size_bytes} of {length_bytes} bytes arrived.")

    async def _decode(self, chunks: AsyncIterator[bytes], codings: Sequence[str]) -> AsyncIterator[bytes]:
        """Yield what an encoded body comes to, which is bounded as well."""
        decoder, size_bytes = Decoder(codings, CHUNK_BYTES), 0
        async for chunk in chunks:
            for piece in decoder.decode(chunk):
                size_bytes += len(piece)
                self._check_size(size_bytes)
                yield piece
        for piece in decoder.finish():
            yield piece

    async def _read_chunk(self, response: aiohttp.ClientResponse) -> bytes:
        """Read what has arrived as it is: to put it together would copy it all."""
        # aiohttp's own timeout is off once it has closed the connection itself, as it does at a chunk that is no chunk:
        # then it waits for ever.
        async with asyncio.timeout(self._stall_timeout_seconds):
            chunk, _ = await response.content.readchunk()
            return chunk

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._size_limit_bytes:
            raise DownloadError(f"The result is larger than {self._size_limit_bytes} bytes, and no video is.")


def _check_answer(response: aiohttp.ClientResponse) -> None:
    """Refuse what is not the whole file (RFC 9110, 15.3: 203 is a 200 that a proxy has passed on)."""
    status = response.status
    if status not in (200, 203) and not is_whole_range(response):
        raise DownloadError(f"The media host answered HTTP {status}.", _find_refusal(status))


def _find_refusal(status: int) -> Obstacle | None:
    """Find what a status says of the host, and of each file at it."""
    if status >= 500 and status not in _REFUSALS:
        return Obstacle.OUTAGE
    return Obstacle.REDIRECT if 300 <= status < 400 else _REFUSALS.get(status)


def _read_type(response: aiohttp.ClientResponse) -> str:
    return response.headers.get("Content-Type", "")


def _list_codings(response: aiohttp.ClientResponse) -> list[str]:
    return list_codings(response.headers.getall("Content-Encoding", []))


def _marks_its_end(response: aiohttp.ClientResponse) -> bool:
    """Tell whether the body is chunked, and so nothing else that its end could be hidden in."""
    return [value.lower() for value in response.headers.getall("Transfer-Encoding", [])] == ["chunked"]


async def _translate(step: Awaitable[T], find_other: Callable[[Exception], Obstacle | None] = lambda _: None) -> T:
    """Wait for a step. Its errors can hold the signed link, so they are kept neither as cause nor as context."""
    try:
        return await step
    except _BREAKS as error:
        message, obstacle = _describe(error), find_obstacle(error) or find_other(error)
    raise DownloadError(message, obstacle)


def find_obstacle(error: Exception) -> Obstacle | None:
    """Find out whether no connection was made at all, and why."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Obstacle.NAME
    if isinstance(error, aiohttp.ClientSSLError):
        return Obstacle.CERTIFICATE
    if isinstance(error, aiohttp.ClientConnectorError):
        is_private = isinstance(error.os_error, PrivateAddressError)
        return Obstacle.ADDRESS if is_private else Obstacle.CONNECTION
    return Obstacle.CONNECTION if isinstance(error, aiohttp.ConnectionTimeoutError) else None


def find_cut(error: Exception) -> Obstacle | None:
    """Find out whether a request was cut off before its answer; a cut in a body can be one file's own."""
    if isinstance(error, TimeoutError):
        return Obstacle.SILENCE
    is_reset = isinstance(error, aiohttp.ClientOSError) and error.errno in _RESETS
    is_cut = is_reset or isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError)
    return Obstacle.CUT if is_cut else None


def _describe(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, PrivateAddressError):
        return _describe_private(error.os_error.network)
    return f"The download failed: {describe_failure(error)}."


def _describe_private(network: Network | None) -> str:
    told = "The link to the result leads into a private network"
    if network is None:
        return f"{told}, and nothing is fetched from there."
    return (
        f"{told} ({network}), and nothing is fetched from there. Mostly a proxy or VPN does this, which gives fake "
        f"addresses: turn it off, or, if you trust it, set {MEDIA_NETWORKS_VARIABLE}={network} and run again."
    )
