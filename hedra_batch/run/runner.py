"""The runner: wires the stations, carries each attempt from where the ledger says it stands, and stops cleanly."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

from hedra_batch.api.media import MediaClient
from hedra_batch.api.v2.answers import Model
from hedra_batch.api.v2.client import HedraClient
from hedra_batch.api.v2.pricing import Catalogue, refuse_address
from hedra_batch.errors import (
    BudgetReachedError,
    HedraBatchError,
    JobError,
    OutOfCreditsError,
    RetryError,
    StopRunError,
    SubmittingClosedError,
    UnfinishedError,
)
from hedra_batch.folder import RunFolder
from hedra_batch.job import ENDED_BADLY, IDS_UNPROVEN, IN_FLIGHT, UNSENT, Attempt, Job, State
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.records import JobIdentity, LatestAttempt
from hedra_batch.planning.plan import PlannedJob, Settlement, Step
from hedra_batch.planning.quote import Quote
from hedra_batch.planning.selection import Selection, page_through
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.progress import Progress
from hedra_batch.run.pacing.concurrency import ConcurrencyLimit
from hedra_batch.run.pacing.outage import OutageGuard
from hedra_batch.run.pacing.poller import Poller
from hedra_batch.run.pacing.rate import Backlog, Cooldown, RateLimiter
from hedra_batch.run.pacing.retrying import RetryingClient
from hedra_batch.run.recorder import Recorder
from hedra_batch.run.settings import RunSettings
from hedra_batch.run.stations.fetch import Fetcher
from hedra_batch.run.stations.reconcile import Reconciler, is_unproven
from hedra_batch.run.stations.submit import Submitter
from hedra_batch.run.stations.track import Tracker
from hedra_batch.run.stations.upload import Uploader

logger = logging.getLogger(__name__)

#: Takes an attempt one step on and returns it as the ledger has it then.
Station = Callable[[Attempt, Job | None], Awaitable[Attempt]]


class Runner:
    """Carries out a plan. Cancelling `run` stops it: what is being sent ends first, and is on disk."""

    def __init__(
        self,
        ledger: Ledger,
        client: HedraClient,
        media: MediaClient,
        folder: RunFolder,
        settings: RunSettings,
        progress: Progress,
        settlement: Settlement | None = None,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._settings = settings
        self._progress = progress
        self._settlement = settlement
        limits = settings.limits
        self._cooldown = Cooldown()
        self._outage_guard = OutageGuard(settings)
        submissions_cooldown, reads_cooldown = Cooldown("submissions"), Cooldown("reads")
        client.note_submissions_exhausted = submissions_cooldown.note_exhausted
        client.note_reads_exhausted = reads_cooldown.note_exhausted
        poll_pace = RateLimiter(limits.poll, self._cooldown, reads_cooldown, name="poll")
        self._retrying = RetryingClient(settings, self._outage_guard, poll_pace, self._cooldown)
        self._concurrency = ConcurrencyLimit(limits.in_flight)
        self._backlog = Backlog()
        self._submit_pace = RateLimiter(
            limits.submit,
            self._cooldown,
            submissions_cooldown,
            self._concurrency,
            self._backlog,
            name="submit",
            since_last_seconds=settings.clock.age_seconds(ledger.last_sent_at) if ledger.last_sent_at else None,
        )
        # Beside the jobs in flight, some have their images uploaded ahead, and some are being fetched.
        self._room = asyncio.Semaphore(limits.in_flight + limits.uploads + limits.downloads)
        self._poller = Poller(
            client, self._retrying, settings, progress.note_fraction, ledger.record_missing, self._find_model_seconds
        )
        self._fetcher = Fetcher(ledger, client, media, self._retrying, folder, self._backlog, settings)
        self._tracker = Tracker(ledger, self._poller, folder.path, self._fetcher.offer_link)
        self._catalogue = Catalogue([])
        self._asking: asyncio.Task[list[Model]] | None = None
        self._recorder = Recorder(ledger, client, self._retrying, self._estimate_credits, settings)
        self._stations: dict[State, Station] = {}
        #: Attempts that keep the run going: neither at their end for this run, nor stuck.
        self._active: set[int] = set()
        #: Held in this run until something proves that the server uses our ids.
        self._unproven: list[PlannedJob] = []
        #: What the budget had no credits for, how many were not even recorded for that, and the lowest price of them.
        self._unaffordable: list[tuple[int, PlannedJob]] = []
        self._passed_over = 0
        self._too_dear_credits: int | None = None
        self._has_told_budget = False
        #: The jobs that the run is about, those of them that were begun in it, and whether more are to come.
        self._selection: Selection
        self._begun: set[JobIdentity] = set()
        self._is_feeding = False
        #: Why something was not submitted, when the run itself went on.
        self.closed_by: OutOfCreditsError | BudgetReachedError | None = None

    async def price(self, summary: PlanSummary) -> Quote:
        """Ask for the models and the balance when requests may have to be written, and price what is new.

        It is also the first sign that key and address are right. Raises StopRunError and UserError where they are not.
        """
        if not summary.needs_models:
            return Quote()
        try:
            models = await self.ask_models()
        except JobError as error:
            raise refuse_address(self._client.base_url, error) from error
        self._catalogue = Catalogue(models)
        self._catalogue.check(summary.models)
        prices = Counter[int | None]()
        for kind, count in summary.kinds.items():
            prices[self._catalogue.estimate_credits(dict(kind))] += count
        return Quote(prices, await self._read_balance() if prices else None, summary.searched)

    def ask_models(self) -> asyncio.Task[list[Model]]:
        """Begin to ask for the models, perhaps while it is still worked out whether they are needed."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._retrying.read(self._client.list_models), name="models")
            # Where the answer is not needed, a failure is not either.
            self._asking.add_done_callback(lambda asking: asking.cancelled() or asking.exception())
        return self._asking

    def close(self) -> None:
        """Wait for no answer any more that was asked for early."""
        if self._asking:
            self._asking.cancel()

    async def _read_balance(self) -> int | None:
        try:
            return await self._retrying.read_once(self._client.read_balance)
        except (JobError, RetryError, OutOfCreditsError) as error:
            logger.debug("the balance cannot be read: %s", error)
            return None

    async def run(self, selection: Selection, summary: PlanSummary) -> None:
        """Carry all jobs of a scope that was priced as far as they go. Raises StopRunError when it cannot go on."""
        if not summary.carried:
            return
        self._selection = selection
        self._stations = self._wire()
        watching = asyncio.create_task(self._poller.run(), name="watch")
        try:
            lost = await self._record_lost()
            await self._carry_all(summary.sent, self._feed(lost))
            await self._carry_unaffordable()
            waiting, self._unproven = self._unproven, []
            if self._ledger.ids_verdict == "honoured":
                # The proof that these were held for came from another job meanwhile.
                await self._carry_all(waiting)
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    def _estimate_credits(self, fields: dict[str, str | int]) -> int | None:
        return self._catalogue.estimate_credits(fields)

    def _find_model_seconds(self, attempt: Attempt) -> float | None:
        model = attempt.fields.get("model")
        return self._catalogue.find_eta_seconds(None if model is None else str(model))

    async def restore(self, keys: Sequence[int]) -> int:
        """Fetch anew what is done or ready, by its ids alone; returns how many could not be fetched now."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._restore(key)) for key in keys]
        except BaseExceptionGroup as errors:
            raise _choose(errors) from errors
        return sum(not task.result() for task in tasks)

    async def _restore(self, key: int) -> bool:
        attempt = await self._ledger.attempt(key)
        try:
            await self._fetcher.process(attempt, None)
        except (UnfinishedError, JobError) as reason:
            logger.warning("%s: %s", attempt.label, reason)
            return False
        return True

    def _wire(self) -> dict[State, Station]:
        """Name the station of each state; a state without one is an end."""
        ledger, client, reader, settings = self._ledger, self._client, self._retrying, self._settings
        uploader = Uploader(ledger, client, reader, self._catalogue, settings.limits.uploads)
        paces = (self._submit_pace, self._cooldown, self._concurrency)
        submitter = Submitter(ledger, client, self._outage_guard, *paces, settings, self._is_wanted)
        reconciler = Reconciler(ledger, client, reader, settings, uploader.make_body, self._is_wanted)
        return {
            State.NEW: uploader.process,
            State.RESERVED: submitter.process,
            State.UNKNOWN: reconciler.process,
            State.HELD: reconciler.order_resend if self._settlement is Settlement.RESEND else reconciler.revisit,
            State.ACCEPTED: self._tracker.process,
            State.STUCK: self._tracker.process,
            State.READY: self._fetcher.process,
        }

    async def _carry_all(
        self, sent: Sequence[PlannedJob], others: AsyncIterator[tuple[Attempt, PlannedJob]] | None = None
    ) -> None:
        """Carry what was sent before at once, all of it; others as there is room for them."""
        self._active = {planned.latest.attempt_key for planned in sent if planned.latest}
        self._begun.update(planned.identity for planned in sent)
        self._poller.hold_on()
        self._is_feeding = True
        try:
            async with asyncio.TaskGroup() as group:
                for planned in sent:
                    if planned.latest:
                        self._take_over(planned.latest.attempt_key, planned)
                        group.create_task(self._carry_sent(planned.latest.attempt_key, planned, group))
                if others:
                    await self._carry_as_there_is_room(others, group)
                self._is_feeding = False
                self._let_go_if_idle()
        except BaseExceptionGroup as errors:
            raise _choose(errors) from errors

    async def _carry_as_there_is_room(
        self, others: AsyncIterator[tuple[Attempt, PlannedJob]], group: asyncio.TaskGroup
    ) -> None:
        async for attempt, planned in others:
            self._active.add(attempt.key)
            await self._room.acquire()
            task = group.create_task(self._carry(attempt, planned, group))
            task.add_done_callback(lambda _: self._room.release())

    async def _record_lost(self) -> list[tuple[int, PlannedJob]]:
        """Record all that an earlier ledger may have sent before anything is sent: it counts towards the budget."""
        if self._ledger.loss is None:
            return []
        await self._recorder.wait_for_late_arrivals()
        recorded = []
        async for page in page_through(self._selection, self._ledger):
            lost = [planned for planned in page if planned.is_searched or planned.step is Step.SEARCH]
            recorded += [(attempt.key, planned) for attempt, planned in await self._recorder.record(lost)]
        self._begun.update(planned.identity for _, planned in recorded)
        return recorded

    async def _feed(self, recorded: Sequence[tuple[int, PlannedJob]]) -> AsyncIterator[tuple[Attempt, PlannedJob]]:
        """Yield what is recorded, then what is not sent yet, page by page: each is begun once in a run."""
        for key, planned in recorded:
            yield await self._ledger.attempt(key), replace(planned, step=Step.ADD)
        async for page in page_through(self._selection, self._ledger):
            if self._concurrency.is_closed:
                return
            fresh = [
                planned for planned in page if planned.is_carried and not planned.is_sent and self._is_next(planned)
            ]
            self._begun.update(planned.identity for planned in fresh)
            for attempt, planned in await self._recorder.record(fresh):
                yield attempt, planned

    def _is_next(self, planned: PlannedJob) -> bool:
        """Tell whether a job is to be begun now: it was not yet, and costs less than what the budget refused."""
        if planned.identity in self._begun:
            return False
        is_purchase = planned.state is State.NEW and isinstance(self.closed_by, BudgetReachedError)
        is_too_dear = is_purchase and self._is_too_dear(planned)
        self._passed_over += is_too_dear
        return not is_too_dear

    async def _carry_unaffordable(self) -> None:
        """Try again what the budget refused: what the server refused meanwhile costs nothing after all."""
        before = 0
        while (refused := len(self._unaffordable) + self._passed_over) != before and not self._concurrency.is_closed:
            before = refused
            waiting, self._unaffordable, self._passed_over = self._unaffordable, [], 0
            self.closed_by, self._too_dear_credits = None, None
            await self._carry_all([], self._feed(waiting))

    def _take_over(self, key: int, planned: PlannedJob) -> None:
        if planned.state in IN_FLIGHT:
            self._concurrency.take(key)
        self._progress.note(key, planned.label, planned.state, planned.state)

    async def _carry_sent(self, key: int, planned: PlannedJob, group: asyncio.TaskGroup) -> None:
        await self._carry(await self._ledger.attempt(key), planned, group)

    async def _carry(self, attempt: Attempt, planned: PlannedJob, group: asyncio.TaskGroup) -> None:
        """Take one attempt from station to station until a state has none."""
        key = attempt.key
        try:
            await self._carry_on(await self._begin(attempt, planned), planned, group)
        except SubmittingClosedError:
            await self._put_back(key)
        except (UnfinishedError, JobError) as reason:
            logger.warning("%s: %s", planned.label, reason)
            if planned.state is State.HELD and planned.latest and planned.latest.error_code == IDS_UNPROVEN:
                self._unproven.append(planned)
        except BudgetReachedError as reason:
            self._note_unaffordable(key, planned, reason)
        except OutOfCreditsError as reason:
            logger.error("%s", reason)
            self.closed_by = reason
            await self._concurrency.close()
        finally:
            await self._concurrency.leave(key)
            self._note_inactive(key)

    async def _put_back(self, key: int) -> None:
        """Leave what is not submitted in this run; of what was lost once, the next reads first what became of it."""
        attempt = await self._ledger.attempt(key)
        if attempt.state is State.RESERVED and attempt.unknown_sends and not attempt.ordered_at:
            await self._ledger.reopen(attempt)

    async def _begin(self, attempt: Attempt, planned: PlannedJob) -> Attempt:
        if self._concurrency.is_closed and attempt.state in UNSENT:
            raise SubmittingClosedError
        if planned.step is Step.REWRITE and planned.job:
            attempt = await self._ledger.rewrite(attempt.key, planned.job)
        if isinstance(self.closed_by, BudgetReachedError) and attempt.state is State.NEW and self._is_too_dear(planned):
            raise self.closed_by
        self._progress.note(attempt.key, planned.label, planned.state, attempt.state)
        return attempt

    async def _carry_on(self, attempt: Attempt, planned: PlannedJob, group: asyncio.TaskGroup) -> None:
        if attempt.state is State.STUCK:
            self._note_inactive(attempt.key)
        while station := self._stations.get(attempt.state):
            before = attempt.state
            attempt = await station(attempt, planned.job)
            await self._note(attempt, before)
            if attempt.state is State.HELD and before is not State.HELD:
                # Asking again at once would change nothing.
                self._unproven += [_as_held(attempt, planned)] if is_unproven(attempt) else []
                return
            if attempt.state is State.STUCK:
                # Followed beside the others, so that it takes no room among the new ones.
                group.create_task(self._carry(attempt, replace(planned, step=Step.CARRY), group))
                return
        if attempt.state in ENDED_BADLY:
            await self._follow_up(attempt, planned, group)

    async def _follow_up(self, attempt: Attempt, planned: PlannedJob, group: asyncio.TaskGroup) -> None:
        """Begin a further attempt where the reason of the end may pass; the one that ended is on disk.

        Where a person settles jobs, nothing is bought but what the person has said.
        """
        if attempt.error_code == "insufficient_balance":
            raise OutOfCreditsError(f"The account is out of credits: {attempt.error}")
        following = None
        if planned.job and self._settlement is None:
            following = await self._recorder.record_next(attempt, planned.job)
        if following is not None:
            self._progress.note(following.key, planned.label, attempt.state, State.NEW)
            self._active.add(following.key)
            group.create_task(self._carry(following, replace(planned, step=Step.ADD), group))

    async def _note(self, attempt: Attempt, before: State) -> None:
        self._progress.note(attempt.key, attempt.label, before, attempt.state)
        if attempt.state not in IN_FLIGHT:
            await self._concurrency.leave(attempt.key)

    def _note_inactive(self, key: int) -> None:
        """Let the run end once only those are followed that are stuck."""
        self._active.discard(key)
        self._let_go_if_idle()

    def _let_go_if_idle(self) -> None:
        if not self._active and not self._is_feeding:
            self._poller.let_go()

    def _is_too_dear(self, planned: PlannedJob) -> bool:
        """Tell whether another job was refused that costs no more, so that its image need not be uploaded for a no."""
        price = self._estimate_credits(planned.job.inputs.fields) if planned.job else None
        return price is None or (self._too_dear_credits is not None and price >= self._too_dear_credits)

    def _note_unaffordable(self, key: int, planned: PlannedJob, reason: BudgetReachedError) -> None:
        """Leave a job for which the budget has no credits now; what is cheaper, or reserved, goes on."""
        logger.log(logging.DEBUG if self._has_told_budget else logging.ERROR, "%s", reason)
        self._has_told_budget = True
        self._unaffordable.append((key, planned))
        self.closed_by = self.closed_by or reason
        price = self._estimate_credits(planned.job.inputs.fields) if planned.job else None
        if price is not None:
            self._too_dear_credits = min(price, self._too_dear_credits or price)

    def _is_wanted(self, attempt: Attempt) -> bool:
        """Tell whether the manifest still asks for what an attempt was made for, in this edition or another."""
        job = self._selection.find_job(attempt.job_id)
        return job is not None and job.inputs.digest == attempt.digest


def _as_held(attempt: Attempt, planned: PlannedJob) -> PlannedJob:
    """Plan to carry on a job that this run has held."""
    return replace(planned, step=Step.CARRY, latest=LatestAttempt.of(attempt))


def _choose(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Choose the error to report of several that ended a run together: a stop before others, the first of its kind."""
    flat: list[BaseException] = []
    pending: list[BaseException] = [errors]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending += error.exceptions
        else:
            flat.append(error)
    for kind in (StopRunError, HedraBatchError):
        for error in flat:
            if isinstance(error, kind):
                return error
    return flat[0]
