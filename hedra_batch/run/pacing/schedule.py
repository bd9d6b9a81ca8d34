"""When a generation is read next: often where it is likely to end, rarely before and when it is late. Pure.

Estimates are taken for what they are: those of the service may be missing or wrong by half. Reads of different
generations meet on a common grid, so that one request serves many.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

#: A generation can end after two thirds of an estimate that is too long by half; it is read a little before.
EARLIEST_SHARE = 0.6
#: Without an estimate for itself, it can end after half of what is usual.
EARLIEST_USUAL_SHARE = 0.5
#: How late an end may be noticed, as a share of the whole time; also the finest grid that it is read on.
RESOLUTION_SHARE = 0.02
#: Once it is late, it is read again after this share of the time that it is late by: from the start where nobody says
#: how long it takes.
LATE_SHARE = 0.25
#: Generations of a kind that are remembered, and from how many on they tell what is usual.
SEEN_LIMIT = 50
SEEN_LEAST = 5


class Usual:
    """How long generations of one kind have taken in this run."""

    def __init__(self) -> None:
        self._seen_seconds: deque[float] = deque(maxlen=SEEN_LIMIT)
        #: Between which times nearly all ended; None as long as too few were seen.
        self.bounds: tuple[float, float] | None = None

    def add(self, seconds: float) -> None:
        self._seen_seconds.append(seconds)
        if len(self._seen_seconds) >= SEEN_LEAST:
            ordered = sorted(self._seen_seconds)
            margin = len(ordered) // 20
            self.bounds = ordered[margin] * 0.9, ordered[-1 - margin]


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is expected of one generation. All times are counted from its acceptance."""

    #: When it ends by the service's latest estimate, and when that estimate was made.
    end_seconds: float | None = None
    estimated_at_seconds: float = 0.0
    #: Between which times generations of its kind have ended in this run.
    usual: tuple[float, float] | None = None
    #: How long it takes by the list of models.
    model_seconds: float | None = None

    @property
    def usual_seconds(self) -> float:
        """How long its kind takes, which is the same for all of them; 0 where nobody says it."""
        if self.usual is not None:
            return sum(self.usual) / 2
        return self.model_seconds or self.end_seconds or 0.0

    @property
    def earliest_seconds(self) -> float:
        """When it may have ended for the first time."""
        if self.end_seconds is not None:
            return self.estimated_at_seconds + (self.end_seconds - self.estimated_at_seconds) * EARLIEST_SHARE
        if self.usual is not None:
            return self.usual[0]
        return self.usual_seconds * EARLIEST_USUAL_SHARE

    @property
    def latest_seconds(self) -> float:
        """When it should have ended."""
        if self.end_seconds is not None:
            return self.end_seconds
        return self.usual[1] if self.usual is not None else self.usual_seconds


@dataclass(frozen=True, slots=True)
class Schedule:
    """Chooses times within the bounds of a run."""

    shortest_seconds: float
    longest_seconds: float

    def find_due(self, now: float, age_seconds: float, outlook: Outlook) -> float:
        """Find when to read a generation of an age next, on the clock of `now`."""
        grid_seconds = self._find_grid(outlook.usual_seconds)
        late_seconds = max(age_seconds - outlook.latest_seconds, 0.0)
        wait_seconds = max(outlook.earliest_seconds - age_seconds, late_seconds * LATE_SHARE)
        wait_seconds = min(max(wait_seconds, grid_seconds / 2), self.longest_seconds)
        return math.ceil((now + wait_seconds) / grid_seconds) * grid_seconds

    def _find_grid(self, usual_seconds: float) -> float:
        """Choose the distance of possible times: powers of two, so that coarse grids fall onto fine ones."""
        finest_seconds = max(usual_seconds * RESOLUTION_SHARE, self.shortest_seconds)
        return 2.0 ** math.floor(math.log2(min(finest_seconds, self.longest_seconds)))
