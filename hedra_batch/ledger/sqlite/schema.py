"""The present schema: its script, the program's tables that are loaded into it, and the sums that follow from them."""

from __future__ import annotations

import sqlite3
from importlib import resources

from hedra_batch.errors import ConfigurationError
from hedra_batch.state import LIABILITIES, PUBLIC_STATES, TRANSITIONS, State

SCHEMA_VERSION = 5

_RULES = "-- Indexes, rules and views:"


def require_known(version: int) -> None:
    """Refuse a ledger of a later schema. Raises ConfigurationError."""
    if version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"The ledger was written by a newer version of this program (schema {version}, this one knows "
            f"up to {SCHEMA_VERSION}). Nothing was sent. Update the program."
        )


def read_schema(name: str = "schema.sql") -> tuple[str, str]:
    """Read the script that makes the tables, and the one for their indexes and rules."""
    text = resources.files(__package__).joinpath(name).read_text("utf-8")
    tables, mark, rules = text.partition(_RULES)
    return tables, mark + rules


def run_script(connection: sqlite3.Connection, script: str) -> None:
    """Execute statements inside the transaction that is open: `executescript` would end it first."""
    statement = ""
    for part in script.splitlines(keepends=True):
        statement += part
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def load_tables(connection: sqlite3.Connection) -> None:
    """Load the states and their transitions, by which the rules of the schema go, in one commit."""
    connection.execute("BEGIN IMMEDIATE")
    load_states(connection)
    pairs = [(start, end) for start, ends in TRANSITIONS.items() for end in ends]
    connection.execute("DELETE FROM transitions")
    connection.executemany("INSERT INTO transitions VALUES (?, ?)", pairs)
    connection.execute("COMMIT")


def load_states(connection: sqlite3.Connection) -> None:
    """Load the states; where what they do to a budget has changed, add it all up anew."""
    known = dict(connection.execute("SELECT state, liability FROM states").fetchall())
    # Not REPLACE: that would look for every attempt of each state, which refer to it.
    connection.executemany(
        "INSERT INTO states VALUES (?, ?, ?) "
        "ON CONFLICT DO UPDATE SET public = excluded.public, liability = excluded.liability",
        [(state, PUBLIC_STATES[state], LIABILITIES[state]) for state in State],
    )
    if any(known.get(state, liability) != liability for state, liability in LIABILITIES.items()):
        sum_spending(connection)


def sum_spending(connection: sqlite3.Connection) -> None:
    """Add up anew what triggers keep up to date otherwise."""
    connection.execute("DELETE FROM spending")
    connection.execute(
        "INSERT INTO spending "
        "SELECT edition, month, coalesce(unit, ''), liability, coalesce(sum(price), 0), "
        "count(*) FILTER (WHERE price IS NULL) "
        "FROM attempts JOIN states USING (state) WHERE liability <> 'none' GROUP BY 1, 2, 3, 4"
    )
