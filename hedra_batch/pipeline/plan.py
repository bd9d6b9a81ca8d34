"""What a run would do: each job of the manifest held against how it stands in the ledger. Pure, without network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from hedra_batch.job import ENDED_BADLY, OPEN, UNSENT, Job, State, is_surely_unsent, to_label
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
    #: Leave it alone.
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class Entry:
    """One job in a plan; `job` is None when it left the manifest, `standing` when the ledger does not know it."""

    reason: Reason
    step: Step
    job: Job | None
    standing: Standing | None

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
        return State.NEW if self.step is Step.ADD or self.standing is None else self.standing.state

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
    def changed(self) -> list[Entry]:
        """Jobs that were edited after they may have been paid for, and are not bought again."""
        return [entry for entry in self.entries if entry.reason is Reason.CHANGED]

    @property
    def to_buy(self) -> list[Entry]:
        """Jobs whose video may be submitted by the run."""
        return [entry for entry in self.entries if entry.reason is Reason.NEW]

    @property
    def to_carry(self) -> list[Entry]:
        """Jobs for which the run does anything at all."""
        return [entry for entry in self.entries if entry.step is not Step.LEAVE]

    def describe(self) -> str:
        """Say what will be bought, as the line before the first POST does."""
        counts = Counter(entry.reason for entry in self.entries if entry.job)
        new = counts.pop(Reason.NEW, 0)
        running = counts.pop(Reason.RUNNING, 0) + counts.pop(Reason.UNKNOWN, 0)
        parts = [
            f"{new} new video{'' if new == 1 else 's'}",
            f"{running} running",
            f"{counts.pop(Reason.DONE, 0)} done",
        ]
        parts += [f"{count} {reason}" for reason, count in sorted(counts.items())]
        editions = {entry.job.edition for entry in self.entries if entry.job}
        left = sum(1 for entry in self.left if entry.identity[0] in editions)
        if left:
            parts.append(f"{left} left the manifest")
        if len(self.left) > left:
            parts.append(f"{len(self.left) - left} of other editions")
        return ", ".join(parts)


def make_plan(
    jobs: Iterable[Job],
    standings: Iterable[Standing],
    *,
    is_selected: Callable[[str], bool] = lambda _: True,
    selects_others: bool = True,
    rebuys_changed: bool = False,
) -> Plan:
    """Hold the manifest against the ledger.

    `selects_others` says whether jobs that the manifest (or this edition) does not have are followed too.
    """
    known = {standing.identity: standing for standing in standings}
    entries = []
    for job in jobs:
        standing = known.pop((job.edition, job.id), None)
        if is_selected(job.id):
            entries.append(_judge(job, standing, rebuys_changed=rebuys_changed))
    if selects_others:
        others = (standing for standing in known.values() if is_selected(standing.job_id))
        entries += [entry for standing in others if (entry := _judge_left(standing))]
    return Plan(entries)


def make_retry_plan(
    jobs: Iterable[Job], standings: Iterable[Standing], is_selected: Callable[[Standing], bool]
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
            entries.append(_judge(job, standing, rebuys_changed=False))
    return Plan(entries)


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
}


def _judge(job: Job, standing: Standing | None, *, rebuys_changed: bool) -> Entry:
    if standing is None:
        return Entry(Reason.NEW, Step.ADD, job, None)
    if standing.digest == job.inputs.digest:
        return Entry(*_BY_STATE[standing.state], job, standing)
    return _judge_changed(job, standing, rebuys_changed=rebuys_changed)


def _judge_changed(job: Job, standing: Standing, *, rebuys_changed: bool) -> Entry:
    if is_surely_unsent(standing.state, standing.unknown_sends):
        return Entry(Reason.NEW, Step.REWRITE, job, standing)
    if standing.state in ENDED_BADLY:
        return Entry(Reason.NEW, Step.ADD, job, standing)
    if not rebuys_changed:
        return Entry(Reason.CHANGED, Step.LEAVE, job, standing)
    if standing.state is State.DONE:
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
