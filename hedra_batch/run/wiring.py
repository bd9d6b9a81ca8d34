"""Puts a run together: the API and its lanes, the stations of each state, the runner; and what can be asked of it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hedra_batch.api.addresses import is_loopback
from hedra_batch.api.media import MediaClient
from hedra_batch.api.protocol import Api, RequestGroup
from hedra_batch.api.v2.adapter import HedraV2
from hedra_batch.api.v2.client import HedraClient
from hedra_batch.decide import Settlement
from hedra_batch.errors import BudgetReachedError, JobError, OutOfCreditsError, UnfinishedError
from hedra_batch.folder import RunFolder
from hedra_batch.job import Attempt
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.money import Money
from hedra_batch.planning.quote import Quote
from hedra_batch.planning.selection import Selection
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.progress import Progress
from hedra_batch.run.pacing.concurrency import ConcurrencyLimit
from hedra_batch.run.pacing.lane import Lane
from hedra_batch.run.pacing.outage import OutageGuard
from hedra_batch.run.pacing.poller import Poller
from hedra_batch.run.pacing.rate import Backlog, Cooldown
from hedra_batch.run.pacing.retrying import RetryingClient
from hedra_batch.run.recorder import Recorder
from hedra_batch.run.recovery import Recovery
from hedra_batch.run.runner import Runner, Station, choose_error
from hedra_batch.run.settings import RunSettings
from hedra_batch.run.stations.fetch import Fetcher
from hedra_batch.run.stations.reconcile import Reconciler
from hedra_batch.run.stations.reserve import Reserver
from hedra_batch.run.stations.submit import Submitter
from hedra_batch.run.stations.track import Tracker
from hedra_batch.state import HELD, State

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """Where requests go, and as whom."""

    base_url: str
    api_key: str = field(repr=False)


class Run:
    """One run over a ledger that is open: it prices, processes and fetches; it neither prints nor exits."""

    def __init__(
        self,
        ledger: Ledger,
        api: Api,
        fetcher: Fetcher,
        lanes: _Lanes,
        folder: RunFolder,
        settings: RunSettings,
        progress: Progress,
        settlement: Settlement | None,
    ) -> None:
        self._ledger = ledger
        self._api = api
        self._fetcher = fetcher
        self._settings = settings
        self._progress = progress
        self._selection: Selection | None = None
        self._asking: asyncio.Task[None] | None = None
        self._recovery = Recovery(ledger, api, settings)
        poller = Poller(api, settings, progress.on_fraction, ledger.record_missing)
        tracker = Tracker(ledger, poller, folder.path, fetcher.on_link)
        limits = settings.limits
        #: What takes an attempt on from each state; one without a station is an end.
        self.stations = self._wire(tracker, lanes, settlement)
        self._runner = Runner(
            ledger,
            Recorder(ledger, api.estimate, self._recovery),
            self.stations,
            poller,
            lanes.concurrency,
            progress,
            # Beside the jobs in flight, some have their files uploaded ahead, and some are being fetched.
            room=limits.in_flight + limits.uploads + limits.downloads,
            # Where a person settles jobs, nothing is bought but what the person has said.
            attempts=0 if settlement else settings.attempts,
        )

    def _wire(self, tracker: Tracker, lanes: _Lanes, settlement: Settlement | None) -> Mapping[State, Station]:
        ledger, api, settings = self._ledger, self._api, self._settings
        reserver = Reserver(ledger, api, settings.limits.uploads)
        submitter = Submitter(ledger, api, lanes.submissions, lanes.concurrency, settings, self._is_wanted)
        reconciler = Reconciler(ledger, api, settings, reserver.make_body, self._is_wanted)
        stations: dict[State, Station] = {
            State.NEW: reserver.process,
            State.RESERVED: submitter.process,
            State.RESEND_DUE: submitter.process,
            State.RESEND_ORDERED: submitter.process,
            State.UNKNOWN: reconciler.process,
            State.ACCEPTED: tracker.process,
            State.OVERDUE: tracker.process,
            State.READY: self._fetcher.process,
        }
        if settlement is Settlement.RESEND:
            return stations | dict.fromkeys(HELD, reconciler.order_resend)
        return stations | dict.fromkeys(HELD, reconciler.recheck) | {State.HELD_LOST: self._fetcher.recheck}

    @property
    def closed_by(self) -> OutOfCreditsError | BudgetReachedError | None:
        return self._runner.closed_by

    def ask_models(self) -> asyncio.Task[None]:
        """Begin to ask for the models, perhaps while it is still worked out whether they are needed."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._api.load_models(), name="models")
            # Where the answer is not needed, a failure is not either.
            self._asking.add_done_callback(lambda asking: asking.cancelled() or asking.exception())
        return self._asking

    async def quote(self, summary: PlanSummary) -> Quote:
        """Ask for the models and the balance when requests may have to be written, and price what is new.

        Raises StopRunError and UserError where key or address are not right.
        """
        if not summary.needs_models:
            return Quote()
        await self.ask_models()
        self._api.check_models(summary.models)
        prices = Counter[Money | None]()
        for price_key, count in summary.price_keys.items():
            prices[self._api.estimate(dict(price_key))] += count
        return Quote(prices, await self._api.read_balance() if prices else None, summary.searched)

    async def process(self, selection: Selection, summary: PlanSummary) -> None:
        """Process all jobs of a selection that was priced. Raises StopRunError when the run cannot go on."""
        if not summary.processed:
            return
        self._selection = selection
        await self._recovery.recover(selection, self._progress)
        await self._runner.run(selection, summary.sent)

    async def restore(self, keys: Sequence[int]) -> int:
        """Fetch anew what is done or ready, by its ids alone; returns how many could not be fetched now."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._restore(key)) for key in keys]
        except BaseExceptionGroup as errors:
            raise choose_error(errors) from errors
        return sum(not task.result() for task in tasks)

    async def _restore(self, key: int) -> bool:
        attempt = await self._ledger.attempt(key)
        try:
            fetched = await self._fetcher.process(attempt, None)
        except (UnfinishedError, JobError) as reason:
            logger.warning("%s: %s", attempt.label, reason)
            return False
        return fetched.state is State.DONE

    def _is_wanted(self, attempt: Attempt) -> bool:
        """Tell whether the manifest still asks for what an attempt was made for, in this edition or another."""
        job = self._selection.find_job(attempt.job_id) if self._selection else None
        return job is not None and job.inputs.digest == attempt.digest

    def close(self) -> None:
        """Wait for no answer any more that was asked for early."""
        if self._asking:
            self._asking.cancel()


class _Lanes:
    """One lane for each group of requests, and what they share."""

    def __init__(self, settings: RunSettings, last_sent_at: str | None) -> None:
        limits, clock = settings.limits, settings.clock
        outage_guard, cooldown = OutageGuard(settings), Cooldown()
        self.concurrency = ConcurrencyLimit(limits.in_flight)
        #: Ready downloads go before new submissions.
        self.backlog = Backlog()
        self.reads = Lane("poll", limits.poll, settings, outage_guard, cooldown, own_cooldown=Cooldown("reads"))
        self.submissions = Lane(
            "submit",
            limits.submit,
            settings,
            outage_guard,
            cooldown,
            self.concurrency,
            self.backlog,
            own_cooldown=Cooldown("submissions"),
            since_last_seconds=clock.age_seconds(last_sent_at) if last_sent_at else None,
        )

    def on_used_up(self, group: RequestGroup, seconds: float) -> None:
        """The API takes no more requests of a group for so long."""
        lane = self.submissions if group is RequestGroup.SUBMISSIONS else self.reads
        lane.on_used_up(seconds)


@asynccontextmanager
async def open_run(
    ledger: Ledger,
    account: Account,
    folder: RunFolder,
    settings: RunSettings,
    progress: Progress,
    settlement: Settlement | None = None,
) -> AsyncIterator[Run]:
    """Open the connections of a run, and close them in the end."""
    lanes = _Lanes(settings, ledger.last_sent_at)
    client = HedraClient(
        account.base_url,
        account.api_key,
        settings.submit_timeout_seconds,
        lanes.on_used_up,
    )
    media = MediaClient(allows_private_hosts=is_loopback(account.base_url))
    async with client, media:
        api = HedraV2(client, RetryingClient(settings, lanes.reads))
        fetcher = Fetcher(ledger, api, media, folder, lanes.backlog, settings)
        run = Run(ledger, api, fetcher, lanes, folder, settings, progress, settlement)
        try:
            yield run
        finally:
            run.close()
