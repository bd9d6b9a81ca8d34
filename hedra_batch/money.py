"""Money as a whole number of the smallest unit that an API counts in, with that unit. Pure."""

from __future__ import annotations

from dataclasses import dataclass

#: What v2 of the API counts in.
CREDITS = "credits"


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An amount in one unit; amounts of different units are never added or compared."""

    amount: int
    unit: str = CREDITS

    def __str__(self) -> str:
        return f"{self.amount} {self.unit}"
