"""What cannot go on now, each under what it waits for, and the one rule that says when it is ready again."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum

from hedra_batch.decide import after_proof
from hedra_batch.errors import BudgetReachedError
from hedra_batch.job import Attempt
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.records import JobIdentity
from hedra_batch.money import Money
from hedra_batch.planning.plan import PlannedJob


class Wait(StrEnum):
    """What a parked attempt waits for."""

    #: The budget has no room for it; what the server refuses meanwhile gives some back.
    BUDGET = "budget"
    #: Nothing shows yet that the server recognises repeats; another job's answer may.
    PROOF = "proof"
    PERSON = "person"
    NEXT_RUN = "next run"


@dataclass(frozen=True, slots=True)
class Parked:
    """One attempt that waits."""

    attempt: Attempt
    planned: PlannedJob


class Parking:
    """Keeps what may be ready again in this run; the rest stays in the ledger, where the next run finds it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._parked: defaultdict[Wait, list[Parked]] = defaultdict(list)
        #: What was given out since the proof is here.
        self._proven: set[int] = set()
        #: The lowest price that the budget has no room for, and the edition whose budget it is.
        self._cheapest: Money | None = None
        self._edition = ""
        #: Why the budget let nothing more through, as long as something waits for it.
        self.budget_reason: BudgetReachedError | None = None
        self.was_budget_reached = False
        #: What the budget had no room for since it had room again.
        self.left_out: dict[JobIdentity, PlannedJob] = {}

    def park(self, wait: Wait, attempt: Attempt, planned: PlannedJob) -> None:
        """Keep an attempt until it is ready again; what comes back although the proof is here has another reason."""
        if wait is Wait.BUDGET or (wait is Wait.PROOF and attempt.key not in self._proven):
            self._parked[wait].append(Parked(attempt, planned))

    def on_too_dear(self, edition: str, price: Money | None, reason: BudgetReachedError) -> None:
        """The budget had no room for this price."""
        self.was_budget_reached = True
        self.budget_reason = self.budget_reason or reason
        if price is not None:
            self._edition = edition
            self._cheapest = min(price, self._cheapest or price)

    def is_too_dear(self, price: Money | None) -> bool:
        """Tell whether the budget has refused what costs no more, so that nothing need be uploaded for another no."""
        if self.budget_reason is None:
            return False
        return price is None or (self._cheapest is not None and price >= self._cheapest)

    async def take_ready(self) -> list[Parked] | None:
        """Give out what can go on again, the list being empty where only jobs without a row can; None for nothing.

        The one rule: a budget with room again, or a server that is known to recognise repeats by now.
        """
        ready = []
        is_reopened = await self._is_affordable()
        if is_reopened:
            self.budget_reason, self._cheapest = None, None
            self.left_out.clear()
            ready = self._parked.pop(Wait.BUDGET, [])
        held = self._parked.pop(Wait.PROOF, [])
        self._parked[Wait.PROOF] = [one for one in held if not self._is_proven(one.attempt)]
        proven = [one for one in held if self._is_proven(one.attempt)]
        self._proven |= {one.attempt.key for one in proven}
        ready += proven
        return ready if ready or is_reopened else None

    def _is_proven(self, attempt: Attempt) -> bool:
        deduplication = self._ledger.deduplication(attempt.kind)
        return after_proof(attempt.state, deduplication) is not attempt.state

    async def _is_affordable(self) -> bool:
        """Tell whether the budget has room for the cheapest that was refused: the server's refusals give some back."""
        if self.budget_reason is None or self._cheapest is None:
            return False
        return await self._ledger.can_afford(self._edition, self._cheapest)
