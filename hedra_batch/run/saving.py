"""A result on its way from the media host to its file: saved whole, or left to be continued where it broke off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from hedra_batch.api.media import CHUNK_BYTES, Download, MediaClient
from hedra_batch.api.ranges import Part, Version
from hedra_batch.clock import Clock
from hedra_batch.errors import DownloadError, WriteError
from hedra_batch.folder import RunFolder
from hedra_batch.job import Attempt
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.run.part_file import OVERLAP_BYTES, PartFile

T = TypeVar("T")


class Saver:
    """Saves results by their links. The ledger has of which version a part is before there is anything of it."""

    def __init__(self, ledger: Ledger, media: MediaClient, folder: RunFolder, clock: Clock) -> None:
        self._ledger = ledger
        self._media = media
        self._folder = folder
        self._clock = clock
        #: Of which versions parts were left in this run; what went through the stations before does not know it.
        self._versions: dict[int, Version | None] = {}

    async def save(self, attempt: Attempt, link: str) -> tuple[str, int]:
        """Download a result to its file; returns its SHA-256 in hex and its size. Raises DownloadError and WriteError.

        What arrived before a break is continued the next time, in this run or another.
        """
        output = attempt.output or attempt.wanted_output
        part = PartFile(self._folder, output)
        try:
            async with self._media.open(link, await self._find_part(attempt, part)) as download:
                saved = await self._write_all(attempt, part, download)
        except DownloadError:
            with suppress(OSError):
                await _work(part.discard)
            raise
        except OSError as error:
            raise WriteError(
                f"{self._folder.path / output} cannot be written: {error.strerror or error}. The video stays at the "
                "server: once that is put right, the next run fetches it at no further cost."
            ) from error
        finally:
            if not part.is_closed:
                # Who is cancelled here waits for no disk.
                asyncio.get_running_loop().run_in_executor(None, part.close)
        self._versions.pop(attempt.key, None)
        return saved

    async def _find_part(self, attempt: Attempt, part: PartFile) -> Part | None:
        """Find what an earlier try has left of a version that can be continued."""
        version = self._find_version(attempt)
        if version is None:
            return None
        size_bytes = await _work(part.measure)
        is_part = OVERLAP_BYTES < size_bytes <= version.length_bytes
        return Part(version, size_bytes - OVERLAP_BYTES) if is_part else None

    def _find_version(self, attempt: Attempt) -> Version | None:
        if attempt.key in self._versions:
            return self._versions[attempt.key]
        boot_id, _, text = (attempt.part_tag or "").partition(" ")
        # What was not synced before the machine went down can be anything.
        return Version.read(text) if boot_id == self._clock.boot_id() else None

    async def _note_version(self, attempt: Attempt, version: Version | None) -> None:
        """Write down what the part is of, before there is anything of it."""
        tag = f"{self._clock.boot_id()} {version.write()}" if version else None
        await self._ledger.record_part(attempt.key, tag)
        self._versions[attempt.key] = version

    async def _write_all(self, attempt: Attempt, part: PartFile, download: Download) -> tuple[str, int]:
        """Stream a body to its file; where it breaks off, what arrived is left for the next try."""
        if download.offset_bytes:
            await _work(part.resume, download.offset_bytes)
        elif self._find_version(attempt):
            await self._note_version(attempt, None)
        pieces: list[bytes] = []
        size_bytes, waiting_bytes = download.offset_bytes, 0
        try:
            async for chunk in download.chunks:
                pieces.append(chunk)
                size_bytes += len(chunk)
                waiting_bytes += len(chunk)
                if waiting_bytes >= CHUNK_BYTES:
                    # Going to another thread and back costs more than writing a small piece: an ordinary video goes few
                    # times.
                    await self._write(attempt, download, part, part.append, pieces)
                    pieces, waiting_bytes = [], 0
        except DownloadError:
            if download.version:
                await self._write(attempt, download, part, part.keep, pieces)
            raise
        return await _work(part.finish, *pieces), size_bytes

    async def _write(
        self, attempt: Attempt, download: Download, part: PartFile, write: Callable[..., None], pieces: list[bytes]
    ) -> None:
        """Write pieces that may stay, once the ledger has what they are of; what was there before is gone by then."""
        if self._find_version(attempt) != download.version and not part.is_closed:
            await _work(part.append)
            await self._note_version(attempt, download.version)
        await _work(write, *pieces)


async def _work(function: Callable[..., T], *values: bytes | int) -> T:
    """Do what waits for the disk in another thread."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *values)
