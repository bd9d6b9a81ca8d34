"""The paid station: one POST under the rate limit, its outcome on disk whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from hedra_batch.api.answers import Submission
from hedra_batch.api.client import HedraClient
from hedra_batch.api.requests import list_asset_ids
from hedra_batch.errors import (
    AlreadyExistsError,
    AssetGoneError,
    HedraBatchError,
    NotSentError,
    RejectedError,
    StopRunError,
    ThrottledError,
)
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger.store import Ledger
from hedra_batch.pipeline.pace import Pace, Pause, Slots, SubmittingClosedError
from hedra_batch.pipeline.reader import Reach
from hedra_batch.pipeline.settings import RunSettings

logger = logging.getLogger(__name__)

#: Uploads again at most for one attempt whose asset the server does not know.
REUPLOAD_LIMIT = 3


class Submitter:
    """Takes an attempt from RESERVED to ACCEPTED, REJECTED or UNKNOWN, or back."""

    def __init__(
        self,
        ledger: Ledger,
        client: HedraClient,
        reach: Reach,
        pace: Pace,
        pause: Pause,
        slots: Slots,
        settings: RunSettings,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._reach = reach
        self._pace = pace
        self._pause = pause
        self._slots = slots
        self._settings = settings
        self._throttles_in_a_row = 0

    async def process(self, attempt: Attempt, _job: Job | None) -> Attempt:
        """Wait for room and for the pace, then send once.

        Raises SubmittingClosedError when this run submits no more, StopRunError when the server refused the account.
        """
        await self._slots.enter(attempt.key)
        await self._pace.wait()
        if self._slots.is_closed:
            raise SubmittingClosedError("Submitting is closed for this run.")
        return await self._finish_although_cancelled(attempt)

    async def _finish_although_cancelled(self, attempt: Attempt) -> Attempt:
        """End a send that has begun with its outcome on disk; a stopped run waits for it, but not for ever."""
        sending = asyncio.create_task(self._send(attempt), name=f"send {attempt.label}")
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            await self._wait_for(sending)
            if not sending.cancelled() and (error := sending.exception()):
                logger.warning("%s: %s", attempt.label, error)
            raise

    async def _wait_for(self, sending: asyncio.Task[Attempt]) -> None:
        """Wait for the end of a send within the grace of a stop, also when cancelled again meanwhile."""
        loop = asyncio.get_running_loop()
        overdue = loop.call_later(self._settings.stop_grace_seconds, sending.cancel)
        while not sending.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({sending})
        overdue.cancel()

    async def _send(self, attempt: Attempt) -> Attempt:
        attempt = await self._ledger.begin_send(attempt)
        try:
            submission = await self._client.submit(attempt.body or b"")
        except asyncio.CancelledError:
            return await self._ledger.mark_unknown(attempt, "The run was stopped before the answer came.")
        except HedraBatchError as refusal:
            return await self._record_refusal(attempt, refusal)
        return await self._record_acceptance(attempt, submission)

    async def _record_acceptance(self, attempt: Attempt, submission: Submission) -> Attempt:
        self._reach.note_answer()
        self._throttles_in_a_row = 0
        is_ours = submission.generation_id == attempt.generation_id
        await self._ledger.record_ids_verdict("honoured" if is_ours else "ignored")
        logger.info("%s: submitted as %s", attempt.label, submission.generation_id)
        return await self._ledger.accept(
            attempt,
            generation_id=submission.generation_id,
            asset_id=submission.asset_id,
            eta_seconds=submission.eta_seconds,
            request_id=submission.request_id,
        )

    async def _record_refusal(self, attempt: Attempt, refusal: HedraBatchError) -> Attempt:
        """Write down what came back instead of an acceptance."""
        logger.warning("%s: %s", attempt.label, refusal)
        if attempt.unknown_sends:
            # An earlier send of this id may have been accepted, and no refusal of a later one can tell.
            attempt = await self._ledger.mark_unknown(attempt, str(refusal))
        elif isinstance(refusal, AssetGoneError) and attempt.sends <= REUPLOAD_LIMIT:
            attempt = await self._forget_assets(attempt, refusal)
        elif isinstance(refusal, RejectedError):
            attempt = await self._ledger.reject(attempt, refusal.code, str(refusal), refusal.request_id)
        elif isinstance(refusal, NotSentError | ThrottledError | StopRunError):
            attempt = await self._ledger.return_to_reserved(attempt, "not_accepted", str(refusal))
        else:
            if isinstance(refusal, AlreadyExistsError):
                await self._ledger.record_ids_verdict("honoured")
            attempt = await self._ledger.mark_unknown(attempt, str(refusal))
        await self._slow_down(refusal)
        return attempt

    async def _forget_assets(self, attempt: Attempt, refusal: AssetGoneError) -> Attempt:
        named = list_asset_ids(attempt.body or b"{}")
        for asset_id in named:
            if asset_id in str(refusal) or len(named) == 1:
                await self._ledger.record_asset_gone(asset_id)
        attempt = await self._ledger.return_to_reserved(attempt, refusal.code, str(refusal))
        return await self._ledger.release(attempt)

    async def _slow_down(self, refusal: HedraBatchError) -> None:
        """Slow the next requests down as a refusal asks. Raises StopRunError when there should be none."""
        if isinstance(refusal, StopRunError):
            raise refusal
        if isinstance(refusal, ThrottledError):
            self._throttles_in_a_row += 1
            grown_seconds = self._settings.throttle_seconds * 2 ** min(self._throttles_in_a_row - 1, 10)
            grown_seconds = min(grown_seconds, self._settings.longest_throttle_seconds)
            self._pause.extend(refusal.retry_after_seconds or grown_seconds)
        elif isinstance(refusal, NotSentError):
            self._reach.note_failure(refusal)
            await asyncio.sleep(self._settings.first_pause_seconds * 4)
        else:
            self._throttles_in_a_row = 0
