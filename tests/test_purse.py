"""The budget that further purchases need."""

from __future__ import annotations

import pytest

from hedra_batch.batch.purse import Purse, Room
from hedra_batch.ledger.budget import Spending
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
    purse = Purse(Money(100), SPENT)
    assert (purse.find_room(edition, prices), purse.find_sufficient(edition, prices)) == (room, sufficient)


def test_without_a_budget_there_is_room_for_everything() -> None:
    assert Purse().find_room("", [None]) is Room.ENOUGH
