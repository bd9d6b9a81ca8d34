"""The ledger's events: one method each, a compare-and-set on the state, durable when it returns."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from hedra_batch import __version__
from hedra_batch.errors import ConfigurationError, LedgerError
from hedra_batch.instant import now_text
from hedra_batch.job import Attempt, Job, State
from hedra_batch.ledger.identity import Binding, Identity
from hedra_batch.ledger.opening import check_pair, open_prepared
from hedra_batch.ledger.rows import ATTEMPT_COLUMNS, Standing, read_standings, to_attempt
from hedra_batch.ledger.writer import ConflictError, Writer

#: `error_code` of a paid request of which it cannot be told whether it was accepted.
UNKNOWN_OUTCOME = "unknown_outcome"

#: Whether a server uses the ids that we reserve.
IdsVerdict = Literal["unproven", "honoured", "ignored"]


class Ledger:
    """Everything that is known of a batch, in one SQLite file with one writer.

    Each method of an event returns when the change is on disk, and raises ConflictError when the attempt was
    not in the state that the event starts from. What it returned survives a crash of program and machine.
    """

    def __init__(self, writer: Writer, identity: Identity, identity_path: Path) -> None:
        self._writer = writer
        self._identity = identity
        self._identity_path = identity_path
        #: Counts up with each run of this folder; set at the opening.
        self.run_number = 0
        self._ids_verdict: IdsVerdict = "unproven"
        #: When the last paid request of an earlier run was sent.
        self.last_sent_at: str | None = None

    @classmethod
    async def open(cls, path: Path, identity_path: Path, binding: Binding, *, same_account: bool = False) -> Ledger:
        """Open or create the ledger of a run folder, and begin a run in it.

        Raises ConfigurationError when folder, manifest, API and account do not belong together, or when the
        ledger is not the one that the identity file was last used with.
        """
        identity = Identity.load(identity_path)
        check_pair(path, identity)
        if identity is None:
            identity = Identity.create(binding)
            identity.save(identity_path)
        adopted = identity.adopt(binding, same_account=same_account)
        connection = open_prepared(path, adopted)
        if adopted != identity:
            adopted.save(identity_path)
        ledger = cls(Writer(connection), adopted, identity_path)
        try:
            await ledger._writer.run(ledger._begin_run)
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
        name = json.dumps([attempt.edition, attempt.job_id, attempt.digest, attempt.number], ensure_ascii=False)
        return str(uuid.uuid5(uuid.UUID(self._identity.batch_uuid), name))

    # Runs

    def _begin_run(self, connection: sqlite3.Connection) -> None:
        counter = int(connection.execute("SELECT value FROM info WHERE key = 'run_counter'").fetchone()[0])
        if counter < self._identity.run_counter:
            raise ConfigurationError(
                f"The ledger ends at run {counter}, but this folder has seen run {self._identity.run_counter}: it is "
                "an older copy, and what was bought since then is not in it. Put the newest ledger.sqlite3 back."
            )
        self.run_number = counter + 1
        connection.execute("UPDATE info SET value = ? WHERE key = 'run_counter'", (str(self.run_number),))
        values = (self.run_number, now_text(), __version__)
        connection.execute("INSERT INTO runs (number, started_at, version) VALUES (?, ?, ?)", values)
        statement = "SELECT ids_verdict FROM servers WHERE base_url = ?"
        row = connection.execute(statement, (self._identity.base_url,)).fetchone()
        self._ids_verdict = row[0] if row else "unproven"
        self.last_sent_at = connection.execute("SELECT max(submitted_at) FROM attempts").fetchone()[0]
        # A send that was under way when the last run died has an unknown outcome, counted from now.
        now = now_text()
        connection.execute(
            "UPDATE attempts SET state = ?, unknown_sends = unknown_sends + 1, unknown_at = ?, changed_at = ?, "
            "error_code = ?, error = ? WHERE state = ?",
            (State.UNKNOWN, now, now, UNKNOWN_OUTCOME, "The run ended before the answer came.", State.SUBMITTING),
        )

    async def end_run(self, exit_code: int) -> None:
        """Note that the run ended by itself, and how."""
        statement = "UPDATE runs SET ended_at = ?, exit_code = ? WHERE number = ?"
        await self._writer.run(lambda db: db.execute(statement, (now_text(), exit_code, self.run_number)).rowcount)

    def _raise_identity(self, *, run_counter: int = 0, highest_attempt: int = 0) -> None:
        identity = self._identity.raised(run_counter, highest_attempt)
        if identity != self._identity:
            identity.save(self._identity_path)
            self._identity = identity

    # Reading

    async def standings(self) -> list[Standing]:
        """Read how every job stands."""
        return await self._writer.run(lambda db: list(read_standings(db)))

    async def attempt(self, key: int) -> Attempt:
        """Read one attempt."""
        return await self._writer.run(lambda db: _fetch(db, key))

    # Recording jobs

    async def record(self, jobs: Iterable[tuple[Job, int]]) -> list[int]:
        """Record attempts in NEW, each job with the number of its new attempt, all or none; returns their keys."""
        chosen = list(jobs)
        return await self._writer.run(lambda db: [_insert(db, job, number) for job, number in chosen])

    async def rewrite(self, key: int, job: Job) -> Attempt:
        """Give an attempt that was surely never accepted the inputs that the manifest has now: back to NEW."""

        def operation(connection: sqlite3.Connection) -> Attempt:
            attempt = _fetch(connection, key)
            if not attempt.is_surely_unsent:
                raise ConflictError(f"{attempt.label} may have been accepted, so its inputs stay as they are.")
            if attempt.state is State.RESERVED:
                _move(connection, attempt, State.NEW, generation_id=None, body=None)
            columns = {**_job_columns(job), "sends": 0, "error_code": None, "error": None}
            names = ", ".join(f"{name} = ?" for name in columns)
            connection.execute(f"UPDATE attempts SET {names} WHERE attempt_key = ?", (*columns.values(), key))
            return _fetch(connection, key)

        return await self._writer.run(operation)

    # Assets

    async def find_asset(self, sha256: str) -> str | None:
        """Find the server's id of an image with this content, if one was uploaded and is still there."""
        statement = "SELECT asset_id FROM assets WHERE sha256 = ? AND gone_at IS NULL"
        row = await self._writer.run(lambda db: db.execute(statement, (sha256,)).fetchone())
        return str(row[0]) if row else None

    async def record_asset(self, sha256: str, asset_id: str, name: str) -> None:
        """Record that an image is uploaded, whole."""
        statement = "INSERT INTO assets (sha256, asset_id, name, uploaded_at) VALUES (?, ?, ?, ?)"
        await self._writer.run(lambda db: db.execute(statement, (sha256, asset_id, name, now_text())).rowcount)

    async def record_asset_gone(self, asset_id: str) -> None:
        """Record that the server does not know an asset any more, so that its image is uploaded again."""
        statement = "UPDATE assets SET gone_at = ? WHERE asset_id = ? AND gone_at IS NULL"
        await self._writer.run(lambda db: db.execute(statement, (now_text(), asset_id)).rowcount)

    # Events of one attempt, in the order of its life

    async def reserve(
        self, attempt: Attempt, generation_id: str, body: bytes, credits_estimated: int | None
    ) -> Attempt:
        """Go from NEW to RESERVED: id, body and price are on disk before anything is sent."""

        def operation(connection: sqlite3.Connection) -> Attempt:
            self._raise_identity(highest_attempt=attempt.number)
            return _move(
                connection,
                attempt,
                State.RESERVED,
                generation_id=generation_id,
                body=body,
                credits_estimated=credits_estimated,
            )

        return await self._writer.run(operation)

    async def release(self, attempt: Attempt) -> Attempt:
        """Go from RESERVED to NEW: the body names an asset that is gone, and is made again under the same id."""
        return await self._change(attempt, State.NEW, body=None)

    async def begin_send(self, attempt: Attempt) -> Attempt:
        """Go from RESERVED to SUBMITTING: on disk before the first byte of the request."""
        return await self._change(
            attempt, State.SUBMITTING, sends=attempt.sends + 1, submitted_at=now_text(), error_code=None, error=None
        )

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
            accepted = _move(
                connection,
                attempt,
                State.ACCEPTED,
                generation_id=generation_id,
                asset_id=asset_id,
                eta_seconds=eta_seconds,
                request_id=request_id,
                accepted_at=now_text(),
                unknown_at=None,
                error_code=None,
                error=None,
            )
            self._set_ids_verdict(connection, verdict)
            return accepted

        return await self._writer.run(operation)

    async def return_to_reserved(self, attempt: Attempt, code: str, message: str) -> Attempt:
        """Go from SUBMITTING back to RESERVED: surely not accepted, so the same id may be sent again."""
        return await self._change(attempt, State.RESERVED, error_code=code, error=message)

    async def resend(self, attempt: Attempt) -> Attempt:
        """Go from UNKNOWN back to RESERVED: absent for the whole quiet window, so the same bytes are sent again."""
        return await self._change(attempt, State.RESERVED, resends=attempt.resends + 1)

    async def reject(self, attempt: Attempt, code: str, message: str, request_id: str | None) -> Attempt:
        """Go from NEW or SUBMITTING to REJECTED: refused as it stands, nothing charged."""
        return await self._finish(attempt, State.REJECTED, error_code=code, error=message, request_id=request_id)

    async def mark_unknown(self, attempt: Attempt, message: str, **counts: int) -> Attempt:
        """Go from SUBMITTING to UNKNOWN: whether the server has it can only be told by reading.

        `counts` corrects what a lost send counts, where it was an earlier one of the id that was lost.
        """
        columns = {"unknown_sends": attempt.unknown_sends + 1, **counts}
        return await self._change(
            attempt, State.UNKNOWN, unknown_at=now_text(), error_code=UNKNOWN_OUTCOME, error=message, **columns
        )

    async def hold(self, attempt: Attempt, code: str, message: str) -> Attempt:
        """Go to HELD: a person must decide."""
        return await self._change(attempt, State.HELD, error_code=code, error=message)

    async def reopen(self, attempt: Attempt) -> Attempt:
        """Go from HELD, or from RESERVED after a lost send, to UNKNOWN: it is read again."""
        return await self._change(attempt, State.UNKNOWN)

    async def record_missing(self, key: int, missing_at: str | None) -> None:
        """Record since when the server does not know what it had accepted; None once it does again."""
        statement = "UPDATE attempts SET missing_at = ? WHERE attempt_key = ?"
        await self._writer.run(lambda db: db.execute(statement, (missing_at, key)).rowcount)

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
            return _move(
                connection,
                attempt,
                State.READY,
                output=next(output for output in outputs if not _is_claimed(connection, output)),
                asset_id=asset_id or attempt.asset_id,
                credits_charged=credits_charged,
                error_code=None,
                error=None,
            )

        return await self._writer.run(operation)

    async def complete(self, attempt: Attempt, sha256: str, size_bytes: int) -> Attempt:
        """Go from READY to DONE: the verified file is in place under its final name."""
        return await self._finish(attempt, State.DONE, sha256=sha256, bytes=size_bytes)

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
        return await self._change(attempt, state, finished_at=now_text(), **columns)

    async def _change(self, attempt: Attempt, state: State, **columns: object) -> Attempt:
        return await self._writer.run(lambda connection: _move(connection, attempt, state, **columns))


