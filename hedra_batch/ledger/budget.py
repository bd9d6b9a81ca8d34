"""What an edition has cost and may still cost, and the budget that bounds it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from hedra_batch.errors import BudgetReachedError
from hedra_batch.job import Attempt


@dataclass(frozen=True, slots=True)
class Spending:
    """Credits of one edition, refunds not taken off; `unpriced` attempts may have cost something that is not known."""

    credits: int
    unpriced: int


def read_spending(connection: sqlite3.Connection, edition: str, *, counts_reserved: bool = False) -> Spending:
    """Read what may have been charged, with `counts_reserved` also what is about to be; kept up to date by triggers."""
    row = connection.execute(
        "SELECT coalesce(sum(credits), 0), coalesce(sum(unpriced), 0) FROM spending "
        "WHERE edition = ? AND (liability = 'charged' OR (? AND liability = 'reserved'))",
        (edition, counts_reserved),
    ).fetchone()
    return Spending(*row)


def require_reservable(connection: sqlite3.Connection, attempt: Attempt, price: int | None, budget: int | None) -> None:
    """Raise BudgetReachedError unless what was spent, what is reserved and this price together stay within it."""
    if budget is not None:
        _require(attempt, price, budget, read_spending(connection, attempt.edition, counts_reserved=True))


def require_sendable(connection: sqlite3.Connection, attempt: Attempt, budget: int | None) -> None:
    """Raise BudgetReachedError unless what was spent and the price of this reserved attempt stay within it."""
    if budget is None:
        return
    price, spending = attempt.credits_estimated, read_spending(connection, attempt.edition)
    if attempt.unknown_sends:
        # It counts as charged already, for an earlier send of the same id.
        spending = Spending(spending.credits - (price or 0), spending.unpriced - (price is None))
    _require(attempt, price, budget, spending)


def _require(attempt: Attempt, price: int | None, budget: int, spending: Spending) -> None:
    if spending.unpriced or price is None:
        raise BudgetReachedError(
            f"{attempt.label}: under a budget nothing is sent whose price is not known"
            f"{', nor beside something sent whose price is not known' if spending.unpriced else ''}. Name a model of "
            "the API's list and a duration, or take the budget away."
        )
    if spending.credits + price > budget:
        raise BudgetReachedError(
            f"The budget of {budget} credits is reached: {spending.credits} are spent or reserved, and "
            f"{attempt.label} would cost {price}. Raise the budget, then run the same line again."
        )
