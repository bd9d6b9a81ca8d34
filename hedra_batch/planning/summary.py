"""What a plan comes to: counts, and the few entries that are needed one by one. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hedra_batch.inputs import PriceKey, find_price_key
from hedra_batch.job import NAMED_LIMIT
from hedra_batch.planning.plan import PlannedJob, Reason, Step
from hedra_batch.state import PUBLIC_STATES

#: What is not bought, in the order in which it is counted.
REST = (Reason.RUNNING, Reason.DONE, Reason.CHANGED, Reason.FAILED, Reason.HELD)


@dataclass(slots=True)
class PlanSummary:
    """The sums of a plan, taken job by job."""

    #: Jobs of the manifest, by what is the matter with them.
    reasons: Counter[Reason] = field(default_factory=Counter)
    #: Those of them that may be bought, likewise.
    bought_reasons: Counter[Reason] = field(default_factory=Counter)
    #: What may be bought, by what decides its price.
    price_keys: Counter[PriceKey] = field(default_factory=Counter)
    #: Each model that may be asked for, and a job that asks for it.
    models: dict[str | None, str] = field(default_factory=dict)
    #: Jobs that are looked for first, since the ledger that would know them was lost.
    searched: int = 0
    #: Edited after they may have been paid for, and not bought again: how many, and the first of them.
    changed: int = 0
    first_changed: list[PlannedJob] = field(default_factory=list)
    #: The first of those that failed.
    first_failed: list[PlannedJob] = field(default_factory=list)
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
    edition: str | None = None

    def add(self, planned: PlannedJob) -> None:
        self.selected += 1
        self.states[PUBLIC_STATES[planned.state]] += 1
        if planned.job is None:
            self.left[planned.identity[0]] += 1
        else:
            self.reasons[planned.reason] += 1
            self.edition = planned.job.edition
        if planned.is_bought:
            self._add_bought(planned)
        if planned.reason is Reason.CHANGED:
            self.changed += 1
            self.first_changed += [planned] if self.changed <= NAMED_LIMIT else []
        elif planned.reason is Reason.FAILED:
            self.first_failed += [planned][: NAMED_LIMIT - len(self.first_failed)]
        if planned.is_processed:
            self.processed += 1
            self.needs_models = self.needs_models or planned.job is not None
            self.sent += [planned] if planned.is_sent else []

    def _add_bought(self, planned: PlannedJob) -> None:
        self.bought_reasons[planned.reason] += 1
        self.searched += planned.step is Step.RECOVER
        if planned.job:
            self.price_keys[find_price_key(planned.job.inputs.fields)] += 1
            self.models.setdefault(planned.job.inputs.model, planned.label)

    @property
    def bought(self) -> int:
        return self.bought_reasons.total()

    def describe_rest(self) -> list[str]:
        """Say what becomes of the jobs that are not bought."""
        counts = self.reasons - self.bought_reasons
        counts[Reason.RUNNING] += counts.pop(Reason.UNKNOWN, 0)
        parts = [f"{counts[reason]} {reason}" for reason in REST if counts[reason]]
        left = 0 if self.edition is None else self.left[self.edition]
        if left:
            parts.append(f"{left} left the manifest")
        if others := self.left.total() - left:
            parts.append(f"{others} of other editions")
        return parts
