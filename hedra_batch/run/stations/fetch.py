"""The last station: a result becomes a verified file under its final name, and only then is the job done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from hedra_batch.api.media import CHUNK_BYTES, Download, MediaClient
from hedra_batch.api.v2.client import HedraClient
from hedra_batch.errors import DownloadError, JobError, UnfinishedError, WriteError
from hedra_batch.folder import RunFolder
from hedra_batch.job import Attempt, Job, State
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.run.pacing.rate import Backlog
from hedra_batch.run.pacing.retrying import RetryingClient
from hedra_batch.run.settings import RunSettings
from hedra_batch.run.stations.part import PartFile

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Fetcher:
    """Takes an attempt from READY to DONE. A download never fails a job: what does not arrive stays READY."""

    def __init__(
        self,
        ledger: Ledger,
        client: HedraClient,
        media: MediaClient,
        reader: RetryingClient,
        folder: RunFolder,
        backlog: Backlog,
        settings: RunSettings,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._media = media
        self._retrying = reader
        self._folder = folder
        self._backlog = backlog
        self._settings = settings
        self._room = asyncio.Semaphore(settings.limits.downloads)
        #: Links that the tracker has just read. In memory only: they are signed and expire.
        self._links: dict[int, str] = {}

    def offer_link(self, key: int, link: str | None) -> None:
        """Keep a fresh link for the download that follows at once."""
        if link:
            self._links[key] = link

    async def process(self, attempt: Attempt, _job: Job | None) -> Attempt:
        """Download with fresh links until the file is whole. Raises UnfinishedError after the last try.

        For an attempt that is DONE, it makes its file anew: what stands in its place is moved aside.
        """
        async with self._take_turn():
            pause_seconds = self._settings.first_pause_seconds
            for _ in range(self._settings.download_tries):
                try:
                    return await self._fetch(attempt)
                except (DownloadError, JobError) as error:
                    logger.warning("%s: %s It is fetched again.", attempt.label, error)
                    await asyncio.sleep(pause_seconds)
                    pause_seconds = min(pause_seconds * 2, self._settings.longest_pause_seconds)
        raise UnfinishedError("The result is at the server but did not arrive whole; the next run fetches it again.")

    @asynccontextmanager
    async def _take_turn(self) -> AsyncIterator[None]:
        """Wait for room; whatever waits here goes before new submissions, since media can expire."""
        self._backlog.grow()
        try:
            await self._room.acquire()
        finally:
            self._backlog.shrink()
        try:
            yield
        finally:
            self._room.release()

    async def _fetch(self, attempt: Attempt) -> Attempt:
        link = self._links.pop(attempt.key, None) or await self._find_link(attempt)
        output = attempt.output or attempt.wanted_output
        part = PartFile(self._folder, output)
        try:
            async with self._media.open(link) as download:
                content_hash, size_bytes = await _save(part, download)
        except DownloadError:
            with suppress(OSError):
                await _work(part.discard)
            raise
        except OSError as error:
            raise WriteError(f"{self._folder.path / output} cannot be written: {error.strerror or error}.") from error
        finally:
            if not part.is_closed:
                # Who is cancelled here waits for no disk.
                asyncio.get_running_loop().run_in_executor(None, part.close)
        record = self._ledger.record_restored if attempt.state is State.DONE else self._ledger.complete
        attempt = await record(attempt, content_hash, size_bytes)
        logger.info("%s: done -> %s (%d bytes)", attempt.label, attempt.output, size_bytes)
        return attempt

    async def _find_link(self, attempt: Attempt) -> str:
        """Ask in three places: a complete generation without a link in the first has been seen."""
        generation_id = attempt.generation_id or ""
        generation = await self._retrying.read(lambda: self._client.read_status(generation_id))
        if generation.link:
            return generation.link
        listed = await self._retrying.read(lambda: self._client.list_generations([generation_id]))
        for item in listed:
            if item.generation_id == generation_id and item.link:
                return item.link
        asset_id = generation.asset_id or attempt.asset_id
        link = await self._retrying.read(lambda: self._client.find_asset_link(asset_id)) if asset_id else None
        if not link:
            raise DownloadError("The server has the result but names no link to it yet.")
        return link


async def _save(part: PartFile, download: Download) -> tuple[str, int]:
    """Stream a body to its file; returns its SHA-256 in hex and its size. Raises DownloadError when it is cut short."""
    pieces: list[bytes] = []
    size_bytes = waiting_bytes = 0
    async for chunk in download.chunks:
        pieces.append(chunk)
        size_bytes += len(chunk)
        waiting_bytes += len(chunk)
        if waiting_bytes >= CHUNK_BYTES:
            # Going to another thread and back costs more than writing a small piece: an ordinary video goes few times.
            await _work(part.append, b"".join(pieces))
            pieces, waiting_bytes = [], 0
    if download.length_bytes is not None and size_bytes != download.length_bytes:
        raise DownloadError(f"Only {size_bytes} of {download.length_bytes} bytes arrived.")
    return await _work(part.finish, b"".join(pieces)), size_bytes


async def _work(function: Callable[..., T], *values: bytes) -> T:
    """Do what waits for the disk in another thread."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *values)
