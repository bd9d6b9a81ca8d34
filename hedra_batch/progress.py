"""How far a run is: kept by the run, and given out as a snapshot to whatever shows it."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hedra_batch.money import Money
from hedra_batch.state import IN_FLIGHT, PUBLIC_STATES, TO_SEND, State
from hedra_batch.units import Rate

#: Jobs that ended last, and submissions, that are remembered.
ENDED_LIMIT = 200
SENT_LIMIT = 10_000
#: How far back the real pace is counted, at least.
WINDOW_SECONDS = 60.0
#: What becomes of an attempt that was sent. A resend that got no answer is not told apart from one that was not wanted
#: any more, and so is not counted.
_SENDS = {(before, after) for before in TO_SEND for after in IN_FLIGHT} - {(State.RESEND_DUE, State.UNKNOWN)}
#: Public states in which a job is over for this run.
_ENDED = ("done", "failed", "held")


@dataclass(slots=True)
class Running:
    """One generation that the server works on."""

    label: str
    state: State
    #: From 0 to 1, as the server says it.
    fraction: float = 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast submissions may go at one moment, and what keeps the next one."""

    allowed: Rate
    configured: Rate
    #: Whether a request waits for its turn.
    is_awaited: bool = False
    next_seconds: float = 0.0
    #: How long the API's answers have requests pause, and why.
    pause_seconds: float = 0.0
    pause_reason: str = ""
    #: For how long the API has given no useful answer, and what it does instead.
    outage_seconds: float = 0.0
    outage_reason: str = ""
    #: Generations at the server, how many the API runs at once, and how many it is asked to.
    in_flight: int = 0
    slots: int = 0
    configured_slots: int = 0
    #: Results that wait to be downloaded, and go before new submissions.
    backlog: int = 0
    #: Whether the API has taken a request, and with it the key.
    has_taken_key: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """What an edition may have cost so far, and what it will have cost in the end, by the price list."""

    spent: Money
    expected: Money
    #: How many requests of an unknown price come on top of each.
    unpriced_spent: int = 0
    unpriced_expected: int = 0
    budget: Money | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment."""

    counts: Mapping[str, int] = field(default_factory=Counter)
    running: Sequence[Running] = ()
    #: Jobs that ended in this run with their public state, the latest first.
    ended: Sequence[tuple[str, str]] = ()
    elapsed_seconds: float = 0.0
    #: None before the first job is done.
    left_seconds: float | None = None
    #: Submissions of the last minute, or of the last hour where the pace is one by the hour.
    submitted: int = 0
    #: None before there is a connection.
    pace: Pace | None = None
    cost: Cost | None = None
    #: Why something was not submitted, though the run goes on.
    closed_by: str = ""


TakeSnapshot = Callable[[], Awaitable[Snapshot]]


@dataclass(slots=True)
class Progress:
    """Counts of the selected jobs by state, and the running ones by their ledger key."""

    counts: Counter[str] = field(default_factory=Counter)
    running: dict[int, Running] = field(default_factory=dict)
    finished: int = 0
    #: The public states of jobs that ended in this run, the latest last.
    ended: dict[str, str] = field(default_factory=dict)
    #: On the monotonic clock.
    started_time: float = field(default_factory=time.monotonic)
    sent_times: deque[float] = field(default_factory=lambda: deque(maxlen=SENT_LIMIT))

    def begin(self, states: Counter[str]) -> None:
        """Take over how many jobs of a plan stand in each public state."""
        self.counts = Counter(states)

    def start(self) -> None:
        """Count the time from now on: the plan is made, and a person has said yes."""
        self.started_time = time.monotonic()

    def on_change(self, key: int, label: str, before: State, after: State) -> None:
        self.counts[PUBLIC_STATES[before]] -= 1
        self.counts[PUBLIC_STATES[after]] += 1
        if after in IN_FLIGHT or after in (State.OVERDUE, State.READY):
            running = self.running.setdefault(key, Running(label, after))
            running.state = after
            running.fraction = 1.0 if after is State.READY else running.fraction
        else:
            self.running.pop(key, None)
        if (before, after) in _SENDS:
            self.sent_times.append(time.monotonic())
        self.finished += after is State.DONE
        if PUBLIC_STATES[before] != PUBLIC_STATES[after]:
            self._note_end(label, PUBLIC_STATES[after])

    def on_parked(self, key: int) -> None:
        """Nothing more is done for an attempt now, whatever its state."""
        self.running.pop(key, None)

    def _note_end(self, label: str, public_state: str) -> None:
        """Remember a job that is over, until it is begun again."""
        self.ended.pop(label, None)
        if public_state in _ENDED:
            self.ended[label] = public_state
            if len(self.ended) > ENDED_LIMIT:
                del self.ended[next(iter(self.ended))]

    def on_fraction(self, key: int, fraction: float) -> None:
        if key in self.running:
            self.running[key].fraction = fraction

    def count_remaining(self, *, is_closed: bool) -> int:
        """Count the jobs that this run still has to end; where submitting is closed, hardly anything new is."""
        return self.counts["running"] + self.counts["unknown"] + (0 if is_closed else self.counts["new"])

    def take_snapshot(self, pace: Pace | None = None, cost: Cost | None = None, closed_by: str = "") -> Snapshot:
        """Return how things are now, with what others know of it."""
        elapsed_seconds = time.monotonic() - self.started_time
        remaining = self.count_remaining(is_closed=bool(closed_by))
        window_seconds = max(pace.configured.per_seconds if pace else 0.0, WINDOW_SECONDS)
        return Snapshot(
            counts=self.counts,
            running=list(self.running.values()),
            ended=list(reversed(self.ended.items())),
            elapsed_seconds=elapsed_seconds,
            # By what this run has finished so far.
            left_seconds=elapsed_seconds / self.finished * remaining if self.finished else None,
            submitted=self._count_sent(window_seconds),
            pace=pace,
            cost=cost,
            closed_by=closed_by,
        )

    def _count_sent(self, window_seconds: float) -> int:
        since = time.monotonic() - window_seconds
        return sum(sent_time >= since for sent_time in self.sent_times)
