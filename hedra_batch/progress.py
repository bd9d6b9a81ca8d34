"""How far a run is: kept by the run, read by the live view."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from hedra_batch.state import IN_FLIGHT, PUBLIC_STATES, UNFINISHED, State


@dataclass(slots=True)
class Running:
    """One generation that the server works on."""

    label: str
    state: State
    #: From 0 to 1, as the server says it.
    fraction: float = 0.0


@dataclass(slots=True)
class Progress:
    """Counts of the selected jobs by state, and the running ones by their ledger key."""

    counts: Counter[str] = field(default_factory=Counter)
    running: dict[int, Running] = field(default_factory=dict)
    finished: int = 0
    #: On the monotonic clock.
    started_time: float = field(default_factory=time.monotonic)

    def begin(self, states: Counter[str]) -> None:
        """Take over how many jobs of a plan stand in each public state."""
        self.counts = Counter(states)

    def on_change(self, key: int, label: str, before: State, after: State) -> None:
        self.counts[PUBLIC_STATES[before]] -= 1
        self.counts[PUBLIC_STATES[after]] += 1
        if after in IN_FLIGHT or after is State.READY:
            running = self.running.setdefault(key, Running(label, after))
            running.state = after
            running.fraction = 1.0 if after is State.READY else running.fraction
        else:
            self.running.pop(key, None)
        self.finished += after is State.DONE

    def on_fraction(self, key: int, fraction: float) -> None:
        if key in self.running:
            self.running[key].fraction = fraction

    @property
    def remaining(self) -> int:
        """Jobs that this run still has to end."""
        return sum(self.counts[state] for state in UNFINISHED)

    def estimate_seconds_left(self) -> float | None:
        """Estimate by what this run has finished so far; None before the first."""
        if not self.finished:
            return None
        return (time.monotonic() - self.started_time) / self.finished * self.remaining
