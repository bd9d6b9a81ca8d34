"""The arithmetic of the figures. Pure."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable, Sequence

_MIB = 1024 * 1024


def list_schedule_seconds(durations: Iterable[float], machines: int) -> float:
    """Reckon when the last of these ends if each, in this order, begins as soon as a machine is free."""
    free_at = [0.0] * machines
    for duration in durations:
        heapq.heapreplace(free_at, free_at[0] + duration)
    return max(free_at)


def most_in_window(instants: Iterable[float], window_seconds: float) -> int:
    """Count the most instants that any window of this length holds; its end is outside of it."""
    window: deque[float] = deque()
    most = 0
    for instant in sorted(instants):
        window.append(instant)
        while window[0] <= instant - window_seconds:
            window.popleft()
        most = max(most, len(window))
    return most


def most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """Count the most spans that any moment lies in; a span that begins as another ends does not meet it."""
    changes = sorted(change for begin, end in spans for change in ((begin, 1), (end, -1)))
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def percentile(values: Sequence[float], share: float) -> float:
    """Find the smallest value that at least this share of the values does not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def pace_ratio(instants: Sequence[float], per_second: float) -> float:
    """Compare the time from the first to the last with what an even pace takes for as many."""
    return (max(instants) - min(instants)) / ((len(instants) - 1) / per_second)


def to_mib(size_bytes: int) -> float:
    """Turn bytes into MiB."""
    return size_bytes / _MIB
