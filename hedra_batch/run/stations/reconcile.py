"""The station of unknown outcomes: looking, for as long as a request may still arrive, tells what became of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from hedra_batch.api.protocol import Acceptance, Api, SentRequest
from hedra_batch.decide import (
    Deduplication,
    Finding,
    HoldReason,
    Inquiry,
    Objection,
    ResendPolicy,
    Verdict,
    after_inquiry,
    after_order,
    after_proof,
    after_recheck,
    can_be_ordered,
)
from hedra_batch.errors import HedraBatchError, JobError, UnfinishedError
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger import events
from hedra_batch.ledger.backend import TakenError
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.planning.plan import is_same_request
from hedra_batch.run.pacing.backoff import Backoff
from hedra_batch.run.settings import RunSettings
from hedra_batch.state import State
from hedra_batch.units import write_duration

logger = logging.getLogger(__name__)

#: Writes the request of a job anew, with its files at the server.
MakeBody = Callable[[Attempt, Job, str], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class _Look:
    """What looking for a request came to."""

    inquiry: Inquiry
    found: Acceptance | None
    #: Why it cannot be told.
    refusal: HedraBatchError | None


def _can_write(attempt: Attempt, job: Job | None) -> bool:
    """Tell whether the request is here, or can be written anew: what a person kept for other inputs is another one."""
    return attempt.body is not None or (job is not None and is_same_request(job, attempt))


class Reconciler:
    """Finds out what became of a request whose outcome is unknown, and of what a person must decide about."""

    def __init__(
        self,
        ledger: Ledger,
        api: Api,
        settings: RunSettings,
        make_body: MakeBody,
        is_wanted: Callable[[Attempt], bool],
    ) -> None:
        self._ledger = ledger
        self._api = api
        self._settings = settings
        self._policy = ResendPolicy(settings.on_unknown == "resend", settings.resends_limit)
        self._make_body = make_body
        self._is_wanted = is_wanted

    async def process(self, attempt: Attempt, job: Job | None) -> Attempt:
        """Look with growing pauses until the request is found, or absent after the whole quiet window."""
        if (remaining_seconds := self._count_window(attempt)) > 0:
            patience = f"looking for it for up to {write_duration(remaining_seconds)}"
            logger.info("%s: it may have been accepted, so it is not sent again yet; %s", attempt.label, patience)
        backoff = Backoff(self._settings.shortest_poll_seconds, self._settings.longest_poll_seconds * 2)
        while True:
            # Counted before the look: only an absence after the end of the window is one.
            remaining_seconds = self._count_window(attempt)
            look = await self._look(attempt, remaining_seconds)
            if verdict := after_inquiry(look.inquiry, self._policy):
                return await self._follow(attempt, job, look, verdict)
            await asyncio.sleep(min(backoff.next_seconds(), max(remaining_seconds, 0)))

    async def recheck(self, attempt: Attempt, job: Job | None) -> Attempt:
        """Go on with a held attempt that is found after all, or whose reason to be held is gone.

        Raises UnfinishedError when neither is so.
        """
        if after_proof(attempt.state, self._ledger.deduplication(attempt.kind)) is State.UNKNOWN:
            logger.info("%s: the server is now known to recognise repeats, so it is looked for again", attempt.label)
            return await self._ledger.apply(attempt, events.look_again())
        look = await self._look(attempt, 0.0)
        if look.refusal:
            raise UnfinishedError(f"Whether it was accepted cannot be read now: {look.refusal}") from look.refusal
        if look.found:
            return await self._adopt(attempt, look.found)
        obstacle = None if _can_write(attempt, job) else HoldReason.REQUEST_LOST
        if after_recheck(attempt.state, replace(look.inquiry, obstacle=obstacle), self._policy) is State.UNKNOWN:
            logger.info("%s: why it was held is gone, so it is looked for again", attempt.label)
            return await self._ledger.apply(attempt, events.look_again())
        raise UnfinishedError(attempt.error or "A person must decide about it.")

    async def order_resend(self, attempt: Attempt, job: Job | None) -> Attempt:
        """Have a held request sent again because a person says so, once it is certain that it cannot arrive any more.

        Raises UnfinishedError where that is not so, or where its video was accepted, or its request is lost.
        """
        if not can_be_ordered(attempt.state):
            raise UnfinishedError(Objection.ACCEPTED)
        remaining_seconds = self._count_window(attempt)
        look = await self._look(attempt, remaining_seconds)
        body, following = None, after_order(attempt.state, look.inquiry)
        if following is State.RESEND_ORDERED and (body := await self._find_body(attempt, job)) is None:
            following = after_order(attempt.state, replace(look.inquiry, obstacle=HoldReason.REQUEST_LOST))
        if isinstance(following, Objection):
            message = following.format(refusal=look.refusal, wait=write_duration(remaining_seconds))
            raise UnfinishedError(message) from look.refusal
        if look.found:
            return await self._adopt(attempt, look.found)
        assert body, "without one there is an objection"
        return await self._ledger.apply(attempt, events.order_resend(body))

    def _count_window(self, attempt: Attempt) -> float:
        """Count the seconds until absence is an answer, on a clock that nobody can set and that runs through sleep."""
        assert attempt.unknown_mark, "it is written with the state"
        return self._settings.count_quiet_window(attempt.unknown_mark)

    async def _look(self, attempt: Attempt, remaining_seconds: float) -> _Look:
        """Look for a request, and gather what counts besides."""
        found: Acceptance | None = None
        refusal: HedraBatchError | None = None
        try:
            found = await self._api.find(self._describe(attempt))
        except (JobError, UnfinishedError) as error:
            refusal = error
        if found is None and refusal is None:
            await self._ledger.record_absent(attempt)
        finding = Finding.FOUND if found else Finding.UNTOLD if refusal else Finding.ABSENT
        inquiry = Inquiry(
            finding=finding,
            is_window_over=remaining_seconds <= 0,
            deduplication=self._ledger.deduplication(attempt.kind),
            is_wanted=self._is_wanted(attempt),
            resends=attempt.resends,
        )
        return _Look(inquiry, found, refusal)

    def _describe(self, attempt: Attempt) -> SentRequest:
        deduplication = self._ledger.deduplication(attempt.kind)
        return SentRequest(attempt.request_key or "", attempt.submitted_at, deduplication, attempt.remote_id)

    async def _follow(self, attempt: Attempt, job: Job | None, look: _Look, verdict: Verdict) -> Attempt:
        found = look.found
        if look.inquiry.finding is Finding.ABSENT and look.inquiry.deduplication is Deduplication.PROVEN:
            # A server may have begun to give ids of its own; one that always did has been asked for those already.
            found = await self._api.find_elsewhere(self._describe(attempt))
        if found:
            return await self._adopt_or_hold(attempt, look, found)
        if verdict.state is State.RESEND_DUE:
            return await self._resend(attempt, job, look)
        return await self._hold(attempt, verdict, look.refusal)

    async def _adopt_or_hold(self, attempt: Attempt, look: _Look, found: Acceptance) -> Attempt:
        """Take over what was found; what is another attempt's is no answer, and after the window a person's matter."""
        try:
            return await self._adopt(attempt, found)
        except UnfinishedError as error:
            verdict = after_inquiry(replace(look.inquiry, finding=Finding.UNTOLD), self._policy)
            if verdict is None:
                raise
            return await self._hold(attempt, verdict, error)

    async def _resend(self, attempt: Attempt, job: Job | None, look: _Look) -> Attempt:
        body: bytes | None = None
        refusal: JobError | None = None
        try:
            body = await self._find_body(attempt, job)
        except JobError as error:
            refusal = error
        if body is None:
            obstacle = HoldReason.FILE_REFUSED if refusal else HoldReason.REQUEST_LOST
            verdict = after_inquiry(replace(look.inquiry, obstacle=obstacle), self._policy)
            assert verdict, "the window is over"
            return await self._hold(attempt, verdict, refusal)
        # What a lost ledger only may have sent was perhaps never sent.
        what = "the same request is sent again under the same" if attempt.submitted_at else "it is sent under its old"
        logger.warning("%s: not found in the whole quiet window, so %s id", attempt.label, what)
        return await self._ledger.apply(attempt, events.plan_resend(body))

    async def _find_body(self, attempt: Attempt, job: Job | None) -> bytes | None:
        """Take the bytes that were sent; those that were lost with a ledger are written anew for the same inputs."""
        if attempt.body is not None:
            return attempt.body
        if job is None or not _can_write(attempt, job):
            return None
        return await self._make_body(attempt, job, attempt.request_key or "")

    async def _adopt(self, attempt: Attempt, found: Acceptance) -> Attempt:
        """Take over what bears the key: made of the batch and the inputs, it is nobody else's."""
        logger.info("%s: found: it was accepted as %s", attempt.label, found.remote_id)
        event = events.accept(
            found.remote_id, asset_id=found.asset_id, eta_seconds=found.eta_seconds, shows=found.deduplication
        )
        try:
            return await self._ledger.apply(attempt, event)
        except TakenError as conflict:
            raise UnfinishedError(f"What the server shows cannot be right: {conflict}") from conflict

    async def _hold(self, attempt: Attempt, verdict: Verdict, refusal: HedraBatchError | None) -> Attempt:
        sent = f"sent at {attempt.submitted_at}" if attempt.submitted_at else "perhaps sent before the ledger was lost"
        reason = (verdict.reason or "").format(resends=attempt.resends)
        if refusal:
            reason = f"{reason}: {str(refusal).rstrip('.')}"
        seen = "" if refusal and verdict.reason is HoldReason.UNTOLD else ", not found since"
        message = (
            f"It may have been accepted and charged ({sent}{seen}). It is not sent again for now: {reason}. "
            "Each run looks for it once more."
        )
        logger.error("%s: held. %s", attempt.label, message)
        return await self._ledger.apply(attempt, events.hold(verdict, message))
