"""How a run ended: the counts of the selected jobs, and the one exit code that follows from them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from hedra_batch.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_LOOK,
    EXIT_SIGNAL_BASE,
    EXIT_UNFINISHED,
    HedraBatchError,
)
from hedra_batch.job import ENDED_BADLY, PUBLIC_STATES, UNFINISHED, Job, State, is_surely_unsent
from hedra_batch.ledger.rows import Standing
from hedra_batch.pipeline.plan import Plan

#: Accepted and not ended: with time these become a matter for a person.
LINGERING = frozenset({State.STUCK, State.READY})


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state of all selected jobs after a run, whatever was done in it."""

    counts: Counter[str]
    exit_code: int
    failed: list[Standing] = field(default_factory=list)
    #: Those that a person must settle: held, or overdue for too long.
    held: list[Standing] = field(default_factory=list)


def judge(
    plan: Plan,
    standings: Iterable[Standing],
    *,
    overdue_before: str = "",
    stopped_by: HedraBatchError | None = None,
    closed_by: HedraBatchError | None = None,
    signal_number: int | None = None,
) -> Outcome:
    """Count the jobs of the plan as they stand now, and find the exit code.

    Those that were accepted before an instant, and are stuck or could not be fetched since, need a person.
    """
    selected = {entry.identity: entry for entry in plan.entries}
    standing_now = [standing for standing in standings if standing.identity in selected]
    counts = Counter({"new": len(selected) - len(standing_now)})
    # A failed job that left the manifest no longer counts: nothing can be done for it here.
    standing_now = [
        standing
        for standing in standing_now
        if standing.state not in ENDED_BADLY or selected[standing.identity].job is not None
    ]
    counts.update(PUBLIC_STATES[standing.state] for standing in standing_now)
    held = [
        standing
        for standing in standing_now
        if PUBLIC_STATES[standing.state] == "held" or _is_overdue(standing, overdue_before)
    ]
    counts["overdue"] = sum(standing.state in LINGERING for standing in held)
    counts["changed"] = sum(_is_changed(standing, selected[standing.identity].job) for standing in standing_now)
    return Outcome(
        counts=counts,
        exit_code=find_exit_code(counts, stopped_by=stopped_by, closed_by=closed_by, signal_number=signal_number),
        failed=[standing for standing in standing_now if PUBLIC_STATES[standing.state] == "failed"],
        held=held,
    )


def _is_overdue(standing: Standing, overdue_before: str) -> bool:
    return standing.state in LINGERING and (standing.accepted_at or "") < overdue_before


def _is_changed(standing: Standing, job: Job | None) -> bool:
    """Tell whether what was sent, and may be paid for, is not what the manifest asks for now."""
    has_ended_unpaid = standing.state in ENDED_BADLY and standing.state is not State.ABANDONED
    is_sent = not has_ended_unpaid and not is_surely_unsent(standing.state, standing.unknown_sends)
    return job is not None and is_sent and standing.digest != job.inputs.digest


def find_exit_code(
    counts: Counter[str],
    *,
    stopped_by: HedraBatchError | None = None,
    closed_by: HedraBatchError | None = None,
    signal_number: int | None = None,
) -> int:
    """Find the first that applies: signal, a stop of the run, credits or budget, a person, unfinished, failed, done."""
    if signal_number is not None:
        return EXIT_SIGNAL_BASE + signal_number
    for error in (stopped_by, closed_by):
        if error is not None:
            return error.exit_code
    if counts["held"] or counts["overdue"] or counts["changed"]:
        return EXIT_LOOK
    if any(counts[state] for state in UNFINISHED):
        return EXIT_UNFINISHED
    return EXIT_FAILED if counts["failed"] else EXIT_DONE
