"""The ledger: one place that applies events to attempts, durable when it returns, and all else that is kept of a batch.

What was returned survives a crash of program and machine.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from hedra_batch import __version__
from hedra_batch.clock import CLOCK, Clock
from hedra_batch.decide import (
    AFTER_INTERRUPTION,
    Deduplication,
    first_state,
    is_surely_unsent,
    learn,
)
from hedra_batch.errors import ConfigurationError, LedgerError
from hedra_batch.inputs import FieldValues
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger.backend import Backend, ConflictError, Tables, TakenError
from hedra_batch.ledger.budget import COUNTED, Spending, fits, require_fitting
from hedra_batch.ledger.events import UNKNOWN_OUTCOME, Event, Guard
from hedra_batch.ledger.identity import Binding, Identity
from hedra_batch.ledger.opening import open_pair
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.ledger.records import (
    ATTEMPT_COLUMNS,
    CHANGING_COLUMNS,
    Loss,
    evolve,
    job_columns,
    make_attempt,
    money_columns,
    to_attempt,
)
from hedra_batch.ledger.uploads import Uploads
from hedra_batch.money import CREDITS, Money
from hedra_batch.state import UNDER_WAY, Liability, State

T = TypeVar("T")
Estimate = Callable[[FieldValues], Money | None]

_write_json = json.JSONEncoder(ensure_ascii=False).encode


class Ledger:
    """Everything that is known of a batch, with one writer."""

    def __init__(
        self,
        backend: Backend,
        identity: Identity,
        identity_path: Path,
        loss: Loss | None,
        budget: Money | None,
        clock: Clock,
    ) -> None:
        self._backend = backend
        self._identity = identity
        self._identity_path = identity_path
        self._batch_uuid = uuid.UUID(identity.batch_uuid)
        self._budget = budget
        self._clock = clock
        self._deduplication: dict[str, Deduplication] = {}
        #: What an earlier ledger of this batch took with it, when there was one.
        self.loss = loss
        self.uploads = Uploads(backend, clock)
        #: Counts up with each run of this folder; set at the opening.
        self.run_number = 0
        #: When the last paid request of an earlier run was sent.
        self.last_sent_at: str | None = None

    @classmethod
    async def open(
        cls,
        path: Path,
        identity_path: Path,
        binding: Binding,
        *,
        same_account: bool = False,
        is_moved: bool = False,
        last_run: int = 0,
        budget: Money | None = None,
        clock: Clock = CLOCK,
    ) -> Ledger:
        """Open or create the ledger of a run folder, and begin a run in which no edition may cost more than the budget.

        Raises ConfigurationError when folder, manifest, API and account do not belong together, or when the
        ledger is not the one that the identity file was last used with, or ends before the last run that is known of.
        A ledger that was lost is begun anew.
        """
        backend, identity, loss = open_pair(
            path, identity_path, binding, same_account=same_account, is_moved=is_moved, clock=clock
        )
        ledger = cls(backend, identity, identity_path, loss, budget, clock)
        try:
            await backend.transact(lambda tables: ledger._begin_run(tables, last_run))
            await backend.transact(lambda _: ledger._raise_identity(run_counter=ledger.run_number))
        except BaseException:
            await ledger.close()
            raise
        return ledger

    async def close(self) -> None:
        """Write what waits and close the file."""
        await self._backend.close()

    # Runs

    def _begin_run(self, tables: Tables, last_run: int) -> None:
        last_run = max(last_run, self._identity.run_counter)
        counter = int(tables.find("info", ("value",), {"key": "run_counter"})[0][0])
        if counter < last_run:
            raise ConfigurationError(
                f"The ledger ends at run {counter}, but this folder has seen run {last_run}: it is "
                "an older copy, and what was bought since then is not in it. Nothing was sent. Put the newest "
                "ledger.sqlite3 back; if it is lost, move this one away: the next run then asks the server first."
            )
        now = self._clock.now_text()
        self.run_number = counter + 1
        tables.update("info", {"key": "run_counter"}, {"value": str(self.run_number)})
        tables.insert("runs", {"number": self.run_number, "started_at": now, "version": __version__})
        shown = tables.find("deduplication", ("kind", "verdict"), {"base_url": self._identity.base_url})
        self._deduplication = {kind: Deduplication(verdict) for kind, verdict in shown}
        self.last_sent_at = tables.reader().read_last_sent_at()
        self._recover(tables, now)

    def _recover(self, tables: Tables, now: str) -> None:
        """Settle what the last run left half-way, if it was killed."""
        for state, target in AFTER_INTERRUPTION.items():
            changes: dict[str, object] = {"state": target, "changed_at": now}
            adds = {}
            if state in UNDER_WAY:
                # The quiet window of a send that was under way begins now.
                changes |= {"unknown_at": now, "unknown_mark": self._clock.mark()}
                changes |= {"error_code": UNKNOWN_OUTCOME, "error": "The run ended before the answer came."}
                adds = {"unknown_sends": 1}
            if target is State.NEW:
                changes["body"] = None
            tables.update("attempts", {"latest": True, "state": state}, changes, adds)

    async def end_run(self, exit_code: int) -> None:
        """Note that the run ended by itself, and how."""
        end = {"ended_at": self._clock.now_text(), "exit_code": exit_code}
        await self._backend.transact(lambda tables: tables.update("runs", {"number": self.run_number}, end))

    def _raise_identity(self, *, run_counter: int = 0, highest_attempt: int = 0) -> None:
        identity = self._identity.raised(run_counter, highest_attempt)
        if identity != self._identity:
            identity.save(self._identity_path)
            self._identity = identity

    # Keys

    def derive_request_key(self, attempt: Attempt) -> str:
        """Derive the key that this attempt has under every run of this batch, with or without its ledger."""
        return self._derive_key(attempt.edition, attempt.bought_as, attempt.digest, attempt.number)

    def derive_lost_key(self, job: Job, number: int) -> str:
        """Derive the key that an attempt of this job had in a ledger that was lost."""
        return self._derive_key(job.edition, job.id, job.inputs.digest, number)

    def _derive_key(self, *parts: str | int) -> str:
        return str(uuid.uuid5(self._batch_uuid, _write_json(parts)))

    # Reading

    async def look(self, question: Callable[[LedgerReader], T]) -> T:
        """Ask something that only reads, in the ledger's own thread, between its commits."""
        return await self._backend.transact(lambda tables: question(tables.reader()))

    async def attempt(self, key: int) -> Attempt:
        """Read one attempt."""
        return await self._backend.transact(lambda tables: _fetch(tables, key))

    async def attempts(self, keys: Sequence[int]) -> list[Attempt]:
        """Read some attempts, in the order of their keys."""
        wanted = {"attempt_key": list(keys)}
        rows = await self._backend.transact(lambda tables: tables.find("attempts", ATTEMPT_COLUMNS, wanted))
        return [to_attempt(row) for row in rows]

    # Recording jobs

    async def record(self, jobs: Iterable[tuple[Job, int]], estimate: Estimate = lambda _: None) -> list[Attempt]:
        """Record attempts, each job with the number of its new attempt, all or none.

        They are NEW, but for numbers that a lost ledger may have used: what became of those is UNKNOWN.
        """
        chosen = list(jobs)
        return await self._backend.transact(
            lambda tables: [self._insert(tables, job, number, estimate) for job, number in chosen]
        )

    def _insert(self, tables: Tables, job: Job, number: int, estimate: Estimate) -> Attempt:
        now = self._clock.now_text()
        state = first_state(number, self.loss.highest_attempt if self.loss else 0)
        values: dict[str, object] = {"edition": job.edition, "job_id": job.id, "bought_as": job.id, "number": number}
        values |= {"state": state, "latest": 1, "changed_at": now, **job_columns(job)}
        if self.loss and state is State.UNKNOWN:
            values |= {
                "request_key": self.derive_lost_key(job, number),
                "sends": 1,
                "unknown_sends": 1,
                "unknown_at": now,
                "unknown_mark": self.loss.mark,
                "estimated": estimate(job.inputs.fields),
                "error_code": UNKNOWN_OUTCOME,
                "error": "The ledger that would tell was lost.",
            }
        if number > 1:
            latest = {"edition": job.edition, "job_id": job.id, "latest": True}
            tables.update("attempts", latest, {"latest": 0})
        return make_attempt(tables.insert("attempts", money_columns(values)), values, job)

    async def rewrite(self, key: int, job: Job) -> Attempt:
        """Give an attempt that was surely never accepted the inputs that the manifest has now: back to NEW."""

        def operation(tables: Tables) -> Attempt:
            attempt = _fetch(tables, key)
            if not is_surely_unsent(attempt.state):
                raise ConflictError(f"{attempt.label} may have been accepted, so its inputs stay as they are.")
            changes: dict[str, object] = {"request_key": None, "body": None, "sends": 0}
            changes |= {"error_code": None, "error": None, **job_columns(job)}
            if attempt.state is State.RESERVED:
                changes |= {"state": State.NEW, "changed_at": self._clock.now_text()}
            tables.update("attempts", {"attempt_key": key}, changes)
            return _fetch(tables, key)

        return await self._backend.transact(operation)

    # Events

    async def apply(self, attempt: Attempt, event: Event) -> Attempt:
        """Change the state of an attempt, by compare-and-set, and write down with it what the event says.

        Raises ConflictError when the attempt is not in the state that its record has, or the event does not start from
        that; TakenError when another attempt has its remote id; BudgetReachedError when it does not fit into what the
        budget leaves. Then nothing is changed.
        """
        return await self._backend.transact(lambda tables: self._apply(tables, attempt, event))

    def _apply(self, tables: Tables, attempt: Attempt, event: Event) -> Attempt:
        if attempt.state not in event.sources:
            raise ConflictError(f"{attempt.label}: {attempt.state} to {event.target} is against the ledger's rules.")
        self._require_budget(tables, attempt, event)
        changes = self._write_changes(tables, attempt, event)
        if event.guard is Guard.RESERVE:
            self._raise_identity(highest_attempt=attempt.number)
        try:
            columns = money_columns(changes)
            row = tables.compare_and_set(attempt.key, attempt.state, columns, event.adds, CHANGING_COLUMNS)
        except ConflictError as error:
            move = f"{attempt.state} to {event.target}"
            raise type(error)(f"{attempt.label}: {move} is against the ledger's rules ({error}).") from error
        if row is None:
            raise ConflictError(f"{attempt.label}: attempt {attempt.number} is not in {attempt.state} any more.")
        self._learn(tables, attempt.kind, event.shows)
        # Reading the whole row again would tell nothing new, and cost as much as the change.
        return evolve(attempt, {**changes, **dict(zip(CHANGING_COLUMNS, row, strict=True))})

    def _require_budget(self, tables: Tables, attempt: Attempt, event: Event) -> None:
        if event.guard is None or self._budget is None:
            return
        price = event.sets["estimated"] if event.guard is Guard.RESERVE else attempt.estimated
        assert price is None or isinstance(price, Money), "prices are money"
        spending = _read_spending(tables, attempt.edition, self._budget.unit, COUNTED[event.guard])
        require_fitting(attempt, price, self._budget, spending)

    def _write_changes(self, tables: Tables, attempt: Attempt, event: Event) -> dict[str, object]:
        now = self._clock.now_text()
        changes = {"state": event.target, "changed_at": now, **event.sets, **dict.fromkeys(event.stamps, now)}
        if event.marks:
            changes |= dict.fromkeys(event.marks, self._clock.mark())
        if event.claims:
            changes["output"] = _find_free(tables, attempt, event.claims)
        return changes

    # What is written beside the events

    async def record_absent(self, attempt: Attempt) -> None:
        """Record that reading has just found it absent."""
        await self._update(attempt.key, absent_at=self._clock.now_text())

    async def record_missing(self, key: int, missing_at: str | None) -> None:
        """Record since when the server denies what it had accepted or completed; None once it does not any more."""
        await self._update(key, missing_at=missing_at)

    async def _update(self, key: int, **changes: object) -> None:
        await self._backend.transact(lambda tables: tables.update("attempts", {"attempt_key": key}, changes))

    async def record_restored(self, attempt: Attempt, sha256: str, size_bytes: int) -> Attempt:
        """Record the file that was fetched anew for an attempt that is DONE and stays so."""

        def operation(tables: Tables) -> Attempt:
            done = {"attempt_key": attempt.key, "state": State.DONE}
            tables.update("attempts", done, {"sha256": sha256, "bytes": size_bytes})
            return _fetch(tables, attempt.key)

        return await self._backend.transact(operation)

    # Budget

    async def read_spending(self, edition: str, unit: str = CREDITS) -> Spending:
        """Read what an edition may have cost so far."""
        return await self._backend.transact(lambda tables: _read_spending(tables, edition, unit, [Liability.CHARGED]))

    async def can_afford(self, edition: str, price: Money) -> bool:
        """Tell whether an attempt of this price could be reserved."""
        if (budget := self._budget) is None:
            return True
        counted = COUNTED[Guard.RESERVE]
        return await self._backend.transact(
            lambda tables: fits(price, budget, _read_spending(tables, edition, budget.unit, counted))
        )

    # What the server does with our keys

    def deduplication(self, kind: str) -> Deduplication:
        """Tell whether this server is known to recognise a repeated request of a kind."""
        return self._deduplication.get(kind, Deduplication.UNPROVEN)

    async def record_deduplication(self, kind: str, shown: Deduplication) -> None:
        """Record what an answer that is no acceptance shows of it."""
        await self._backend.transact(lambda tables: self._learn(tables, kind, shown))

    def _learn(self, tables: Tables, kind: str, shown: Deduplication) -> None:
        known = self.deduplication(kind)
        if (learnt := learn(known, shown)) is known:
            return
        server = {"base_url": self._identity.base_url, "kind": kind}
        if not tables.update("deduplication", server, {"verdict": learnt}):
            tables.insert("deduplication", {**server, "verdict": learnt})
        self._deduplication[kind] = learnt


def _fetch(tables: Tables, key: int) -> Attempt:
    rows = tables.find("attempts", ATTEMPT_COLUMNS, {"attempt_key": key})
    if not rows:
        raise LedgerError(f"The ledger has no attempt {key}.")
    return to_attempt(rows[0])


def _find_free(tables: Tables, attempt: Attempt, names: Iterable[str]) -> str:
    """Find the first of some file names that belongs to no attempt."""
    for name in names:
        if not tables.find("attempts", ("attempt_key",), {"output": name}):
            return name
    raise TakenError(f"{attempt.label}: other attempts have all file names that it could get.")


def _read_spending(tables: Tables, edition: str, unit: str, liabilities: Sequence[Liability]) -> Spending:
    amount, unpriced = tables.sum_spending(edition, unit, liabilities)
    return Spending(Money(amount, unit), unpriced)
