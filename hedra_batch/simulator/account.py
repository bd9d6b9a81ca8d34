"""The one account that all keys share: its balance, and the log of every charge and refund."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hedra_batch.simulator import refusals
from hedra_batch.simulator.journal import Journal

BillingKind = Literal["charge", "refund"]


@dataclass(frozen=True, slots=True)
class BillingRecord:
    """One movement of credits."""

    #: In seconds since 1970 on the service's clock.
    at: float
    kind: BillingKind
    generation_id: str
    #: Always positive.
    credits: int
    #: The fingerprint of the key that paid.
    key: str
    prompt: str
    #: The request that was charged.
    request_id: str


class Account:
    """Moves credits; the balance is what the log says it is."""

    def __init__(self, credits_at_start: int, journal: Journal[BillingRecord]) -> None:
        self._journal = journal
        self._settled: set[tuple[str, str]] = set()
        self.remaining = credits_at_start
        self.used = 0
        for record in journal.records:
            self._count(record)

    def require(self, amount: int) -> None:
        """Refuse what the balance does not cover."""
        if amount > self.remaining:
            raise refusals.no_credits(amount, self.remaining)

    def has(self, kind: BillingKind, generation_id: str) -> bool:
        """Whether the log has such a movement for the generation."""
        return (kind, generation_id) in self._settled

    def book(self, record: BillingRecord) -> None:
        """Make a movement and write it down."""
        self._journal.append(record)
        self._count(record)

    def _count(self, record: BillingRecord) -> None:
        self._settled.add((record.kind, record.generation_id))
        change = record.credits if record.kind == "charge" else -record.credits
        self.remaining -= change
        self.used += change
