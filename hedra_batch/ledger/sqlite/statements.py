"""The primitives of the ledger as statements of SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from hedra_batch.ledger.backend import Adds, Changes, Condition, ConflictError, Table, TakenError
from hedra_batch.ledger.sqlite.queries import SqliteReader
from hedra_batch.state import State

Names = tuple[str, ...]


class SqliteTables:
    """The rows of one ledger, inside the transaction that its connection is in."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def insert(self, table: Table, values: Changes) -> int:
        cursor = self.connection.execute(_write_insert(table, tuple(values)), tuple(values.values()))
        return cursor.lastrowid or 0

    def update(self, table: Table, condition: Condition, changes: Changes, adds: Adds | None = None) -> int:
        adds = adds or {}
        text, values = _write_condition(condition)
        statement = _write_update(table, tuple(changes), tuple(adds), text)
        return self.connection.execute(statement, (*changes.values(), *adds.values(), *values)).rowcount

    def compare_and_set(
        self, key: int, state: State, changes: Changes, adds: Adds, shown: Sequence[str]
    ) -> tuple[Any, ...] | None:
        statement = _write_compare_and_set(tuple(changes), tuple(adds), tuple(shown))
        try:
            cursor = self.connection.execute(statement, (*changes.values(), *adds.values(), key, state))
            # All rows, so that the statement is over.
            rows = cursor.fetchall() if shown else [()] * cursor.rowcount
        except sqlite3.IntegrityError as error:
            kind = TakenError if error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_UNIQUE else ConflictError
            raise kind(str(error)) from error
        return rows[0] if rows else None

    def find(self, table: Table, columns: Sequence[str], condition: Condition) -> list[tuple[Any, ...]]:
        text, values = _write_condition(condition)
        return self.connection.execute(_write_find(table, tuple(columns), text), values).fetchall()

    def reader(self) -> SqliteReader:
        return SqliteReader(self.connection)


# The same few sets of columns come again and again, so their text is made once; SQLite keeps what it made of it.


@lru_cache
def _write_insert(table: Table, names: Names) -> str:
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


@lru_cache
def _write_update(table: Table, names: Names, added: Names, condition: str) -> str:
    return f"UPDATE {table} SET {_write_settings(names, added)} WHERE {condition}"


@lru_cache
def _write_compare_and_set(names: Names, added: Names, shown: Names) -> str:
    text = _write_update("attempts", names, added, "attempt_key = ? AND state = ?")
    # It costs a sixth of a change, so only where there is something to return.
    return f"{text} RETURNING {', '.join(shown)}" if shown else text


@lru_cache
def _write_find(table: Table, columns: Names, condition: str) -> str:
    return f"SELECT {', '.join(columns)} FROM {table} WHERE {condition} ORDER BY 1"


def _write_settings(names: Names, added: Names) -> str:
    return ", ".join([*(f"{name} = ?" for name in names), *(f"{name} = {name} + ?" for name in added)])


def _write_condition(condition: Condition) -> tuple[str, list[object]]:
    """Write a condition, and list the values for its marks."""
    tests: list[str] = []
    values: list[object] = []
    for name, wanted in condition.items():
        if wanted is None:
            tests.append(f"{name} IS NULL")
        elif wanted is True:
            # Not a mark: only so does SQLite know that a partial index will do.
            tests.append(f"{name} = 1")
        elif isinstance(wanted, list | tuple):
            tests.append(f"{name} IN ({', '.join('?' * len(wanted))})")
            values += wanted
        else:
            tests.append(f"{name} = ?")
            values.append(wanted)
    return " AND ".join(tests) or "true", values
