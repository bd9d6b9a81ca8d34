"""What brings a ledger of an older schema up to date: one transaction a step, so that a kill leaves the old or the new.

Each step works on what the step before has left, and never changes again; the last one uses the present schema's
script, which has to be copied beside it before it changes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hedra_batch.clock import Clock
from hedra_batch.inputs import Medium, find_digest
from hedra_batch.ledger.sqlite.schema import SCHEMA_VERSION, load_states, read_schema, run_script, sum_spending

_TO_2 = """
ALTER TABLE attempts ADD COLUMN unknown_mark TEXT;
ALTER TABLE attempts ADD COLUMN accepted_mark TEXT;
ALTER TABLE attempts ADD COLUMN absent_at TEXT;
ALTER TABLE attempts ADD COLUMN ordered_at TEXT;
UPDATE attempts SET unknown_mark = '{mark}' WHERE unknown_at IS NOT NULL;
UPDATE attempts SET accepted_mark = '{mark}' WHERE accepted_at IS NOT NULL;
"""

_TO_3 = """
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
CREATE TABLE spending (
    edition TEXT NOT NULL,
    liability TEXT NOT NULL,
    credits INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    PRIMARY KEY (edition, liability)
) STRICT, WITHOUT ROWID;
INSERT INTO spending
SELECT edition, liability, coalesce(sum(price), 0), count(*) FILTER (WHERE price IS NULL)
FROM attempts GROUP BY edition, liability;
CREATE TRIGGER attempts_spending_insert AFTER INSERT ON attempts
BEGIN
    INSERT INTO spending VALUES (NEW.edition, NEW.liability, coalesce(NEW.price, 0), NEW.price IS NULL)
    ON CONFLICT DO UPDATE SET credits = credits + excluded.credits, unpriced = unpriced + excluded.unpriced;
END;
CREATE TRIGGER attempts_spending_update
AFTER UPDATE OF state, unknown_sends, credits_estimated, credits_charged ON attempts
WHEN OLD.liability <> NEW.liability OR OLD.price IS NOT NEW.price
BEGIN
    UPDATE spending SET credits = credits - coalesce(OLD.price, 0), unpriced = unpriced - (OLD.price IS NULL)
    WHERE edition = OLD.edition AND liability = OLD.liability;
    INSERT INTO spending VALUES (NEW.edition, NEW.liability, coalesce(NEW.price, 0), NEW.price IS NULL)
    ON CONFLICT DO UPDATE SET credits = credits + excluded.credits, unpriced = unpriced + excluded.unpriced;
