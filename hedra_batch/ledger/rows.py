"""Rows of the ledger as records, and the columns that fill them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

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


class Standing(NamedTuple):
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

    @property
    def identity(self) -> tuple[str, str]:
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
    return Attempt(*identity, State(str(state)), digest, json.loads(str(fields)), *others)  # type: ignore[arg-type]


def read_standings(connection: sqlite3.Connection) -> Iterator[Standing]:
    """Yield the latest attempt of every job, oldest first."""
    rows = connection.execute(
        "SELECT attempt_key, edition, job_id, number, state, digest, unknown_sends, accepted_at, error_code "
        "FROM attempts WHERE latest = 1 ORDER BY attempt_key"
    )
    for key, edition, job_id, number, state, *others in rows:
        yield Standing(key, edition, job_id, number, State(state), *others)
