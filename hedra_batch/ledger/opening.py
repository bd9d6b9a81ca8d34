"""Opening the pair of identity and ledger: they are made, found to be the right ones, or begun anew after a loss."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from hedra_batch.clock import Clock
from hedra_batch.errors import ConfigurationError, WriteError
from hedra_batch.job import PUBLIC_STATES, TRANSITIONS
from hedra_batch.ledger.identity import Binding, Identity, find_place
from hedra_batch.ledger.writer import open_connection

SCHEMA_VERSION = 3

#: What makes each older schema the next one; `{mark}` is the present moment, `{spending}` the script of that name,
#: which has to be copied here before it changes.
_MIGRATIONS = {
    1: """
    ALTER TABLE attempts ADD COLUMN unknown_mark TEXT;
    ALTER TABLE attempts ADD COLUMN accepted_mark TEXT;
    ALTER TABLE attempts ADD COLUMN absent_at TEXT;
    ALTER TABLE attempts ADD COLUMN ordered_at TEXT;
    UPDATE attempts SET unknown_mark = '{mark}' WHERE unknown_at IS NOT NULL;
    UPDATE attempts SET accepted_mark = '{mark}' WHERE accepted_at IS NOT NULL;
    """,
    2: """
    ALTER TABLE attempts ADD COLUMN price INTEGER AS (
        max(coalesce(credits_charged, credits_estimated), coalesce(credits_estimated, credits_charged))
    );
    ALTER TABLE attempts ADD COLUMN liability TEXT AS (
        CASE
            WHEN state = 'REJECTED' THEN 'none'
            WHEN state NOT IN ('NEW', 'RESERVED') OR unknown_sends > 0 THEN 'charged'
            WHEN state = 'RESERVED' THEN 'reserved'
            ELSE 'none'
        END
    );
    CREATE INDEX attempts_by_number ON attempts (number) WHERE number > 1;
    DROP INDEX history_by_attempt;
    {spending}
    """,
}


@dataclass(frozen=True, slots=True)
class Loss:
    """A ledger of this batch was lost: attempts up to a number may have been sent before the loss was noticed."""

    highest_attempt: int
    #: When it was noticed, on the clock that runs through sleep: nothing of it was sent later.
    mark: str


def check_pair(path: Path, identity: Identity | None) -> None:
    """Refuse to look at a ledger without its identity file, or where it was lost. Raises ConfigurationError."""
    if identity is None and path.exists():
        raise _make_no_identity(path)
    if identity is not None and identity.highest_attempt and not path.exists():
        raise ConfigurationError(
            f"{path.parent} has an identity but no ledger.sqlite3, and {identity.run_counter} runs have used it. Put "
            "the ledger back from a backup, or begin a run: it asks the server for everything before it sends anything."
        )


def open_pair(
    path: Path, identity_path: Path, binding: Binding, *, same_account: bool, is_moved: bool, clock: Clock
) -> tuple[sqlite3.Connection, Identity, Loss | None]:
    """Open both for writing, with the schema made and the program's tables loaded.

    Raises WriteError where they cannot be written, ConfigurationError where they are not those of this batch.
    """
    identity = Identity.load(identity_path)
    if identity is None and path.exists():
        raise _make_no_identity(path)
    if identity is None:
        identity = Identity.create(binding, find_place(identity_path))
        identity.save(identity_path)
    adopted = identity.adopt(binding, find_place(identity_path), same_account=same_account, is_moved=is_moved)
    connection, loss = _open_prepared(path, adopted, clock)
    if adopted != identity:
        adopted.save(identity_path)
    return connection, adopted, loss


def _make_no_identity(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path.parent} has a ledger but no identity.json. Nothing was sent. Put the file back from a backup: without "
        "it the paid requests of this folder cannot be recognised."
    )


def _open_prepared(path: Path, identity: Identity, clock: Clock) -> tuple[sqlite3.Connection, Loss | None]:
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
        raise WriteError(f"{path}: the ledger cannot be opened for writing ({error}).") from error
    except sqlite3.DatabaseError as error:
        raise _make_damaged(path, str(error)) from error
    return connection, loss


def _make_damaged(path: Path, error: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is damaged or no ledger ({error}). Nothing was sent. Put it back from a backup; without one, move it "
        "away, and the next run asks the server for everything before it sends anything."
    )


def _prepare(connection: sqlite3.Connection, identity: Identity, clock: Clock, *, is_new: bool) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"The ledger was written by a newer version of this program (schema {version}, this one knows "
            f"{SCHEMA_VERSION}). Nothing was sent. Update the program."
        )
    if version == 0 and identity.highest_attempt and not is_new:
        raise ConfigurationError(
            f"The ledger is empty, but {identity.run_counter} runs have used this folder. Nothing was sent. Put "
            "ledger.sqlite3 back, and ledger.sqlite3-wal where there is one; if they are lost, delete the empty file, "
            "and the next run asks the server for everything before it sends anything."
        )
    if version == 0:
        _create(
            connection, identity, Loss(identity.highest_attempt, clock.mark()) if identity.highest_attempt else None
        )
    else:
        _migrate(connection, version, clock)
    _check_content(connection, identity)
    connection.execute("INSERT OR REPLACE INTO info VALUES ('manifest', ?)", (identity.manifest,))
    _load_tables(connection)


def _create(connection: sqlite3.Connection, identity: Identity, loss: Loss | None) -> None:
    schema = _read_script("schema.sql") + _read_script("spending.sql")
    connection.executescript(f"BEGIN IMMEDIATE;\n{schema}\nPRAGMA user_version = {SCHEMA_VERSION};")
    rows = [("batch_uuid", identity.batch_uuid), ("run_counter", str(identity.run_counter))]
    if loss:
        rows += [("lost_attempts", str(loss.highest_attempt)), ("lost_mark", loss.mark)]
    connection.executemany("INSERT INTO info VALUES (?, ?)", rows)
    connection.execute("COMMIT")


def _read_script(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _migrate(connection: sqlite3.Connection, version: int, clock: Clock) -> None:
    for older in range(version, SCHEMA_VERSION):
        script = _MIGRATIONS[older].format(mark=clock.mark(), spending=_read_script("spending.sql"))
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {older + 1};\nCOMMIT;")


def _check_content(connection: sqlite3.Connection, identity: Identity) -> None:
    fault = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if fault != "ok":
        raise sqlite3.DatabaseError(fault)
    batch_uuid = connection.execute("SELECT value FROM info WHERE key = 'batch_uuid'").fetchone()[0]
    if batch_uuid != identity.batch_uuid:
        raise ConfigurationError(
            "The ledger and identity.json of this run folder belong to different batches. Nothing was sent. Put the "
            "two files back that belong together."
        )
    if (number := _find_unnoted(connection, identity.highest_attempt)) is not None:
        raise ConfigurationError(
            f"identity.json is an older copy: the ledger has sent attempt {number} of a job, which it does not know "
            "of. Nothing was sent now. Put the newest identity.json back."
        )


def _find_unnoted(connection: sqlite3.Connection, highest_attempt: int) -> int | None:
    """Find the number of an attempt that was sent and is higher than any that is noted."""
    # Apart, so that neither reads a whole ledger: some first attempt is sent early, and the others have an index.
    is_later = "number > 1 AND number > ?" if highest_attempt else "number > ?"
    statement = f"SELECT number FROM attempts WHERE {is_later} AND sends > 0 LIMIT 1"
    row = connection.execute(statement, (highest_attempt,)).fetchone()
    return int(row[0]) if row else None


def _read_loss(connection: sqlite3.Connection) -> Loss | None:
    info = dict(connection.execute("SELECT key, value FROM info"))
    return Loss(int(info["lost_attempts"]), info["lost_mark"]) if "lost_mark" in info else None


def _load_tables(connection: sqlite3.Connection) -> None:
    pairs = [(start, end) for start, ends in TRANSITIONS.items() for end in ends]
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM transitions")
    connection.executemany("INSERT INTO transitions VALUES (?, ?)", pairs)
    # Not REPLACE: that would look for every attempt of each state, which refer to it.
    statement = "INSERT INTO states VALUES (?, ?) ON CONFLICT DO UPDATE SET public = excluded.public"
    connection.executemany(statement, PUBLIC_STATES.items())
    connection.execute("COMMIT")
