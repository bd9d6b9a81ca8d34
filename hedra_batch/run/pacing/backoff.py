"""Pauses that grow while something fails, and begin anew once it does not."""

from __future__ import annotations


class Backoff:
    """Pauses that double, from a first one to a longest one."""

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._count = 0

    def next_seconds(self) -> float:
        self._count += 1
        return self.last_seconds

    @property
    def last_seconds(self) -> float:
        """The pause that was returned last, or the first one."""
        # Beyond so many doublings no pause is shorter than the longest, and a power would only grow.
        return min(self._first_seconds * 2.0 ** min(max(self._count - 1, 0), 20), self._longest_seconds)

    def reset(self) -> None:
        self._count = 0
