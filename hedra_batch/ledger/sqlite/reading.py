"""Opening a ledger only to read it, also one of an older schema, and also while a run writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hedra_batch.clock import CLOCK
from hedra_batch.errors import ConfigurationError, LedgerError
from hedra_batch.ledger.sqlite.migrations import migrate
from hedra_batch.ledger.sqlite.queries import SqliteReader
from hedra_batch.ledger.sqlite.schema import SCHEMA_VERSION, require_known


@contextmanager
def open_reader(path: Path) -> Iterator[SqliteReader | None]:
    """Open a ledger for reading; None where no run has made one yet. Raises LedgerError and ConfigurationError."""
    if not path.exists():
        yield None
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            require_known(version)
            if 0 < version < SCHEMA_VERSION:
                with closing(_copy_migrated(connection, version)) as copy:
                    yield SqliteReader(copy)
            else:
                # A run that was killed in its first moments leaves a file without a schema.
                yield SqliteReader(connection) if version else None
    except sqlite3.OperationalError as error:
        raise LedgerError(
            f"{path}: the ledger cannot be read ({error}). Check the disk and the permissions of the file."
        ) from error
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(f"{path} is damaged, or not a ledger ({error}). Put it back from a backup.") from error


def _copy_migrated(connection: sqlite3.Connection, version: int) -> sqlite3.Connection:
    """Copy a ledger of an older schema and bring the copy up to date: only a run may change the file."""
    # Without a name it is a temporary file that nobody else sees.
    copy = sqlite3.connect("", isolation_level=None)
    connection.backup(copy)
    migrate(copy, version, CLOCK)
    return copy
