"""Prices of what was admitted and is not reserved yet."""

from __future__ import annotations

from hedra_batch.money import Money
from hedra_batch.run.pledges import Pledges


def test_each_price_counts_once_until_it_is_dropped() -> None:
    pledges = Pledges()
    for price in (Money(30), Money(30)):
        pledges.add(("", "sea"), price)
    pledges.add(("", "hill"), Money(5))
    pledges.add(("", "road"), None)
    assert pledges.total == 35
    for identity in (("", "sea"), ("", "sea"), ("", "road")):
        pledges.drop(identity)
    assert pledges.total == 5
