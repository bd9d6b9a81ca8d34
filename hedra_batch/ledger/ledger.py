"""The ledger's events: one method each, a compare-and-set on the state, durable when it returns."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from hedra_batch import __version__
from hedra_batch.clock import CLOCK, Clock
from hedra_batch.errors import ConfigurationError
from hedra_batch.job import GIVEN_UP, OVERDUE, UNKNOWN_OUTCOME, Attempt, Job, State
from hedra_batch.ledger import attempts
from hedra_batch.ledger.assets import Assets
from hedra_batch.ledger.budget import Spending, read_spending, require_reservable, require_sendable
from hedra_batch.ledger.identity import Binding, Identity
from hedra_batch.ledger.opening import Loss, open_pair
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.ledger.writer import ConflictError, Writer

T = TypeVar("T")

_write_json = json.JSONEncoder(ensure_ascii=False).encode

#: Whether a server uses the ids that we reserve.
IdsVerdict = Literal["unproven", "honoured", "ignored"]


class Ledger:
    """Everything that is known of a batch, in one SQLite file with one writer.

    Each method of an event returns when the change is on disk, and raises ConflictError when the attempt was
    not in the state that the event starts from. What it returned survives a crash of program and machine.
    """

    def __init__(
        self,
        writer: Writer,
        identity: Identity,
        identity_path: Path,
        loss: Loss | None,
        budget_credits: int | None,
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._identity = identity
        self._identity_path = identity_path
        self._batch_uuid = uuid.UUID(identity.batch_uuid)
        self._clock = clock
        #: What an earlier ledger of this batch took with it, when there was one.
        self.loss = loss
        self.assets = Assets(writer, clock)
        self._budget_credits = budget_credits
        #: Counts up with each run of this folder; set at the opening.
        self.run_number = 0
        self._ids_verdict: IdsVerdict = "unproven"
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
        budget_credits: int | None = None,
        clock: Clock = CLOCK,
    ) -> Ledger:
        """Open or create the ledger of a run folder, and begin a run in which no edition may cost more than the budget.

        Raises ConfigurationError when folder, manifest, API and account do not belong together, or when the
        ledger is not the one that the identity file was last used with, or ends before the last run that is known of.
        A ledger that was lost is begun anew.
        """
        connection, identity, loss = open_pair(
            path, identity_path, binding, same_account=same_account, is_moved=is_moved, clock=clock
        )
        ledger = cls(Writer(connection), identity, identity_path, loss, budget_credits, clock)
        try:
            await ledger._writer.run(lambda db: ledger._begin_run(db, last_run))
            await ledger._writer.run(lambda _: ledger._raise_identity(run_counter=ledger.run_number))
        except BaseException:
            await ledger.close()
            raise
        return ledger

    async def close(self) -> None:
        """Write what waits and close the file."""
        await self._writer.close()

    def derive_generation_id(self, attempt: Attempt) -> str:
        """Derive the id that this attempt has under every run of this batch, with or without its ledger."""
        return self._derive_id(attempt.edition, attempt.job_id, attempt.digest, attempt.number)

    def derive_lost_id(self, job: Job, number: int) -> str:
        """Derive the id that an attempt of this job had in a ledger that was lost."""
        return self._derive_id(job.edition, job.id, job.inputs.digest, number)

    def _derive_id(self, *parts: str | int) -> str:
        return str(uuid.uuid5(self._batch_uuid, _write_json(parts)))

    # Runs

    def _begin_run(self, connection: sqlite3.Connection, last_run: int) -> None:
        last_run = max(last_run, self._identity.run_counter)
        counter = int(connection.execute("SELECT value FROM info WHERE key = 'run_counter'").fetchone()[0])
        if counter < last_run:
            raise ConfigurationError(
                f"The ledger ends at run {counter}, but this folder has seen run {last_run}: it is "
                "an older copy, and what was bought since then is not in it. Nothing was sent. Put the newest "
                "ledger.sqlite3 back; if it is lost, move this one away: the next run then asks the server first."
            )
        now = self._clock.now_text()
        self.run_number = counter + 1
        connection.execute("UPDATE info SET value = ? WHERE key = 'run_counter'", (str(self.run_number),))
        values = (self.run_number, now, __version__)
        connection.execute("INSERT INTO runs (number, started_at, version) VALUES (?, ?, ?)", values)
        statement = "SELECT ids_verdict FROM servers WHERE base_url = ?"
        row = connection.execute(statement, (self._identity.base_url,)).fetchone()
        self._ids_verdict = row[0] if row else "unproven"
        sent = "SELECT at FROM history WHERE to_state = ? ORDER BY rowid DESC LIMIT 1"
        row = connection.execute(sent, (State.SUBMITTING,)).fetchone()
        self.last_sent_at = row[0] if row else None
        self._recover(connection, now)

    def _recover(self, connection: sqlite3.Connection, now: str) -> None:
        """Settle what the last run left half-way, if it was killed."""
        # A send that was under way has an unknown outcome; its quiet window begins now.
        connection.execute(
            "UPDATE attempts SET state = ?, unknown_sends = unknown_sends + 1, unknown_at = ?, unknown_mark = ?, "
            "ordered_at = NULL, changed_at = ?, error_code = ?, error = ? WHERE latest = 1 AND state = ?",
            (
                *(State.UNKNOWN, now, self._clock.mark(), now, UNKNOWN_OUTCOME),
                *("The run ended before the answer came.", State.SUBMITTING),
            ),
        )
        # A reservation that nothing was sent for lasts as long as its run: another may have other prices and budgets.
        connection.execute(
            "UPDATE attempts SET state = ?, changed_at = ?, body = NULL "
            "WHERE latest = 1 AND state = ? AND unknown_sends = 0",
            (State.NEW, now, State.RESERVED),
        )
        # Where an earlier send was lost, it is read again before it is sent again, but for a person's order.
        connection.execute(
            "UPDATE attempts SET state = ?, changed_at = ?, resends = max(resends - 1, 0) "
            "WHERE latest = 1 AND state = ? AND unknown_sends > 0 AND ordered_at IS NULL",
            (State.UNKNOWN, now, State.RESERVED),
        )

    async def end_run(self, exit_code: int) -> None:
        """Note that the run ended by itself, and how."""
        statement = "UPDATE runs SET ended_at = ?, exit_code = ? WHERE number = ?"
        values = (self._clock.now_text(), exit_code, self.run_number)
        await self._writer.run(lambda db: db.execute(statement, values).rowcount)

    def _raise_identity(self, *, run_counter: int = 0, highest_attempt: int = 0) -> None:
        identity = self._identity.raised(run_counter, highest_attempt)
        if identity != self._identity:
            identity.save(self._identity_path)
            self._identity = identity

    # Reading

    async def look(self, question: Callable[[LedgerReader], T]) -> T:
        """Ask something that only reads, in the ledger's own thread, between its commits."""
        return await self._writer.run(lambda db: question(LedgerReader(db)))

    async def attempt(self, key: int) -> Attempt:
        """Read one attempt."""
        return await self._writer.run(lambda db: attempts.fetch(db, key))

    async def attempts(self, keys: Sequence[int]) -> list[Attempt]:
        """Read some attempts, in the order of their keys."""
        return await self._writer.run(lambda db: list(attempts.fetch_many(db, keys)))

    async def read_spending(self, edition: str) -> Spending:
        """Read what an edition may have cost so far."""
        return await self._writer.run(lambda db: read_spending(db, edition))

    # Recording jobs

    async def record(
        self,
        jobs: Iterable[tuple[Job, int]],
        estimate_credits: Callable[[dict[str, str | int]], int | None] = lambda _: None,
    ) -> list[Attempt]:
        """Record attempts, each job with the number of its new attempt, all or none.

        They are NEW, but for numbers that a lost ledger may have used: what became of those is UNKNOWN.
        """
        chosen = list(jobs)
        return await self._writer.run(
            lambda db: [self._insert(db, job, number, estimate_credits) for job, number in chosen]
        )

    def _insert(
        self,
        connection: sqlite3.Connection,
        job: Job,
        number: int,
        estimate_credits: Callable[[dict[str, str | int]], int | None],
    ) -> Attempt:
        now = self._clock.now_text()
        if self.loss is None or number > self.loss.highest_attempt:
            return attempts.insert(connection, job, number, State.NEW, changed_at=now)
        return attempts.insert(
            connection,
            job,
            number,
            State.UNKNOWN,
            changed_at=now,
            generation_id=self.derive_lost_id(job, number),
            sends=1,
            unknown_sends=1,
            unknown_at=now,
            unknown_mark=self.loss.mark,
            credits_estimated=estimate_credits(job.inputs.fields),
            error_code=UNKNOWN_OUTCOME,
            error="The ledger that would tell was lost.",
        )

    async def rewrite(self, key: int, job: Job) -> Attempt:
        """Give an attempt that was surely never accepted the inputs that the manifest has now: back to NEW."""

        def operation(connection: sqlite3.Connection) -> Attempt:
            attempt = attempts.fetch(connection, key)
            if not attempt.is_surely_unsent:
                raise ConflictError(f"{attempt.label} may have been accepted, so its inputs stay as they are.")
            if attempt.state is State.RESERVED:
                attempts.move(connection, attempt, State.NEW, changed_at=self._clock.now_text())
            unsent = {"generation_id": None, "body": None, "sends": 0, "error_code": None, "error": None}
            columns = attempts.job_columns(job) | unsent
            names = ", ".join(f"{name} = ?" for name in columns)
            connection.execute(f"UPDATE attempts SET {names} WHERE attempt_key = ?", (*columns.values(), key))
            return attempts.fetch(connection, key)

        return await self._writer.run(operation)

    # Events of one attempt, in the order of its life

    async def reserve(
        self,
        attempt: Attempt,
        generation_id: str,
        body: bytes,
        credits_estimated: int | None,
        eta_seconds: float | None = None,
    ) -> Attempt:
        """Go from NEW to RESERVED: id, body and price are on disk before anything is sent.

        Raises BudgetReachedError when the price does not fit into what the budget leaves.
        """

        def operation(connection: sqlite3.Connection) -> Attempt:
            require_reservable(connection, attempt, credits_estimated, self._budget_credits)
            self._raise_identity(highest_attempt=attempt.number)
            return attempts.move(
                connection,
                attempt,
                State.RESERVED,
                changed_at=self._clock.now_text(),
                generation_id=generation_id,
                body=body,
                credits_estimated=credits_estimated,
                eta_seconds=eta_seconds,
            )

        return await self._writer.run(operation)

    async def release(self, attempt: Attempt) -> Attempt:
        """Go from RESERVED to NEW: the body names an asset that is gone, and is made again under the same id."""
        return await self._change(attempt, State.NEW, body=None)

    async def begin_send(self, attempt: Attempt) -> Attempt:
        """Go from RESERVED to SUBMITTING: on disk before the first byte of the request.

        Raises BudgetReachedError when the price does not fit beside what may have been charged.
        """

        def operation(connection: sqlite3.Connection) -> Attempt:
            require_sendable(connection, attempt, self._budget_credits)
            now = self._clock.now_text()
            return attempts.move(
                connection,
                attempt,
                State.SUBMITTING,
                changed_at=now,
                submitted_at=now,
                sends=attempt.sends + 1,
                error_code=None,
                error=None,
            )

        return await self._writer.run(operation)

    async def accept(
        self,
        attempt: Attempt,
        *,
        generation_id: str,
        asset_id: str | None = None,
        eta_seconds: float | None = None,
        request_id: str | None = None,
    ) -> Attempt:
        """Go from SUBMITTING, UNKNOWN or HELD to ACCEPTED, under the server's id.

        Whether that is the reserved one tells what the server does with our ids; both are one commit.
        """
        verdict: IdsVerdict = "honoured" if generation_id == attempt.generation_id else "ignored"

        def operation(connection: sqlite3.Connection) -> Attempt:
            now = self._clock.now_text()
            accepted = attempts.move(
                connection,
                attempt,
                State.ACCEPTED,
                changed_at=now,
                accepted_at=now,
                generation_id=generation_id,
                asset_id=asset_id,
                eta_seconds=attempt.eta_seconds if eta_seconds is None else eta_seconds,
                request_id=request_id,
                accepted_mark=self._clock.mark(),
                unknown_at=None,
                ordered_at=None,
                error_code=None,
                error=None,
            )
            self._set_ids_verdict(connection, verdict)
            return accepted

        return await self._writer.run(operation)

    async def return_to_reserved(self, attempt: Attempt, code: str, message: str) -> Attempt:
        """Go from SUBMITTING back to RESERVED: surely not accepted, so the same id may be sent again."""
        return await self._change(attempt, State.RESERVED, error_code=code, error=message)

    async def resend(self, attempt: Attempt, body: bytes) -> Attempt:
        """Go from UNKNOWN back to RESERVED: absent for the whole quiet window, so the same bytes are sent again."""
        return await self._change(attempt, State.RESERVED, body=body, resends=attempt.resends + 1)

    async def reject(self, attempt: Attempt, code: str, message: str, request_id: str | None) -> Attempt:
        """Go from NEW or SUBMITTING to REJECTED: refused as it stands, nothing charged."""
        return await self._finish(attempt, State.REJECTED, error_code=code, error=message, request_id=request_id)

    async def mark_unknown(self, attempt: Attempt, message: str, **counts: int) -> Attempt:
        """Go from SUBMITTING to UNKNOWN: whether the server has it can only be told by reading.

        `counts` corrects what a lost send counts, where it was an earlier one of the id that was lost.
        """
        return await self._change(
            attempt,
            State.UNKNOWN,
            unknown_at=self._clock.now_text(),
            unknown_mark=self._clock.mark(),
            ordered_at=None,
            error_code=UNKNOWN_OUTCOME,
            error=message,
            **{"unknown_sends": attempt.unknown_sends + 1} | counts,
        )

    async def record_absent(self, attempt: Attempt) -> None:
        """Record that reading has just found it absent."""
        statement = "UPDATE attempts SET absent_at = ? WHERE attempt_key = ?"
        values = (self._clock.now_text(), attempt.key)
        await self._writer.run(lambda db: db.execute(statement, values).rowcount)

    async def hold(self, attempt: Attempt, code: str, message: str) -> Attempt:
        """Go to HELD: a person must decide."""
        return await self._change(attempt, State.HELD, error_code=code, error=message)

    async def reopen(self, attempt: Attempt) -> Attempt:
        """Go from HELD, or from RESERVED after a lost send, to UNKNOWN: it is read again.

        The send that it was RESERVED for does not take place, so it does not count.
        """
        resends = max(attempt.resends - (attempt.state is State.RESERVED), 0)
        return await self._change(attempt, State.UNKNOWN, resends=resends)

    async def order_resend(self, attempt: Attempt, body: bytes) -> Attempt:
        """Go from HELD to RESERVED: a person has decided that the same request is sent once more."""
        return await self._change(attempt, State.RESERVED, body=body, ordered_at=self._clock.now_text())

    async def abandon(self, attempt: Attempt) -> Attempt:
        """Go from HELD or STUCK to ABANDONED: a person gives it up, though it may have been charged."""
        reason = f"Given up by a person; it may have been charged. Before: {attempt.error or 'no reason was noted.'}"
        return await self._finish(attempt, State.ABANDONED, error_code=GIVEN_UP, error=reason)

    async def record_missing(self, key: int, missing_at: str | None) -> None:
        """Record since when the server does not know what it had accepted; None once it does again."""
        statement = "UPDATE attempts SET missing_at = ? WHERE attempt_key = ?"
        await self._writer.run(lambda db: db.execute(statement, (missing_at, key)).rowcount)

    async def mark_stuck(self, attempt: Attempt, message: str) -> Attempt:
        """Go from ACCEPTED to STUCK: far over its expected time, and never to be sent again for that."""

        def operation(connection: sqlite3.Connection) -> Attempt:
            now = self._clock.now_text()
            attempts.move(connection, attempt, State.STUCK, changed_at=now, error_code=OVERDUE, error=message)
            # Since when it is missing was recorded beside the record that the caller has.
            return attempts.fetch(connection, attempt.key)

        return await self._writer.run(operation)

    async def fail(self, attempt: Attempt, code: str, message: str, credits_charged: int | None) -> Attempt:
        """Go from ACCEPTED or STUCK to FAILED: the server ended it with an error."""
        return await self._finish(
            attempt, State.FAILED, error_code=code, error=message, credits_charged=credits_charged
        )

    async def mark_ready(
        self, attempt: Attempt, outputs: Iterator[str], asset_id: str | None, credits_charged: int | None
    ) -> Attempt:
        """Go from ACCEPTED or STUCK to READY, and claim for ever the first of these file names that nobody has."""

        def operation(connection: sqlite3.Connection) -> Attempt:
            return attempts.move(
                connection,
                attempt,
                State.READY,
                changed_at=self._clock.now_text(),
                output=next(output for output in outputs if not attempts.is_claimed(connection, output)),
                asset_id=asset_id or attempt.asset_id,
                credits_charged=credits_charged,
                error_code=None,
                error=None,
            )

        return await self._writer.run(operation)

    async def complete(self, attempt: Attempt, sha256: str, size_bytes: int) -> Attempt:
        """Go from READY to DONE: the verified file is in place under its final name."""
        return await self._finish(attempt, State.DONE, sha256=sha256, bytes=size_bytes)

    async def record_restored(self, attempt: Attempt, sha256: str, size_bytes: int) -> Attempt:
        """Record the file that was fetched anew for an attempt that is DONE and stays so."""

        def operation(connection: sqlite3.Connection) -> Attempt:
            statement = "UPDATE attempts SET sha256 = ?, bytes = ? WHERE attempt_key = ? AND state = ?"
            connection.execute(statement, (sha256, size_bytes, attempt.key, State.DONE))
            return attempts.fetch(connection, attempt.key)

        return await self._writer.run(operation)

    # What the server does with our ids

    @property
    def ids_verdict(self) -> IdsVerdict:
        """Whether this server is known to use the ids that we reserve."""
        return self._ids_verdict

    async def record_ids_verdict(self, verdict: IdsVerdict) -> None:
        """Record what an answer that is no acceptance proved of it."""
        await self._writer.run(lambda connection: self._set_ids_verdict(connection, verdict))

    def _set_ids_verdict(self, connection: sqlite3.Connection, verdict: IdsVerdict) -> None:
        """Keep what an answer proved; a server that ignored an id once is not trusted with them again."""
        if self._ids_verdict not in (verdict, "ignored"):
            statement = "INSERT OR REPLACE INTO servers (base_url, ids_verdict) VALUES (?, ?)"
            connection.execute(statement, (self._identity.base_url, verdict))
            self._ids_verdict = verdict

    async def _finish(self, attempt: Attempt, state: State, **columns: object) -> Attempt:
        return await self._change(attempt, state, finished_at=self._clock.now_text(), **columns)

    async def _change(self, attempt: Attempt, state: State, **columns: object) -> Attempt:
        now = self._clock.now_text()
        return await self._writer.run(lambda db: attempts.move(db, attempt, state, changed_at=now, **columns))
