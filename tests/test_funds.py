"""The budget that further purchases need."""

from __future__ import annotations

import pytest

from hedra_batch.batch.funds import Funds, Room
from hedra_batch.ledger.budget import Account, BudgetKind, Spending
from hedra_batch.money import Money

SPENT = {"": Spending(Money(60)), "may": Spending(Money(60), unpriced=1)}


@pytest.mark.parametrize(
    ("edition", "prices", "room", "sufficient"),
    [
        ("", [Money(40)], Room.ENOUGH, Money(100)),
        ("", [Money(40), Money(1)], Room.TOO_LITTLE, Money(101)),
        ("", [Money(40), None], Room.UNKNOWN, None),
        ("", [Money(1, "cents")], Room.UNKNOWN, None),
        ("may", [Money(1)], Room.UNKNOWN, None),
        ("june", [Money(100)], Room.ENOUGH, Money(100)),
    ],
)
def test_what_was_spent_of_an_edition_counts_beside_the_prices(
    edition: str, prices: list[Money | None], room: Room, sufficient: Money | None
) -> None:
    funds = Funds({edition: [Account(BudgetKind.EDITION, Money(100), SPENT.get(edition, Spending(Money(0))))]})
    assert (funds.find_room(edition, prices), funds.find_sufficient(edition, prices)) == (room, sufficient)


def test_budgets_that_only_the_manifest_can_raise_are_told_apart() -> None:
    accounts = [
        Account(BudgetKind.EDITION, Money(100), Spending(Money(60))),
        Account(BudgetKind.MONTH, Money(70), Spending(Money(60))),
        Account(BudgetKind.TOTAL, Money(500), Spending(Money(60))),
    ]
    funds = Funds({"": accounts})
    assert (funds.find_room("", [Money(20)]), funds.find_others("", [Money(20)])) == (Room.ENOUGH, accounts[1:2])
    assert (funds.find_others("", [Money(10)]), funds.find_others("", [None])) == ([], accounts[1:])


def test_without_a_budget_there_is_room_for_everything() -> None:
    assert Funds().find_room("", [None]) is Room.ENOUGH