def _fetch(connection: sqlite3.Connection, key: int) -> Attempt:
    row = connection.execute(f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE attempt_key = ?", (key,)).fetchone()
    if row is None:
        raise LedgerError(f"The ledger has no attempt {key}.")
    return to_attempt(row)


def _is_claimed(connection: sqlite3.Connection, output: str) -> bool:
    return connection.execute("SELECT 1 FROM attempts WHERE output = ?", (output,)).fetchone() is not None


def _job_columns(job: Job) -> dict[str, object]:
    return {
        "digest": job.inputs.digest,
        "fields": json.dumps(job.inputs.fields, ensure_ascii=False),
        "prompt_id": job.prompt_id,
        "image_id": job.image_id,
        "image": job.inputs.image.source if job.inputs.image else None,
        "wanted_output": job.output,
    }


def _insert(connection: sqlite3.Connection, job: Job, number: int) -> int:
    connection.execute(
        "UPDATE attempts SET latest = 0 WHERE edition = ? AND job_id = ? AND latest = 1", (job.edition, job.id)
    )
    columns = {
        "edition": job.edition,
        "job_id": job.id,
        "number": number,
        "latest": 1,
        "state": State.NEW,
        "changed_at": now_text(),
        **_job_columns(job),
    }
    marks = ", ".join("?" * len(columns))
    cursor = connection.execute(
        f"INSERT INTO attempts ({', '.join(columns)}) VALUES ({marks})", tuple(columns.values())
    )
    return int(cursor.lastrowid or 0)


def _move(connection: sqlite3.Connection, attempt: Attempt, state: State, **columns: object) -> Attempt:
    changes = {"state": state, "changed_at": now_text(), **columns}
    names = ", ".join(f"{name} = ?" for name in changes)
    statement = f"UPDATE attempts SET {names} WHERE attempt_key = ? AND state = ? RETURNING {ATTEMPT_COLUMNS}"
    try:
        row = connection.execute(statement, (*changes.values(), attempt.key, attempt.state)).fetchone()
    except sqlite3.IntegrityError as error:
        raise ConflictError(
            f"{attempt.label}: {attempt.state} to {state} is against the ledger's rules ({error})."
        ) from error
    if row is None:
        raise ConflictError(f"{attempt.label}: attempt {attempt.number} is not in {attempt.state} any more.")
    return to_attempt(row)
