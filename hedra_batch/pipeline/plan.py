"""What a run would do: each job of the manifest held against how it stands in the ledger. Pure, without network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from hedra_batch.job import ENDED_BADLY, OPEN, TRANSIENT_CODES, UNSENT, Job, State, is_surely_unsent, to_label
from hedra_batch.ledger.rows import Standing


class Reason(StrEnum):
    """Why a job is where it is, as `plan` says it."""

    NEW = "new"
    RUNNING = "running"
    UNKNOWN = "unknown"
    DONE = "done"
    FAILED = "failed"
    HELD = "held"
    CHANGED = "changed"


class Step(StrEnum):
    """What a run does with a job."""

    #: Record a first or a further attempt, and carry it.
    ADD = "add"
    #: Give the attempt that was never accepted the manifest's inputs, and carry it.
    REWRITE = "rewrite"
    #: Carry the attempt on from where it stands.
    CARRY = "carry"
    #: Look for a later attempt that was lost with a ledger, and carry it.
    SEARCH = "search"
    #: Leave it alone.
    LEAVE = "leave"


class Settlement(StrEnum):
    """What a person can decide about a job that is held or overdue."""

    #: Look for it once more.
    RECHECK = "recheck"
    #: Send the same request under the same id once more.
    RESEND = "resend"
    #: Give it up, though it may have been charged.
    ABANDON = "abandon"


@dataclass(frozen=True, slots=True)
class Entry:
    """One job in a plan; `job` is None when it left the manifest, `standing` when the ledger does not know it."""

    reason: Reason
    step: Step
    job: Job | None
    standing: Standing | None
    #: What a search that finds nothing is followed by.
    otherwise: Step = Step.LEAVE

    @property
    def label(self) -> str:
        """The job as messages name it."""
        return to_label(*self.identity)

    @property
    def identity(self) -> tuple[str, str]:
        """What stays of the job for ever."""
        if self.job:
            return (self.job.edition, self.job.id)
        return self.standing.identity if self.standing else ("", "")

    @property
    def state(self) -> State:
        """Where the attempt stands that the run is about."""
        if self.standing is None or self.step in (Step.ADD, Step.SEARCH):
            return State.NEW
        return self.standing.state

    @property
    def is_searched(self) -> bool:
        """Whether a first attempt may be at the server already, unknown to a ledger that was begun anew."""
        return self.reason is Reason.UNKNOWN and self.step is Step.ADD

    @property
    def next_number(self) -> int:
        """The number of a further attempt."""
        return self.standing.number + 1 if self.standing else 1


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do with all jobs that are selected."""

    entries: Sequence[Entry] = field(default_factory=tuple)

    def count(self, reason: Reason) -> int:
        """Count the jobs of the manifest that are there for this reason."""
        return sum(1 for entry in self.entries if entry.job and entry.reason is reason)

    @property
    def left(self) -> list[Entry]:
        """Jobs that are followed or held though the manifest, or this edition, does not have them."""
        return [entry for entry in self.entries if entry.job is None]

    @property
    def needs_models(self) -> bool:
        """Whether a request may have to be written, a further attempt's too, for which the models must be known."""
        return any(entry.job for entry in self.to_carry)

    @property
    def changed(self) -> list[Entry]:
        """Jobs that were edited after they may have been paid for, and are not bought again."""
        return [entry for entry in self.entries if entry.reason is Reason.CHANGED]

    @property
    def to_buy(self) -> list[Entry]:
        """Jobs whose video may be submitted by the run under a new id."""
        return [entry for entry in self.entries if entry.reason is Reason.NEW or entry.is_searched]

    @property
    def searched(self) -> int:
        """Count those of them that are looked for first, since the ledger that would know them was lost."""
        return sum(entry.is_searched for entry in self.entries)

    @property
    def to_carry(self) -> list[Entry]:
        """Jobs for which the run does anything at all."""
        return [entry for entry in self.entries if entry.step is not Step.LEAVE]

    def describe_rest(self) -> list[str]:
        """Say what becomes of the jobs that are not bought."""
        bought = {entry.identity for entry in self.to_buy}
        counts = Counter(entry.reason for entry in self.entries if entry.job and entry.identity not in bought)
        running = counts.pop(Reason.RUNNING, 0) + counts.pop(Reason.UNKNOWN, 0)
        parts = [f"{running} running", f"{counts.pop(Reason.DONE, 0)} done"]
        parts += [f"{count} {reason}" for reason, count in sorted(counts.items())]
        editions = {entry.job.edition for entry in self.entries if entry.job}
        left = sum(1 for entry in self.left if entry.identity[0] in editions)
        if left:
            parts.append(f"{left} left the manifest")
        if len(self.left) > left:
            parts.append(f"{len(self.left) - left} of other editions")
        return parts


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides about further attempts."""

    #: Attempts of a job that are made without a person.
    attempts: int = 2
    #: The highest number that an attempt may have in a ledger that was lost.
    lost_attempts: int = 0
    #: Whether jobs that were edited after they may have been paid for are bought anew.
    rebuys_changed: bool = False


def make_plan(
    jobs: Iterable[Job],
    standings: Iterable[Standing],
    rules: Rules,
    *,
    is_selected: Callable[[str], bool] = lambda _: True,
    selects_others: bool = True,
) -> Plan:
    """Hold the manifest against the ledger.

    `selects_others` says whether jobs that the manifest (or this edition) does not have are followed too.
    """
    known = {standing.identity: standing for standing in standings}
    entries = []
    for job in jobs:
        standing = known.pop((job.edition, job.id), None)
        if is_selected(job.id):
            entries.append(_judge(job, standing, rules))
    if selects_others:
        others = (standing for standing in known.values() if is_selected(standing.job_id))
        entries += [entry for standing in others if (entry := _judge_left(standing))]
    return Plan(entries)


def make_retry_plan(
    jobs: Iterable[Job], standings: Iterable[Standing], rules: Rules, is_selected: Callable[[Standing], bool]
) -> Plan:
    """Plan a new attempt for each failed job of the manifest that is selected, and nothing else.

    Further attempts that an earlier retry began and did not end are carried on.
    """
    known = {standing.identity: standing for standing in standings}
    entries = []
    for job in jobs:
        standing = known.get((job.edition, job.id))
        if standing and standing.state in ENDED_BADLY and is_selected(standing):
            entries.append(Entry(Reason.NEW, Step.ADD, job, standing))
        elif standing and standing.number > 1 and standing.state in UNSENT | OPEN:
            entries.append(_judge(job, standing, rules))
    return Plan(entries)


def make_settling_plan(
    jobs: Iterable[Job],
    standings: Iterable[Standing],
    states: frozenset[State],
    is_selected: Callable[[Standing], bool],
) -> Plan:
    """Plan to carry on what stands in some states and is selected, whatever the manifest says now."""
    by_identity = {(job.edition, job.id): job for job in jobs}
    return Plan(
        [
            Entry(_BY_STATE[standing.state][0], Step.CARRY, by_identity.get(standing.identity), standing)
            for standing in standings
            if standing.state in states and is_selected(standing)
        ]
    )


def may_try_again(state: State, code: str | None, number: int, attempts: int) -> bool:
    """Tell whether an ended attempt is followed by another without a person: the reason may pass, and few were made."""
    return state is State.FAILED and code in TRANSIENT_CODES and number < attempts


#: What an unchanged job's state means for a run.
_BY_STATE: dict[State, tuple[Reason, Step]] = {
    State.NEW: (Reason.NEW, Step.REWRITE),
    State.RESERVED: (Reason.NEW, Step.CARRY),
    State.SUBMITTING: (Reason.UNKNOWN, Step.CARRY),
    State.UNKNOWN: (Reason.UNKNOWN, Step.CARRY),
    State.ACCEPTED: (Reason.RUNNING, Step.CARRY),
    State.STUCK: (Reason.RUNNING, Step.CARRY),
    State.READY: (Reason.RUNNING, Step.CARRY),
    State.DONE: (Reason.DONE, Step.LEAVE),
    State.REJECTED: (Reason.FAILED, Step.LEAVE),
    State.FAILED: (Reason.FAILED, Step.LEAVE),
    State.HELD: (Reason.HELD, Step.CARRY),
    State.ABANDONED: (Reason.FAILED, Step.LEAVE),
}


def _judge(job: Job, standing: Standing | None, rules: Rules) -> Entry:
    if standing is None:
        is_lost = rules.lost_attempts > 0
        return Entry(Reason.UNKNOWN if is_lost else Reason.NEW, Step.ADD, job, None)
    entry = _judge_known(job, standing, rules)
    if standing.state in ENDED_BADLY and standing.number < rules.lost_attempts:
        return replace(entry, step=Step.SEARCH, otherwise=entry.step)
    return entry


def _judge_known(job: Job, standing: Standing, rules: Rules) -> Entry:
    if standing.digest != job.inputs.digest:
        return _judge_changed(job, standing, rules)
    if may_try_again(standing.state, standing.error_code, standing.number, rules.attempts):
        return Entry(Reason.NEW, Step.ADD, job, standing)
    return Entry(*_BY_STATE[standing.state], job, standing)


def _judge_changed(job: Job, standing: Standing, rules: Rules) -> Entry:
    if is_surely_unsent(standing.state, standing.unknown_sends):
        return Entry(Reason.NEW, Step.REWRITE, job, standing)
    if standing.state in ENDED_BADLY and standing.state is not State.ABANDONED:
        return Entry(Reason.NEW, Step.ADD, job, standing)
    if not rules.rebuys_changed:
        return Entry(Reason.CHANGED, Step.LEAVE, job, standing)
    if standing.state in (State.DONE, State.ABANDONED):
        return Entry(Reason.NEW, Step.ADD, job, standing)
    if standing.state is State.RESERVED:
        # It is not sent again, but an earlier send may still have been accepted.
        return Entry(Reason.UNKNOWN, Step.CARRY, job, standing)
    # A new attempt exists only after the old one has ended, so that is followed first.
    return Entry(*_BY_STATE[standing.state], job, standing)


def _judge_left(standing: Standing) -> Entry | None:
    if standing.state in OPEN or standing.state is State.HELD:
        return Entry(*_BY_STATE[standing.state], None, standing)
    if standing.state is State.RESERVED and standing.unknown_sends:
        # It is not sent again, but an earlier send may still have been accepted.
        return Entry(Reason.UNKNOWN, Step.CARRY, None, standing)
    return None
