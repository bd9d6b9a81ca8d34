"""When a generation is read next: often where it is likely to end, rarely before and when it is late. Pure.

Estimates are taken for what they are: those of the service may be missing or wrong by half. A read is due within a
window and not at an instant, so that one request can serve many.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

#: A generation can end after two thirds of an estimate that is too long by half; it is read a little before.
EARLIEST_SHARE = 0.6
#: Without an estimate for itself, it can end after half of what is usual.
EARLIEST_USUAL_SHARE = 0.5
#: How late an end may be noticed, as a share of the whole time.
RESOLUTION_SHARE = 0.03
#: From one read to the next there is at least this share of the resolution, also where another request takes it along.
SPACING_SHARE = 0.25
#: Once it is late, it is read again after this share of the time that it is late by: from the start where nobody says
#: how long it takes.
LATE_SHARE = 0.25
#: Generations of a kind that are remembered, and from how many on they tell what is usual. Of those that began
#: together the last to end say little, so there are to be more of them than are in flight.
SEEN_LIMIT = 1000
SEEN_LEAST = 5


class Usual:
    """How long generations of one kind have taken in this run."""

    def __init__(self) -> None:
        #: The same times in the order in which they were seen, and by length.
        self._seen_seconds: deque[float] = deque()
        self._ordered_seconds: list[float] = []
        #: Between which times nearly all ended; None as long as too few were seen.
        self.bounds: tuple[float, float] | None = None

    def add(self, seconds: float) -> None:
        if len(self._seen_seconds) == SEEN_LIMIT:
            del self._ordered_seconds[bisect_left(self._ordered_seconds, self._seen_seconds.popleft())]
        self._seen_seconds.append(seconds)
        insort(self._ordered_seconds, seconds)
        if len(self._ordered_seconds) >= SEEN_LEAST:
            margin = len(self._ordered_seconds) // 20
            self.bounds = self._ordered_seconds[margin] * 0.9, self._ordered_seconds[-1 - margin]


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


class Due(NamedTuple):
    """When a generation is to be read: by the end of it, and from its beginning along with others."""

    by_time: float
    from_time: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """Chooses times within the bounds of a run."""

    shortest_seconds: float
    longest_seconds: float

    def find_due(self, now: float, age_seconds: float, outlook: Outlook) -> Due:
        """Find when to read a generation of an age next, on the clock of `now`.

        Each of its two spans is at most `longest_seconds`, so it is due within twice that.
        """
        # Whatever was expected, it takes as long as it has taken already.
        resolution_seconds = self._bound(max(outlook.usual_seconds, age_seconds) * RESOLUTION_SHARE)
        late_seconds = max(age_seconds - outlook.latest_seconds, 0.0)
        wait_seconds = max(
            outlook.earliest_seconds - age_seconds, late_seconds * LATE_SHARE, resolution_seconds * SPACING_SHARE
        )
        from_time = now + min(wait_seconds, self.longest_seconds)
        return Due(from_time + resolution_seconds, from_time)

    def _bound(self, seconds: float) -> float:
        return min(max(seconds, self.shortest_seconds), self.longest_seconds)
