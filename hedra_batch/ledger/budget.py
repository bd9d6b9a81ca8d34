"""What a batch has cost and may still cost, and the budgets that bound it: of an edition, of a month, and in all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeGuard

from hedra_batch.errors import BudgetReachedError
from hedra_batch.job import Attempt, Job, to_label
from hedra_batch.ledger.events import Event, Guard
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.money import Budgets, Money
from hedra_batch.state import LIABILITIES, Liability

#: What counts as spent, by what the budget is asked for.
_COUNTED = {
    Guard.RESERVE: (Liability.CHARGED, Liability.RESERVED),
    Guard.SEND: (Liability.CHARGED,),
}


#: So many videos of one price in a row; None for a price that is not known.
PriceRun = tuple[Money | None, int]


class BudgetKind(StrEnum):
    """What a budget is about; the keys of `budget` in a manifest are the same."""

    EDITION = "edition"
    #: Of the last send of each attempt, by UTC.
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True)
class Spending:
    """What may have been charged, refunds not taken off; `unpriced` attempts may have cost something more."""

    spent: Money
    unpriced: int = 0


_NAMES = {BudgetKind.EDITION: "budget", BudgetKind.MONTH: "budget of the month", BudgetKind.TOTAL: "total budget"}


@dataclass(frozen=True, slots=True)
class Account:
    """One budget, and what counts towards it."""

    kind: BudgetKind
    limit: Money
    spending: Spending

    def describe(self) -> str:
        """Say it as `budget 500 credits (70 spent)`."""
        spent = f"({self.spending.spent.amount:,} spent)"
        return f"{_NAMES[self.kind]} {self.limit} {spent}"


def read_spending(
    reader: LedgerReader | None,
    unit: str,
    liabilities: Sequence[Liability] = (Liability.CHARGED,),
    *,
    edition: str | None = None,
    month: str | None = None,
) -> Spending:
    """Add up what was spent for an edition or in a month, written as `2026-11`; for all where neither is given.

    Nothing was where there is no ledger yet.
    """
    if reader is None:
        return Spending(Money(0, unit))
    amount, unpriced = reader.sum_spending(unit, liabilities, edition=edition, month=month)
    return Spending(Money(amount, unit), unpriced)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may spend; nothing bounds it where there is no limit."""

    limits: Budgets

    def read_accounts(
        self, reader: LedgerReader | None, edition: str, month: str, guard: Guard = Guard.RESERVE
    ) -> Iterator[Account]:
        """Read what counts towards each budget that there is."""
        wheres: Mapping[BudgetKind, Mapping[str, str]] = {
            BudgetKind.EDITION: {"edition": edition},
            BudgetKind.MONTH: {"month": month},
            BudgetKind.TOTAL: {},
        }
        for kind, where in wheres.items():
            limit: Money | None = getattr(self.limits, kind)
            if limit is not None:
                yield Account(kind, limit, read_spending(reader, limit.unit, _COUNTED[guard], **where))

    def can_afford(self, reader: LedgerReader, edition: str, month: str, price: Money) -> bool:
        return all(_fits(price, account) for account in self.read_accounts(reader, edition, month))

    def require(self, reader: LedgerReader, attempt: Attempt, event: Event, guard: Guard, month: str) -> None:
        """Raise BudgetReachedError where an event needs more than what a budget leaves."""
        price = event.sets.get("estimated", attempt.estimated)
        assert price is None or isinstance(price, Money), "prices are money"
        for account in self.read_accounts(reader, attempt.edition, month, guard):
            counted = _leave_out(reader, attempt, account, month)
            if not _fits(price, counted):
                raise _make_error(attempt.label, price, counted, month)

    def find_objection(
        self, reader: LedgerReader, job: Job, month: str, price: Money | None, pledged: int
    ) -> BudgetReachedError | None:
        """Find out whether there is room for a job beside what counts as spent and an amount that is pledged."""
        for account in self.read_accounts(reader, job.edition, month):
            counted = _spend(account, pledged)
            if not _fits(price, counted):
                return _make_error(to_label(job.edition, job.id), price, counted, month)
        return None


def count_covered(prices: Iterable[PriceRun], accounts: Iterable[Account]) -> list[PriceRun]:
    """Say which of some videos fit, in the order in which they are bought: each price with how many.

    What is too dear is passed over, as a run does.
    """
    covered = []
    remaining = list(accounts)
    for price, count in prices:
        fitting = min([_count_fitting(price, account) for account in remaining], default=count)
        if fitting <= 0:
            continue
        fitting = min(fitting, count)
        covered.append((price, fitting))
        remaining = [_spend(account, price.amount * fitting) for account in remaining if price]
    return covered


#: Of what costs nothing.
_ANY_NUMBER = 10**9


def _count_fitting(price: Money | None, account: Account) -> int:
    """Count how many of one price fit: the one rule of all budgets."""
    limit, spending = account.limit, account.spending
    if not _is_priced(price, limit, spending):
        return 0
    left = limit.amount - spending.spent.amount
    return max(left // price.amount, 0) if price.amount else _ANY_NUMBER * (left >= 0)


def _fits(price: Money | None, account: Account) -> bool:
    return _count_fitting(price, account) > 0


def _spend(account: Account, amount: int) -> Account:
    spending = account.spending
    spent = Money(spending.spent.amount + amount, spending.spent.unit)
    return Account(account.kind, account.limit, Spending(spent, spending.unpriced))


def _is_priced(price: Money | None, limit: Money, spending: Spending) -> TypeGuard[Money]:
    """Tell whether this price, and all that counts as spent, is known in the unit of the limit."""
    return price is not None and price.unit == limit.unit and not spending.unpriced


def _leave_out(reader: LedgerReader, attempt: Attempt, account: Account, month: str) -> Account:
    """Take an attempt off that counts as charged already, for an earlier send under the same key."""
    is_counted = LIABILITIES[attempt.state] is Liability.CHARGED
    if account.kind is BudgetKind.MONTH:
        is_counted = is_counted and reader.read_month(attempt.key) == month
    if not is_counted:
        return account
    if attempt.estimated is None:
        spending = account.spending
        return Account(account.kind, account.limit, Spending(spending.spent, spending.unpriced - 1))
    return _spend(account, -attempt.estimated.amount)


def name_budget(account: Account) -> str:
    """Name a budget as a sentence has it: `budget of 500 credits`."""
    return {
        BudgetKind.EDITION: f"budget of {account.limit}",
        BudgetKind.MONTH: f"budget of {account.limit} a month",
        BudgetKind.TOTAL: f"total budget of {account.limit}",
    }[account.kind]


def _make_error(label: str, price: Money | None, account: Account, month: str) -> BudgetReachedError:
    limit, spending = account.limit, account.spending
    if spending.unpriced:
        return BudgetReachedError(
            f"{label} is not sent: something was sent before whose price is not known, so nobody can tell what "
            f"is left of the {name_budget(account)}. Only a run without it sends more."
        )
    if not _is_priced(price, limit, spending):
        return BudgetReachedError(
            f"{label} is not sent: its price is not known, and there is a budget. Give it a model of the API's "
            "list, a duration and a resolution. A run without a budget buys it at whatever price."
        )
    when = f" in {month} (UTC)" if account.kind is BudgetKind.MONTH else ""
    where = "in the manifest, or --budget" if account.kind is BudgetKind.EDITION else "in the manifest"
    return BudgetReachedError(
        f"The {name_budget(account)} is reached: {spending.spent.amount:,} are spent or reserved{when}, and {label} "
        f"would cost {price.amount:,} more, so it is not sent. To buy it, raise the budget ({where})."
    )
