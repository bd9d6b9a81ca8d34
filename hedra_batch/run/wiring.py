"""Puts a run together: the API and its lanes, the station of each state, the runner."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hedra_batch.api.addresses import Network, is_loopback
from hedra_batch.api.media import MediaClient
from hedra_batch.api.protocol import Api, Calls, RequestGroup
from hedra_batch.api.v2.adapter import HedraV2
from hedra_batch.api.v2.client import HedraClient
from hedra_batch.decide import Settlement
from hedra_batch.folder import RunFolder
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.progress import Pace, Progress
from hedra_batch.run.billing import Billing
from hedra_batch.run.pacing.concurrency import ConcurrencyLimit
from hedra_batch.run.pacing.lane import Lane
from hedra_batch.run.pacing.outage import OutageGuard
from hedra_batch.run.pacing.poller import Poller
from hedra_batch.run.pacing.rate import Backlog, Cooldown, FirstRead
from hedra_batch.run.pacing.retrying import RetryingClient
from hedra_batch.run.recorder import Recorder
from hedra_batch.run.recovery import Recovery
from hedra_batch.run.restoration import Restoration
from hedra_batch.run.run import Run, Wanted
from hedra_batch.run.runner import Runner, Station
from hedra_batch.run.settings import RunSettings
from hedra_batch.run.stations.fetch import Fetcher
from hedra_batch.run.stations.reconcile import Reconciler
from hedra_batch.run.stations.reserve import Reserver
from hedra_batch.run.stations.submit import Submitter
from hedra_batch.run.stations.track import Tracker
from hedra_batch.state import HELD, TO_SEND, State

#: As many reads of a run go without keeping the pace, whichever are the first. Mostly those are the models and the
#: balance, which a run waits for at its start; a run that needs neither spends the turns on other reads.
READS_BEFORE_FIRST_REQUEST = 2


@dataclass(frozen=True, slots=True)
class ApiAccount:
    """Where requests go, and as whom."""

    base_url: str
    api_key: str = field(repr=False)
    #: Private networks that results may come from.
    media_networks: Sequence[Network] = ()


class Lanes:
    """One lane for each group of requests, whose limits are its own, and what they share."""

    def __init__(self, settings: RunSettings, last_sent_at: str | None) -> None:
        limits, clock = settings.limits, settings.clock
        self._configured = limits.submit
        self._outage_guard = OutageGuard(settings)
        self.concurrency = ConcurrencyLimit(limits.in_flight)
        #: Ready downloads go before new submissions.
        self.backlog = Backlog()
        self.first_read = FirstRead(settings.first_read_seconds)
        self.reads = Lane(
            "poll",
            limits.poll,
            settings,
            self._outage_guard,
            Cooldown("reads"),
            free_turns=READS_BEFORE_FIRST_REQUEST,
        )
        self.submissions = Lane(
            "submit",
            limits.submit,
            settings,
            self._outage_guard,
            Cooldown("submissions"),
            self.first_read,
            self.concurrency,
            self.backlog,
            since_last_seconds=clock.age_seconds(last_sent_at) if last_sent_at else None,
        )

    def read_pace(self) -> Pace:
        """Tell how fast submissions may go now, and what keeps the next one."""
        limiter, pause = self.submissions.limiter, self.submissions.cooldown
        return Pace(
            allowed=limiter.rate,
            configured=self._configured,
            is_awaited=limiter.is_awaited,
            next_seconds=limiter.next_seconds,
            pause_seconds=pause.remaining_seconds,
            pause_reason=pause.reason,
            outage_seconds=self._outage_guard.failing_seconds,
            outage_reason=self._outage_guard.failure,
            in_flight=self.concurrency.taken,
            slots=self.concurrency.cap,
            configured_slots=self.concurrency.size,
            backlog=self.backlog.count,
            has_taken_key=self._outage_guard.has_taken_key,
        )

    def on_used_up(self, group: RequestGroup, seconds: float) -> None:
        """The API takes no more requests of a group for so long."""
        lane = self.submissions if group is RequestGroup.SUBMISSIONS else self.reads
        lane.on_used_up(seconds)


def make_stations(  # noqa: PLR0913, PLR0917 - it only hands on what each station needs
    ledger: Ledger,
    api: Api,
    fetcher: Fetcher,
    tracker: Tracker,
    lanes: Lanes,
    wanted: Wanted,
    settings: RunSettings,
    settlement: Settlement | None,
    billing: Billing,
) -> Mapping[State, Station]:
    """Name what takes an attempt on from each state; a state without a station is an end."""
    reserver = Reserver(ledger, api, billing.estimate, settings.limits.uploads)
    submitter = Submitter(
        ledger, api, lanes.submissions, lanes.concurrency, settings, billing.estimate, wanted.includes
    )
    reconciler = Reconciler(ledger, api, settings, reserver.make_body, wanted.includes)
    stations: dict[State, Station] = {
        State.NEW: reserver.process,
        **dict.fromkeys(TO_SEND, submitter.process),
        State.UNKNOWN: reconciler.process,
        State.ACCEPTED: tracker.process,
        State.OVERDUE: tracker.process,
        State.READY: fetcher.process,
    }
    if settlement is Settlement.RESEND:
        return stations | dict.fromkeys(HELD, reconciler.order_resend)
    return stations | dict.fromkeys(HELD, reconciler.recheck) | {State.HELD_LOST: fetcher.recheck}


@asynccontextmanager
async def open_api(account: ApiAccount, calls: Calls) -> AsyncIterator[Api]:
    """Open the API alone, for questions that cost nothing."""
    async with HedraClient(account.base_url, account.api_key) as client:
        yield HedraV2(client, calls)


@asynccontextmanager
async def open_run(
    ledger: Ledger,
    account: ApiAccount,
    folder: RunFolder,
    settings: RunSettings,
    progress: Progress,
    settlement: Settlement | None = None,
) -> AsyncIterator[Run]:
    """Open the connections of a run, and close them in the end."""
    lanes, wanted, limits = Lanes(settings, ledger.last_sent_at), Wanted(), settings.limits
    client = HedraClient(account.base_url, account.api_key, settings.submit_timeout_seconds, lanes.on_used_up)
    media = MediaClient(allows_private_hosts=is_loopback(account.base_url), allowed_networks=account.media_networks)
    async with client, media:
        api = HedraV2(client, RetryingClient(settings, lanes.reads))
        poller = Poller(api, settings, progress.on_fraction, ledger.record_missing, lanes.first_read)
        fetcher = Fetcher(ledger, api, media, folder, lanes.backlog, settings)
        billing = Billing(ledger, api, await ledger.look(lambda reader: reader.read_charges()), settings.clock)
        tracker = Tracker(ledger, poller, folder.path, fetcher.on_link, billing)
        recovery = Recovery(ledger, api, billing.estimate)
        restoration = Restoration(ledger, api, billing.estimate, settings, recovery)
        runner = Runner(
            ledger,
            Recorder(ledger, billing.estimate, restoration),
            make_stations(ledger, api, fetcher, tracker, lanes, wanted, settings, settlement, billing),
            poller,
            lanes.concurrency,
            progress,
            # Beside the jobs in flight, some have their files uploaded ahead, and some are being fetched.
            room=limits.in_flight + limits.uploads + limits.downloads,
            # Where a person settles jobs, nothing is bought but what the person has said.
            attempts=0 if settlement or settings.is_exact else settings.attempts,
        )
        if settings.is_exact:
            billing.on_dearer = runner.close
        run = Run(ledger, fetcher, restoration, runner, wanted, progress, billing, lanes.read_pace)
        try:
            yield run
        finally:
            billing.close()
