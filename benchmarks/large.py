"""Makes a ledger of very many jobs, most of them done, as if runs had been over them: `MANIFEST RUN_FOLDER DONE`.

The folder must have seen a run of the manifest's first job, which is what the other rows are copied from.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

from hedra_batch.job import Job
from hedra_batch.manifest.loading import load_manifest


def fill_ledger(manifest: Path, ledger: Path, done: int) -> None:
    """Record every job of a manifest, the first so many of them as done."""
    jobs = load_manifest(manifest).jobs
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.row_factory = sqlite3.Row
        first = _read_first(connection)
        recorded = {row["job_id"] for row in connection.execute("SELECT job_id FROM attempts")}
        for number, job in enumerate(jobs):
            if job.id not in recorded:
                _insert(connection, _make_done(first, job) if number < done else _make_new(first, job))
        # What the first job has been through, all done ones have.
        connection.execute(
            "INSERT INTO history SELECT done.attempt_key, past.from_state, past.to_state, past.at, past.note "
            "FROM attempts AS done, history AS past "
            "WHERE done.state = 'DONE' AND done.attempt_key <> ? AND past.attempt_key = ? AND past.to_state <> 'DONE'",
            (first["attempt_key"], first["attempt_key"]),
        )


def _read_first(connection: sqlite3.Connection) -> dict[str, Any]:
    # Not `*`: this leaves out the columns that the ledger reckons itself.
    names = ", ".join(row["name"] for row in connection.execute("PRAGMA table_info (attempts)"))
    statement = f"SELECT {names} FROM attempts WHERE state = 'DONE'"  # noqa: S608 - names of columns
    return dict(connection.execute(statement).fetchone())


def _make_new(first: dict[str, Any], job: Job) -> dict[str, Any]:
    columns = {name: first[name] for name in ("edition", "number", "latest", "changed_at")}
    return {
        **columns,
        "job_id": job.id,
        "bought_as": job.id,
        "state": "NEW",
        "digest": job.inputs.digest,
        "sent_digest": job.inputs.digest,
        "fields": json.dumps(job.inputs.fields, ensure_ascii=False),
        "prompt_id": job.prompt_id,
        "image_id": job.image_id,
        "image": image.source if (image := job.inputs.get_media("image")) else None,
        "wanted_output": job.output,
    }


def _make_done(first: dict[str, Any], job: Job) -> dict[str, Any]:
    key = str(uuid.uuid4())
    own = {"request_key": key, "remote_id": key, "asset_id": str(uuid.uuid4()), "output": job.output, "state": "DONE"}
    row = {**first, **_make_new(first, job), **own}
    del row["attempt_key"]
    return row


def _insert(connection: sqlite3.Connection, row: dict[str, Any]) -> None:
    marks = ", ".join("?" * len(row))
    statement = f"INSERT INTO attempts ({', '.join(row)}) VALUES ({marks})"  # noqa: S608 - names of columns
    connection.execute(statement, tuple(row.values()))


if __name__ == "__main__":
    fill_ledger(Path(sys.argv[1]), Path(sys.argv[2]) / "ledger.sqlite3", int(sys.argv[3]))
