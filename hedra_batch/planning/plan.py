"""What a run would do with a job, by its latest attempt in the ledger. Pure, without network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from hedra_batch.decide import is_possibly_paid, is_surely_unsent, may_be_followed, may_retry
from hedra_batch.job import Attempt, Job, to_label
from hedra_batch.ledger.records import JobIdentity, LatestAttempt
from hedra_batch.state import ENDED_BADLY, FOLLOWED, OPEN, PAID, PUBLIC_STATES, UNSENT, State


class Reason(StrEnum):
    """Why a job is where it is, as `plan` says it: as its public state, or edited since."""

    NEW = "new"
    RUNNING = "running"
    UNKNOWN = "unknown"
    DONE = "done"
    FAILED = "failed"
    HELD = "held"
    CHANGED = "changed"


class Step(StrEnum):
    """What a run does with a job."""

    #: Record a first or a further attempt, and process it.
    ADD = "add"
    #: Give the attempt that was never accepted the manifest's inputs, and process it.
    REWRITE = "rewrite"
    #: Process the attempt from where it stands.
    PROCESS = "process"
    #: Leave it to the recovery of a lost ledger, which records what may have been sent.
    RECOVER = "recover"
    #: Leave it alone.
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """One job in a plan; `job` is None when it left the manifest, `latest` when the ledger does not know it."""

    reason: Reason
    step: Step
    job: Job | None
    latest: LatestAttempt | None
    #: The id of the job that the paid work counted for until now, where it was another one.
    formerly: str = ""
    #: Whether the manifest has its job, which cannot be made now.
    is_waiting: bool = False
    #: Whether its job stands by another attempt, so that this one is only followed.
    is_beside: bool = False
    #: Whether its job was edited, and the plan has the attempt count for the edited job.
    is_kept: bool = False

    @property
    def label(self) -> str:
        return to_label(*self.identity)

    @property
    def identity(self) -> tuple[str, str]:
        if self.job:
            return self.job.identity
        return self.latest.identity if self.latest else ("", "")

    @property
    def mark(self) -> JobIdentity | int:
        """What a run begins once: a job, or an attempt that no job stands by."""
        return self.latest.attempt_key if self.is_beside and self.latest else self.identity

    @property
    def state(self) -> State:
        """The state of the attempt that the run is about."""
        if self.latest is None or self.step is Step.ADD:
            return State.NEW
        return self.latest.state

    @property
    def is_bought(self) -> bool:
        """Whether its video may be submitted by the run under a new key."""
        return self.reason is Reason.NEW or self.step is Step.RECOVER

    @property
    def is_wanted(self) -> bool:
        """Whether a further attempt may be made without a person: not for a job that is gone or waits for one."""
        return self.job is not None and self.reason is not Reason.CHANGED

    @property
    def is_processed(self) -> bool:
        return self.step is not Step.LEAVE

    @property
    def is_sent(self) -> bool:
        """Whether an earlier run sent it, so that it takes no room among the new ones."""
        return self.step is Step.PROCESS and self.state not in UNSENT

    @property
    def next_number(self) -> int:
        return self.latest.number + 1 if self.latest else 1

    @property
    def bought_number(self) -> int:
        """The number of the attempt that is bought, as far as it is known before."""
        return self.next_number if self.latest is None or self.step is Step.ADD else self.latest.number


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides about further attempts."""

    #: Attempts of a job that are made without a person.
    attempts: int = 2
    #: The highest number that an attempt may have in a ledger that was lost.
    lost_attempts: int = 0
    #: Whether jobs that were edited after they may have been paid for are bought anew.
    rebuys_changed: bool = False
    #: Whether what may have been paid for before such an edit counts for the edited job.
    keeps_changed: bool = False


def is_same_request(job: Job, attempt: LatestAttempt | Attempt) -> bool:
    """Tell whether the request of an attempt would be the same if it was written anew for a job."""
    return job.inputs.digest == attempt.digest or attempt.sent_digest in job.sent_digests


