"""Prices of what was admitted and is not reserved yet, so that the room of a budget is not given out twice."""

from __future__ import annotations

from hedra_batch.ledger.records import JobIdentity
from hedra_batch.money import Money


class Pledges:
    """Keeps each price from the admission of a job until the ledger counts it."""

    def __init__(self) -> None:
        self._amounts: dict[JobIdentity, int] = {}
        self.total = 0

    def add(self, identity: JobIdentity, price: Money | None) -> None:
        self.drop(identity)
        if price is not None:
            self._amounts[identity] = price.amount
            self.total += price.amount

    def drop(self, identity: JobIdentity) -> None:
        self.total -= self._amounts.pop(identity, 0)
