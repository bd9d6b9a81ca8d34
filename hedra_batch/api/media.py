"""Downloads of results, in a session of their own that knows no key and trusts neither links nor hosts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
from yarl import URL

from hedra_batch import __version__
from hedra_batch.api.addresses import PrivateAddressError, open_public_socket
from hedra_batch.api.failures import describe_failure
from hedra_batch.errors import DownloadError

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

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: What aiohttp raises when a request or a body breaks off; its parser in Python lets inner errors through.
_BREAKS = (aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Download:
    """A body that is arriving."""

    #: How many bytes the whole has; None only when the body marks its own end (chunked) and the host told no length.
    length_bytes: int | None
    chunks: AsyncIterator[bytes]


class MediaClient:
    """Fetches media by their signed links. Raises DownloadError, with no part of the link in it.

    A link is whatever the server says, so private networks are out of its reach unless they are allowed.
    """

    def __init__(
        self,
        *,
        allows_private_hosts: bool = False,
        size_limit_bytes: int = SIZE_LIMIT_BYTES,
        stall_timeout_seconds: float = STALL_TIMEOUT_SECONDS,
        total_timeout_seconds: float = TOTAL_TIMEOUT_SECONDS,
    ) -> None:
        self._allows_private_hosts = allows_private_hosts
        self._size_limit_bytes = size_limit_bytes
        self._stall_timeout_seconds = stall_timeout_seconds
        self._timeout = aiohttp.ClientTimeout(
            total=total_timeout_seconds, sock_connect=CONNECT_TIMEOUT_SECONDS, sock_read=stall_timeout_seconds
        )

    async def __aenter__(self) -> Self:
        # Where each connection is made, after names and odd spellings became addresses: nothing can change in between.
        socket_factory = None if self._allows_private_hosts else open_public_socket
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=socket_factory),
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
    async def open(self, link: str) -> AsyncIterator[Download]:
        """Begin a download; the body is read while the context is open."""
        async with await _translate(self._follow(link)) as response:
            _check_answer(response)
            length_bytes = await _translate(self._find_length(response))
            yield Download(length_bytes, self._read_chunks(response))

    async def _follow(self, link: str) -> aiohttp.ClientResponse:
        """Follow redirects by hand: where they lead is signed as well, and aiohttp would rewrite its quoting."""
        url = URL(link, encoded=True)
        for _ in range(REDIRECTS_LIMIT + 1):
            response = await self._get(url)
            if response.status not in _REDIRECTS or "Location" not in response.headers:
                return response
            response.close()
            url = url.join(URL(response.headers["Location"], encoded=True))
        raise DownloadError(f"The link to the result is redirected more than {REDIRECTS_LIMIT} times.")

    async def _get(self, url: URL, **headers: str) -> aiohttp.ClientResponse:
        if url.scheme not in {"https", "http"}:
            raise DownloadError("The link to the result is neither https nor http.")
        return await self._session.get(url, headers=headers, allow_redirects=False)

    async def _find_length(self, response: aiohttp.ClientResponse) -> int | None:
        """Find out how long the body is, for a plain one without a length that is cut looks like a whole one."""
        length_bytes = response.content_length
        if length_bytes is None:
            length_bytes = await self._ask_length(response.url)
        if length_bytes is None and not _marks_its_end(response):
            raise DownloadError("The media host does not tell the length of the result, so a cut could go unnoticed.")
        self._check_size(length_bytes or 0)
        return length_bytes

    async def _ask_length(self, url: URL) -> int | None:
        """Ask for one byte: the answer names the length of the whole (RFC 9110, 14.4)."""
        async with await self._get(url, Range="bytes=0-0") as response:
            told = re.fullmatch(r"bytes 0-0/([0-9]{1,18})", response.headers.get("Content-Range", ""))
            return int(told[1]) if response.status == 206 and told else None

    async def _read_chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        size_bytes = 0
        while True:
            chunk = await _translate(self._read_chunk(response))
            # An empty piece may stand between two others, and an empty body has no other sign of its end.
            if not chunk and response.content.at_eof():
                return
            size_bytes += len(chunk)
            self._check_size(size_bytes)
            yield chunk

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
    if response.status != 200:
        raise DownloadError(f"The media host answered HTTP {response.status}.")
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise DownloadError("The media host sends the result compressed, though it was asked not to.")


def _marks_its_end(response: aiohttp.ClientResponse) -> bool:
    """Tell whether the body is chunked, and so nothing else that its end could be hidden in."""
    return [value.lower() for value in response.headers.getall("Transfer-Encoding", [])] == ["chunked"]


async def _translate(step: Awaitable[T]) -> T:
    """Wait for a step. Its errors can hold the signed link, so they are kept neither as cause nor as context."""
    try:
        return await step
    except _BREAKS as error:
        message = _describe(error)
    raise DownloadError(message)


def _describe(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, PrivateAddressError):
        return "The link to the result leads into a private network, and nothing is fetched from there."
    return f"The download failed: {describe_failure(error)}."
