"""The station of unknown outcomes: reading, for as long as a request may still arrive, decides what became of it."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from hedra_batch.api.v2.answers import Generation
from hedra_batch.api.v2.client import HedraClient
from hedra_batch.clock import from_text, to_text
from hedra_batch.errors import JobError, NotFoundError, UnfinishedError
from hedra_batch.job import IDS_UNPROVEN, UNKNOWN_OUTCOME, Attempt, Job, State
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.writer import TakenError
from hedra_batch.run.pacing.retrying import RetryingClient
from hedra_batch.run.settings import RunSettings

logger = logging.getLogger(__name__)

#: By how much the server's clock may differ from ours, which may have a wrong time zone.
CLOCK_TOLERANCE = timedelta(days=1)
#: Pages of the account's list that are searched at most for the echo of one request.
ECHO_PAGES_LIMIT = 100


class Reconciler:
    """Takes an attempt from UNKNOWN to ACCEPTED, RESERVED or HELD, and from HELD back when it can go on."""

    def __init__(
        self,
        ledger: Ledger,
        client: HedraClient,
        reader: RetryingClient,
        settings: RunSettings,
        make_body: Callable[[Attempt, Job, str], Awaitable[bytes]],
        is_wanted: Callable[[Attempt], bool],
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._retrying = reader
        self._settings = settings
        self._make_body = make_body
        self._is_wanted = is_wanted

    async def process(self, attempt: Attempt, job: Job | None) -> Attempt:
        """Read with growing pauses until the generation is found, or absent after the whole quiet window.

        Raises UnfinishedError when the window is over and the server says neither.
        """
        if (remaining_seconds := self._count_window(attempt)) > 0:
            patience = f"for {remaining_seconds:.0f} s at most"
            logger.info("%s: whether it was accepted is not known; it is looked for, %s", attempt.label, patience)
        pause_seconds = self._settings.shortest_poll_seconds
        while True:
            remaining_seconds = self._count_window(attempt)
            try:
                found = await self._look(attempt)
            except JobError as error:
                if remaining_seconds <= 0:
                    return await self._hold(attempt, UNKNOWN_OUTCOME, f"reading it is refused: {error}")
            else:
                if found:
                    return await self._adopt(attempt, found)
                await self._ledger.record_absent(attempt)
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
        except JobError as error:
            raise UnfinishedError(f"What became of it cannot be read now: {error}") from error
        if found:
            return await self._adopt(attempt, found)
        await self._ledger.record_absent(attempt)
        raise UnfinishedError(attempt.error or "A person must decide.")

    async def order_resend(self, attempt: Attempt, job: Job | None) -> Attempt:
        """Have a held request sent again because a person says so, once it is certain that it cannot arrive any more.

        Raises UnfinishedError where that is not so, or where its video was accepted, or its request is lost.
        """
        if attempt.accepted_at:
            raise UnfinishedError("It was accepted, so another send could be paid for again. Abandon it, then retry.")
        try:
            found = await self._look(attempt)
        except JobError as error:
            raise UnfinishedError(f"Whether it was accepted cannot be read now: {error}") from error
        if found:
            return await self._adopt(attempt, found)
        await self._ledger.record_absent(attempt)
        if (remaining_seconds := self._count_window(attempt)) > 0:
            raise UnfinishedError(f"It may still arrive: its quiet window lasts {remaining_seconds:.0f} s more.")
        body = await self._find_body(attempt, job)
        if body is None:
            raise UnfinishedError("The request was lost with an earlier ledger, and its job is not in the manifest.")
        return await self._ledger.order_resend(attempt, body)

    def _count_window(self, attempt: Attempt) -> float:
        """Count the seconds until absence is an answer, on a clock that nobody can set and that runs through sleep."""
        assert attempt.unknown_mark, "it is written with the state"
        return self._settings.quiet_window_seconds - self._settings.clock.least_seconds_since(attempt.unknown_mark)

    async def _look(self, attempt: Attempt) -> Generation | None:
        """Ask by id, then in the list; None when it is absent from all. Raises JobError when that cannot be told.

        A generation just accepted may be in one of them only. On a server that is not known to use our ids it may be
        there under another one, and then the echo of the request shows it.
        """
        generation_id = attempt.generation_id or ""
        try:
            return await self._retrying.read(lambda: self._client.read_status(generation_id))
        except NotFoundError:
            listed = await self._list(lambda: self._client.list_generations([generation_id]))
        found = _find(generation_id, listed)
        if found is None and self._ledger.ids_verdict != "honoured":
            found = await self._find_echo(attempt)
        return found

    async def _find_echo(self, attempt: Attempt) -> Generation | None:
        """Search what the account has had made since the send, to its end: nothing else shows that it is not there.

        Raises UnfinishedError where the list cannot be read to its end, JobError where it is refused.
        """
        since = to_text(from_text(attempt.submitted_at) - CLOCK_TOLERANCE) if attempt.submitted_at else None
        offset, unreadable = 0, 0
        for _ in range(ECHO_PAGES_LIMIT):
            request = functools.partial(self._client.list_recent, since, offset)
            page = await self._retrying.read(request)
            if found := _find(attempt.generation_id or "", page.generations):
                return found
            offset += page.item_count
            unreadable += page.item_count - len(page.generations)
            if not page.item_count:
                break
        if unreadable or page.item_count:
            raise UnfinishedError(f"The account's list could not be searched to its end ({offset} generations).")
        return None

    async def _list(self, request: Callable[[], Awaitable[list[Generation]]]) -> list[Generation]:
        """Read a list; one that the server refuses has nothing in it, and the answer by id stands."""
        try:
            return await self._retrying.read(request)
        except JobError:
            return []

    async def _adopt(self, attempt: Attempt, found: Generation) -> Attempt:
        """Take over what bears the id: made of the batch and the inputs, it is nobody else's."""
        logger.info("%s: found at the server as %s; it was accepted", attempt.label, found.generation_id)
        try:
            return await self._ledger.accept(
                attempt, generation_id=found.generation_id, asset_id=found.asset_id, eta_seconds=found.eta_seconds
            )
        except TakenError as conflict:
            raise UnfinishedError(f"What the server shows of it cannot be right: {conflict}") from conflict

    async def _decide(self, attempt: Attempt, job: Job | None) -> Attempt:
        """Say what follows from absence, now that no request can still be on its way."""
        if self._ledger.ids_verdict == "unproven":
            return await self._hold(attempt, IDS_UNPROVEN, "nothing shows yet that this server uses our ids")
        if found := await self._find_under_other_id(attempt):
            return await self._adopt(attempt, found)
        if reason := self._find_reason_to_hold(attempt):
            return await self._hold(attempt, UNKNOWN_OUTCOME, reason)
        try:
            body = await self._find_body(attempt, job)
        except JobError as error:
            return await self._hold(attempt, UNKNOWN_OUTCOME, f"its image is refused: {error}")
        if body is None:
            return await self._hold(attempt, UNKNOWN_OUTCOME, "its request was lost with an earlier ledger")
        logger.warning("%s: absent after the quiet window, so the same request is sent again", attempt.label)
        return await self._ledger.resend(attempt, body)

    async def _find_under_other_id(self, attempt: Attempt) -> Generation | None:
        """Look once for the echo before anything is sent again: a server may have begun to give ids of its own."""
        try:
            return await self._find_echo(attempt)
        except (JobError, UnfinishedError) as error:
            logger.debug("%s: the account's list cannot be searched: %s", attempt.label, error)
            return None

    async def _find_body(self, attempt: Attempt, job: Job | None) -> bytes | None:
        """Take the bytes that were sent; those that were lost with a ledger are written anew for the same inputs."""
        if attempt.body is not None:
            return attempt.body
        is_same = job is not None and job.inputs.digest == attempt.digest
        if job is None or not is_same:
            return None
        return await self._make_body(attempt, job, attempt.generation_id or "")

    def _find_reason_to_hold(self, attempt: Attempt) -> str | None:
        if self._ledger.ids_verdict == "ignored":
            return "this server gives ids of its own, so a repeat could be paid for twice"
        if not self._is_wanted(attempt):
            return "the job left the manifest, or was edited since"
        if self._settings.on_unknown == "hold":
            return "the manifest says on_unknown: hold"
        if attempt.resends >= self._settings.resends_limit:
            return f"it was sent again {attempt.resends} times already"
        return None

    async def _hold(self, attempt: Attempt, code: str, reason: str) -> Attempt:
        sent = f"sent at {attempt.submitted_at}" if attempt.submitted_at else "maybe sent before the ledger was lost"
        message = (
            f"Whether this paid request was accepted is unknown ({sent}, absent since), and it is not sent again now: "
            f"{reason}. Each run looks for it again."
        )
        logger.error("%s: held. %s", attempt.label, message)
        return await self._ledger.hold(attempt, code, message)


def is_unproven(attempt: Attempt) -> bool:
    """Tell whether a held attempt only waits for the proof that the server uses our ids."""
    is_accepted = attempt.accepted_at is not None
    return attempt.state is State.HELD and attempt.error_code == IDS_UNPROVEN and not is_accepted


def _find(generation_id: str, listed: list[Generation]) -> Generation | None:
    """Find the generation with this id, or whose echoed request asked for it."""
    return next((item for item in listed if generation_id in (item.generation_id, item.requested_id)), None)
