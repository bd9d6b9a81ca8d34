"""The ledger: one place that applies events to attempts, durable when it returns, and all else that is kept of a batch.

What was returned survives a crash of program and machine.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from hedra_batch import __version__
from hedra_batch.clock import CLOCK, Clock
from hedra_batch.decide import Deduplication, first_state, learn
from hedra_batch.errors import ConfigurationError
from hedra_batch.inputs import FieldValues
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger import attempts
from hedra_batch.ledger.backend import Backend, Tables
from hedra_batch.ledger.budget import Account, Budget, Spending, read_spending
from hedra_batch.ledger.events import UNKNOWN_OUTCOME, Event, Guard
from hedra_batch.ledger.identity import Binding, Identity
from hedra_batch.ledger.opening import open_pair
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.ledger.records import Loss
from hedra_batch.ledger.uploads import Uploads
from hedra_batch.money import CREDITS, NO_BUDGETS, Budgets, Money
from hedra_batch.state import State

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
        budgets: Budgets,
        clock: Clock,
    ) -> None:
        self._backend = backend
        self._identity = identity
        self._identity_path = identity_path
        self._batch_uuid = uuid.UUID(identity.batch_uuid)
        self._budget = Budget(budgets)
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
        budgets: Budgets = NO_BUDGETS,
        clock: Clock = CLOCK,
    ) -> Ledger:
        """Open or create the ledger of a run folder, and begin a run that the budgets bound.

        Raises ConfigurationError when folder, manifest, API and account do not belong together, or when the
        ledger is not the one that the identity file was last used with, or ends before the last run that is known of.
        A ledger that was lost is begun anew.
        """
        backend, identity, loss = open_pair(
            path, identity_path, binding, same_account=same_account, is_moved=is_moved, clock=clock
        )
        ledger = cls(backend, identity, identity_path, loss, budgets, clock)
        try:
            await backend.transact(lambda tables: ledger._begin_run(tables, last_run))
            await backend.transact(lambda _: ledger._raise_identity(run_counter=ledger.run_number))
        except BaseException:
            await ledger.close()
            raise
        return ledger

    async def close(self) -> None:
        await self._backend.close()

    # Runs

    def _begin_run(self, tables: Tables, last_run: int) -> None:
        last_run = max(last_run, self._identity.run_counter)
        counter = int(tables.find("info", ("value",), {"key": "run_counter"})[0][0])
        if counter < last_run:
            raise ConfigurationError(
                f"The ledger ends at run {counter}, but this folder has seen run {last_run}: it is an older copy, and "
                "what was bought since then is not in it. Nothing was sent. Put the newest ledger.sqlite3 back. If it "
                "is lost, move this one away: before the next run sends anything, it asks the server what was bought."
            )
        now = self._clock.now_text()
        self.run_number = counter + 1
        tables.update("info", {"key": "run_counter"}, {"value": str(self.run_number)})
        tables.insert("runs", {"number": self.run_number, "started_at": now, "version": __version__})
        shown = tables.find("deduplication", ("kind", "verdict"), {"base_url": self._identity.base_url})
        self._deduplication = {kind: Deduplication(verdict) for kind, verdict in shown}
        self.last_sent_at = tables.reader().read_last_sent_at()
        attempts.settle_interrupted(tables, self._clock)

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
        return await self._backend.transact(lambda tables: attempts.fetch(tables, key))

    async def attempts(self, keys: Sequence[int]) -> list[Attempt]:
        return await self._backend.transact(lambda tables: attempts.fetch_many(tables, keys))

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
        columns: dict[str, object] = {"changed_at": now}
        if self.loss and state is State.UNKNOWN:
            columns |= {
                "request_key": self.derive_lost_key(job, number),
                "sends": 1,
                "unknown_sends": 1,
                "unknown_at": now,
                "unknown_mark": self.loss.mark,
                "estimated": estimate(job.inputs.fields),
                "error_code": UNKNOWN_OUTCOME,
                "error": "The ledger was lost, so it may have been bought before.",
            }
        return attempts.insert(tables, job, number, state, columns)

    async def rewrite(self, key: int, job: Job) -> Attempt:
        """Give an attempt that was surely never accepted the inputs that the manifest has now: back to NEW."""
        now = self._clock.now_text()
        return await self._backend.transact(lambda tables: attempts.rewrite(tables, key, job, now))

    # Events

    async def apply(self, attempt: Attempt, event: Event) -> Attempt:
        """Change the state of an attempt, by compare-and-set, and write down with it what the event says.

        Raises ConflictError when the attempt is not in the state that its record has, or the event does not start from
        that; TakenError when another attempt has its remote id; BudgetReachedError when it does not fit into what the
        budget leaves. Then nothing is changed.
        """
        return await self._backend.transact(lambda tables: self._apply(tables, attempt, event))

    def _apply(self, tables: Tables, attempt: Attempt, event: Event) -> Attempt:
        attempts.require_source(attempt, event)
        self._budget.require(tables.reader(), attempt, event, self.month)
        if event.guard is Guard.RESERVE:
            self._raise_identity(highest_attempt=attempt.number)
        changed = attempts.change(tables, attempt, event, self._clock)
        self._learn(tables, attempt.kind, event.shows)
        return changed

    # What is written beside the events

    async def record_refunds(self, reread: Mapping[int, Money | None]) -> None:
        """Record what a later answer says of charges, by the keys of attempts: a lower one is a refund."""
        now = self._clock.now_text()
        await self._backend.transact(lambda tables: attempts.record_refunds(tables, reread, now))

    async def record_absent(self, attempt: Attempt) -> None:
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
            return attempts.fetch(tables, attempt.key)

        return await self._backend.transact(operation)

    # Budget

    @property
    def month(self) -> str:
        """The month whose budget counts now."""
        return self._clock.now_text()[:7]

    async def read_spending(self, edition: str, unit: str = CREDITS) -> Spending:
        return await self.look(lambda reader: read_spending(reader, unit, edition=edition))

    async def read_accounts(self, edition: str) -> list[Account]:
        """Read each budget, and what counts towards it before something more is reserved."""
        return await self.look(lambda reader: list(self._budget.read_accounts(reader, edition, self.month)))

    async def can_afford(self, edition: str, price: Money) -> bool:
        return await self.look(lambda reader: self._budget.can_afford(reader, edition, self.month, price))

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
