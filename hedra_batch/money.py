"""Money as a whole number of the smallest unit that an API counts in, with that unit. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import total_ordering

#: What v2 of the API counts in.
CREDITS = "credits"


@total_ordering
@dataclass(frozen=True, slots=True)
class Money:
    """An amount in one unit; amounts of different units are never added or compared."""

    amount: int
    unit: str = CREDITS

    def __lt__(self, other: Money) -> bool:
        if self.unit != other.unit:
            raise ValueError(f"{self} and {other} cannot be compared")
        return self.amount < other.amount

    def __str__(self) -> str:
        return f"{self.amount:,} {self.unit}"


@dataclass(frozen=True, slots=True)
class Budgets:
    """The most that a batch may cost; nothing bounds what is None."""

    #: Each edition, all its runs together.
    edition: Money | None = None
    #: All editions together, in each month by UTC.
    month: Money | None = None
    #: All editions together, for ever.
    total: Money | None = None

    @property
    def is_set(self) -> bool:
        return self != Budgets()


NO_BUDGETS = Budgets()
