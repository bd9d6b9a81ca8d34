"""Reading a ledger from outside a run: read-only, also while a run writes."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hedra_batch.errors import ConfigurationError, LedgerError
from hedra_batch.ledger.rows import RESULT_COLUMNS, Standing, read_standings


@dataclass(frozen=True, slots=True)
class LedgerReader:
    """Answers questions about a ledger and never changes it."""

    connection: sqlite3.Connection

    def standings(self) -> Iterator[Standing]:
        """Yield how every job stands."""
        return read_standings(self.connection)

    def count_states(self) -> Counter[str]:
        """Count the jobs in each public state."""
        rows = self.connection.execute(
            "SELECT public, count(*) FROM attempts JOIN states USING (state) WHERE latest = 1 GROUP BY public"
        )
        return Counter(dict(rows.fetchall()))

    def open_jobs(self, limit: int) -> Iterator[dict[str, Any]]:
        """Yield the jobs that are not ended, those that need a person first."""
        return self._select(
            "FROM results WHERE state IN ('held', 'unknown', 'running') "
            "ORDER BY instr('held unknown running', state), id LIMIT ?",
            limit,
        )

    def results(self, *, has_all_attempts: bool) -> Iterator[dict[str, Any]]:
        """Yield every job with its latest attempt, or every attempt, in the order of recording."""
        where = "" if has_all_attempts else "WHERE latest = 1 "
        return self._select(f"FROM results_by_attempt {where}ORDER BY attempt_key")

    def sum_credits(self, edition: str) -> dict[str, int | None]:
        """Sum what the attempts of an edition were estimated at and charged, as far as it is known."""
        row = self.connection.execute(
            "SELECT sum(credits_estimated), sum(credits_charged) FROM attempts "
            "WHERE edition = ? AND accepted_at IS NOT NULL",
            (edition,),
        ).fetchone()
        return {"estimated": row[0], "charged": row[1]}

    def read_error(self, key: int) -> str:
        """Read why an attempt ended badly or is held."""
        row = self.connection.execute("SELECT error FROM attempts WHERE attempt_key = ?", (key,)).fetchone()
        return str(row[0] or "")

    def _select(self, rest: str, *values: object) -> Iterator[dict[str, Any]]:
        for row in self.connection.execute(f"SELECT {', '.join(RESULT_COLUMNS)} {rest}", values):
            yield dict(zip(RESULT_COLUMNS, row, strict=True))


@contextmanager
def open_reader(path: Path) -> Iterator[LedgerReader | None]:
    """Open a ledger for reading; None where no run has made one yet. Raises LedgerError and ConfigurationError."""
    if not path.exists():
        yield None
        return
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            # A run that was killed in its first moments leaves a file without a schema.
            has_schema = connection.execute("PRAGMA user_version").fetchone()[0] > 0
            yield LedgerReader(connection) if has_schema else None
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise LedgerError(f"{path}: the ledger cannot be read ({error}).") from error
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(f"{path} is damaged or no ledger ({error}).") from error
