"""What further purchases need beside what was spent, by the one rule of all budgets. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from hedra_batch.ledger.budget import Account, BudgetKind, count_covered
from hedra_batch.money import Money


class Room(Enum):
    """Whether a budget has room for purchases."""

    ENOUGH = auto()
    TOO_LITTLE = auto()
    #: A price is not known.
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Funds:
    """The budgets of a run as they stand at its end, by the editions that something is to be bought for."""

    accounts: Mapping[str, Sequence[Account]] = field(default_factory=dict)

    def find_sufficient(self, edition: str, prices: Sequence[Money | None]) -> Money | None:
        """Find the budget of the edition under which all of these can be bought; None where that is not known."""
        account = self._find_account(edition)
        if account is None or account.spending.unpriced:
            return None
        total = account.spending.spent.amount
        for price in prices:
            if price is None or price.unit != account.limit.unit:
                return None
            total += price.amount
        return Money(total, account.limit.unit)

    def find_room(self, edition: str, prices: Sequence[Money | None]) -> Room:
        """Find out whether the budget of the edition has room for all of these."""
        account = self._find_account(edition)
        if account is None or _has_room(account, prices):
            return Room.ENOUGH
        return Room.UNKNOWN if self.find_sufficient(edition, prices) is None else Room.TOO_LITTLE

    def find_others(self, edition: str, prices: Sequence[Money | None]) -> list[Account]:
        """Find the budgets without room for all of these that only the manifest can raise."""
        others = (account for account in self.accounts.get(edition, ()) if account.kind is not BudgetKind.EDITION)
        return [account for account in others if not _has_room(account, prices)]

    def _find_account(self, edition: str) -> Account | None:
        own = (account for account in self.accounts.get(edition, ()) if account.kind is BudgetKind.EDITION)
        return next(own, None)


def _has_room(account: Account, prices: Sequence[Money | None]) -> bool:
    covered = count_covered([(price, 1) for price in prices], [account])
    return sum(count for _, count in covered) == len(prices)
