"""What videos will cost: by the API's list, and by what was really charged where that was more. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from fractions import Fraction

from hedra_batch.inputs import FieldValues, PriceKey, find_price_key
from hedra_batch.ledger.records import Charge
from hedra_batch.money import Money

#: By the API's list; None where it does not tell.
ListPrice = Callable[[FieldValues], Money | None]


class Prices:
    """Estimates by model and kind of price, that is, by all that decides it but the length of a video.

    A kind of video that was charged a multiple of its list price once is estimated at that multiple from then on: the
    largest one, so that a budget is kept. Where the list has become right, the multiple is 1 again.
    """

    def __init__(self, list_price: ListPrice, charges: Iterable[Charge] = ()) -> None:
        self._list_price = list_price
        self._charges: dict[PriceKey, dict[PriceKey, Money]] = {}
        self._multiples: dict[PriceKey, Fraction] = {}
        for charge in charges:
            self.learn(charge.fields, charge.charged)

    def estimate(self, fields: FieldValues) -> Money | None:
        price = self._list_price(fields)
        if price is None or not self._charges:
            return price
        kind = _find_kind(fields)
        if not price.amount:
            # No multiple of nothing is what was charged.
            charged = (one for one in self._charges.get(kind, {}).values() if one.unit == price.unit)
            return max(charged, default=price)
        return Money(math.ceil(price.amount * self._find_multiple(kind)), price.unit)

    def learn(self, fields: FieldValues, charged: Money) -> None:
        """Take a charge into account, if it is the highest of its kind."""
        kind = _find_kind(fields)
        charges = self._charges.setdefault(kind, {})
        key = find_price_key(fields)
        if key not in charges or (charged.unit == charges[key].unit and charged > charges[key]):
            charges[key] = charged
            self._multiples.pop(kind, None)

    def _find_multiple(self, kind: PriceKey) -> Fraction:
        if kind not in self._multiples:
            charges = self._charges.get(kind, {})
            self._multiples[kind] = max(
                [Fraction(1), *(find_multiple(self._list_price(dict(key)), one) for key, one in charges.items())]
            )
        return self._multiples[kind]


def find_multiple(price: Money | None, charged: Money) -> Fraction:
    """Find how many times its list price something was charged, at least once."""
    if price is None or price.unit != charged.unit or not price.amount:
        return Fraction(1)
    return max(Fraction(charged.amount, price.amount), Fraction(1))


def _find_kind(fields: FieldValues) -> PriceKey:
    return tuple((name, value) for name, value in find_price_key(fields) if name != "duration_ms")
