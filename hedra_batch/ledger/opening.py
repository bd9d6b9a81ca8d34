"""Opening the ledger's file: it is made, or found to be the right one."""

from __future__ import annotations

import sqlite3
from importlib import resources
from pathlib import Path

from hedra_batch.errors import ConfigurationError, WriteError
from hedra_batch.job import PUBLIC_STATES, TRANSITIONS
from hedra_batch.ledger.identity import Identity
from hedra_batch.ledger.writer import open_connection

SCHEMA_VERSION = 1


def check_pair(path: Path, identity: Identity | None) -> None:
    """Refuse a ledger without its identity file, and the other way round. Raises ConfigurationError."""
    if identity is None and path.exists():
        raise ConfigurationError(
            f"{path.parent} has a ledger but no identity.json. Put the file back from a backup: without it the "
            "paid requests of this folder cannot be recognised."
        )
    if identity is not None and identity.run_counter and not path.exists():
        raise ConfigurationError(
            f"{path.parent} has an identity but no ledger.sqlite3, and {identity.run_counter} runs have used it. "
            "Put the ledger back from a backup, or delete the folder if you mean to pay for everything again."
        )


def open_prepared(path: Path, identity: Identity) -> sqlite3.Connection:
    """Open the file for writing, with its schema made and the program's tables loaded.

    Raises WriteError where it cannot be written, ConfigurationError where it is not the ledger of this batch.
    """
    try:
        connection = open_connection(path)
        try:
            _prepare(connection, identity)
        except BaseException:
            connection.close()
            raise
    except sqlite3.OperationalError as error:
        raise WriteError(f"{path}: the ledger cannot be opened for writing ({error}).") from error
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(
            f"{path} is damaged or no ledger ({error}). Nothing was sent. Put it back from a backup."
        ) from error
    return connection


def _prepare(connection: sqlite3.Connection, identity: Identity) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"The ledger was written by a newer version of this program (schema {version}, this one knows "
            f"{SCHEMA_VERSION}). Update the program."
        )
    if version == 0 and identity.run_counter:
        raise ConfigurationError(
            f"The ledger is empty, but {identity.run_counter} runs have used this folder. Nothing was sent. What was "
            "paid for is in the lost one: put ledger.sqlite3 back, and ledger.sqlite3-wal where there is one."
        )
    if version == 0:
        _create(connection, identity)
    batch_uuid = connection.execute("SELECT value FROM info WHERE key = 'batch_uuid'").fetchone()[0]
    if batch_uuid != identity.batch_uuid:
        raise ConfigurationError("The ledger and identity.json of this run folder belong to different batches.")
    if not identity.highest_attempt and connection.execute("SELECT 1 FROM attempts WHERE sends > 0").fetchone():
        raise ConfigurationError(
            "identity.json is an older copy: the ledger has requests that it does not know of. Nothing was sent. "
            "Put the newest identity.json back."
        )
    connection.execute("INSERT OR REPLACE INTO info VALUES ('manifest', ?)", (identity.manifest,))
    _load_tables(connection)


def _create(connection: sqlite3.Connection, identity: Identity) -> None:
    schema = resources.files(__package__).joinpath("schema.sql").read_text("utf-8")
    connection.executescript(f"BEGIN IMMEDIATE;\n{schema}\nPRAGMA user_version = {SCHEMA_VERSION};")
    rows = [("batch_uuid", identity.batch_uuid), ("run_counter", str(identity.run_counter))]
    connection.executemany("INSERT INTO info VALUES (?, ?)", rows)
    connection.execute("COMMIT")


def _load_tables(connection: sqlite3.Connection) -> None:
    pairs = [(start, end) for start, ends in TRANSITIONS.items() for end in ends]
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM transitions")
    connection.executemany("INSERT INTO transitions VALUES (?, ?)", pairs)
    connection.executemany("INSERT OR REPLACE INTO states VALUES (?, ?)", PUBLIC_STATES.items())
    connection.execute("COMMIT")
