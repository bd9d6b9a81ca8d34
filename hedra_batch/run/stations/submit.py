"""The paid station: one POST under the rate limit, its outcome on disk whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from hedra_batch.api.v2.answers import Submission
from hedra_batch.api.v2.client import HedraClient
from hedra_batch.errors import (
    AlreadyExistsError,
    HedraBatchError,
    NotSentError,
    RefusedError,
    StopRunError,
    ThrottledError,
    TooManyAtOnceError,
    UnknownOutcomeError,
    UploadGoneError,
)
from hedra_batch.job import IN_FLIGHT, Attempt, Job
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.writer import TakenError
from hedra_batch.run.pacing.concurrency import ConcurrencyLimit
from hedra_batch.run.pacing.outage import OutageGuard
from hedra_batch.run.pacing.rate import Cooldown, RateLimiter
from hedra_batch.run.settings import RunSettings

logger = logging.getLogger(__name__)

#: Uploads again at most in one run for one attempt whose assets the server does not know.
REUPLOADS_LIMIT = 3
#: Refusals after which surely nothing was accepted, and the same id may be sent later.
NOT_ACCEPTED = (NotSentError, ThrottledError, StopRunError)


@dataclass(slots=True)
class _Sending:
    """A send that outlives the cancelling of whoever waits for it."""

    #: When the pace gave its turn.
    turn_time: float
    is_stopped: bool = False
    post: asyncio.Task[Submission] | None = None

    def cut(self) -> None:
        """Stop waiting for the answer; what is then written down is that the outcome is unknown."""
        if self.post:
            self.post.cancel()


class Submitter:
    """Takes an attempt from RESERVED to ACCEPTED, REJECTED or UNKNOWN, or back."""

    def __init__(
        self,
        ledger: Ledger,
        client: HedraClient,
        outage_guard: OutageGuard,
        pace: RateLimiter,
        pause: Cooldown,
        concurrency: ConcurrencyLimit,
        settings: RunSettings,
        is_wanted: Callable[[Attempt], bool],
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._outage_guard = outage_guard
        self._pace = pace
        self._cooldown = pause
        self._concurrency = concurrency
        self._settings = settings
        self._is_wanted = is_wanted
        self._throttles_in_a_row = 0
        self._outages_in_a_row = 0
        self._reuploads: Counter[int] = Counter()

    async def process(self, attempt: Attempt, _job: Job | None) -> Attempt:
        """Wait for room and for the pace, then send once.

        What was lost once is not sent but read again when the manifest does not ask for it any more, unless a person
        has ordered it.

        Raises SubmittingClosedError when this run submits no more, StopRunError when the server refused the account.
        """
        if attempt.unknown_sends and not attempt.ordered_at and not self._is_wanted(attempt):
            return await self._ledger.reopen(attempt)
        turn_time = await self._pace.wait()
        self._concurrency.take(attempt.key)
        return await self._finish_although_cancelled(attempt, _Sending(turn_time))

    async def _finish_although_cancelled(self, attempt: Attempt, state: _Sending) -> Attempt:
        """End a send that has begun with its outcome on disk; a stopped run waits for the answer, but not for ever."""
        sending = asyncio.create_task(self._send(attempt, state), name=f"send {attempt.label}")
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            state.is_stopped = True
            overdue = asyncio.get_running_loop().call_later(self._settings.stop_grace_seconds, state.cut)
            while not sending.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({sending})
            overdue.cancel()
            if error := sending.exception():
                logger.warning("%s: %s", attempt.label, error)
            raise

    async def _send(self, attempt: Attempt, state: _Sending) -> Attempt:
        attempt = await self._ledger.begin_send(attempt)
        if state.is_stopped:
            return await self._ledger.return_to_reserved(
                attempt, "not_accepted", "The run was stopped before the send."
            )
        state.post = asyncio.create_task(self._client.submit(attempt.body or b""), name=f"post {attempt.label}")
        try:
            submission = await state.post
        except asyncio.CancelledError:
            return await self._ledger.mark_unknown(attempt, "The run was stopped before the answer came.")
        except HedraBatchError as refusal:
            return await self._record_refusal(attempt, refusal, state.turn_time)
        accepted = await self._record_acceptance(attempt, submission)
        await self._speed_up(state.turn_time)
        return accepted

    async def _record_acceptance(self, attempt: Attempt, submission: Submission) -> Attempt:
        try:
            accepted = await self._ledger.accept(
                attempt,
                generation_id=submission.generation_id,
                asset_id=submission.asset_id,
                eta_seconds=submission.eta_seconds,
                request_id=submission.request_id,
            )
        except TakenError as conflict:
            # A server that answers with the id of another job does not use ours.
            logger.error("%s: the answer cannot be right: %s", attempt.label, conflict)
            await self._ledger.record_ids_verdict("ignored")
            return await self._ledger.mark_unknown(
                attempt, f"The server answered with an id that cannot be: {conflict}"
            )
        logger.info("%s: submitted as %s", attempt.label, submission.generation_id)
        return accepted

    async def _record_refusal(self, attempt: Attempt, refusal: HedraBatchError, turn_time: float) -> Attempt:
        """Write down what came back instead of an acceptance, then slow down as it asks."""
        self._tell_refusal(attempt, refusal)
        if not isinstance(refusal, NotSentError | UnknownOutcomeError):
            self._outage_guard.note_answer()
        if isinstance(refusal, AlreadyExistsError) and refusal.bears_our_key:
            await self._ledger.record_ids_verdict("honoured")
        attempt = await self._record_verdict(attempt, refusal)
        if isinstance(refusal, TooManyAtOnceError):
            await self._wait_for_an_end(attempt, refusal)
        else:
            self._slow_down(refusal, turn_time)
        return attempt

    def _tell_refusal(self, attempt: Attempt, refusal: HedraBatchError) -> None:
        """Log a refusal as what it is for the job: a failure, a warning, or nothing but a wait."""
        if isinstance(refusal, NotSentError):
            logger.debug("%s: %s", attempt.label, refusal)
        elif isinstance(refusal, TooManyAtOnceError):
            logger.info("%s: it waits until a generation ends: %s", attempt.label, refusal)
        else:
            failed = "failed: " if isinstance(refusal, RefusedError) else ""
            logger.warning("%s: %s%s", attempt.label, failed, refusal)

    async def _record_verdict(self, attempt: Attempt, refusal: HedraBatchError) -> Attempt:
        if isinstance(refusal, UploadGoneError):
            for asset_id in refusal.handles:
                await self._ledger.assets.record_gone(asset_id)
        if attempt.ordered_at and isinstance(refusal, NOT_ACCEPTED):
            # A person has settled what became of the earlier send, and this one did not take place.
            return await self._ledger.return_to_reserved(attempt, "not_accepted", str(refusal))
        if attempt.unknown_sends or not isinstance(refusal, (RefusedError, *NOT_ACCEPTED)):
            # Once a send of an id was unknown, no refusal of a later one can tell what became of it.
            return await self._ledger.mark_unknown(attempt, str(refusal), **_count_refused(attempt, refusal))
        if isinstance(refusal, UploadGoneError) and self._reuploads[attempt.key] < REUPLOADS_LIMIT:
            self._reuploads[attempt.key] += 1
            attempt = await self._ledger.return_to_reserved(attempt, refusal.code, str(refusal))
            return await self._ledger.release(attempt)
        if isinstance(refusal, RefusedError):
            return await self._ledger.reject(attempt, refusal.code, str(refusal), refusal.request_id)
        return await self._ledger.return_to_reserved(attempt, "not_accepted", str(refusal))

    async def _speed_up(self, turn_time: float) -> None:
        """Come back, step by step, from what refusals made of pace and slots."""
        self._outage_guard.note_answer()
        self._throttles_in_a_row = self._outages_in_a_row = 0
        self._pace.note_accepted(turn_time)
        await self._concurrency.note_accepted()

    def _slow_down(self, refusal: HedraBatchError, turn_time: float) -> None:
        """Slow the next requests down as a refusal asks. Raises StopRunError when there should be none."""
        if isinstance(refusal, StopRunError):
            raise refusal
        if isinstance(refusal, ThrottledError):
            self._pace.cut(turn_time, str(refusal))
            self._pause_for(refusal, "the API asks to slow down")
        elif isinstance(refusal, NotSentError):
            self._outage_guard.note_failure(refusal)
            self._outages_in_a_row += 1
            grown_seconds = self._settings.first_pause_seconds * 2 ** min(self._outages_in_a_row, 10)
            self._cooldown.extend(min(grown_seconds, self._settings.longest_pause_seconds), "the API cannot be reached")
        else:
            self._throttles_in_a_row = self._outages_in_a_row = 0

    async def _wait_for_an_end(self, attempt: Attempt, refusal: TooManyAtOnceError) -> None:
        """Let the next submissions wait until a generation ends.

        Nobody sees that where none of ours is running, and it is no sign where this one may be.
        """
        if attempt.state in IN_FLIGHT or not await self._concurrency.shrink(attempt.key):
            self._pause_for(refusal, "the API runs other generations of this account")

    def _pause_for(self, refusal: ThrottledError, reason: str) -> None:
        """Cooldown for as long as a refusal asks, or longer each time where it names no time."""
        # Of those that were under way together, the first slows down for all.
        self._throttles_in_a_row += not self._cooldown.is_on
        grown_seconds = self._settings.throttle_seconds * 2 ** min(self._throttles_in_a_row - 1, 10)
        grown_seconds = min(grown_seconds, self._settings.longest_throttle_seconds)
        self._cooldown.extend(refusal.retry_after_seconds or grown_seconds, reason)


def _count_refused(attempt: Attempt, refusal: HedraBatchError) -> dict[str, int]:
    """Correct the counts of a send that was clearly refused: it was not lost, and may not even count as sent again."""
    if isinstance(refusal, NOT_ACCEPTED):
        return {"unknown_sends": attempt.unknown_sends, "resends": max(attempt.resends - 1, 0)}
    if isinstance(refusal, RefusedError):
        return {"unknown_sends": attempt.unknown_sends}
    return {}
