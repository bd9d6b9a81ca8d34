"""What a run would do with a job, by how it stands in the ledger. Pure, without network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from hedra_batch.job import ENDED_BADLY, OPEN, TRANSIENT_CODES, UNSENT, Job, State, is_surely_unsent, to_label
from hedra_batch.ledger.records import LatestAttempt


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
class PlannedJob:
    """One job in a plan; `job` is None when it left the manifest, `standing` when the ledger does not know it."""

    reason: Reason
    step: Step
    job: Job | None
    latest: LatestAttempt | None
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
        return self.latest.identity if self.latest else ("", "")

    @property
    def state(self) -> State:
        """Where the attempt stands that the run is about."""
        if self.latest is None or self.step in (Step.ADD, Step.SEARCH):
            return State.NEW
        return self.latest.state

    @property
    def is_searched(self) -> bool:
        """Whether a first attempt may be at the server already, unknown to a ledger that was begun anew."""
        return self.reason is Reason.UNKNOWN and self.step is Step.ADD

    @property
    def is_bought(self) -> bool:
        """Whether its video may be submitted by the run under a new id."""
        return self.reason is Reason.NEW or self.is_searched

    @property
    def is_carried(self) -> bool:
        """Whether the run does anything for it at all."""
        return self.step is not Step.LEAVE

    @property
    def is_sent(self) -> bool:
        """Whether an earlier run sent it, so that it takes no room among the new ones."""
        return self.latest is not None and self.step is Step.CARRY and self.latest.state is not State.RESERVED

    @property
    def next_number(self) -> int:
        """The number of a further attempt."""
        return self.latest.number + 1 if self.latest else 1


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides about further attempts."""

    #: Attempts of a job that are made without a person.
    attempts: int = 2
    #: The highest number that an attempt may have in a ledger that was lost.
    lost_attempts: int = 0
    #: Whether jobs that were edited after they may have been paid for are bought anew.
    rebuys_changed: bool = False


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


def judge(job: Job, latest: LatestAttempt | None, rules: Rules) -> PlannedJob:
    """Plan what a run does with a job of the manifest."""
    if latest is None:
        is_lost = rules.lost_attempts > 0
        return PlannedJob(Reason.UNKNOWN if is_lost else Reason.NEW, Step.ADD, job, None)
    planned = _judge_known(job, latest, rules)
    if latest.state in ENDED_BADLY and latest.number < rules.lost_attempts:
        return replace(planned, step=Step.SEARCH, otherwise=planned.step)
    return planned


def _judge_known(job: Job, latest: LatestAttempt, rules: Rules) -> PlannedJob:
    if latest.digest != job.inputs.digest:
        return _judge_changed(job, latest, rules)
    if may_try_again(latest.state, latest.error_code, latest.number, rules.attempts):
        return PlannedJob(Reason.NEW, Step.ADD, job, latest)
    return PlannedJob(*_BY_STATE[latest.state], job, latest)


def _judge_changed(job: Job, latest: LatestAttempt, rules: Rules) -> PlannedJob:
    if is_surely_unsent(latest.state, latest.unknown_sends):
        return PlannedJob(Reason.NEW, Step.REWRITE, job, latest)
    if latest.state in ENDED_BADLY and latest.state is not State.ABANDONED:
        return PlannedJob(Reason.NEW, Step.ADD, job, latest)
    if not rules.rebuys_changed:
        return PlannedJob(Reason.CHANGED, Step.LEAVE, job, latest)
    if latest.state in (State.DONE, State.ABANDONED):
        return PlannedJob(Reason.NEW, Step.ADD, job, latest)
    if latest.state is State.RESERVED:
        # It is not sent again, but an earlier send may still have been accepted.
        return PlannedJob(Reason.UNKNOWN, Step.CARRY, job, latest)
    # A new attempt exists only after the old one has ended, so that is followed first.
    return PlannedJob(*_BY_STATE[latest.state], job, latest)


def judge_retry(
    job: Job, latest: LatestAttempt | None, rules: Rules, is_retried: Callable[[str], bool]
) -> PlannedJob | None:
    """Plan a new attempt for a job that failed with such a code, or go on with what an earlier retry began."""
    if latest and latest.state in ENDED_BADLY and is_retried(latest.error_code or ""):
        return PlannedJob(Reason.NEW, Step.ADD, job, latest)
    if latest and latest.number > 1 and latest.state in UNSENT | OPEN:
        return judge(job, latest, rules)
    return None


def judge_settled(job: Job | None, latest: LatestAttempt) -> PlannedJob:
    """Plan to carry an attempt on because a person has decided about it, whatever the manifest says now."""
    return PlannedJob(_BY_STATE[latest.state][0], Step.CARRY, job, latest)


def judge_left(latest: LatestAttempt) -> PlannedJob | None:
    """Plan what a run does with a job that the manifest, or this edition, does not have; None for nothing."""
    if latest.state in OPEN or latest.state is State.HELD:
        return PlannedJob(*_BY_STATE[latest.state], None, latest)
    if latest.state is State.RESERVED and latest.unknown_sends:
        # It is not sent again, but an earlier send may still have been accepted.
        return PlannedJob(Reason.UNKNOWN, Step.CARRY, None, latest)
    return None
