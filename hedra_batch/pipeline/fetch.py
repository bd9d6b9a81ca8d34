"""The last station: a result becomes a verified file under its final name, and only then is the job done."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
from contextlib import suppress
from pathlib import Path

import aiofiles

from hedra_batch.api.client import HedraClient
from hedra_batch.api.media import Download, MediaClient
from hedra_batch.durable import hash_file, open_own, publish, sync, sync_folder
from hedra_batch.errors import DownloadError, JobError, UnfinishedError, WriteError
from hedra_batch.folder import RunFolder
from hedra_batch.job import Attempt, Job, State
from hedra_batch.ledger.store import Ledger
from hedra_batch.pipeline.container import check_container
from hedra_batch.pipeline.reader import Reader
from hedra_batch.pipeline.settings import RunSettings

logger = logging.getLogger(__name__)


class Fetcher:
    """Takes an attempt from READY to DONE. A download never fails a job: what does not arrive stays READY."""

    def __init__(
        self,
        ledger: Ledger,
        client: HedraClient,
        media: MediaClient,
        reader: Reader,
        folder: RunFolder,
        settings: RunSettings,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._media = media
        self._reader = reader
        self._folder = folder
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
        async with self._room:
            pause_seconds = self._settings.first_pause_seconds
            for _ in range(self._settings.download_tries):
                try:
                    return await self._fetch(attempt)
                except (DownloadError, JobError) as error:
                    logger.warning("%s: %s It is fetched again.", attempt.label, error)
                    await asyncio.sleep(pause_seconds)
                    pause_seconds = min(pause_seconds * 2, self._settings.longest_pause_seconds)
        raise UnfinishedError("The result is at the server but did not arrive whole; the next run fetches it again.")

    async def _fetch(self, attempt: Attempt) -> Attempt:
        link = self._links.pop(attempt.key, None) or await self._find_link(attempt)
        path = self._folder.locate(attempt.output or attempt.wanted_output)
        part = path.with_name(path.name + ".part")
        try:
            await asyncio.to_thread(_make_folder, path.parent, self._folder.path)
            async with self._media.open(link) as download:
                content_hash, size_bytes = await _write(part, download)
            await asyncio.to_thread(_verify_and_publish, part, path, content_hash)
        except DownloadError:
            # What is no video can be anything, a page that repeats the signed link too.
            with suppress(OSError):
                part.unlink()
            raise
        except OSError as error:
            raise WriteError(f"{path} cannot be written: {error.strerror or error}.") from error
        record = self._ledger.record_restored if attempt.state is State.DONE else self._ledger.complete
        attempt = await record(attempt, content_hash, size_bytes)
        logger.info("%s: done -> %s (%d bytes)", attempt.label, attempt.output, size_bytes)
        return attempt

    async def _find_link(self, attempt: Attempt) -> str:
        """Ask in three places: a complete generation without a link in the first has been seen."""
        generation_id = attempt.generation_id or ""
        generation = await self._reader.read(lambda: self._client.read_status(generation_id))
        if generation.link:
            return generation.link
        listed = await self._reader.read(lambda: self._client.list_generations([generation_id]))
        for item in listed:
            if item.generation_id == generation_id and item.link:
                return item.link
        asset_id = generation.asset_id or attempt.asset_id
        link = await self._reader.read(lambda: self._client.find_asset_link(asset_id)) if asset_id else None
        if not link:
            raise DownloadError("The server has the result but names no link to it yet.")
        return link


async def _write(part: Path, download: Download) -> tuple[str, int]:
    """Stream a body to a file; returns its SHA-256 in hex and its size. Raises DownloadError when it is cut short."""
    content_hash = hashlib.sha256()
    size_bytes = 0
    async with aiofiles.open(part, "wb", opener=open_own) as file:
        async for chunk in download.chunks:
            content_hash.update(chunk)
            size_bytes += len(chunk)
            await file.write(chunk)
    if download.length_bytes is not None and size_bytes != download.length_bytes:
        raise DownloadError(f"Only {size_bytes} of {download.length_bytes} bytes arrived.")
    return content_hash.hexdigest(), size_bytes


def _make_folder(folder: Path, root: Path) -> None:
    """Make the folders of a file, each readable by the owner only and on disk."""
    for level in reversed([folder, *folder.parents]):
        if level.is_relative_to(root) and not level.exists():
            level.mkdir(mode=0o700, exist_ok=True)
            sync_folder(level.parent)


def _verify_and_publish(part: Path, path: Path, content_hash: str) -> None:
    """Sync, verify, rename: whatever has the final name is whole, also after a power cut."""
    with part.open("rb") as file:
        sync(file.fileno())
    check_container(part)
    if path.exists() and not (path.is_file() and hash_file(path) == content_hash):
        _move_aside(path)
    publish(part, path)


def _move_aside(path: Path) -> None:
    """Keep a file that is not the result, under a name that nothing has."""
    names = (path.with_name(f"{path.name}.old{count or ''}") for count in itertools.count())
    path.rename(next(name for name in names if not name.exists()))
