"""Reading a ledger from outside a run: read-only, also while a run writes."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hedra_batch.errors import ConfigurationError, LedgerError
from hedra_batch.job import SETTLEABLE, State, to_label
from hedra_batch.ledger.rows import RESULT_COLUMNS, Standing, read_standings
from hedra_batch.ledger.spending import sum_spending


class ResultFile(NamedTuple):
    """A result that is on disk, or can be."""

    attempt_key: int
    edition: str
    job_id: str
    state: State
    #: Relative to the run folder.
    output: str
    #: None until it was fetched.
    sha256: str | None

    @property
    def label(self) -> str:
        """The job as messages name it."""
        return to_label(self.edition, self.job_id)


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

    def held(self) -> Iterator[dict[str, Any]]:
        """Yield what is known of each job that a person can settle."""
        states = ", ".join(f"'{state}'" for state in sorted(SETTLEABLE))
        rows = self.connection.execute(
            "SELECT job_id AS id, edition, number, state, generation_id, fields ->> '$.prompt' AS prompt, sends, "
            "submitted_at, unknown_at, accepted_at, absent_at, missing_at, credits_estimated, error "
            f"FROM attempts WHERE latest = 1 AND state IN ({states}) ORDER BY attempt_key"
        )
        names = [column[0] for column in rows.description]
        return (dict(zip(names, row, strict=True)) for row in rows)

    def files(self) -> Iterator[ResultFile]:
        """Yield every result that is here or ready to be fetched, those of earlier attempts too."""
        rows = self.connection.execute(
            "SELECT attempt_key, edition, job_id, state, output, sha256 FROM attempts WHERE state IN (?, ?) "
            "ORDER BY attempt_key",
            (State.DONE, State.READY),
        )
        for key, edition, job_id, state, *others in rows:
            yield ResultFile(key, edition, job_id, State(state), *others)

    def read_lost_attempts(self) -> int:
        """Read the highest number that an attempt may have in a ledger that was lost; 0 where none was."""
        row = self.connection.execute("SELECT value FROM info WHERE key = 'lost_attempts'").fetchone()
        return int(row[0]) if row else 0

    def sum_credits(self, edition: str) -> dict[str, int | None]:
        """Sum what an edition has cost: as charged, as estimated where the charge is not known, and what may be more.

        `unpriced` counts the attempts of which neither is known.
        """
        row = self.connection.execute(
            "SELECT sum(credits_estimated), sum(credits_charged) FROM attempts "
            "WHERE edition = ? AND accepted_at IS NOT NULL",
            (edition,),
        ).fetchone()
        spending = sum_spending(self.connection, edition)
        return {
            "estimated": row[0],
            "charged": row[1],
            "may_be_charged": spending.credits,
            "unpriced": spending.unpriced,
        }

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
