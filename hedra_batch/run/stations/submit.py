"""The paid station: one POST under the rate limit, its outcome on disk whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from hedra_batch.api.protocol import Acceptance, Api
from hedra_batch.decide import Deduplication, Reply, before_send
from hedra_batch.errors import (
    AlreadyExistsError,
    HedraBatchError,
    JobError,
    NotSentError,
    OutOfCreditsError,
    RefusedError,
    StopRunError,
    ThrottledError,
    TooManyAtOnceError,
    UnknownOutcomeError,
    UploadGoneError,
)
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger import events
from hedra_batch.ledger.backend import TakenError
from hedra_batch.ledger.ledger import Estimate, Ledger
from hedra_batch.run.pacing.concurrency import ConcurrencyLimit
from hedra_batch.run.pacing.lane import Lane
from hedra_batch.run.settings import RunSettings
from hedra_batch.state import IN_FLIGHT, State

logger = logging.getLogger(__name__)

#: Uploads again at most in one run for one attempt whose files the server does not know.
REUPLOADS_LIMIT = 3


@dataclass(slots=True)
class _Sending:
    """A send that outlives the cancelling of what waits for it."""

    #: When the lane gave its turn.
    turn_time: float
    is_stopped: bool = False
    is_waiting_for_answer: bool = False


class Submitter:
    """Sends an attempt that is reserved, or is to be sent again, and writes down what came of it."""

    def __init__(
        self,
        ledger: Ledger,
        api: Api,
        lane: Lane,
        concurrency: ConcurrencyLimit,
        settings: RunSettings,
        estimate: Estimate,
        is_wanted: Callable[[Attempt], bool],
    ) -> None:
        self._ledger = ledger
        self._api = api
        self._lane = lane
        self._concurrency = concurrency
        self._stop_grace_seconds = settings.stop_grace_seconds
        self._estimate = estimate
        self._is_wanted = is_wanted
        self._reuploads: Counter[int] = Counter()

    async def process(self, attempt: Attempt, _job: Job | None) -> Attempt:
        """Wait for room and for the pace, then send once.

        Raises SubmittingClosedError when this run submits no more, StopRunError when the server refused the account.
        """
        target = before_send(attempt.state, lambda: self._is_wanted(attempt))
        if target is State.UNKNOWN:
            return await self._ledger.apply(attempt, events.look_again())
        turn_time = await self._lane.wait()
        self._concurrency.take(attempt.key)
        return await self._finish_although_cancelled(attempt, target, _Sending(turn_time))

    async def _finish_although_cancelled(self, attempt: Attempt, target: State, state: _Sending) -> Attempt:
        """End a send that has begun with its outcome on disk; a stopped run waits for the answer, but not for ever."""
        sending = asyncio.create_task(self._send(attempt, target, state), name=f"send {attempt.label}")
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            state.is_stopped = True
            cutting = asyncio.get_running_loop().call_later(self._stop_grace_seconds, _cut, sending, state)
            while not sending.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({sending})
            cutting.cancel()
            if error := sending.exception():
                logger.warning("%s: %s", attempt.label, error)
            raise

    async def _send(self, attempt: Attempt, target: State, state: _Sending) -> Attempt:
        body = attempt.body
        assert body, "it is on disk since the reservation"
        begin = events.begin_send(attempt.state, target, self._estimate(attempt.fields))
        attempt = await self._ledger.apply(attempt, begin)
        if state.is_stopped:
            return await self._end(attempt, Reply.NOT_ACCEPTED, "The run was stopped before it was sent.")
        try:
            acceptance = await self._post(body, state)
        except HedraBatchError as refusal:
            return await self._record_refusal(attempt, refusal, state.turn_time)
        accepted = await self._record_acceptance(attempt, acceptance)
        self._lane.on_accepted(state.turn_time)
        await self._concurrency.on_accepted()
        return accepted

    async def _post(self, body: bytes, state: _Sending) -> Acceptance:
        """Send, and wait for the answer. To cancel this meanwhile ends the wait, and nothing else."""
        state.is_waiting_for_answer = True
        try:
            return await self._api.submit(body)
        except asyncio.CancelledError:
            if task := asyncio.current_task():
                task.uncancel()
            raise UnknownOutcomeError("The run was stopped before the answer came.") from None
        finally:
            state.is_waiting_for_answer = False

    async def _record_acceptance(self, attempt: Attempt, acceptance: Acceptance) -> Attempt:
        event = events.accept(
            acceptance.remote_id,
            asset_id=acceptance.asset_id,
            eta_seconds=acceptance.eta_seconds,
            request_id=acceptance.request_id,
            shows=acceptance.deduplication,
        )
        try:
            accepted = await self._ledger.apply(attempt, event)
        except TakenError as conflict:
            # A server that answers with the id of another job does not use our keys.
            logger.error("%s: the server's answer cannot be right: %s", attempt.label, conflict)
            await self._ledger.record_deduplication(attempt.kind, Deduplication.NONE)
            return await self._end(attempt, Reply.UNKNOWN, f"The server's answer cannot be right: {conflict}")
        logger.info("%s: submitted as %s", attempt.label, acceptance.remote_id)
        return accepted

    async def _record_refusal(self, attempt: Attempt, refusal: HedraBatchError, turn_time: float) -> Attempt:
        """Write down what came back instead of an acceptance, then slow down as it asks."""
        _log_refusal(attempt, refusal)
        if isinstance(refusal, AlreadyExistsError) and refusal.bears_our_key:
            await self._ledger.record_deduplication(attempt.kind, Deduplication.PROVEN)
        if isinstance(refusal, UploadGoneError):
            for handle in refusal.handles:
                await self._ledger.uploads.record_gone(handle)
        attempt = await self._end(attempt, self._read_reply(attempt, refusal), str(refusal), refusal)
        await self._react(attempt, refusal, turn_time)
        return attempt

    def _read_reply(self, attempt: Attempt, refusal: HedraBatchError) -> Reply:
        if isinstance(refusal, UploadGoneError):
            self._reuploads[attempt.key] += 1
            return Reply.UPLOAD_GONE if self._reuploads[attempt.key] <= REUPLOADS_LIMIT else Reply.REFUSED
        if isinstance(refusal, RefusedError):
            return Reply.REFUSED
        is_not_accepted = isinstance(refusal, NotSentError | ThrottledError | StopRunError)
        return Reply.NOT_ACCEPTED if is_not_accepted else Reply.UNKNOWN

    async def _end(
        self, attempt: Attempt, reply: Reply, message: str, refusal: HedraBatchError | None = None
    ) -> Attempt:
        code, request_id = events.NOT_ACCEPTED, None
        if isinstance(refusal, JobError):
            code, request_id = refusal.code, refusal.request_id
        event = events.end_send(attempt.state, reply, code, message, request_id=request_id)
        return await self._ledger.apply(attempt, event)

    async def _react(self, attempt: Attempt, refusal: HedraBatchError, turn_time: float) -> None:
        """Have the next requests heed a refusal. Raises StopRunError when there should be none."""
        if isinstance(refusal, TooManyAtOnceError):
            self._lane.on_present()
            # Nobody sees an end where none of ours is running, and it is no sign where this one may be.
            if attempt.state in IN_FLIGHT or not await self._concurrency.shrink(attempt.key):
                self._lane.pause(refusal, "the API runs other generations of this account")
        elif isinstance(refusal, ThrottledError):
            self._lane.on_failed(refusal, turn_time)
        elif isinstance(refusal, NotSentError):
            self._lane.on_unreachable(refusal)
        elif isinstance(refusal, UnknownOutcomeError):
            if refusal.throttling:
                self._lane.on_failed(refusal.throttling, turn_time)
            else:
                self._lane.on_unclear()
        else:
            self._lane.on_answered()
            if isinstance(refusal, StopRunError):
                raise refusal


def _log_refusal(attempt: Attempt, refusal: HedraBatchError) -> None:
    """Log a refusal as what it is for the job: a failure, a warning, or nothing but a wait."""
    # That the account is out of credits is said once for all jobs, by the runner.
    if isinstance(refusal, NotSentError | OutOfCreditsError):
        logger.debug("%s: %s", attempt.label, refusal)
    elif isinstance(refusal, TooManyAtOnceError):
        logger.info("%s: not accepted yet, so it waits until a generation ends: %s", attempt.label, refusal)
    else:
        failed = "refused: " if isinstance(refusal, RefusedError) else ""
        logger.warning("%s: %s%s", attempt.label, failed, refusal)


def _cut(sending: asyncio.Task[Attempt], state: _Sending) -> None:
    """Stop waiting for the answer; what is then written down is that the outcome is unknown."""
    if state.is_waiting_for_answer:
        sending.cancel()
