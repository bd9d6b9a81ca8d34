"""The runner: admits planned jobs, processes each attempt from station to station, and parks what cannot go on now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from hedra_batch.decide import may_retry
from hedra_batch.errors import (
    BudgetReachedError,
    HedraBatchError,
    JobError,
    NothingFetchedError,
    OutOfCreditsError,
    SubmittingClosedError,
    UnfetchedError,
    UnfinishedError,
)
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.records import JobIdentity, LatestAttempt
from hedra_batch.money import Money
from hedra_batch.planning.plan import PlannedJob, Step
from hedra_batch.planning.selection import Selection, page_through
from hedra_batch.progress import Progress
from hedra_batch.run.pacing.concurrency import ConcurrencyLimit
from hedra_batch.run.pacing.poller import Poller
from hedra_batch.run.parking import Parked, Parking, Wait
from hedra_batch.run.pledges import Pledges
from hedra_batch.run.recorder import Recorder
from hedra_batch.run.together import choose_error
from hedra_batch.run.unfetched import UnfetchedCount
from hedra_batch.state import ENDED_BADLY, HELD, IN_FLIGHT, POLLED, UNSENT, State

logger = logging.getLogger(__name__)

#: Takes an attempt one step on and returns it as the ledger has it then.
Station = Callable[[Attempt, Job | None], Awaitable[Attempt]]


class Runner:
    """Carries out a plan. Cancelling `run` stops it: what is being sent ends first, and is on disk."""

    def __init__(
        self,
        ledger: Ledger,
        recorder: Recorder,
        stations: Mapping[State, Station],
        poller: Poller,
        concurrency: ConcurrencyLimit,
        progress: Progress,
        *,
        room: int,
        attempts: int,
    ) -> None:
        """Make a runner; `attempts` is how many a job gets without a person, and `room` is for jobs at once."""
        self._ledger = ledger
        self._recorder = recorder
        #: A state without a station is an end.
        self.stations = stations
        self._poller = poller
        self._concurrency = concurrency
        self._progress = progress
        self._attempts = attempts
        self._room = asyncio.Semaphore(room)
        self._parking = Parking(ledger)
        self._pledges = Pledges()
        self._group = asyncio.TaskGroup()
        #: What was begun in this run; each is begun once.
        self._begun: set[JobIdentity | int] = set()
        #: Attempts that keep the run going: neither at their end for this run, nor overdue.
        self._active: set[int] = set()
        self._is_admitting = False
        self._unfetched = UnfetchedCount()
        self._closed_by: HedraBatchError | None = None

    @property
    def closed_by(self) -> HedraBatchError | None:
        """Why something was not submitted, when the run itself went on."""
        return self._closed_by or self._parking.budget_reason

    async def close(self, reason: HedraBatchError) -> None:
        """Submit nothing more; what is at the server is followed and fetched.

        The first reason is what the run is closed by, but where nothing can be fetched, more credits would not help.
        """
        if self._closed_by is None or isinstance(reason, NothingFetchedError):
            logger.error("%s", reason)
            self._closed_by = reason
        await self._concurrency.close()

    @property
    def left_out(self) -> Mapping[JobIdentity, Money | None]:
        """What the budget has no room for, each at the price that it is known to have by now."""
        return {identity: self._recorder.price(planned) for identity, planned in self._parking.left_out.items()}

    async def run(self, selection: Selection, sent: Sequence[PlannedJob]) -> None:
        """Process the jobs of a selection as far as they go, beginning with those that an earlier run sent.

        What is in flight is read once before anything is submitted, which waits only so long for that.
        Raises StopRunError when it cannot go on.
        """
        followed = [one.latest.attempt_key for one in sent if one.latest and one.state in POLLED]
        self._poller.first_read.begin(followed)
        polling = asyncio.create_task(self._poller.run(), name="poller")
        try:
            await self._process_all(sent, self._admit(selection))
            while (ready := await self._parking.take_ready()) is not None:
                await self._process_all([], self._admit(selection, ready))
        finally:
            polling.cancel()
            await asyncio.wait({polling})

    async def follow(self, selection: Selection, sent: Sequence[PlannedJob]) -> None:
        """Process only the jobs that an earlier run sent, as far as they go without a further submission."""
        await self._concurrency.close()
        await self.run(selection, sent)

    # Admitting

    async def _process_all(self, sent: Sequence[PlannedJob], others: AsyncIterator[tuple[Attempt, PlannedJob]]) -> None:
        """Process what was sent before at once, all of it; others as there is room for them."""
        self._active = {planned.latest.attempt_key for planned in sent if planned.latest}
        self._begun.update(planned.mark for planned in sent)
        self._poller.on_busy()
        self._is_admitting = True
        try:
            async with asyncio.TaskGroup() as self._group:
                for planned in sent:
                    if planned.latest:
                        self._take_room(planned.latest.attempt_key, planned)
                        self._group.create_task(self._resume(planned.latest.attempt_key, planned))
                async for attempt, planned in others:
                    self._active.add(attempt.key)
                    await self._room.acquire()
                    task = self._group.create_task(self._process(attempt, planned))
                    task.add_done_callback(lambda _: self._room.release())
                self._is_admitting = False
                self._let_poller_end()
        except BaseExceptionGroup as errors:
            raise choose_error(errors) from errors

    async def _admit(
        self, selection: Selection, ready: Sequence[Parked] = ()
    ) -> AsyncIterator[tuple[Attempt, PlannedJob]]:
        """Yield what was parked and is ready, then what is not begun yet, page by page, each with its row."""
        for parked in ready:
            self._pledge(parked.planned)
            yield await self._ledger.attempt(parked.attempt.key), parked.planned
        if not self._concurrency.is_closed:
            await self._recorder.recover(selection, self._progress)
        async for page in page_through(selection, self._ledger):
            if self._concurrency.is_closed:
                return
            fresh = [planned for planned in page if self._is_admitted(planned) and await self._has_room(planned)]
            if any(planned.state in UNSENT for planned in fresh) and await self._recorder.settle_restore():
                # What was found meanwhile changes what is to be done.
                self._take_back_pledges(fresh)
                async for one in self._admit(selection):
                    yield one
                return
            self._begun.update(planned.mark for planned in fresh)
            recorded = await self._recorder.record(fresh)
            begun = {planned.identity for _, planned in recorded}
            self._take_back_pledges(planned for planned in fresh if planned.identity not in begun)
            for attempt, planned in recorded:
                yield attempt, planned

    def _is_admitted(self, planned: PlannedJob) -> bool:
        if planned.mark in self._begun or planned.step in (Step.LEAVE, Step.RECOVER):
            return False
        if planned.state is State.NEW and self._is_too_dear(planned):
            self._leave_out(planned)
            return False
        return True

    async def _has_room(self, planned: PlannedJob) -> bool:
        """Tell whether the budget has room for a further attempt, so that none is recorded that cannot be sent.

        A first one is recorded all the same: it stands nowhere else.
        """
        if planned.job and planned.latest and planned.step is Step.ADD and self._ledger.is_bounded:
            price = self._recorder.price(planned)
            if reason := await self._ledger.find_objection(planned.job, price, self._pledges.total):
                self._on_too_dear(planned, reason)
                return False
        self._pledge(planned)
        return True

    def _pledge(self, planned: PlannedJob) -> None:
        if self._ledger.is_bounded and planned.state is State.NEW:
            self._pledges.add(planned.identity, self._recorder.price(planned))

    def _take_back_pledges(self, planned_jobs: Iterable[PlannedJob]) -> None:
        """Give room back to the budget that was set aside for jobs which are not begun after all."""
        for planned in planned_jobs:
            self._pledges.drop(planned.identity)

    def _leave_out(self, planned: PlannedJob) -> None:
        self._parking.left_out[planned.identity] = planned

    def _is_too_dear(self, planned: PlannedJob) -> bool:
        """Tell whether the budget has refused what costs no more; before it refuses something, nothing is priced."""
        return self._parking.budget_reason is not None and self._parking.is_too_dear(self._recorder.price(planned))

    def _take_room(self, key: int, planned: PlannedJob) -> None:
        if planned.state in IN_FLIGHT:
            self._concurrency.take(key)
        self._progress.on_change(key, planned.label, planned.state, planned.state)

    # Processing

    async def _resume(self, key: int, planned: PlannedJob) -> None:
        await self._process(await self._ledger.attempt(key), planned)

    async def _process(self, attempt: Attempt, planned: PlannedJob) -> None:
        """Take one attempt from station to station until a state has none, or park it."""
        key = attempt.key
        try:
            await self._advance(await self._begin(attempt, planned), planned)
        except SubmittingClosedError:
            self._parking.park(Wait.NEXT_RUN, attempt, planned)
        except (UnfinishedError, JobError) as reason:
            logger.warning("%s: %s", planned.label, reason)
            self._park(attempt, planned)
            if isinstance(reason, UnfetchedError):
                await self._on_unfetched(attempt, reason)
        except BudgetReachedError as reason:
            self._park_too_dear(attempt, planned, reason)
        except OutOfCreditsError as reason:
            await self.close(reason)
        finally:
            await self._concurrency.leave(key)
            self._poller.first_read.on_read(key)
            self._pledges.drop(attempt.identity)
            self._progress.on_parked(key)
            self._on_inactive(key)

    async def _begin(self, attempt: Attempt, planned: PlannedJob) -> Attempt:
        if self._concurrency.is_closed and attempt.state in UNSENT:
            raise SubmittingClosedError
        if planned.step is Step.REWRITE and planned.job:
            attempt = await self._ledger.rewrite(attempt.key, planned.job, self._recorder.price(planned))
        reason = self._parking.budget_reason
        if reason and attempt.state is State.NEW and self._is_too_dear(planned):
            raise reason
        self._progress.on_change(attempt.key, planned.label, planned.state, attempt.state)
        return attempt

    async def _advance(self, attempt: Attempt, planned: PlannedJob) -> None:
        if attempt.state is State.OVERDUE:
            self._on_inactive(attempt.key)
        while station := self.stations.get(attempt.state):
            before = attempt.state
            attempt = await station(attempt, planned.job)
            await self._on_change(attempt, before)
            if attempt.state in HELD and before not in HELD:
                # Asking again at once would change nothing.
                self._park(attempt, planned)
                return
            if attempt.state is State.OVERDUE:
                # Followed beside the others, so that it takes no room among the new ones.
                self._group.create_task(self._process(attempt, _replan(attempt, planned)))
                return
        if attempt.state in ENDED_BADLY:
            await self._follow_up(attempt, planned)

    async def _follow_up(self, attempt: Attempt, planned: PlannedJob) -> None:
        """Begin a further attempt where the reason of the end may pass; the one that ended is on disk."""
        if attempt.error_code == "insufficient_balance":
            raise OutOfCreditsError(f"The account is out of credits: {attempt.error}. Add credits to it.")
        if not (planned.job and planned.is_wanted) or not may_retry(
            attempt.state, attempt.error_code, attempt.number, self._attempts
        ):
            return
        next_planned = replace(planned, step=Step.ADD, latest=LatestAttempt.of(attempt))
        if not await self._has_room(next_planned):
            return
        following = await self._recorder.record_next(attempt, planned.job)
        if following is None:
            self._take_back_pledges([next_planned])
            return
        self._progress.on_change(following.key, planned.label, attempt.state, State.NEW)
        self._active.add(following.key)
        self._group.create_task(self._process(following, next_planned))

    async def _on_change(self, attempt: Attempt, before: State) -> None:
        self._progress.on_change(attempt.key, attempt.label, before, attempt.state)
        self._pledges.drop(attempt.identity)
        if attempt.state is State.DONE:
            self._unfetched.on_fetched()
        if attempt.state not in IN_FLIGHT:
            await self._concurrency.leave(attempt.key)

    async def _on_unfetched(self, attempt: Attempt, error: UnfetchedError) -> None:
        """Buy nothing more once it shows that nothing can be fetched."""
        if reason := self._unfetched.on_unfetched(attempt.identity, error.obstacle):
            await self.close(reason)

    def _on_inactive(self, key: int) -> None:
        """Let the run end once only those are followed that are overdue."""
        self._active.discard(key)
        self._let_poller_end()

    def _let_poller_end(self) -> None:
        if not self._active and not self._is_admitting:
            self._poller.on_idle()

    # Parking

    def _park(self, attempt: Attempt, planned: PlannedJob) -> None:
        wait = Wait.PERSON if attempt.state in HELD else Wait.NEXT_RUN
        if attempt.state is State.HELD_UNPROVEN:
            wait = Wait.PROOF
        self._parking.park(wait, attempt, _replan(attempt, planned))

    def _park_too_dear(self, attempt: Attempt, planned: PlannedJob, reason: BudgetReachedError) -> None:
        """Leave a job for which the budget has no room now; what is cheaper, or reserved, goes on."""
        self._on_too_dear(planned, reason)
        self._parking.park(Wait.BUDGET, attempt, planned)

    def _on_too_dear(self, planned: PlannedJob, reason: BudgetReachedError) -> None:
        logger.log(logging.DEBUG if self._parking.was_budget_reached else logging.ERROR, "%s", reason)
        self._parking.on_too_dear(planned.identity[0], self._recorder.price(planned), reason)
        self._leave_out(planned)


def _replan(attempt: Attempt, planned: PlannedJob) -> PlannedJob:
    """Plan to go on with an attempt from where it stands now."""
    return replace(planned, step=Step.PROCESS, latest=LatestAttempt.of(attempt))
