"""The rows of attempts: how one is read, recorded, and moved from state to state."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

from hedra_batch.errors import LedgerError
from hedra_batch.job import Attempt, Job, State
from hedra_batch.ledger.records import ATTEMPT_COLUMNS, to_attempt
from hedra_batch.ledger.writer import ConflictError, TakenError

_write_json = json.JSONEncoder(ensure_ascii=False).encode
#: Columns that the record of an attempt has too.
_RECORD_COLUMNS = frozenset(field.name for field in fields(Attempt))


def fetch(connection: sqlite3.Connection, key: int) -> Attempt:
    """Read one attempt."""
    row = connection.execute(f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE attempt_key = ?", (key,)).fetchone()
    if row is None:
        raise LedgerError(f"The ledger has no attempt {key}.")
    return to_attempt(row)


def fetch_many(connection: sqlite3.Connection, keys: Sequence[int]) -> Iterator[Attempt]:
    """Read attempts, in the order of their keys."""
    marks = ", ".join("?" * len(keys))
    rows = connection.execute(
        f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE attempt_key IN ({marks}) ORDER BY attempt_key", keys
    )
    return map(to_attempt, rows)


def is_claimed(connection: sqlite3.Connection, output: str) -> bool:
    """Tell whether a file name belongs to an attempt already."""
    return connection.execute("SELECT 1 FROM attempts WHERE output = ?", (output,)).fetchone() is not None


def job_columns(job: Job) -> dict[str, object]:
    """Write what an attempt takes over from its job."""
    return {
        "digest": job.inputs.digest,
        "fields": _write_json(job.inputs.fields),
        "prompt_id": job.prompt_id,
        "image_id": job.image_id,
        "image": image.source if (image := job.inputs.get_media("image")) else None,
        "wanted_output": job.output,
    }


def insert(connection: sqlite3.Connection, job: Job, number: int, state: State, **columns: object) -> Attempt:
    """Record a new attempt, which is its job's latest from now on."""
    if number > 1:
        connection.execute(
            "UPDATE attempts SET latest = 0 WHERE edition = ? AND job_id = ? AND latest = 1", (job.edition, job.id)
        )
    identity = {"edition": job.edition, "job_id": job.id, "number": number, "state": state}
    values = {**identity, "latest": 1, **job_columns(job), **columns}
    marks = ", ".join("?" * len(values))
    cursor = connection.execute(f"INSERT INTO attempts ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
    recorded = {name: values[name] for name in values.keys() & _RECORD_COLUMNS}
    return Attempt(key=int(cursor.lastrowid or 0), **recorded | {"fields": job.inputs.fields})  # type: ignore[arg-type]


def move(connection: sqlite3.Connection, attempt: Attempt, state: State, **columns: object) -> Attempt:
    """Change the state by compare-and-set. Raises ConflictError when it is not the one that `attempt` has."""
    changes = {"state": state, **columns}
    names = ", ".join(f"{name} = ?" for name in changes)
    statement = f"UPDATE attempts SET {names} WHERE attempt_key = ? AND state = ?"
    try:
        is_moved = connection.execute(statement, (*changes.values(), attempt.key, attempt.state)).rowcount
    except sqlite3.IntegrityError as error:
        kind = TakenError if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE else ConflictError
        raise kind(f"{attempt.label}: {attempt.state} to {state} is against the ledger's rules ({error}).") from error
    if not is_moved:
        raise ConflictError(f"{attempt.label}: attempt {attempt.number} is not in {attempt.state} any more.")
    # Reading the row again would tell nothing new, and cost as much as the change.
    return replace(attempt, **{name: changes[name] for name in changes.keys() & _RECORD_COLUMNS})  # type: ignore[arg-type]
