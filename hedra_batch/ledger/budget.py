"""What an edition has cost and may still cost, and the budget that bounds it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from hedra_batch.errors import BudgetReachedError
from hedra_batch.job import Attempt
from hedra_batch.ledger.events import Guard
from hedra_batch.money import Money
from hedra_batch.state import LIABILITIES, Liability

#: What counts as spent beside an attempt, by what the budget is asked for.
COUNTED = {
    Guard.RESERVE: (Liability.CHARGED, Liability.RESERVED),
    Guard.SEND: (Liability.CHARGED,),
}


@dataclass(frozen=True, slots=True)
class Spending:
    """What one edition may have cost, refunds not taken off; `unpriced` attempts may have cost something more."""

    spent: Money
    unpriced: int = 0


def fits(price: Money | None, budget: Money, spending: Spending) -> bool:
    """Tell whether a price is known and stays within a budget, beside what was spent."""
    if spending.unpriced or price is None or price.unit != budget.unit:
        return False
    return spending.spent.amount + price.amount <= budget.amount


def require_fitting(attempt: Attempt, price: Money | None, budget: Money, spending: Spending) -> None:
    """Raise BudgetReachedError unless the price of an attempt stays within the budget."""
    if LIABILITIES[attempt.state] is Liability.CHARGED:
        spending = _leave_out(price, spending)
    if fits(price, budget, spending):
        return
    if spending.unpriced or price is None or price.unit != budget.unit:
        raise BudgetReachedError(
            f"{attempt.label}: under a budget nothing is sent whose price is not known"
            f"{', nor beside something sent whose price is not known' if spending.unpriced else ''}. Name a model of "
            "the API's list and a duration, or take the budget away."
        )
    raise BudgetReachedError(
        f"The budget of {budget} is reached: {spending.spent.amount} are spent or reserved, and "
        f"{attempt.label} would cost {price.amount}. Raise the budget, then run the same line again."
    )


def _leave_out(price: Money | None, spending: Spending) -> Spending:
    """Take an attempt off that counts as charged already, for an earlier send under the same key."""
    if price is None:
        return Spending(spending.spent, spending.unpriced - 1)
    return Spending(Money(spending.spent.amount - price.amount, spending.spent.unit), spending.unpriced)
