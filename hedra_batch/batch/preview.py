"""What a run would do and cost, looked at without one: nothing is locked, written or sent. No network library.

`batch/pricing` asks the API for what is needed here of prices; without it everything else is told all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from hedra_batch.batch.matching import matches
from hedra_batch.batch.request import PlanRequest, find_nothing_selected, make_selection
from hedra_batch.clock import CLOCK
from hedra_batch.folder import RunFolder
from hedra_batch.inputs import FieldValues, Spellings
from hedra_batch.job import UNUSABLE
from hedra_batch.ledger.budget import Account, Budget
from hedra_batch.ledger.events import Guard
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.manifest.loading import Manifest
from hedra_batch.money import Budgets, Money
from hedra_batch.planning.coverage import Shortfall, expect_room, find_shortfalls
from hedra_batch.planning.edits import Edit
from hedra_batch.planning.fingerprint import Fingerprint
from hedra_batch.planning.plan import PlannedJob, Reason, Rules
from hedra_batch.planning.prices import ListPrice, Prices
from hedra_batch.planning.quote import Quote
from hedra_batch.planning.recognition import Recognition
from hedra_batch.planning.result import find_overdue_instant, is_overdue_since
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.units import Limits

#: What a video is taken to need where its model does not say.
USUAL_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Market:
    """What the API says of prices now."""

    list_price: ListPrice
    find_usual_seconds: Callable[[FieldValues], float | None]
    check_models: Callable[[Mapping[str | None, str]], None]
    balance: Money | None


@dataclass(frozen=True, slots=True)
class ListedJob:
    """One job of a plan as a person sees it."""

    planned: PlannedJob
    #: None for what is not bought, and where it is not known.
    price: Money | None = None
    #: Where it was edited after it was paid for.
    change: Edit | None = None


class Preview:
    """A plan over a ledger that is only read, also while a run writes it; `list_jobs` comes first."""

    def __init__(
        self,
        manifest: Manifest,
        request: PlanRequest,
        reader: LedgerReader | None,
        budgets: Budgets,
        market: Market | None,
    ) -> None:
        self._manifest = manifest
        self._request = request
        self._reader = reader
        self._budget = Budget(budgets)
        self._market = market
        self._prices = Prices(market.list_price if market else lambda _: None, reader.read_charges() if reader else ())
        self._fingerprint = Fingerprint()
        self.summary = PlanSummary(fingerprint=self._fingerprint)
        #: Whether something waits for a person.
        self.needs_person = False
        #: The prices of what was sent with an unknown outcome, and is sent again if the server does not have it.
        self.unknown: list[Money | None] = []

    def list_jobs(self) -> Iterator[ListedJob]:
        """Yield every job, in the order of a run. Raises UsageError where the ids select nothing."""
        lost_attempts = self._reader.read_lost_attempts() if self._reader else 0
        rules = Rules(attempts=self._manifest.attempts, lost_attempts=lost_attempts)
        overdue_before = find_overdue_instant(CLOCK)
        jobs = self._manifest.jobs.with_spellings(Spellings(self._reader.read_models() if self._reader else {}))
        recognition = Recognition(jobs)
        if self._reader:
            recognition.look(self._reader)
        recognized = recognition.settle(self._reader) if self._reader else None
        selection = make_selection(jobs, self._request, rules, recognized)
        for planned in selection.planned_jobs(self._reader):
            self.summary.add(planned)
            self.needs_person = self.needs_person or _needs_person(planned, overdue_before)
            if planned.reason is Reason.UNKNOWN and planned.job and planned.is_sent:
                self.unknown.append(self._prices.estimate(planned.job.inputs.fields))
            price = self._prices.estimate(planned.job.inputs.fields) if planned.job and planned.is_bought else None
            yield ListedJob(planned, price, self._find_change(planned))
        self.needs_person = self.needs_person or bool(selection.count_waiting().get(UNUSABLE))
        if error := find_nothing_selected(self.summary, self._manifest.jobs, self._request, self._reader):
            raise error
        self.summary.note_twins(recognition.twins)

    @property
    def has_budget(self) -> bool:
        return self._budget.limits.is_set

    def check_models(self) -> None:
        """Refuse models that the API does not have, as a run does. Raises ManifestError."""
        if self._market:
            self._market.check_models(self.summary.models)

    @property
    def quote(self) -> Quote:
        runs = [(self._prices.estimate(dict(key)), count) for key, count in self.summary.price_runs]
        return Quote(runs, self._market.balance if self._market else None, self.summary.searched)

    @property
    def code(self) -> str:
        """The code by which a run buys exactly this."""
        return self._fingerprint.write_code(self._prices.estimate)

    def read_accounts(self) -> list[Account]:
        """Read each budget; what a run that is going has reserved is in the plan, and counts there."""
        edition, month = self._manifest.jobs.edition, CLOCK.now_text()[:7]
        return list(self._budget.read_accounts(self._reader, edition, month, Guard.SEND))

    def list_waiting(self) -> Iterator[tuple[str, str]]:
        """Yield the selected jobs that cannot be made now, each with why."""
        waiting = self._manifest.jobs.waiting.items() if self._request.first is None else ()
        yield from ((job_id, wait.what) for job_id, wait in waiting if matches(job_id, self._request.ids))

    def find_shortfalls(self, folder: RunFolder) -> list[Shortfall]:
        """Find what covers less than all; without prices nothing is known of budget and balance."""
        if not self.summary.bought:
            return []
        sizes = self._reader.average_sizes() if self._reader else {}
        room = expect_room(self.summary, sizes, folder.read_free_bytes())
        quote = self.quote
        return list(find_shortfalls(quote.runs, self.read_accounts() if self._market else (), quote.balance, room))

    def estimate_seconds(self, limits: Limits) -> float:
        """Estimate how long it takes to make what is bought, at the pace of the limits."""
        count = self.summary.bought
        if not count:
            return 0.0
        kinds = self.summary.price_runs
        usual = sum(self._find_usual_seconds(dict(key)) * each for key, each in kinds) / max(
            sum(n for _, n in kinds), 1
        )
        by_submissions = (count - 1) * limits.submit.interval_seconds
        by_places = (count - 1) // limits.in_flight * usual
        return max(by_submissions, by_places) + usual

    def _find_usual_seconds(self, fields: FieldValues) -> float:
        return (self._market.find_usual_seconds(fields) if self._market else None) or USUAL_SECONDS

    def _find_change(self, planned: PlannedJob) -> Edit | None:
        if planned.reason is not Reason.CHANGED or not (planned.job and planned.latest and self._reader):
            return None
        sent = self._reader.read_fields(planned.latest.attempt_key)
        return Edit(planned.job.id, planned.label, sent, planned.job.inputs.fields)


def _needs_person(planned: PlannedJob, overdue_before: str) -> bool:
    if planned.reason in (Reason.CHANGED, Reason.HELD):
        return True
    return planned.latest is not None and is_overdue_since(planned.latest, overdue_before)