END;
"""


class Mapping(NamedTuple):
    """What becomes of a state of schema 3, where it had conditions in other columns."""

    before: str
    #: On the row as it was; the first of a state that holds counts.
    condition: str
    after: str


STATES_OF_4 = (
    Mapping("RESERVED", "ordered_at IS NOT NULL", "RESEND_ORDERED"),
    Mapping("RESERVED", "unknown_sends > 0", "RESEND_DUE"),
    Mapping("SUBMITTING", "ordered_at IS NOT NULL", "RESENDING_ORDERED"),
    Mapping("SUBMITTING", "unknown_sends > 0", "RESENDING"),
    Mapping("HELD", "accepted_at IS NOT NULL", "HELD_MISSING"),
    Mapping("HELD", "error_code = 'ids_unproven'", "HELD_UNPROVEN"),
    Mapping("HELD", "true", "HELD_UNKNOWN"),
)

#: Words that are others now, in the history too.
WORDS_OF_4 = {"SUBMITTING": "SENDING", "STUCK": "OVERDUE", "REJECTED": "REFUSED"}

VERDICTS_OF_4 = {"unproven": "unproven", "honoured": "proven", "ignored": "none"}


def _case(column: str, words: dict[str, str]) -> str:
    rows = " ".join(f"WHEN '{before}' THEN '{after}'" for before, after in words.items())
    return f"CASE {column} {rows} ELSE {column} END"


_RENAMED = _case("state", WORDS_OF_4)
_CASES = " ".join(f"WHEN state = '{before}' AND {condition} THEN '{after}'" for before, condition, after in STATES_OF_4)
_MAPPED = f"CASE {_CASES} ELSE {_RENAMED} END"

#: Columns that came while schemas 1 and 2 were young, without a number of their own.
_LATE_COLUMNS = {"resends": "INTEGER NOT NULL DEFAULT 0", "missing_at": "TEXT", "accepted_mark": "TEXT"}

#: Those first that refer to others.
_TABLES_OF_3 = ("history", "attempts", "states", "transitions", "spending", "servers", "assets", "info", "runs")
_TABLES_OF_4 = ("history", "attempts", "states", "transitions", "spending", "deduplication", "uploads", "info", "runs")

#: Columns that stay as they are.
_KEPT = (
    "attempt_key, edition, job_id, number, latest, digest, fields, prompt_id, image_id, image, wanted_output, body, "
    "sends, unknown_sends, unknown_at, unknown_mark, absent_at, submitted_at, accepted_at, accepted_mark, missing_at, "
    "finished_at, changed_at, asset_id, eta_seconds, output, sha256, bytes, error_code, error, request_id"
)
#: The others, each with what makes it.
_MADE = {
    "bought_as": "job_id",
    "state": _MAPPED,
    # A resend counted when it was planned, and counts when it begins now.
    "resends": f"CASE {_MAPPED} WHEN 'RESEND_DUE' THEN max(resends - 1, 0) ELSE resends END",
    # The id was ours until the server gave one.
    "request_key": "CASE WHEN accepted_at IS NULL THEN generation_id "
    "WHEN json_valid(CAST(body AS TEXT)) "
    "THEN coalesce(CAST(body AS TEXT) ->> '$.generation_id', generation_id) ELSE generation_id END",
    "remote_id": "CASE WHEN accepted_at IS NOT NULL THEN generation_id END",
    "estimated": "credits_estimated",
    "charged": "credits_charged",
    "unit": "CASE WHEN coalesce(credits_estimated, credits_charged) IS NOT NULL THEN 'credits' END",
}

_COPY_TO_4 = f"""
INSERT INTO info SELECT * FROM old_info;
INSERT INTO runs SELECT number, started_at, ended_at, exit_code, version FROM old_runs;
INSERT INTO deduplication SELECT base_url, 'video', {_case("ids_verdict", VERDICTS_OF_4)} FROM old_servers;
INSERT INTO uploads (upload_key, kind, sha256, handle, name, uploaded_at, gone_at)
SELECT asset_key, '{Medium.IMAGE}', sha256, asset_id, name, uploaded_at, gone_at FROM old_assets;
INSERT INTO attempts ({_KEPT}, {", ".join(_MADE)}) SELECT {_KEPT}, {", ".join(_MADE.values())} FROM old_attempts;
INSERT INTO history
SELECT attempt_key, {_case("from_state", WORDS_OF_4)}, {_case("to_state", WORDS_OF_4)}, at, note
FROM old_history ORDER BY rowid;
INSERT INTO history
SELECT attempt_key, {_RENAMED}, {_MAPPED}, '{{now}}', 'schema 4' FROM old_attempts WHERE {_RENAMED} <> {_MAPPED};
"""

_SUM_OF_4 = """
INSERT INTO spending
SELECT edition, coalesce(unit, ''), liability, coalesce(sum(price), 0), count(*) FILTER (WHERE price IS NULL)
FROM attempts JOIN states USING (state) WHERE liability <> 'none' GROUP BY 1, 2, 3;
"""

_KEPT_BY_5 = f"{_KEPT}, bought_as, state, resends, request_key, remote_id, estimated, charged, unit"
_COPY_TO_5 = f"""
INSERT INTO info SELECT * FROM old_info;
INSERT INTO runs SELECT * FROM old_runs;
INSERT INTO deduplication SELECT * FROM old_deduplication;
INSERT INTO uploads SELECT * FROM old_uploads;
INSERT INTO attempts ({_KEPT_BY_5}, sent_digest) SELECT {_KEPT_BY_5}, digest FROM old_attempts;
INSERT INTO history SELECT * FROM old_history ORDER BY rowid;
"""


def migrate(connection: sqlite3.Connection, version: int, clock: Clock) -> None:
    for older in range(version, SCHEMA_VERSION):
        connection.execute("BEGIN IMMEDIATE")
        try:
            _STEPS[older](connection, clock)
            connection.execute(f"PRAGMA user_version = {older + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _migrate_to_2(connection: sqlite3.Connection, clock: Clock) -> None:
    run_script(connection, _TO_2.format(mark=clock.mark()))


def _migrate_to_3(connection: sqlite3.Connection, _: Clock) -> None:
    run_script(connection, _TO_3)


def _migrate_to_4(connection: sqlite3.Connection, clock: Clock) -> None:
    _add_late_columns(connection, clock)
    _make_anew(connection, _TABLES_OF_3, read_schema("schema_4.sql"), _COPY_TO_4.format(now=clock.now_text()))
    run_script(connection, _SUM_OF_4)


def _migrate_to_5(connection: sqlite3.Connection, _: Clock) -> None:
    _make_anew(connection, _TABLES_OF_4, read_schema(), _COPY_TO_5)
    _note_sent_models(connection)
    sum_spending(connection)


def _make_anew(connection: sqlite3.Connection, older: Sequence[str], schema: tuple[str, str], copy: str) -> None:
    """Make all tables anew beside the old ones, and take the rows over."""
    _set_aside(connection, older)
    tables, rules = schema
    run_script(connection, tables)
    load_states(connection)
    # A schema may add up by its own rules what it has not copied yet.
    connection.execute("DELETE FROM spending")
    run_script(connection, copy)
    for name in older:
        connection.execute(f"DROP TABLE old_{name}")
    run_script(connection, rules)


def _note_sent_models(connection: sqlite3.Connection) -> None:
    """Take the digest of what was really sent, where the model was written otherwise than the request names it."""
    rows = connection.execute(
        "SELECT attempt_key, fields, CAST(body AS TEXT) ->> '$.model_slug' AS slug, "
        "coalesce(CAST(body AS TEXT) ->> '$.ai_model_id', CAST(body AS TEXT) ->> '$.model_slug') AS model "
        "FROM attempts WHERE json_valid(CAST(body AS TEXT)) AND model <> fields ->> '$.model'"
    )
    for key, text, slug, model in rows.fetchall():
        fields = json.loads(text)
        digest = find_digest({**fields, "model": model})
        connection.execute("UPDATE attempts SET sent_digest = ? WHERE attempt_key = ?", (digest, key))
        if slug:
            # What a list of models has said of it then.
            spelling = fields["model"].casefold()
            connection.execute("INSERT OR REPLACE INTO models VALUES (?, ?)", (spelling, slug))


def _add_late_columns(connection: sqlite3.Connection, clock: Clock) -> None:
    present = {row[1] for row in connection.execute("PRAGMA table_info(attempts)")}
    for name in _LATE_COLUMNS.keys() - present:
        connection.execute(f"ALTER TABLE attempts ADD COLUMN {name} {_LATE_COLUMNS[name]}")
    unmarked = "accepted_at IS NOT NULL AND accepted_mark IS NULL"
    connection.execute(f"UPDATE attempts SET accepted_mark = ? WHERE {unmarked}", (clock.mark(),))


def _set_aside(connection: sqlite3.Connection, tables: Sequence[str]) -> None:
    """Rename the tables, and drop what has a name beside them."""
    for name in ("results", "results_by_attempt"):
        connection.execute(f"DROP VIEW IF EXISTS {name}")
    marks = ", ".join("?" * len(tables))
    parts = connection.execute(
        "SELECT type, name FROM sqlite_schema WHERE type IN ('trigger', 'index') AND sql IS NOT NULL "
        f"AND tbl_name IN ({marks})",
        tables,
    )
    for kind, name in parts.fetchall():
        connection.execute(f"DROP {kind} {name}")
    # A view of somebody else's that reads `results` is left as it is, and not tried.
    connection.execute("PRAGMA legacy_alter_table = ON")
    for name in tables:
        connection.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
    connection.execute("PRAGMA legacy_alter_table = OFF")


_STEPS: dict[int, Callable[[sqlite3.Connection, Clock], None]] = {
    1: _migrate_to_2,
    2: _migrate_to_3,
    3: _migrate_to_4,
    4: _migrate_to_5,
}
