"""A short code of what a plan would buy: it is another one as soon as anything of that is different. Pure.

Jobs are taken one by one and in any order, so that a large plan need not be kept.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable

from hedra_batch.inputs import FieldValues, PriceKey
from hedra_batch.money import Money
from hedra_batch.planning.plan import PlannedJob

#: Letters and digits that are not taken for each other.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_LENGTH = 8

_MODULUS = 1 << 256


class Fingerprint:
    """What would be bought: editions, ids, inputs and attempts, added up for each kind of price."""

    def __init__(self) -> None:
        self._sums: Counter[PriceKey] = Counter()

    def add(self, planned: PlannedJob, digest: str, key: PriceKey) -> None:
        """Take a job that is bought into account, with what its price depends on."""
        edition, job_id = planned.identity
        self._sums[key] += _take_hash(f"{edition}\0{job_id}\0{digest}\0{planned.bought_number}")

    def write_code(self, estimate: Callable[[FieldValues], Money | None] = lambda _: None) -> str:
        """Write the code of all that was added, at these prices."""
        by_price: Counter[str] = Counter()
        for key, added in self._sums.items():
            by_price[str(estimate(dict(key)))] += added
        number = _take_hash("\0".join(f"{price}\0{added % _MODULUS}" for price, added in sorted(by_price.items())))
        letters = []
        for _ in range(CODE_LENGTH):
            number, place = divmod(number, len(ALPHABET))
            letters.append(ALPHABET[place])
        return "".join(letters)


def _take_hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
