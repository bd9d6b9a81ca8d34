"""The last station: a result becomes a verified file under its final name, and only then is the job done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TypeVar

from hedra_batch.api.media import CHUNK_BYTES, Download, MediaClient
from hedra_batch.api.protocol import Api
from hedra_batch.decide import Deduplication, Finding, after_denial, after_recheck, is_denial_believed
from hedra_batch.errors import DownloadError, HedraBatchError, JobError, ResultDeniedError, UnfinishedError, WriteError
from hedra_batch.folder import RunFolder
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger import events
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.run.pacing.backoff import Backoff
from hedra_batch.run.pacing.rate import Backlog
from hedra_batch.run.part_file import PartFile
from hedra_batch.run.settings import RunSettings
from hedra_batch.state import State

T = TypeVar("T")

logger = logging.getLogger(__name__)


class _Patience:
    """How often one result is still tried, with a growing pause before each further try."""

    def __init__(self, settings: RunSettings) -> None:
        self.tries_left = settings.download_tries
        self._backoff = Backoff(settings.first_pause_seconds, settings.longest_pause_seconds)

    async def on_failure(self, attempt: Attempt, error: HedraBatchError) -> None:
        self.tries_left -= 1
        again = " It is fetched again." if self.tries_left else ""
        logger.warning("%s: %s.%s", attempt.label, str(error).rstrip("."), again)
        if self.tries_left:
            await asyncio.sleep(self._backoff.next_seconds())


class Fetcher:
    """Takes an attempt from READY to DONE. A download never fails a job: what does not arrive stays READY.

    Only a result that the service itself denies, for a day, is held as lost.
    """

    def __init__(
        self,
        ledger: Ledger,
        api: Api,
        media: MediaClient,
        folder: RunFolder,
        backlog: Backlog,
        settings: RunSettings,
    ) -> None:
        self._ledger = ledger
        self._api = api
        self._media = media
        self._folder = folder
        self._backlog = backlog
        self._settings = settings
        self._room = asyncio.Semaphore(settings.limits.downloads)
        #: Links that the tracker has just read. In memory only: they are signed and expire.
        self._links: dict[int, str] = {}

    def on_link(self, key: int, link: str | None) -> None:
        """Keep a fresh link for the download that follows at once."""
        if link:
            self._links[key] = link

    async def process(self, attempt: Attempt, _job: Job | None) -> Attempt:
        """Download with fresh links until the file is whole. Raises UnfinishedError after the last try.

        For an attempt that is DONE, it makes its file anew: what stands in its place is moved aside.
        """
        denial: ResultDeniedError | None = None
        patience = _Patience(self._settings)
        while patience.tries_left:
            try:
                # What has no link takes nobody's turn.
                link = self._links.pop(attempt.key, None) or await self._find_link(attempt)
                async with self._take_turn():
                    return await self._fetch_patiently(attempt, link, patience)
            except (DownloadError, JobError) as error:
                denial = error if isinstance(error, ResultDeniedError) else None
                if denial:
                    attempt = await self._record_denial(attempt)
                await patience.on_failure(attempt, error)
        if denial:
            return await self._on_denial(attempt, denial)
        raise UnfinishedError(
            "The result is at the server, but could not be fetched. The next run fetches it, at no further cost."
        )

    async def _fetch_patiently(self, attempt: Attempt, link: str, patience: _Patience) -> Attempt:
        """Try as long as there are fresh links and tries are left. Raises DownloadError and JobError."""
        while True:
            try:
                return await self._fetch(attempt, link)
            except DownloadError as error:
                if patience.tries_left == 1:
                    raise
                await patience.on_failure(attempt, error)
            try:
                async with asyncio.timeout(self._settings.longest_pause_seconds):
                    link = await self._find_link(attempt)
            except TimeoutError as error:
                raise DownloadError("The server gives no fresh link to it now.") from error

    async def recheck(self, attempt: Attempt, _job: Job | None) -> Attempt:
        """Look once more for a result that was held as lost. Raises UnfinishedError where it is not there."""
        try:
            link = await self._api.find_link(attempt.remote_id or "", attempt.asset_id)
        except (DownloadError, JobError) as error:
            raise UnfinishedError(attempt.error or str(error)) from error
        self.on_link(attempt.key, link)
        found = after_recheck(attempt.state, Finding.FOUND, Deduplication.UNPROVEN)
        assert found is State.READY
        return await self._ledger.apply(attempt, events.find_result())

    async def _on_denial(self, attempt: Attempt, error: ResultDeniedError) -> Attempt:
        """Count for how long the service has denied the result, over as many runs as that takes."""
        if attempt.state is not State.READY:
            raise UnfinishedError(f"The server no longer has the result: {error}") from error
        denied_seconds = self._settings.clock.age_seconds(attempt.missing_at or self._settings.clock.now_text())
        if not is_denial_believed(denied_seconds, self._settings.missing_seconds):
            raise UnfinishedError(f"{error} The next run asks again, at no cost.")
        message = f"It was made and paid for, but the server has denied its result for a day. {error}"
        logger.error("%s: held: %s", attempt.label, message)
        event = events.deny(attempt.state, after_denial(attempt.state), events.RESULT_LOST, message)
        return await self._ledger.apply(attempt, event)

    async def _record_denial(self, attempt: Attempt) -> Attempt:
        """Write down since when the service has denied a result that is still to be fetched."""
        attempt = await self._ledger.attempt(attempt.key)
        if attempt.state is not State.READY or attempt.missing_at is not None:
            return attempt
        missing_at = self._settings.clock.now_text()
        await self._ledger.record_missing(attempt.key, missing_at)
        return replace(attempt, missing_at=missing_at)

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

    async def _fetch(self, attempt: Attempt, link: str) -> Attempt:
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
            raise WriteError(
                f"{self._folder.path / output} cannot be written: {error.strerror or error}. The video stays at the "
                "server: once that is put right, the next run fetches it at no further cost."
            ) from error
        finally:
            if not part.is_closed:
                # Who is cancelled here waits for no disk.
                asyncio.get_running_loop().run_in_executor(None, part.close)
        attempt = await self._record(attempt, content_hash, size_bytes)
        logger.info("%s: done -> %s (%d bytes)", attempt.label, attempt.output, size_bytes)
        return attempt

    async def _find_link(self, attempt: Attempt) -> str:
        link = await self._api.find_link(attempt.remote_id or "", attempt.asset_id)
        if attempt.missing_at:
            await self._ledger.record_missing(attempt.key, None)
        return link

    async def _record(self, attempt: Attempt, content_hash: str, size_bytes: int) -> Attempt:
        if attempt.state is State.DONE:
            return await self._ledger.record_restored(attempt, content_hash, size_bytes)
        return await self._ledger.apply(attempt, events.complete(content_hash, size_bytes))


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
            await _work(part.append, *pieces)
            pieces, waiting_bytes = [], 0
    if download.length_bytes is not None and size_bytes != download.length_bytes:
        raise DownloadError(f"Only {size_bytes} of {download.length_bytes} bytes arrived.")
    return await _work(part.finish, *pieces), size_bytes


async def _work(function: Callable[..., T], *values: bytes) -> T:
    """Do what waits for the disk in another thread."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *values)
