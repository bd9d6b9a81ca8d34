"""What attempts have cost, added up by name over one or several ledgers. Pure."""

from __future__ import annotations

from typing import Any

#: Stands for a property that an attempt does not have.
NAMELESS = "(none)"


class Costs:
    """The sums, in the order in which their names came."""

    def __init__(self) -> None:
        self._rows: dict[str, list[int]] = {}
        #: Attempts that may have been charged without the server having said how much, and the estimate of them.
        self.untold = 0
        self.untold_estimated = 0

    def add(self, name: str, videos: int, charged: int, refunded: int, untold: int, untold_estimated: int) -> None:
        row = self._rows.setdefault(name or NAMELESS, [0, 0, 0])
        for place, amount in enumerate((videos, charged, refunded)):
            row[place] += amount
        self.untold += untold
        self.untold_estimated += untold_estimated

    def make_rows(self, column: str, *, has_total: bool) -> list[dict[str, Any]]:
        """Make a row for each name, and one for all of them."""
        rows = [_make_row(column, name, row) for name, row in self._rows.items()]
        if has_total and len(rows) != 1:
            total = [sum(row[place] for row in self._rows.values()) for place in range(3)]
            rows.append(_make_row(column, "total", total))
        return rows


def _make_row(column: str, name: str, row: list[int]) -> dict[str, Any]:
    videos, charged, refunded = row
    return {column: name, "videos": videos, "charged": charged, "refunded": refunded, "net": charged - refunded}
