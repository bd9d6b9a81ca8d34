"""The last station: a result becomes a verified file under its final name, and only then is the job done."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

from hedra_batch.api.media import MediaClient
from hedra_batch.api.protocol import Api, find_place
from hedra_batch.decide import after_denial, after_find, is_denial_believed
from hedra_batch.errors import (
    DownloadError,
    HedraBatchError,
    JobError,
    Obstacle,
    ResultDeniedError,
    UnfetchedError,
    UnfinishedError,
)
from hedra_batch.folder import RunFolder
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger import events
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.run.pacing.backoff import Backoff
from hedra_batch.run.pacing.rate import Backlog
from hedra_batch.run.saving import Saver
from hedra_batch.run.settings import RunSettings
from hedra_batch.state import State

logger = logging.getLogger(__name__)

#: How often one place is tried before another one is, where the server names several.
PLACE_TRIES = 2


class _Patience:
    """How often one result is still tried, with a growing pause before each further try.

    As long as it may be that nothing can be fetched at all, it counts to the backlog, so that nothing more is bought.
    """

    def __init__(self, settings: RunSettings, backlog: Backlog) -> None:
        self.tries_left = settings.download_tries
        #: What the last try met.
        self.obstacle: Obstacle | None = None
        self._failures = Counter[str]()
        self._backlog = backlog
        self._backoff = Backoff(settings.first_pause_seconds, settings.longest_pause_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._meet(None)

    def _meet(self, obstacle: Obstacle | None) -> None:
        if obstacle and not self.obstacle:
            self._backlog.grow()
        elif self.obstacle and not obstacle:
            self._backlog.shrink()
        self.obstacle = obstacle

    @property
    def spent_places(self) -> set[str]:
        """Where the result could not be fetched though it was tried again with a fresh link."""
        return {place for place, count in self._failures.items() if count >= PLACE_TRIES}

    async def on_failure(self, attempt: Attempt, error: HedraBatchError, link: str | None = None) -> None:
        self.tries_left -= 1
        if link:
            self._failures[find_place(link)] += 1
        self._meet(error.obstacle if isinstance(error, DownloadError) else None)
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
        self._saver = Saver(ledger, media, folder, settings.clock)
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
        with _Patience(self._settings, self._backlog) as patience:
            return await self._process(attempt, patience)

    async def _process(self, attempt: Attempt, patience: _Patience) -> Attempt:
        denial: ResultDeniedError | None = None
        while patience.tries_left:
            try:
                # What has no link takes nobody's turn.
                link = self._links.pop(attempt.key, None) or await self._find_link(attempt, patience.spent_places)
                async with self._take_turn():
                    return await self._fetch_patiently(attempt, link, patience)
            except (DownloadError, JobError) as error:
                denial = error if isinstance(error, ResultDeniedError) else None
                if denial:
                    attempt = await self._record_denial(attempt)
                await patience.on_failure(attempt, error)
        if denial:
            return await self._on_denial(attempt, denial)
        raise UnfetchedError(
            "The result is at the server, but could not be fetched. The next run fetches it, at no further cost.",
            patience.obstacle,
        )

    async def _fetch_patiently(self, attempt: Attempt, link: str, patience: _Patience) -> Attempt:
        """Try as long as there are fresh links and tries are left. Raises DownloadError and JobError."""
        while True:
            try:
                return await self._fetch(attempt, link)
            except DownloadError as error:
                if patience.tries_left == 1:
                    raise
                await patience.on_failure(attempt, error, link)
            try:
                async with asyncio.timeout(self._settings.longest_pause_seconds):
                    link = await self._find_link(attempt, patience.spent_places)
            except TimeoutError as error:
                raise DownloadError("The server gives no fresh link to it now.") from error

    async def recheck(self, attempt: Attempt, _job: Job | None) -> Attempt:
        """Look once more for a result that was held as lost. Raises UnfinishedError where it is not there."""
        try:
            link = await self._api.find_link(attempt.remote_id or "", attempt.asset_id)
        except (DownloadError, JobError) as error:
            raise UnfinishedError(attempt.error or str(error)) from error
        self.on_link(attempt.key, link)
        assert after_find(attempt.state) is State.READY
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
        content_hash, size_bytes = await self._saver.save(attempt, link)
        attempt = await self._record(attempt, content_hash, size_bytes)
        logger.info("%s: done -> %s (%d bytes)", attempt.label, attempt.output, size_bytes)
        return attempt

    async def _find_link(self, attempt: Attempt, spent_places: Collection[str]) -> str:
        link = await self._api.find_link(attempt.remote_id or "", attempt.asset_id, spent_places)
        if attempt.missing_at:
            await self._ledger.record_missing(attempt.key, None)
        return link

    async def _record(self, attempt: Attempt, content_hash: str, size_bytes: int) -> Attempt:
        if attempt.state is State.DONE:
            return await self._ledger.record_restored(attempt, content_hash, size_bytes)
        return await self._ledger.apply(attempt, events.complete(content_hash, size_bytes))
