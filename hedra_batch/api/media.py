"""Downloads of results, in a session of their own that knows no key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from hedra_batch import __version__
from hedra_batch.api.client import CONNECT_TIMEOUT_SECONDS
from hedra_batch.errors import DownloadError

#: Bytes that are handed on at once: larger ones halve the cost of writing a file.
CHUNK_BYTES = 2**20
#: A download may take as long as it needs, but not stand still.
STALL_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Download:
    """A body that is arriving."""

    #: What the server says it sends; None when it does not say.
    length_bytes: int | None
    chunks: AsyncIterator[bytes]


class MediaClient:
    """Fetches media by their signed links. Raises DownloadError, with no part of the link in it."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers={"User-Agent": f"hedra-batch/{__version__}", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=CHUNK_BYTES,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_TIMEOUT_SECONDS, sock_read=STALL_TIMEOUT_SECONDS
            ),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    @asynccontextmanager
    async def open(self, link: str) -> AsyncIterator[Download]:
        """Begin a download; the body is read while the context is open."""
        with _translated():
            url = URL(link, encoded=True)
            if url.scheme not in {"https", "http"}:
                raise DownloadError("The link to the result is neither https nor http.")
            response = await self._session.get(url, max_redirects=3)
        async with response:
            if response.status != 200:
                raise DownloadError(f"The media host answered HTTP {response.status}.")
            yield Download(_length(response), _read_chunks(response))


async def _read_chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    with _translated():
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            yield chunk


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # The error's own text can hold the signed link, so it is not kept as the cause either.
        raise DownloadError(f"The download broke off ({type(error).__name__}).") from None


def _length(response: aiohttp.ClientResponse) -> int | None:
    return None if response.headers.get("Content-Encoding") else response.content_length
