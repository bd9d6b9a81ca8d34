"""Opening the ledger's file for writing: it is made, or found to be that of a batch and brought up to date."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hedra_batch.clock import Clock
from hedra_batch.errors import ConfigurationError, WriteError
from hedra_batch.ledger.identity import Identity
from hedra_batch.ledger.records import Loss
from hedra_batch.ledger.sqlite.connection import SqliteBackend, open_connection
from hedra_batch.ledger.sqlite.migrations import migrate
from hedra_batch.ledger.sqlite.schema import SCHEMA_VERSION, load_tables, read_schema, require_known, run_script


def open_backend(path: Path, identity: Identity, clock: Clock) -> tuple[SqliteBackend, Loss | None]:
    """Open the ledger of a batch, with the schema made and the program's tables loaded.

    Raises WriteError where it cannot be written, ConfigurationError where it is not that of this batch.
    """
    is_new = not path.exists()
    try:
        connection = open_connection(path)
        try:
            _prepare(connection, identity, clock, is_new=is_new)
            loss = _read_loss(connection)
        except BaseException:
            connection.close()
            raise
    except sqlite3.OperationalError as error:
        raise WriteError(
            f"{path}: the ledger cannot be opened for writing ({error}). Nothing was sent. Check the disk and the "
            "permissions of the file."
        ) from error
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(
            f"{path} is damaged, or not a ledger ({error}). Nothing was sent. Put it back from a backup. Without one, "
            "move it away: before the next run sends anything, it asks the server what was bought."
        ) from error
    return SqliteBackend(connection), loss


def _prepare(connection: sqlite3.Connection, identity: Identity, clock: Clock, *, is_new: bool) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    require_known(version)
    if version == 0 and identity.highest_attempt and not is_new:
        raise ConfigurationError(
            "The ledger is empty, but this folder has been used before. Nothing was sent. Put ledger.sqlite3 back, and "
            "ledger.sqlite3-wal where there is one. If they are lost, delete the empty file: before the next run sends "
            "anything, it asks the server what was bought."
        )
    if version == 0:
        _create(connection, identity, clock)
    else:
        _check_file(connection)
        migrate(connection, version, clock)
    _check_content(connection, identity)
    connection.execute("INSERT OR REPLACE INTO info VALUES ('manifest', ?)", (identity.manifest,))
    load_tables(connection)


def _create(connection: sqlite3.Connection, identity: Identity, clock: Clock) -> None:
    rows = [("batch_uuid", identity.batch_uuid), ("run_counter", str(identity.run_counter))]
    if identity.highest_attempt:
        rows += [("lost_attempts", str(identity.highest_attempt)), ("lost_mark", clock.mark())]
    connection.execute("BEGIN IMMEDIATE")
    for script in read_schema():
        run_script(connection, script)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.executemany("INSERT INTO info VALUES (?, ?)", rows)
    connection.execute("COMMIT")


def _check_file(connection: sqlite3.Connection) -> None:
    fault = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if fault != "ok":
        raise sqlite3.DatabaseError(fault)


def _check_content(connection: sqlite3.Connection, identity: Identity) -> None:
    batch_uuid = connection.execute("SELECT value FROM info WHERE key = 'batch_uuid'").fetchone()[0]
    if batch_uuid != identity.batch_uuid:
        raise ConfigurationError(
            "The ledger and identity.json of this run folder do not belong together. Nothing was sent. Put the two "
            "newest files back that do."
        )
    if (number := _find_unrecorded(connection, identity.highest_attempt)) is not None:
        raise ConfigurationError(
            f"identity.json is an older copy: it does not know of attempt {number} of a job, which was sent. Nothing "
            "was sent now. Put the newest identity.json back."
        )


def _find_unrecorded(connection: sqlite3.Connection, highest_attempt: int) -> int | None:
    """Find the number of an attempt that was sent and is higher than any that is noted."""
    # Apart, so that neither reads a whole ledger: some first attempt is sent early, and the others have an index.
    is_later = "number > 1 AND number > ?" if highest_attempt else "number > ?"
    statement = f"SELECT number FROM attempts WHERE {is_later} AND sends > 0 LIMIT 1"
    row = connection.execute(statement, (highest_attempt,)).fetchone()
    return int(row[0]) if row else None


def _read_loss(connection: sqlite3.Connection) -> Loss | None:
    info = dict(connection.execute("SELECT key, value FROM info"))
    return Loss(int(info["lost_attempts"]), info["lost_mark"]) if "lost_mark" in info else None
