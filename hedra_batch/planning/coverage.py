"""How much of what a plan would buy is covered by budgets, balance and disk, by the rules that a run buys by. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hedra_batch.errors import BudgetReachedError, HedraBatchError, OutOfCreditsError, WriteError
from hedra_batch.inputs import PriceKey, find_price_key
from hedra_batch.ledger.budget import Account, PriceRun, count_covered
from hedra_batch.money import Money
from hedra_batch.planning.summary import PlanSummary

#: How large a second of video is, as long as no video of its model is here: what 8 megabits a second come to.
GUESSED_BYTES_PER_SECOND = 1_000_000
#: What a video without a duration is taken for.
GUESSED_SECONDS = 10


class Resource(StrEnum):
    """What buying needs enough of; in the order in which a run says that it is short."""

    BALANCE = "balance"
    BUDGET = "budget"
    DISK = "free disk space"


_ERRORS: Mapping[Resource, tuple[type[HedraBatchError], str]] = {
    Resource.BALANCE: (OutOfCreditsError, "add credits"),
    Resource.BUDGET: (BudgetReachedError, "raise the budget"),
    Resource.DISK: (WriteError, "make room on the disk"),
}


#: What helps where a budget cannot be held against a price that is not known.
PRICING_REMEDY = "give each job a model, a duration and a resolution, or take the budget away"


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Something covers less than all that would be bought."""

    resource: Resource
    covered: int
    wanted: int
    #: Whether all prices are known, also of what was sent before; what is not priced fits no budget.
    is_priced: bool = True

    @property
    def is_total(self) -> bool:
        """Whether nothing at all is bought for it: what finds no room on the disk is bought all the same."""
        return self.covered == 0 and self.resource is not Resource.DISK

    def describe(self) -> str:
        unpriced = "" if self.is_priced else " (not all prices are known)"
        return f"the {self.resource} covers {self.covered} of {self.wanted}{unpriced}"

    def make_error(self) -> HedraBatchError:
        """Make what says that nothing is bought for that."""
        error, remedy = _ERRORS[self.resource]
        remedy = remedy if self.is_priced else PRICING_REMEDY
        return error(
            f"The {self.resource} covers {self.covered} of {self.wanted} new videos, and it was to be all or nothing, "
            f"so none was bought. To buy them, {remedy}."
        )


@dataclass(frozen=True, slots=True)
class DiskRoom:
    """The free space of a disk, and what is expected to come onto it."""

    free_bytes: int
    #: What is bought already.
    awaited_bytes: float
    #: What would be bought, in its order: so many videos of a size.
    runs: Sequence[tuple[float, int]]

    def count(self) -> int:
        """Count the videos that find room, in their order."""
        left, fitting = self.free_bytes - self.awaited_bytes, 0
        for size_bytes, count in self.runs:
            here = count if size_bytes <= 0 else max(min(int(left // size_bytes), count), 0)
            left -= here * size_bytes
            fitting += here
            if here < count:
                break
        return fitting


def find_shortfalls(
    runs: Sequence[PriceRun], accounts: Iterable[Account], balance: Money | None, room: DiskRoom
) -> Iterator[Shortfall]:
    """Yield what covers less than all; the balance needs to cover no more than what the budgets let through."""
    wanted = sum(count for _, count in runs)
    limits = list(accounts)
    within = count_covered(runs, limits)
    in_budget = sum(count for _, count in within)
    paid = in_budget if balance is None else count_paid(within, balance)
    if paid < in_budget:
        yield Shortfall(Resource.BALANCE, paid, wanted)
    if in_budget < wanted:
        is_priced = all(price is not None for price, _ in runs) and not any(one.spending.unpriced for one in limits)
        yield Shortfall(Resource.BUDGET, in_budget, wanted, is_priced=is_priced)
    if (fitting := room.count()) < wanted:
        yield Shortfall(Resource.DISK, fitting, wanted)


def count_paid(runs: Iterable[PriceRun], balance: Money) -> int:
    """Count what a balance pays for: a run submits nothing more once the account is out of credits.

    What has no known price may cost little, but not nothing.
    """
    left, paid = balance.amount, 0
    for price, count in runs:
        if price is None and not left:
            break
        if price is None or price.unit != balance.unit or not price.amount:
            paid += count
            continue
        here = min(left // price.amount, count)
        left -= here * price.amount
        paid += here
        if here < count:
            break
    return paid


def guess_size(key: PriceKey, average_bytes: Mapping[str | None, float]) -> float:
    """Guess how large a video becomes: as those of its model are, else as all are, else by its length."""
    fields = dict(key)
    known = average_bytes.get(str(fields["model"]) if "model" in fields else None)
    if known is None and average_bytes:
        known = max(average_bytes.values())
    duration_ms = fields.get("duration_ms")
    seconds = int(duration_ms) / 1000 if duration_ms is not None else GUESSED_SECONDS
    return known if known is not None else seconds * GUESSED_BYTES_PER_SECOND


def expect_room(summary: PlanSummary, average_bytes: Mapping[str | None, float], free_bytes: int) -> DiskRoom:
    """Work out what a plan brings onto the disk, that too which is at the server already."""
    keys = [find_price_key(planned.job.inputs.fields) for planned in summary.sent if planned.job]
    awaited = sum(guess_size(key, average_bytes) for key in keys)
    return DiskRoom(free_bytes, awaited, [(guess_size(key, average_bytes), count) for key, count in summary.price_runs])
