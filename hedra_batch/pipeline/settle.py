"""The station of unknown outcomes: reading, for as long as a request may still arrive, decides what became of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from hedra_batch.api.answers import Generation
from hedra_batch.api.client import HedraClient
from hedra_batch.errors import JobError, NotFoundError, UnfinishedError
from hedra_batch.instant import age_seconds, from_text, to_text
from hedra_batch.job import Attempt, Job, State
from hedra_batch.ledger.store import UNKNOWN_OUTCOME, Ledger
from hedra_batch.ledger.writer import ConflictError
from hedra_batch.pipeline.reader import Reader
from hedra_batch.pipeline.settings import RunSettings

logger = logging.getLogger(__name__)

#: By how much the server's clock may differ from ours.
CLOCK_TOLERANCE = timedelta(minutes=10)
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
        """Read with growing pauses until the generation is found, or absent after the whole quiet window.

        Raises UnfinishedError when the window is over and the server says neither.
        """
        pause_seconds = self._settings.shortest_poll_seconds
        while True:
            remaining_seconds = self._count_window(attempt)
            try:
                found = await self._look(attempt)
            except JobError as error:
                if remaining_seconds <= 0:
                    raise UnfinishedError(f"Whether it was accepted cannot be read now: {error}") from error
            else:
                if found:
                    return await self._adopt(attempt, found)
                if remaining_seconds <= 0:
                    return await self._decide(attempt, job)
            await asyncio.sleep(min(pause_seconds, max(remaining_seconds, 0)))
            pause_seconds = min(pause_seconds * 2, self._settings.longest_poll_seconds * 2)

    async def revisit(self, attempt: Attempt, _job: Job | None) -> Attempt:
        """Go on with a held attempt that is found after all, or whose question is answered.

        Raises UnfinishedError when neither is so.
        """
        if is_unproven(attempt) and self._ledger.ids_verdict == "honoured":
            logger.info("%s: the server is now known to use our ids, so its outcome is read again", attempt.label)
            return await self._ledger.reopen(attempt)
        try:
            found = await self._look(attempt)
        except JobError:
            found = None
        if found:
            return await self._adopt(attempt, found)
        raise UnfinishedError(attempt.error or "A person must decide.")

    def _count_window(self, attempt: Attempt) -> float:
        """Count the seconds until absence is an answer."""
        assert attempt.unknown_at, "it is written with the state"
        return self._settings.quiet_window_seconds - age_seconds(attempt.unknown_at)

    async def _look(self, attempt: Attempt) -> Generation | None:
        """Ask by id, then in the list; None when it is absent from all. Raises JobError when that cannot be told.

        A generation just accepted may be in one of them only. On a server that is not known to use our ids it may be
        there under another one, and then the echo of the request shows it.
        """
        generation_id = attempt.generation_id or ""
        try:
            return await self._reader.read(lambda: self._client.read_status(generation_id))
        except NotFoundError:
            listed = await self._list(lambda: self._client.list_generations([generation_id]))
        if self._ledger.ids_verdict != "honoured" and attempt.submitted_at:
            since = to_text(from_text(attempt.submitted_at) - CLOCK_TOLERANCE)
            listed += await self._list(lambda: self._client.list_recent(since))
        return next((item for item in listed if generation_id in (item.generation_id, item.requested_id)), None)

    async def _list(self, request: Callable[[], Awaitable[list[Generation]]]) -> list[Generation]:
        """Read a list; one that the server refuses has nothing in it, and the answer by id stands."""
        try:
            return await self._reader.read(request)
        except JobError:
            return []

    async def _adopt(self, attempt: Attempt, found: Generation) -> Attempt:
        logger.info("%s: found at the server as %s; it was accepted", attempt.label, found.generation_id)
        try:
            return await self._ledger.accept(
                attempt, generation_id=found.generation_id, asset_id=found.asset_id, eta_seconds=found.eta_seconds
            )
        except ConflictError as conflict:
            raise UnfinishedError(f"What the server shows of it cannot be right: {conflict}") from conflict

    async def _decide(self, attempt: Attempt, job: Job | None) -> Attempt:
        """Say what follows from absence, now that no request can still be on its way."""
        if self._ledger.ids_verdict == "unproven":
            return await self._hold(attempt, IDS_UNPROVEN, "nothing shows yet that this server uses our ids")
        if reason := self._find_reason_to_hold(attempt, job):
            return await self._hold(attempt, UNKNOWN_OUTCOME, reason)
        logger.warning("%s: absent after the quiet window, so the same request is sent again", attempt.label)
        return await self._ledger.resend(attempt)

    def _find_reason_to_hold(self, attempt: Attempt, job: Job | None) -> str | None:
        if self._ledger.ids_verdict == "ignored":
            return "this server gives ids of its own, so a repeat could be paid for twice"
        if job is None:
            return "the job left the manifest"
        if job.inputs.digest != attempt.digest:
            return "the job was edited since"
        if self._settings.on_unknown == "hold":
            return "the manifest says on_unknown: hold"
        if attempt.resends >= self._settings.resends_limit:
            return f"it was sent again {attempt.resends} times already"
        return None

    async def _hold(self, attempt: Attempt, code: str, reason: str) -> Attempt:
        message = (
            f"Whether this paid request was accepted is unknown (sent at {attempt.submitted_at}, absent since), and it "
            f"is not sent again now: {reason}. Each run looks for it again."
        )
        logger.error("%s: held. %s", attempt.label, message)
        return await self._ledger.hold(attempt, code, message)


def is_unproven(attempt: Attempt) -> bool:
    """Tell whether a held attempt only waits for the proof that the server uses our ids."""
    return attempt.state is State.HELD and attempt.error_code == IDS_UNPROVEN
