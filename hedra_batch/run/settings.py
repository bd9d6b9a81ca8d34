"""What a run may be told: limits, patience and choices. All times are settings, so tests need not wait."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hedra_batch.clock import CLOCK, Clock
from hedra_batch.money import NO_BUDGETS, Budgets
from hedra_batch.units import Limits


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a run behaves; the defaults are those of the command line."""

    limits: Limits = field(default_factory=Limits)
    #: The most that may be spent.
    budgets: Budgets = NO_BUDGETS
    #: What to do with a paid request that is absent after the quiet window, on a server that honours our ids.
    on_unknown: Literal["resend", "hold"] = "resend"
    #: How often a lost request is sent again at most; after that a person decides.
    resends_limit: int = 3
    #: How long a request with an unknown outcome may still arrive at the server.
    quiet_window_seconds: float = 600.0
    #: The longest wait for the answer to a paid request.
    submit_timeout_seconds: float = 60.0
    #: What a paid request under way gets at most when the run is stopped.
    stop_grace_seconds: float = 8.0
    #: How long an API is tried that has not answered at all yet, and one that has.
    first_answer_seconds: float = 30.0
    outage_seconds: float = 900.0
    #: For how long submissions wait until what is in flight was read once.
    first_read_seconds: float = 30.0
    #: First pause after a failed read, upload or download; it grows to `longest_pause_seconds`.
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 30.0
    #: Cooldown of everybody after a 429 that names no time; those in a row double it, up to the longest.
    throttle_seconds: float = 5.0
    longest_throttle_seconds: float = 120.0
    #: Bounds of two times: how long a generation is left alone after a read, and how much later than that the next read
    #: may come so that one request serves many. A long one is so read after at most twice the longest, 60 s.
    shortest_poll_seconds: float = 0.25
    longest_poll_seconds: float = 30.0
    #: Tries of one download in one run; after that the job waits for the next run.
    download_tries: int = 6
    #: How long the server may not know a generation that it accepted, until a person must look.
    missing_seconds: float = 86_400.0
    #: Attempts of one job that a run makes by itself where the server ended the last one for a passing reason.
    attempts: int = 2
    #: Whether exactly what a plan has shown is bought: no further attempts, and nothing at another price.
    is_exact: bool = False
    #: A generation is overdue after the longer of a time and a multiple of its expected time; it is then read rarely.
    overdue_seconds: float = 7200.0
    overdue_factor: float = 10.0
    overdue_poll_seconds: float = 600.0
    #: The time that instants and quiet windows are read from.
    clock: Clock = CLOCK

    def count_quiet_window(self, mark: str) -> float:
        """Count the seconds until nothing can arrive any more that was sent before a mark of the clock."""
        return self.quiet_window_seconds - self.clock.least_seconds_since(mark)
