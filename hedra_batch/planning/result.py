"""How a run ended: the counts of the selected jobs, and the one exit code that follows from them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

from hedra_batch.clock import Clock, to_text
from hedra_batch.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_LOOK,
    EXIT_SIGNAL_BASE,
    EXIT_UNFINISHED,
    HedraBatchError,
    InputFileError,
)
from hedra_batch.job import NAMED_LIMIT, UNUSABLE, WAITING, Job
from hedra_batch.ledger.records import LatestAttempt
from hedra_batch.planning.edits import EditTally
from hedra_batch.planning.plan import is_changed, is_outdated
from hedra_batch.planning.selection import Pair
from hedra_batch.state import ENDED_BADLY, PUBLIC_STATES, SETTLEABLE, UNFINISHED, State

#: Accepted and not ended: with time these become a matter for a person.
LINGERING = frozenset({State.OVERDUE, State.READY})
#: How long they may be that before a person must look.
OVERDUE_LIMIT = timedelta(hours=24)


def find_overdue_instant(clock: Clock) -> str:
    """Find the instant before which what was accepted, and has not ended here, is a matter for a person."""
    return to_text(clock.now() - OVERDUE_LIMIT)


def is_overdue_since(latest: LatestAttempt, instant: str) -> bool:
    """Tell whether what was accepted before an instant has not ended here, so that a person must look."""
    return latest.state in LINGERING and (latest.accepted_at or "") < instant


def may_be_settled(state: State, accepted_at: str | None, overdue_before: str) -> bool:
    """Tell whether a person can decide about an attempt: once a day has passed, also about what cannot be fetched."""
    return state in SETTLEABLE and (state is not State.READY or (accepted_at or "") < overdue_before)


@dataclass(slots=True)
class RunResult:
    """The state of all selected jobs after a run, whatever was done in it."""

    counts: Counter[str] = field(default_factory=Counter)
    exit_code: int = EXIT_DONE
    #: The first that a person must settle (held, or overdue for too long), that failed, and that the next run ends.
    first_held: list[LatestAttempt] = field(default_factory=list)
    first_failed: list[LatestAttempt] = field(default_factory=list)
    first_unfinished: list[LatestAttempt] = field(default_factory=list)
    #: The jobs that were edited after they may have been paid for.
    edits: EditTally = field(default_factory=EditTally)

    @property
    def troubled(self) -> int:
        """Count all that failed or that a person must settle."""
        return self.counts["held"] + self.counts["overdue"] + self.counts["failed"]

    @property
    def unfinished(self) -> int:
        """Count all that the next run goes on with."""
        return sum(self.counts[state] for state in UNFINISHED)

    def add(self, job: Job | None, latest: LatestAttempt | None, overdue_before: str) -> None:
        """Take one job into account. A failed one that left the manifest does not count: nothing can be done for it."""
        if latest is None:
            self.counts["new"] += 1
            return
        if latest.state in ENDED_BADLY and job is None:
            return
        if job and is_changed(job, latest):
            self.counts["changed"] += 1
            self.edits.add(job, latest)
        public = "new" if job and is_outdated(job, latest) else PUBLIC_STATES[latest.state]
        is_overdue = is_overdue_since(latest, overdue_before)
        self.counts[public] += 1
        self.counts["overdue"] += is_overdue
        if public in UNFINISHED:
            self.first_unfinished += [latest][: NAMED_LIMIT - len(self.first_unfinished)]
        if public == "held" or is_overdue:
            self.first_held += [latest][: NAMED_LIMIT - len(self.first_held)]
        elif public == "failed":
            self.first_failed += [latest][: NAMED_LIMIT - len(self.first_failed)]


def judge(
    pairs: Iterable[Pair],
    *,
    overdue_before: str = "",
    stopped_by: HedraBatchError | None = None,
    closed_by: HedraBatchError | None = None,
    signal_number: int | None = None,
    waiting: Mapping[str, int] = MappingProxyType({}),
) -> RunResult:
    """Count the selected jobs as they stand now, and find the exit code.

    Those that were accepted before an instant, and are overdue or could not be fetched since, need a person.
    """
    outcome = RunResult(Counter(waiting))
    for job, latest in pairs:
        outcome.add(job, latest, overdue_before)
    outcome.exit_code = find_exit_code(
        outcome.counts, stopped_by=stopped_by, closed_by=closed_by, signal_number=signal_number
    )
    return outcome


def find_exit_code(
    counts: Counter[str],
    *,
    stopped_by: HedraBatchError | None = None,
    closed_by: HedraBatchError | None = None,
    signal_number: int | None = None,
) -> int:
    """Find the first that applies.

    That is: signal, a stop of the run, credits or budget, a person, a picture, unfinished, failed, done.
    """
    if signal_number is not None:
        return EXIT_SIGNAL_BASE + signal_number
    for error in (stopped_by, closed_by):
        if error is not None:
            return error.exit_code
    if counts["held"] or counts["overdue"] or counts["changed"]:
        return EXIT_LOOK
    if counts[UNUSABLE]:
        return InputFileError.exit_code
    if counts[WAITING] or any(counts[state] for state in UNFINISHED):
        return EXIT_UNFINISHED
    return EXIT_FAILED if counts["failed"] else EXIT_DONE
