"""The questions of a reader as SQL; from outside a run read-only, also while a run writes.

What may be long is read page by page, each a reading transaction of its own: one that stays open keeps the writer's
log from being emptied.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from hedra_batch.inputs import FIELDS, FieldValues
from hedra_batch.ledger.records import (
    RESULT_COLUMNS,
    AttemptEnd,
    Charge,
    ClaimedFile,
    FileMove,
    Group,
    JobIdentity,
    LatestAttempt,
    ResultFile,
    ResultSum,
    read_state,
)
from hedra_batch.money import CREDITS, Money
from hedra_batch.state import FOLLOWED, PAID, PUBLIC_STATES, SETTLEABLE, UNDER_WAY, UNSENT, Liability, State

T = TypeVar("T")

#: Rows that are read at once.
PAGE_ROWS = 500
#: The latest videos whose sizes tell how large the next ones will be.
SIZED_ATTEMPTS = 1000

_PUBLIC_BY_URGENCY = ("held", "unknown", "running")
#: Each state that is not ended, with the place of its public one in that order, as rows of SQL.
_URGENCIES = ", ".join(
    f"('{state}', {_PUBLIC_BY_URGENCY.index(public)})"
    for state, public in PUBLIC_STATES.items()
    if public in _PUBLIC_BY_URGENCY
)
_OF_SAME_JOB = "SELECT 1 FROM attempts AS other WHERE other.edition = one.edition AND other.job_id = one.id"
#: Whether another took the place of an attempt after the key `:last` was read: that is always recorded last.
_WAS_LATEST = (
    f"EXISTS ({_OF_SAME_JOB} AND other.latest = 1 AND other.attempt_key > :last) AND NOT EXISTS ("
    f"{_OF_SAME_JOB} AND other.latest = 0 AND other.attempt_key > one.attempt_key AND other.attempt_key <= :last)"
)
#: Where an attempt can have a digest that is asked for, each with an index of its own.
_BEARS_DIGEST = (
    "sent_digest = asked",
    "digest = asked AND digest <> sent_digest",
    "kept_digest = asked AND kept_digest IS NOT NULL",
)
#: What costs can be added up by, as SQL.
_GROUPS = {
    Group.PROMPT: "coalesce(nullif(prompt_id, ''), fields ->> '$.prompt', '')",
    Group.IMAGE: "coalesce(nullif(image_id, ''), image, '')",
    Group.MODEL: "coalesce(fields ->> '$.model', '')",
    Group.EDITION: "edition",
    Group.STATE: "public",
    Group.NONE: "''",
}
_LATEST_COLUMNS = ", ".join(LatestAttempt._fields)
#: What is told of a job that a person can settle, and where it comes from.
_HELD_COLUMNS = {
    **{name: name for name in ("edition", "number", "state", "sends", "submitted_at", "unknown_at", "accepted_at")},
    **{name: name for name in ("absent_at", "missing_at", "error")},
    "id": "job_id",
    "prompt": "fields ->> '$.prompt'",
    "generation_id": "coalesce(remote_id, request_key)",
    "credits_estimated": f"CASE unit WHEN '{CREDITS}' THEN estimated END",
}


@dataclass(frozen=True, slots=True)
class SqliteResults:
    """The rows of `results`."""

    connection: sqlite3.Connection
    has_all_attempts: bool

    def __iter__(self) -> Iterator[dict[str, Any]]:
        [last] = self.connection.execute("SELECT max(attempt_key) FROM attempts").fetchone()
        # An attempt that is recorded while the pages are read replaces none of those before it: each job comes once.
        is_wanted = "true" if self.has_all_attempts else f"(latest = 1 OR {_WAS_LATEST})"
        query = (
            f"SELECT attempt_key, {', '.join(RESULT_COLUMNS)} FROM results_by_attempt AS one "
            f"WHERE attempt_key > :after AND attempt_key <= :last AND {is_wanted}"
        )
        for _, *values in _read_pages(self.connection, query, last=last):
            yield dict(zip(RESULT_COLUMNS, values, strict=True))


@dataclass(frozen=True, slots=True)
class SqliteReader:
    """Answers the questions of `LedgerReader`."""

    connection: sqlite3.Connection

    def find_all(self, identities: Sequence[JobIdentity]) -> Iterator[LatestAttempt]:
        for page in _cut(identities):
            yield from self._find_page(page)

    def _find_page(self, identities: Sequence[JobIdentity]) -> Iterator[LatestAttempt]:
        marks = ", ".join(["(?, ?)"] * len(identities))
        # A join in this order makes SQLite look each up in the index; for `IN` it would read all rows.
        query = (
            f"WITH wanted (edition, job_id) AS (VALUES {marks}) "
            f"SELECT {_LATEST_COLUMNS} FROM wanted CROSS JOIN attempts USING (edition, job_id) WHERE latest = 1"
        )
        return iter(self._find(query, [part for identity in identities for part in identity]))

    def find_in_states(self, states: Iterable[State]) -> Iterator[LatestAttempt]:
        rows = self.connection.execute(
            f"SELECT {_LATEST_COLUMNS} FROM attempts WHERE state IN ({_list(states)}) ORDER BY attempt_key"
        )
        return map(LatestAttempt.read, rows.fetchall())

    def find_keys(self, keys: Sequence[int]) -> Iterator[LatestAttempt]:
        for page in _cut(keys):
            marks = ", ".join("?" * len(page))
            yield from self._find(f"SELECT {_LATEST_COLUMNS} FROM attempts WHERE attempt_key IN ({marks})", page)

    def find_beside(self, identities: Sequence[JobIdentity]) -> Iterator[LatestAttempt]:
        if not self.connection.execute("SELECT EXISTS (SELECT 1 FROM attempts WHERE latest = 0)").fetchone()[0]:
            return
        for page in _cut(identities):
            marks = ", ".join(["(?, ?)"] * len(page))
            yield from self._find(
                f"WITH wanted (edition, job_id) AS (VALUES {marks}) "
                f"SELECT {_LATEST_COLUMNS} FROM wanted CROSS JOIN attempts USING (edition, job_id) WHERE latest = 0 "
                "ORDER BY attempt_key",
                [part for identity in page for part in identity],
            )

    def find_paid(self, edition: str, digests: Sequence[str]) -> Iterator[LatestAttempt]:
        found: dict[int, LatestAttempt] = {}
        for page in _cut(digests):
            marks = ", ".join(["(?)"] * len(page))
            for condition in _BEARS_DIGEST:
                rows = self._find(
                    f"WITH wanted (asked) AS (VALUES {marks}) SELECT {_LATEST_COLUMNS} FROM wanted CROSS JOIN attempts "
                    f"ON {condition} WHERE edition = ? AND state IN ({_list(sorted(PAID))})",
                    [*page, edition],
                )
                found |= {row.attempt_key: row for row in rows}
        yield from (found[key] for key in sorted(found))

    def find_claimed(self, keys: Sequence[int]) -> Iterator[ClaimedFile]:
        for page in _cut(keys):
            rows = self.connection.execute(
                "SELECT attempt_key, state, output, wanted_output FROM attempts "
                f"WHERE output IS NOT NULL AND attempt_key IN ({', '.join('?' * len(page))}) ORDER BY attempt_key",
                page,
            )
            for key, state, *names in rows.fetchall():
                yield ClaimedFile(key, read_state(state), *names)

    def find_owner(self, output: str) -> int | None:
        row = self.connection.execute("SELECT attempt_key FROM attempts WHERE output = ?", (output,)).fetchone()
        return int(row[0]) if row else None

    def find_moves(self) -> list[FileMove]:
        rows = self.connection.execute(
            "SELECT attempt_key, output, moving_to, is_staged FROM attempts WHERE moving_to IS NOT NULL "
            "ORDER BY attempt_key"
        )
        return [FileMove(key, output, moving_to, bool(is_staged)) for key, output, moving_to, is_staged in rows]

    def read_models(self) -> dict[str, str]:
        return dict(self.connection.execute("SELECT spelling, slug FROM models").fetchall())

    def _find(self, query: str, values: Sequence[object]) -> list[LatestAttempt]:
        return [LatestAttempt.read(row) for row in self.connection.execute(query, values).fetchall()]

    def find_editions(self) -> list[str]:
        rows = self.connection.execute("SELECT DISTINCT edition FROM attempts ORDER BY edition")
        return [edition for (edition,) in rows]

    def has_any(self, states: Iterable[State]) -> bool:
        query = f"SELECT EXISTS (SELECT 1 FROM attempts WHERE state IN ({_list(states)}))"
        return bool(self.connection.execute(query).fetchone()[0])

    def count_states(self) -> Counter[str]:
        rows = self.connection.execute(
            "SELECT public, sum(jobs) FROM states "
            "JOIN (SELECT state, count(*) AS jobs FROM attempts "
            f"WHERE latest = 1 OR state IN ({_list(sorted(FOLLOWED))}) GROUP BY state) USING (state) GROUP BY public"
        )
        return Counter(dict(rows.fetchall()))

    def open_jobs(self, limit: int) -> list[dict[str, Any]]:
        # The keys come from the index alone, so that rows are read for no more jobs than are wanted.
        rows = self.connection.execute(
            f"WITH urgencies (state, urgency) AS (VALUES {_URGENCIES}), urgent AS ("
            "SELECT attempt_key, urgency FROM urgencies CROSS JOIN attempts USING (state) "
            "ORDER BY urgency, attempt_key LIMIT ?) "
            f"SELECT {', '.join(RESULT_COLUMNS)} FROM urgent CROSS JOIN results_by_attempt USING (attempt_key) "
            "ORDER BY urgency, attempt_key",
            (limit,),
        )
        return [dict(zip(RESULT_COLUMNS, row, strict=True)) for row in rows]

    def results(self, *, has_all_attempts: bool) -> SqliteResults:
        return SqliteResults(self.connection, has_all_attempts=has_all_attempts)

    def held(self) -> Iterator[dict[str, Any]]:
        query = (
            f"SELECT attempt_key, {', '.join(_HELD_COLUMNS.values())} FROM attempts "
            f"WHERE state IN ({_list(sorted(SETTLEABLE))}) AND attempt_key > :after"
        )
        for _, *values in _read_pages(self.connection, query):
            yield dict(zip(_HELD_COLUMNS, values, strict=True))

    def files(self) -> Iterator[ResultFile]:
        query = (
            "SELECT attempt_key, edition, job_id, state, output, sha256 FROM attempts "
            f"WHERE state IN ({_list((State.DONE, State.READY, State.HELD_LOST))}) AND attempt_key > :after"
        )
        for key, edition, job_id, state, *others in _read_pages(self.connection, query):
            yield ResultFile(key, edition, job_id, read_state(state), *others)

    def read_lost_attempts(self) -> int:
        row = self.connection.execute("SELECT value FROM info WHERE key = 'lost_attempts'").fetchone()
        return int(row[0]) if row else 0

    def sum_credits(self, edition: str) -> dict[str, int | None]:
        row = self.connection.execute(
            "SELECT sum(estimated), sum(charged) FROM attempts "
            "WHERE edition = ? AND accepted_at IS NOT NULL AND unit = ?",
            (edition, CREDITS),
        ).fetchone()
        spent, unpriced = self.sum_spending(CREDITS, [Liability.CHARGED], edition=edition)
        return {"estimated": row[0], "charged": row[1], "may_be_charged": spent, "unpriced": unpriced}

    def sum_spending(
        self, unit: str, liabilities: Sequence[Liability], *, edition: str | None = None, month: str | None = None
    ) -> tuple[int, int]:
        # Triggers keep these sums up to date.
        given = {name: value for name, value in (("edition", edition), ("month", month)) if value is not None}
        conditions = "".join(f" AND {name} = :{name}" for name in given)
        row = self.connection.execute(
            "SELECT coalesce(sum(amount) FILTER (WHERE unit = :unit), 0), coalesce(sum(unpriced), 0) "
            f"FROM spending WHERE liability IN ({_list(liabilities)}){conditions}",
            {"unit": unit, **given},
        ).fetchone()
        return row[0], row[1]

    def find_spending_editions(self) -> list[str]:
        rows = self.connection.execute(
            "SELECT edition FROM spending WHERE amount > 0 OR unpriced > 0 "
            "GROUP BY edition ORDER BY max(month) DESC, edition DESC"
        )
        return [row[0] for row in rows]

    def read_charges(self) -> list[Charge]:
        names = [field.name for field in FIELDS if field.has_price]
        values = ", ".join(f"fields ->> '$.{name}'" for name in names)
        places = ", ".join(str(place + 1) for place in range(len(names) + 1))
        rows = self.connection.execute(
            f"SELECT {values}, unit, max(charged) FROM attempts WHERE charged > estimated GROUP BY {places}"
        )
        return [
            Charge(
                {name: value for name, value in zip(names, given, strict=True) if value is not None},
                Money(charged, unit),
            )
            for *given, unit, charged in rows
        ]

    def average_sizes(self) -> dict[str | None, float]:
        rows = self.connection.execute(
            "SELECT fields ->> '$.model', avg(bytes) FROM ("
            "SELECT fields, bytes FROM attempts WHERE bytes > 0 ORDER BY attempt_key DESC LIMIT ?) GROUP BY 1",
            (SIZED_ATTEMPTS,),
        )
        return dict(rows.fetchall())

    def find_unrefunded(self, ended_before: str) -> list[tuple[int, str]]:
        rows = self.connection.execute(
            "SELECT attempt_key, remote_id FROM attempts "
            f"WHERE state = '{State.FAILED}' AND reread_at IS NULL AND finished_at < ? "
            "AND remote_id IS NOT NULL AND charged IS NOT 0",
            (ended_before,),
        )
        return rows.fetchall()

    def sum_results(self, group: Group) -> list[ResultSum]:
        untold = f"charged IS NULL AND liability = '{Liability.CHARGED}'"
        rows = self.connection.execute(
            f"SELECT {_GROUPS[group]}, count(*) FILTER (WHERE state = '{State.DONE}'), coalesce(sum(charged), 0), "
            f"coalesce(sum(refunded), 0), count(*) FILTER (WHERE {untold}), "
            f"coalesce(sum(estimated) FILTER (WHERE {untold}), 0) "
            f"FROM attempts JOIN states USING (state) WHERE coalesce(unit, '{CREDITS}') = '{CREDITS}' "
            "GROUP BY 1 ORDER BY min(attempt_key)"
        )
        return [ResultSum(*row) for row in rows]

    def read_last_sent_at(self) -> str | None:
        row = self.connection.execute(
            f"SELECT at FROM history WHERE to_state IN ({_list(sorted(UNDER_WAY))}) ORDER BY rowid DESC LIMIT 1"
        ).fetchone()
        return str(row[0]) if row else None

    def read_last_entry_at(self) -> str | None:
        row = self.connection.execute(
            "SELECT max(at) FROM (SELECT * FROM (SELECT at FROM history ORDER BY rowid DESC LIMIT 1) "
            "UNION ALL SELECT max(coalesce(ended_at, started_at)) FROM runs)"
        ).fetchone()
        return str(row[0]) if row[0] else None

    def read_ids(self, edition: str) -> set[str]:
        text = "SELECT job_id, bought_as FROM attempts WHERE edition = ?"
        return {name for row in self.connection.execute(text, (edition,)) for name in row}

    def find_numbers(self, edition: str, job_ids: Iterable[str]) -> set[tuple[str, int]]:
        text = "SELECT bought_as, number FROM attempts WHERE edition = ? AND bought_as = ?"
        return {(str(row[0]), int(row[1])) for one in job_ids for row in self.connection.execute(text, (edition, one))}

    def find_requests(self, keys: Sequence[str]) -> set[str]:
        found: set[str] = set()
        unsent = _list(sorted(UNSENT))
        for page in _cut(keys):
            marks = ", ".join("?" * len(page))
            for column in ("request_key", "remote_id"):
                query = f"SELECT {column} FROM attempts WHERE {column} IN ({marks}) AND state NOT IN ({unsent})"
                rows = self.connection.execute(query, page)
                found.update(row[0] for row in rows)
        return found

    def read_month(self, key: int) -> str:
        row = self.connection.execute("SELECT month FROM attempts WHERE attempt_key = ?", (key,)).fetchone()
        return str(row[0])

    def read_fields(self, key: int) -> FieldValues:
        row = self.connection.execute("SELECT fields FROM attempts WHERE attempt_key = ?", (key,)).fetchone()
        fields: FieldValues = json.loads(row[0])
        return fields

    def read_end(self, key: int) -> AttemptEnd:
        query = "SELECT error, estimated, charged, unit FROM attempts WHERE attempt_key = ?"
        error, estimated, charged, unit = self.connection.execute(query, (key,)).fetchone()
        prices = (None if amount is None else Money(amount, unit) for amount in (estimated, charged))
        return AttemptEnd(error or "", *prices)


def _cut(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut what is asked for into pages."""
    for start in range(0, len(values), PAGE_ROWS):
        yield values[start : start + PAGE_ROWS]


def _list(words: Iterable[str]) -> str:
    """Write words of the program as a list of SQL."""
    return ", ".join(f"'{word}'" for word in words)


def _read_pages(connection: sqlite3.Connection, query: str, **values: object) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query for the attempts after the key `:after`, which is its first column."""
    after = 0
    while page := connection.execute(
        f"{query} ORDER BY attempt_key LIMIT {PAGE_ROWS}", values | {"after": after}
    ).fetchall():
        yield from page
        after = page[-1][0]
