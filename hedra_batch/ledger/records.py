"""Rows of the ledger as records, and the columns that fill them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from hedra_batch.errors import LedgerError
from hedra_batch.job import Attempt, State, to_label

ATTEMPT_COLUMNS = (
    "attempt_key, edition, job_id, number, state, digest, fields, wanted_output, generation_id, asset_id, body, "
    "sends, unknown_sends, resends, unknown_mark, ordered_at, submitted_at, accepted_at, accepted_mark, "
    "missing_at, eta_seconds, output, sha256, credits_estimated, error_code, error"
)

#: The columns of `results`, in its order; the view, the JSON and the CSV have the same.
RESULT_COLUMNS = (
    "id", "edition", "state", "attempt", "generation_id", "asset_id", "prompt_id", "image_id", "model", "prompt",
    "image", "aspect_ratio", "resolution", "duration_ms", "output", "sha256", "bytes", "credits_estimated",
    "credits_charged", "error_code", "error", "request_id", "submitted_at", "finished_at",
)  # fmt: skip


#: What stays of a job for ever: its edition and its id.
JobIdentity = tuple[str, str]

_STATES = {state.value: state for state in State}
_LATEST_COLUMNS = "attempt_key, edition, job_id, number, state, digest, unknown_sends, accepted_at, error_code"


class LatestAttempt(NamedTuple):
    """How one job stands: what planning needs of its latest attempt, and no more."""

    attempt_key: int
    edition: str
    job_id: str
    number: int
    state: State
    digest: str
    unknown_sends: int
    accepted_at: str | None
    error_code: str | None

    @classmethod
    def of(cls, attempt: Attempt) -> LatestAttempt:
        """Take from a whole attempt what planning needs."""
        return cls(attempt.key, *(getattr(attempt, name) for name in cls._fields[1:]))

    @property
    def identity(self) -> JobIdentity:
        """What stays of a job for ever."""
        return (self.edition, self.job_id)

    @property
    def label(self) -> str:
        """The job as messages name it."""
        return to_label(self.edition, self.job_id)


def to_attempt(row: tuple[object, ...]) -> Attempt:
    """Turn a row of ATTEMPT_COLUMNS into a record."""
    key, edition, job_id, number, state, digest, fields, *others = row
    # The schema is STRICT, so SQLite has checked the types.
    identity = (key, edition, job_id, number)
    return Attempt(*identity, _read_state(str(state)), digest, json.loads(str(fields)), *others)  # type: ignore[arg-type]


def find_latest(connection: sqlite3.Connection, identities: Sequence[JobIdentity]) -> Iterator[LatestAttempt]:
    """Find the latest attempts of some jobs."""
    marks = ", ".join(["(?, ?)"] * len(identities))
    # A join in this order makes SQLite look each up in the index; for `IN` it would read all rows.
    rows = connection.execute(
        f"WITH wanted (edition, job_id) AS (VALUES {marks}) "
        f"SELECT {_LATEST_COLUMNS} FROM wanted CROSS JOIN attempts USING (edition, job_id) WHERE latest = 1",
        [part for identity in identities for part in identity],
    )
    return map(_to_latest, rows.fetchall())


def find_in_states(connection: sqlite3.Connection, states: Iterable[State]) -> Iterator[LatestAttempt]:
    """Find the jobs whose latest attempt is in one of some states, in the order of recording."""
    wanted = ", ".join(f"'{state}'" for state in states)
    rows = connection.execute(
        f"SELECT {_LATEST_COLUMNS} FROM attempts WHERE latest = 1 AND state IN ({wanted}) ORDER BY attempt_key"
    )
    return map(_to_latest, rows.fetchall())


def _to_latest(row: tuple[Any, ...]) -> LatestAttempt:
    return LatestAttempt._make((*row[:4], _read_state(row[4]), *row[5:]))


def _read_state(text: str) -> State:
    """Read a state. Raises LedgerError for one that no version up to this one has written."""
    state = _STATES.get(text)
    if state is None:
        raise LedgerError(
            f"The ledger has an attempt in the state {text[:40]!a}, which this program does not know. Nothing more is "
            "sent. Update the program, or put the ledger back from a backup."
        )
    return state
