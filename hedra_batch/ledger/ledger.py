"""The ledger: one place that applies events to attempts, durable when it returns, and what else is kept of a batch.

What was returned survives a crash of program and machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from hedra_batch import __version__
from hedra_batch.clock import CLOCK, Clock
from hedra_batch.decide import Deduplication, first_state, learn
from hedra_batch.errors import BudgetReachedError, ConfigurationError
from hedra_batch.inputs import FieldValues
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger import attempts, events, restores
from hedra_batch.ledger.backend import Backend, Tables, put
from hedra_batch.ledger.budget import Account, Budget, Spending, read_spending
from hedra_batch.ledger.events import RESTORED, UNKNOWN_OUTCOME, Event, Guard
from hedra_batch.ledger.identity import Binding, Identity
from hedra_batch.ledger.keys import Keys
from hedra_batch.ledger.opening import open_pair
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.ledger.records import (
    ListedRequest,
    Loss,
    Purchase,
    Reassignment,
    Restore,
    purchase_columns,
)
from hedra_batch.ledger.renames import Rename, Renames
from hedra_batch.ledger.uploads import Uploads
from hedra_batch.money import CREDITS, NO_BUDGETS, Budgets, Money
from hedra_batch.state import UNSENT, State

T = TypeVar("T")
_LOST = "The ledger was lost, so it may have been bought before."
Estimate = Callable[[FieldValues], Money | None]


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
        self._renames = Renames(identity_path.with_name("renames.jsonl"))
        self.keys = Keys(identity.batch_uuid)
        self._budget = Budget(budgets)
        self._clock = clock
        self._deduplication: dict[str, Deduplication] = {}
        #: What an earlier ledger of this batch took with it, when there was one.
        self.loss = loss
        #: What is known of a time that this ledger does not have, when it was put back or moved.
        self.restore: Restore | None = None
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

        `last_run` is the last that is known of from elsewhere. A ledger that was lost is begun anew; of one that may
        be older than what was bought, that is noted before anything else. Raises ConfigurationError when folder,
        manifest, API and account do not belong together, or when the ledger is not the one that the identity file was
        last used with.
        """
        backend, identity, loss, is_put_back = open_pair(
            path, identity_path, binding, same_account=same_account, is_moved=is_moved, clock=clock
        )
        ledger = cls(backend, identity, identity_path, loss, budgets, clock)
        try:
            await backend.transact(lambda tables: ledger._begin_run(tables, last_run, is_put_back=is_put_back))
            await backend.transact(lambda _: ledger._raise_identity(run_counter=ledger.run_number))
        except BaseException:
            await ledger.close()
            raise
        return ledger

    async def close(self) -> None:
        await self._backend.close()

    @property
    def identity(self) -> Identity:
        return self._identity

    # Runs

    def _begin_run(self, tables: Tables, last_run: int, *, is_put_back: bool) -> None:
        counter = int(tables.find("info", ("value",), {"key": "run_counter"})[0][0])
        if counter < self._identity.run_counter:
            raise ConfigurationError(
                f"The ledger ends at run {counter}, but this folder has seen run {self._identity.run_counter}: it is "
                "an older copy, and what was bought since then is not in it. Nothing was sent. Put the newest "
                "ledger.sqlite3 back. If it is lost, move this one away: before the next run sends anything, it asks "
                "the server what was bought."
            )
        # Before anything is changed: it reads a file, which can fail.
        self._renames.settle(tables)
        is_new = is_put_back or counter < last_run
        self.restore = restores.begin(tables, self._identity, self.loss, self._clock, is_new=is_new)
        now = self._clock.now_text()
        self.run_number = counter + 1
        tables.update("info", {"key": "run_counter"}, {"value": str(self.run_number)})
        tables.insert("runs", {"number": self.run_number, "started_at": now, "version": __version__})
        shown = tables.find("deduplication", ("kind", "verdict"), {"base_url": self._identity.base_url})
        self._deduplication = {kind: Deduplication(verdict) for kind, verdict in shown}
        self.last_sent_at = tables.reader().read_last_sent_at()
        attempts.settle_interrupted(tables, self._clock)

    async def note_shown(self, shown: Mapping[str, ListedRequest], *, is_settled: bool) -> None:
        """Write down what the server shows of the time that a restored ledger does not have, for all later runs."""

        def operation(tables: Tables) -> None:
            if self.restore:
                self.restore = restores.note_shown(tables, self.restore, shown, is_settled=is_settled)

        await self._backend.transact(operation)

    async def end_run(self, exit_code: int) -> None:
        """Note that the run ended by itself, and how."""
        end = {"ended_at": self._clock.now_text(), "exit_code": exit_code}
        await self._backend.transact(lambda tables: tables.update("runs", {"number": self.run_number}, end))

    async def bind_account(self, api_key: str) -> None:
        """Note that this folder belongs to the account of a key that the API has taken."""
        if self._identity.bound_to(api_key) != self._identity:
            await self._backend.transact(lambda _: self._replace_identity(self._identity.bound_to(api_key)))

    def _raise_identity(self, *, run_counter: int = 0, highest_attempt: int = 0) -> None:
        self._replace_identity(self._identity.raised(run_counter, highest_attempt))

    def _replace_identity(self, identity: Identity) -> None:
        if identity != self._identity:
            identity.save(self._identity_path)
            self._identity = identity

    # Reading

    async def look(self, question: Callable[[LedgerReader], T]) -> T:
        """Ask something that only reads, in the ledger's own thread, between its commits."""
        return await self._backend.transact(lambda tables: question(tables.reader()))

    async def attempt(self, key: int) -> Attempt:
        return await self._backend.transact(lambda tables: attempts.fetch(tables, key))

    async def attempts(self, keys: Sequence[int]) -> list[Attempt]:
        return await self._backend.transact(lambda tables: attempts.fetch_many(tables, keys))

    # Recording jobs

    async def record(
        self, jobs: Iterable[tuple[Job, int | Purchase]], estimate: Estimate = lambda _: None
    ) -> list[Attempt]:
        """Record attempts, each job with what makes the key of its new attempt, all or none.

        A number is the least that it may have: those that were ever used under the id are passed over. They are NEW,
        but for numbers that a lost ledger may have used: what became of those is UNKNOWN.
        """
        chosen = list(jobs)
        return await self._backend.transact(
            lambda tables: self._insert_all(
                tables, [(job, _make_purchase(tables, job, number)) for job, number in chosen], estimate
            )
        )

    def _insert_all(
        self, tables: Tables, purchases: Sequence[tuple[Job, Purchase]], estimate: Estimate
    ) -> list[Attempt]:
        chosen = [
            (job, purchase, self._is_key_shown(self.keys.of_purchase(job.edition, purchase)))
            for job, purchase in purchases
        ]
        shown = [purchase.number for _, purchase, is_shown in chosen if is_shown]
        self._raise_identity(highest_attempt=max(shown, default=0))
        return [self._insert(tables, job, purchase, estimate, is_shown=is_shown) for job, purchase, is_shown in chosen]

    def _insert(self, tables: Tables, job: Job, purchase: Purchase, estimate: Estimate, *, is_shown: bool) -> Attempt:
        state = first_state(purchase.number, self.loss.highest_attempt if self.loss else 0)
        columns: dict[str, object] = {"changed_at": self._clock.now_text()}
        if is_shown or state is State.UNKNOWN:
            error = _LOST if state is State.UNKNOWN else RESTORED
            state = State.UNKNOWN
            columns |= self._describe_lost(job.edition, purchase, error, estimate)
        return attempts.insert(tables, job, purchase, state, columns)

    async def find_next_number(self, job: Job, least: int) -> int:
        """Find the number that a new attempt would have."""
        return await self._backend.transact(lambda tables: attempts.find_next_number(tables, job, least))

    # Recognised work

    async def reassign(self, change: Reassignment, names: Mapping[int, str] = MappingProxyType({})) -> None:
        """Have attempts count for other jobs, and claim new names for their files, in one commit.

        Which attempt counts for which job is on disk in `renames.jsonl` before that.
        """

        def operation(tables: Tables) -> None:
            if change.moves:
                lines = [
                    Rename(one.edition, one.bought_as, one.number, one.digest, job.id) for one, job in change.moves
                ]
                self._renames.note(tables, lines)
            attempts.reassign(tables, change)
            for key, name in names.items():
                tables.update("attempts", {"attempt_key": key}, {"moving_to": name, "is_staged": 0, "part_tag": None})

        await self._backend.transact(operation)

    async def record_staged(self, keys: Sequence[int]) -> None:
        """Record that files that are renamed together have all left their old names."""

        def operation(tables: Tables) -> None:
            for key in keys:
                tables.update("attempts", {"attempt_key": key}, {"is_staged": 1})

        await self._backend.transact(operation)

    async def record_moved(self, names: Mapping[int, str]) -> None:
        """Record that files have their new names."""

        def operation(tables: Tables) -> None:
            # Two that swap their names must not have the same one in between.
            for key in names:
                tables.update("attempts", {"attempt_key": key}, {"output": None})
            for key, name in names.items():
                tables.update("attempts", {"attempt_key": key}, {"output": name, "moving_to": None, "is_staged": 0})

        await self._backend.transact(operation)

    def read_renames(self) -> list[Rename]:
        """Read which attempts ever counted for another job than the one that they were bought for, in order."""
        return self._renames.read()

    async def record_models(self, slugs: Mapping[str, str]) -> None:
        """Remember what each spelling of a model stands for, without regard to case."""

        def operation(tables: Tables) -> None:
            known = dict(tables.find("models", ("spelling", "slug"), {}))
            for spelling, slug in {spelling.casefold(): slug for spelling, slug in slugs.items()}.items():
                if known.get(spelling) != slug:
                    put(tables, "models", {"spelling": spelling}, {"slug": slug})

        await self._backend.transact(operation)

    def _describe_lost(self, edition: str, purchase: Purchase, error: str, estimate: Estimate) -> dict[str, object]:
        """Write the columns of an attempt that was sent, or may have been, by a run that this ledger does not know."""
        assert self.restore, "otherwise it knows of all"
        return {
            "request_key": self.keys.of_purchase(edition, purchase),
            "sends": 1,
            "unknown_sends": 1,
            "unknown_at": self._clock.now_text(),
            "unknown_mark": self.restore.mark,
            "estimated": estimate(purchase.fields),
            "error_code": UNKNOWN_OUTCOME,
            "error": error,
        }

    def is_shown(self, job: Job, number: int) -> bool:
        """Tell whether the server showed that an attempt was sent in a time that this ledger does not have."""
        return self._is_key_shown(self.keys.of_job(job, number))

    def _is_key_shown(self, key: str) -> bool:
        return self.restore is not None and key in self.restore.shown

    async def rewrite(self, key: int, job: Job, price: Money | None = None) -> Attempt:
        """Give an attempt that was surely never accepted the inputs that the manifest has now: back to NEW.

        It is UNKNOWN, at a price, where the server shows that it was sent in a time that this ledger does not have.
        """
        return await self._backend.transact(lambda tables: self._rewrite(tables, key, job, price))

    def _rewrite(self, tables: Tables, key: int, job: Job, price: Money | None) -> Attempt:
        number = attempts.fetch(tables, key).number
        is_shown = self.is_shown(job, number)
        if is_shown:
            self._raise_identity(highest_attempt=number)
        attempt = attempts.rewrite(tables, key, purchase_columns(job, Purchase.of(job, number)), self._clock.now_text())
        if not is_shown:
            return attempt
        return self._find_sent(tables, attempt, self.keys.of_job(job, attempt.number), price)

    async def record_shown(self, job: Job, purchase: Purchase, estimate: Estimate) -> Attempt | None:
        """Record what the server shows for the job that it was bought under; None where its number was used otherwise.

        An attempt that was never sent, as far as this ledger knows, becomes the one that was.
        """
        return await self._backend.transact(lambda tables: self._record_shown(tables, job, purchase, estimate))

    def _record_shown(self, tables: Tables, job: Job, purchase: Purchase, estimate: Estimate) -> Attempt | None:
        own = {"edition": job.edition, "bought_as": purchase.bought_as, "number": purchase.number}
        rows = tables.find("attempts", ("attempt_key", "state"), own)
        if not rows:
            [attempt] = self._insert_all(tables, [(job, purchase)], estimate)
            return attempt
        [(key, state)] = rows
        if State(state) not in UNSENT:
            return None
        self._raise_identity(highest_attempt=purchase.number)
        attempt = attempts.rewrite(tables, key, purchase_columns(job, purchase), self._clock.now_text())
        request_key = self.keys.of_purchase(job.edition, purchase)
        return self._find_sent(tables, attempt, request_key, estimate(purchase.fields))

    def _find_sent(self, tables: Tables, attempt: Attempt, request_key: str, price: Money | None) -> Attempt:
        assert self.restore, "otherwise nothing is shown"
        event = events.find_sent(request_key, price, self.restore.mark)
        return attempts.change(tables, attempt, event, self._clock)

    async def keep(self, kept: Sequence[tuple[int, str]]) -> None:
        """Note that what was bought counts for other inputs too, by the keys of attempts and the digests of those."""

        def operation(tables: Tables) -> None:
            for key, digest in kept:
                tables.update("attempts", {"attempt_key": key}, {"kept_digest": digest})

        await self._backend.transact(operation)

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
        if event.guard:
            self._budget.require(tables.reader(), attempt, event, event.guard, self.month)
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

    async def record_part(self, key: int, tag: str | None) -> None:
        """Record which version of its file the part on disk is of; None for a part that nothing may go on with."""
        await self._update(key, part_tag=tag)

    async def _update(self, key: int, **changes: object) -> None:
        await self._backend.transact(lambda tables: tables.update("attempts", {"attempt_key": key}, changes))

    async def record_restored(self, attempt: Attempt, sha256: str, size_bytes: int) -> Attempt:
        """Record the file that was fetched anew for an attempt that is DONE and stays so."""

        def operation(tables: Tables) -> Attempt:
            done = {"attempt_key": attempt.key, "state": State.DONE}
            tables.update("attempts", done, {"sha256": sha256, "bytes": size_bytes, "part_tag": None})
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

    @property
    def is_bounded(self) -> bool:
        """Tell whether there is a budget."""
        return self._budget.limits.is_set

    async def find_objection(self, job: Job, price: Money | None, pledged: int) -> BudgetReachedError | None:
        """Find out why the budget has no room for a job beside an amount that is pledged to others, if it has none."""
        return await self.look(lambda reader: self._budget.find_objection(reader, job, self.month, price, pledged))

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
        put(tables, "deduplication", {"base_url": self._identity.base_url, "kind": kind}, {"verdict": learnt})
        self._deduplication[kind] = learnt


def _make_purchase(tables: Tables, job: Job, number: int | Purchase) -> Purchase:
    """Choose what makes the key of a new attempt: of those that have a number, it is the least that it may have."""
    if isinstance(number, Purchase):
        return number
    return Purchase.of(job, attempts.find_next_number(tables, job, number))
