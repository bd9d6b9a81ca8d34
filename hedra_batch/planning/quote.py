"""What a plan would buy, and for how much, as the line before the first paid request says it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hedra_batch.ledger.budget import PriceRun
from hedra_batch.money import Money


@dataclass(frozen=True, slots=True)
class Quote:
    """New videos and their prices by the API's list."""

    #: In the order of buying: a price, None where it is not known, and how many in a row cost it.
    runs: Sequence[PriceRun] = ()
    #: What the account has; None where it could not be read.
    balance: Money | None = None
    #: Those of the videos that are looked for at the server first.
    searched: int = 0

    @property
    def prices(self) -> Counter[Money | None]:
        """How many there are of each price."""
        prices = Counter[Money | None]()
        for price, count in self.runs:
            prices[price] += count
        return prices

    @property
    def count(self) -> int:
        return sum(count for _, count in self.runs)

    @property
    def unpriced(self) -> int:
        return self.prices[None]

    @property
    def total(self) -> int:
        """The price of those whose price is known; all of one API are in one unit."""
        return sum(price.amount * count for price, count in self.runs if price)

    def describe(self) -> str:
        """Say it as `240 new videos, about 7,200 credits (30 each), balance 9,120`."""
        parts = [self.describe_count()]
        if self.count:
            parts += self.describe_price()
            parts.append("balance unknown" if self.balance is None else f"balance {self.balance.amount:,}")
        return ", ".join(parts)

    def describe_count(self) -> str:
        text = f"{self.count or 'no'} new video{'' if self.count == 1 else 's'}"
        if self.searched:
            text = f"at most {text} ({self.searched} looked for first, since the ledger was lost)"
        return text

    def describe_price(self) -> list[str]:
        known = [price for price in self.prices if price]
        if not known:
            return ["price unknown"]
        lowest, highest = min(known).amount, max(known).amount
        each = f"{lowest:,} each" if lowest == highest else f"{lowest:,} to {highest:,} each"
        price = f"about {Money(self.total, known[0].unit)} ({each})"
        if self.unpriced:
            return [f"{self.count - self.unpriced} of them for {price}", f"{self.unpriced} of unknown price"]
        return [price]
