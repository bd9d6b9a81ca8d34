"""What a plan would buy, and for how much, as the line before the first paid request says it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Purchase:
    """New videos and their prices by the API's list; None for a price that it does not tell."""

    prices: Sequence[int | None]
    #: Credits of the account; None where it could not be read.
    balance: int | None = None
    #: Those of the videos that are looked for at the server first.
    searched: int = 0

    @property
    def unpriced(self) -> int:
        """Videos whose price is not known."""
        return sum(price is None for price in self.prices)

    @property
    def credits(self) -> int:
        """Credits for those whose price is known."""
        return sum(filter(None, self.prices))

    def describe(self) -> str:
        """Say it as `240 new videos, about 7200 credits (30 each), balance 9120`."""
        parts = [self.describe_count()]
        if self.prices:
            parts += self._describe_price()
            parts.append("balance unknown" if self.balance is None else f"balance {self.balance}")
        return ", ".join(parts)

    def describe_count(self) -> str:
        """Say how many there would be."""
        count = len(self.prices)
        text = f"{count} new video{'' if count == 1 else 's'}"
        if self.searched:
            text = f"at most {text} ({self.searched} looked for first, since the ledger was lost)"
        return text

    def _describe_price(self) -> list[str]:
        known = [price for price in self.prices if price is not None]
        if not known:
            return ["price unknown"]
        lowest, highest = min(known), max(known)
        each = f"{lowest} each" if lowest == highest else f"{lowest} to {highest} each"
        parts = [f"about {self.credits} credits ({each})"]
        if self.unpriced:
            parts.append(f"and {self.unpriced} of unknown price")
        return parts