def counts_for(job: Job, attempt: LatestAttempt | Attempt) -> bool:
    """Tell whether an attempt is for what the job asks for now, or is kept for it by a person. The one decision."""
    return job.inputs.digest == attempt.kept_digest or is_same_request(job, attempt)


def is_paid_for(job: Job, attempt: LatestAttempt | Attempt | None) -> bool:
    """Tell whether an attempt is, or may be, paid work for what the job asks for now."""
    return attempt is not None and attempt.state in PAID and counts_for(job, attempt)


def is_changed(job: Job, attempt: LatestAttempt | Attempt) -> bool:
    """Tell whether what was sent, and may be paid for, is not what the job asks for now: a person must choose."""
    return is_possibly_paid(attempt.state) and not counts_for(job, attempt)


def is_outdated(job: Job, attempt: LatestAttempt | Attempt) -> bool:
    """Tell whether an attempt was for other inputs and surely cost nothing, so that its job is new work now."""
    return not is_possibly_paid(attempt.state) and not counts_for(job, attempt)


def find_standing(job: Job | None, attempts: Sequence[LatestAttempt]) -> LatestAttempt | None:
    """Choose the attempt that a job stands by, of all that count for it.

    That is the newest that is done with what it asks for now, else the newest that may be paid for with that, else the
    one that it stood by until now, which an edit is held against, else the newest.
    """
    newest = sorted(attempts, key=lambda each: each.attempt_key, reverse=True)
    wanted = [each for each in newest if job and is_paid_for(job, each)]
    done = [each for each in wanted if each.state is State.DONE]
    stood_by = [each for each in newest if each.latest]
    return next(iter([*done, *wanted, *stood_by, *newest]), None)


def judge(job: Job, latest: LatestAttempt | None, rules: Rules) -> PlannedJob:
    if latest is None:
        if rules.lost_attempts:
            return PlannedJob(Reason.UNKNOWN, Step.RECOVER, job, None)
        return PlannedJob(Reason.NEW, Step.ADD, job, None)
    if not counts_for(job, latest):
        return _judge_changed(job, latest, rules)
    if may_retry(latest.state, latest.error_code, latest.number, rules.attempts):
        return PlannedJob(Reason.NEW, Step.ADD, job, latest)
    return _judge_unchanged(job, latest)


def _judge_unchanged(job: Job | None, latest: LatestAttempt) -> PlannedJob:
    step = Step.PROCESS if latest.state in FOLLOWED | UNSENT else Step.LEAVE
    if latest.state is State.NEW:
        step = Step.REWRITE
    return PlannedJob(Reason(PUBLIC_STATES[latest.state]), step, job, latest)


def _judge_changed(job: Job, latest: LatestAttempt, rules: Rules) -> PlannedJob:
    if is_surely_unsent(latest.state):
        return PlannedJob(Reason.NEW, Step.REWRITE, job, latest)
    if is_changed(job, latest) and not rules.rebuys_changed:
        # What was sent is followed all the same, as what it was sent for.
        planned = _judge_unchanged(job, latest)
        return replace(planned, is_kept=True) if rules.keeps_changed else replace(planned, reason=Reason.CHANGED)
    if may_be_followed(latest.state, is_changed=True):
        return PlannedJob(Reason.NEW, Step.ADD, job, latest)
    # A new attempt exists only after the old one has ended, so that is followed first.
    return _judge_unchanged(job, latest)


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
    """Plan to process an attempt because a person has decided about it, whatever the manifest says now."""
    reason, is_beside = Reason(PUBLIC_STATES[latest.state]), not latest.latest
    return PlannedJob(reason, Step.PROCESS, None if is_beside else job, latest, is_beside=is_beside)


def judge_left(latest: LatestAttempt) -> PlannedJob | None:
    """Plan what a run does with a job that the manifest, or this edition, does not have; None for nothing."""
    return _judge_unchanged(None, latest) if latest.state in FOLLOWED else None


def judge_beside(latest: LatestAttempt) -> PlannedJob:
    """Plan to follow what was sent for a job that stands by another attempt now."""
    return replace(_judge_unchanged(None, latest), is_beside=True)
