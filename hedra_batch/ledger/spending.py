"""What an edition has cost and may still cost, and the budget that bounds it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from hedra_batch.errors import BudgetReachedError
from hedra_batch.job import Attempt

#: What an attempt costs at most: as charged or as estimated, whichever is more, else not known.
_PRICE = "max(coalesce(credits_charged, credits_estimated), coalesce(credits_estimated, credits_charged))"
#: The server may have charged these: everything that was sent and not clearly refused.
_MAY_BE_CHARGED = "(state NOT IN ('NEW', 'RESERVED', 'REJECTED') OR (state <> 'REJECTED' AND unknown_sends > 0))"


@dataclass(frozen=True, slots=True)
class Spending:
    """Credits of one edition, refunds not taken off; `unpriced` attempts may have cost something that is not known."""

    credits: int
    unpriced: int


def sum_spending(
    connection: sqlite3.Connection, edition: str, *, counts_reserved: bool = False, but: int | None = None
) -> Spending:
    """Sum what may have been charged, with `counts_reserved` also what is about to be; `but` one attempt."""
    row = connection.execute(
        f"SELECT coalesce(sum({_PRICE}), 0), count(*) FILTER (WHERE {_PRICE} IS NULL) FROM attempts "
        f"WHERE edition = ? AND attempt_key IS NOT ? AND ({_MAY_BE_CHARGED} OR (? AND state = 'RESERVED'))",
        (edition, but, counts_reserved),
    ).fetchone()
    return Spending(*row)


def require_budget(
    connection: sqlite3.Connection, attempt: Attempt, price: int | None, budget: int | None, *, counts_reserved: bool
) -> None:
    """Raise BudgetReachedError unless what was spent, what is reserved and this price together stay within it."""
    if budget is None:
        return
    spending = sum_spending(connection, attempt.edition, counts_reserved=counts_reserved, but=attempt.key)
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
