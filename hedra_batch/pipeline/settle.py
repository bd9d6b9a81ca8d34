"""The station of unknown outcomes: reading, for as long as a request may still arrive, decides what became of it."""

from __future__ import annotations

import asyncio
import logging

from hedra_batch.api.answers import Generation
from hedra_batch.api.client import HedraClient
from hedra_batch.errors import JobError, NotFoundError, UnfinishedError
from hedra_batch.instant import from_text, utc_now
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger.store import Ledger
from hedra_batch.pipeline.reader import Reader
from hedra_batch.pipeline.settings import RunSettings

logger = logging.getLogger(__name__)

#: `error_code` of an attempt that waits for the proof that the server uses our ids.
IDS_UNPROVEN = "ids_unproven"


class Settler:
    """Takes an attempt from UNKNOWN to ACCEPTED, RESERVED or HELD, and from HELD back when it can go on."""

    def __init__(self, ledger: Ledger, client: HedraClient, reader: Reader, settings: RunSettings) -> None:
        self._ledger = ledger
        self._client = client
        self._reader = reader
        self._settings = settings

    async def process(self, attempt: Attempt, job: Job | None) -> Attempt:
        """Read with growing pauses until the generation is found, or absent after the whole quiet window."""
        pause_seconds = self._settings.shortest_poll_seconds
        while True:
            remaining_seconds = self._count_window(attempt)
            found = await self._look(attempt)
            if found:
                return await self._adopt(attempt, found)
            if remaining_seconds <= 0:
                return await self._decide(attempt, job)
            await asyncio.sleep(min(pause_seconds, remaining_seconds))
            pause_seconds = min(pause_seconds * 2, self._settings.longest_poll_seconds * 2)

    async def revisit(self, attempt: Attempt, _job: Job | None) -> Attempt:
        """Go on with a held attempt whose question is answered. Raises UnfinishedError when it is not."""
        if attempt.error_code == IDS_UNPROVEN and self._ledger.ids_verdict == "honoured":
            logger.info("%s: the server is now known to use our ids, so its outcome is read again", attempt.label)
            return await self._ledger.reopen(attempt)
        raise UnfinishedError(attempt.error or "A person must decide.")

    def _count_window(self, attempt: Attempt) -> float:
        """Seconds until absence counts as an answer."""
        if attempt.unknown_at is None:
            return self._settings.quiet_window_seconds
        passed_seconds = (utc_now() - from_text(attempt.unknown_at)).total_seconds()
        return self._settings.quiet_window_seconds - passed_seconds

    async def _look(self, attempt: Attempt) -> Generation | None:
        """Ask by id, then in the list: a generation just accepted may be in one of them only."""
        generation_id = attempt.generation_id or ""
        try:
            return await self._reader.read(lambda: self._client.read_status(generation_id))
        except NotFoundError:
            pass
        try:
            listed = await self._reader.read(lambda: self._client.list_generations([generation_id]))
        except JobError:
            return None
        return next((item for item in listed if generation_id in (item.generation_id, item.requested_id)), None)

    async def _adopt(self, attempt: Attempt, found: Generation) -> Attempt:
        logger.info("%s: found at the server as %s; it was accepted", attempt.label, found.generation_id)
        if found.generation_id == attempt.generation_id:
            await self._ledger.record_ids_verdict("honoured")
        return await self._ledger.accept(
            attempt, generation_id=found.generation_id, asset_id=found.asset_id, eta_seconds=found.eta_seconds
        )

    async def _decide(self, attempt: Attempt, job: Job | None) -> Attempt:
        """Say what follows from absence, now that no request can still be on its way."""
        verdict = self._ledger.ids_verdict
        sent = f"attempt {attempt.number}, sent {attempt.sends} times, last at {attempt.submitted_at}"
        if verdict == "unproven":
            return await self._hold(
                attempt, IDS_UNPROVEN, f"absent, but nothing shows yet that this server uses our ids ({sent})"
            )
        if verdict == "ignored":
            return await self._hold(
                attempt, "unknown_outcome", f"this server gives ids of its own, so absence says nothing ({sent})"
            )
        if job is None:
            return await self._hold(attempt, "unknown_outcome", f"absent, and the job left the manifest ({sent})")
        if self._settings.on_unknown == "hold" or attempt.sends >= self._settings.sends_limit:
            return await self._hold(attempt, "unknown_outcome", f"absent after the quiet window ({sent})")
        logger.warning("%s: absent after the quiet window, so the same request is sent again", attempt.label)
        return await self._ledger.return_to_reserved(attempt, "unknown_outcome", "Absent after the quiet window.")

    async def _hold(self, attempt: Attempt, code: str, what: str) -> Attempt:
        message = (
            f"The outcome of a paid request is unknown: {what}. Look in the account's history before paying again."
        )
        logger.error("%s: held. %s", attempt.label, message)
        return await self._ledger.hold(attempt, code, message)
