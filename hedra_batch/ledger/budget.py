"""What an edition has cost and may still cost, and the budget that bounds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from hedra_batch.errors import BudgetReachedError
from hedra_batch.job import Attempt, Job, to_label
from hedra_batch.ledger.backend import Tables
from hedra_batch.ledger.events import Event, Guard
from hedra_batch.money import Money
from hedra_batch.state import LIABILITIES, Liability

#: What counts as spent, by what the budget is asked for.
_COUNTED = {
    Guard.RESERVE: (Liability.CHARGED, Liability.RESERVED),
    Guard.SEND: (Liability.CHARGED,),
}


@dataclass(frozen=True, slots=True)
class Spending:
    """What one edition may have cost, refunds not taken off; `unpriced` attempts may have cost something more."""

    spent: Money
    unpriced: int = 0


def read_spending(
    tables: Tables, edition: str, unit: str, liabilities: Sequence[Liability] = (Liability.CHARGED,)
) -> Spending:
    amount, unpriced = tables.reader().sum_spending(edition, unit, liabilities)
    return Spending(Money(amount, unit), unpriced)


@dataclass(frozen=True, slots=True)
class Budget:
    """What each edition may cost in this run; nothing bounds it where there is no limit."""

    limit: Money | None

    def can_afford(self, tables: Tables, edition: str, price: Money) -> bool:
        if self.limit is None:
            return True
        return _fits(price, self.limit, read_spending(tables, edition, self.limit.unit, _COUNTED[Guard.RESERVE]))

    def require(self, tables: Tables, attempt: Attempt, event: Event) -> None:
        """Raise BudgetReachedError where an event needs more than what the budget leaves."""
        if self.limit is None or event.guard is None:
            return
        price = event.sets["estimated"] if event.guard is Guard.RESERVE else attempt.estimated
        assert price is None or isinstance(price, Money), "prices are money"
        spending = read_spending(tables, attempt.edition, self.limit.unit, _COUNTED[event.guard])
        if LIABILITIES[attempt.state] is Liability.CHARGED:
            spending = _leave_out(price, spending)
        if not _fits(price, self.limit, spending):
            raise _make_error(attempt.label, price, self.limit, spending)

    def find_objection(self, tables: Tables, job: Job, price: Money | None, pledged: int) -> BudgetReachedError | None:
        """Find out whether there is room for a job beside what counts as spent and an amount that is pledged."""
        if self.limit is None:
            return None
        spending = read_spending(tables, job.edition, self.limit.unit, _COUNTED[Guard.RESERVE])
        spending = Spending(Money(spending.spent.amount + pledged, spending.spent.unit), spending.unpriced)
        if _fits(price, self.limit, spending):
            return None
        return _make_error(to_label(job.edition, job.id), price, self.limit, spending)


def _fits(price: Money | None, limit: Money, spending: Spending) -> bool:
    return _is_priced(price, limit, spending) and spending.spent.amount + price.amount <= limit.amount


def _is_priced(price: Money | None, limit: Money, spending: Spending) -> TypeGuard[Money]:
    """Tell whether this price, and all that counts as spent, is known in the unit of the limit."""
    return price is not None and price.unit == limit.unit and not spending.unpriced


def _leave_out(price: Money | None, spending: Spending) -> Spending:
    """Take an attempt off that counts as charged already, for an earlier send under the same key."""
    if price is None:
        return Spending(spending.spent, spending.unpriced - 1)
    return Spending(Money(spending.spent.amount - price.amount, spending.spent.unit), spending.unpriced)


def _make_error(label: str, price: Money | None, limit: Money, spending: Spending) -> BudgetReachedError:
    if spending.unpriced:
        return BudgetReachedError(
            f"{label} is not sent: something was sent before whose price is not known, so nobody can tell what "
            "is left of the budget. Only a run without a budget sends more of this edition."
        )
    if not _is_priced(price, limit, spending):
        return BudgetReachedError(
            f"{label} is not sent: its price is not known, and there is a budget. Give it a model of the API's "
            "list, a duration and a resolution. A run without a budget buys it at whatever price."
        )
    return BudgetReachedError(
        f"The budget of {limit} is reached: {spending.spent.amount} are spent or reserved, and {label} would "
        f"cost {price.amount} more, so it is not sent. To buy it, raise the budget (in the manifest, or --budget)."
    )
