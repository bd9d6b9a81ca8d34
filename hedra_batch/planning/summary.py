"""What a plan comes to: counts, and the few entries that are needed one by one. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from hedra_batch.inputs import PriceKey, find_price_key
from hedra_batch.job import Job
from hedra_batch.planning.edits import EditTally
from hedra_batch.planning.fingerprint import Fingerprint
from hedra_batch.planning.plan import PlannedJob, Reason, Step
from hedra_batch.planning.recognition import TWINS_LIMIT
from hedra_batch.state import PUBLIC_STATES

#: What is not bought, in the order in which it is counted.
REST = (Reason.RUNNING, Reason.UNKNOWN, Reason.DONE, Reason.CHANGED, Reason.FAILED, Reason.HELD)


@dataclass(slots=True)
class PlanSummary:
    """The sums of a plan, taken job by job."""

    #: Jobs of the manifest, by what is the matter with them.
    reasons: Counter[Reason] = field(default_factory=Counter)
    #: Those of them that may be bought, likewise.
    bought_reasons: Counter[Reason] = field(default_factory=Counter)
    #: What may be bought, in its order: what decides the price, and how many there are of it in a row.
    price_runs: list[tuple[PriceKey, int]] = field(default_factory=list)
    #: Tells whether two plans buy the same; only where somebody asks.
    fingerprint: Fingerprint | None = None
    #: Each model that may be asked for, and a job that asks for it.
    models: dict[str | None, str] = field(default_factory=dict)
    #: Jobs that are looked for first, since the ledger that would know them was lost.
    searched: int = 0
    #: The jobs that were edited after they may have been paid for, and are neither kept nor bought again.
    edits: EditTally = field(default_factory=EditTally)
    #: Those of them whose video counts for the edited job from this plan on.
    kept: int = 0
    #: What an earlier run sent and did not end: few beside all.
    sent: list[PlannedJob] = field(default_factory=list)
    #: How many planned jobs there are, and for how many of them the run does anything.
    selected: int = 0
    processed: int = 0
    #: Whether a request may have to be written, a further attempt's too, for which the models must be known.
    needs_models: bool = False
    #: Jobs by the public state that they begin in.
    states: Counter[str] = field(default_factory=Counter)
    #: Jobs that the manifest does not have, by their edition, and the edition of those that it has.
    left: Counter[str] = field(default_factory=Counter)
    #: Attempts that are followed though their jobs stand by others.
    beside: int = 0
    #: Jobs whose paid work counted for another one until now.
    renamed: int = 0
    #: The first jobs that are bought though another one asks for the same, by their ids.
    twins: dict[str, str] = field(default_factory=dict)
    #: The first job of each wish that is bought, by what it asks for; of variations what they have in common.
    _wishes: dict[int, str] = field(default_factory=dict)
    edition: str | None = None

    def add(self, planned: PlannedJob) -> None:
        self.selected += 1
        self.states[PUBLIC_STATES[planned.state]] += 1
        self.renamed += bool(planned.formerly)
        if planned.is_beside:
            self.beside += 1
        elif planned.job is None and not planned.is_waiting:
            self.left[planned.identity[0]] += 1
        else:
            self.reasons[planned.reason] += 1
            self.edition = planned.identity[0]
        if planned.is_bought:
            self._add_bought(planned)
        self.kept += planned.is_kept
        if planned.reason is Reason.CHANGED and planned.job and planned.latest:
            self.edits.add(planned.job, planned.latest)
        if planned.is_processed:
            self.processed += 1
            self.needs_models = self.needs_models or planned.is_wanted
            self.sent += [planned] if planned.is_sent else []

    def _add_bought(self, planned: PlannedJob) -> None:
        self.bought_reasons[planned.reason] += 1
        self.searched += planned.step is Step.RECOVER
        if planned.job:
            key = find_price_key(planned.job.inputs.fields)
            self._add_price(key)
            if self.fingerprint:
                self.fingerprint.add(planned, planned.job.inputs.digest, key)
            self.models.setdefault(planned.job.inputs.model, planned.label)
            self._note_twin(planned.job)

    def _note_twin(self, job: Job) -> None:
        """Notice a copied photo: variations of one job are meant to ask for the same."""
        other = self._wishes.setdefault(hash(job.inputs.digest), job.family)
        if other != job.family and (len(self.twins) < TWINS_LIMIT):
            self.twins.setdefault(job.family, other)

    def note_twins(self, others: Mapping[str, str]) -> None:
        """Take over those that are bought of the jobs that ask for what is paid for already."""
        self.twins = {**others, **self.twins} if self.bought else self.twins

    def describe_twins(self) -> list[str]:
        """Point out what is bought though another job asks for the same."""
        return [
            f"2 jobs ask for the same: {other} and {job_id} (a copied photo?)" for job_id, other in self.twins.items()
        ]

    def _add_price(self, key: PriceKey) -> None:
        last, count = self.price_runs[-1] if self.price_runs else (None, 0)
        if last == key:
            self.price_runs[-1] = (key, count + 1)
        else:
            self.price_runs.append((key, 1))

    @property
    def bought(self) -> int:
        return self.bought_reasons.total()

    def describe_rest(self) -> list[str]:
        """Say what becomes of the jobs that are not bought."""
        counts = self.reasons - self.bought_reasons
        parts = [f"{counts[reason]} {reason}" for reason in REST if counts[reason]]
        if self.kept:
            parts.append(f"{self.kept} kept, 0 credits")
        left = 0 if self.edition is None else self.left[self.edition]
        if left:
            parts.append(f"{left} left the manifest")
        if others := self.left.total() - left:
            parts.append(f"{others} of other editions")
        if self.beside:
            parts.append(f"{self.beside} bought for an earlier wording and still followed")
        if self.renamed:
            parts.append(f"{self.renamed} renamed, 0 credits")
        return parts
