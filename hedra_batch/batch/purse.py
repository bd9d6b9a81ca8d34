"""What further purchases need beside what was spent: the budget of each edition. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from hedra_batch.ledger.budget import Spending
from hedra_batch.money import Money


class Room(Enum):
    """Whether a budget has room for a purchase."""

    ENOUGH = auto()
    TOO_LITTLE = auto()
    #: A price is not known.
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Purse:
    """The budget of a run, which each edition has for itself, and what is spent of it."""

    budget: Money | None = None
    spendings: Mapping[str, Spending] = field(default_factory=dict)

    def find_sufficient(self, edition: str, prices: Iterable[Money | None]) -> Money | None:
        """Find the budget under which all of these can be bought; None where that is not known."""
        spending = self.spendings.get(edition, Spending(Money(0)))
        total = spending.spent.amount
        for price in prices:
            if price is None or price.unit != spending.spent.unit:
                return None
            total += price.amount
        return None if spending.unpriced else Money(total, spending.spent.unit)

    def find_room(self, edition: str, prices: Iterable[Money | None]) -> Room:
        if self.budget is None:
            return Room.ENOUGH
        sufficient = self.find_sufficient(edition, prices)
        if sufficient is None or sufficient.unit != self.budget.unit:
            return Room.UNKNOWN
        return Room.ENOUGH if sufficient.amount <= self.budget.amount else Room.TOO_LITTLE
