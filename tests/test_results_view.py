"""Reading a ledger from outside: the view that others may rely on."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from test_ledger import accept, make_job, make_ready, open_ledger, record, reserve

from hedra_batch.errors import ConfigurationError
from hedra_batch.ledger.reading import open_reader
from hedra_batch.ledger.rows import RESULT_COLUMNS

DOCUMENTED = (
    "id, edition, state, attempt, generation_id, asset_id, prompt_id, image_id, model, prompt, image, aspect_ratio, "
    "resolution, duration_ms, output, sha256, bytes, credits_estimated, credits_charged, error_code, error, "
    "request_id, submitted_at, finished_at"
)


async def test_the_view_has_the_documented_columns(tmp_path: Path) -> None:
    await (await open_ledger(tmp_path)).close()
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as connection:
        cursor = connection.execute("SELECT * FROM results")
    connection.close()
    assert ", ".join(column[0] for column in cursor.description) == DOCUMENTED == ", ".join(RESULT_COLUMNS)


async def test_a_job_is_shown_with_its_latest_attempt(tmp_path: Path) -> None:
    ledger = await open_ledger(tmp_path)
    attempt = await ledger.begin_send(await reserve(ledger))
    await ledger.reject(attempt, "invalid_argument", "No.", "request-1")
    await record(ledger, number=2)
    with open_reader(tmp_path / "ledger.sqlite3") as reader:
        assert reader
        latest = [(row["attempt"], row["state"]) for row in reader.results(has_all_attempts=False)]
        every = [(row["attempt"], row["error_code"]) for row in reader.results(has_all_attempts=True)]
    await ledger.close()
    assert (latest, every) == ([(2, "new")], [(1, "invalid_argument"), (2, None)])


async def test_a_ledger_can_be_read_while_a_run_writes(tmp_path: Path) -> None:
    ledger = await open_ledger(tmp_path)
    await accept(ledger)
    with open_reader(tmp_path / "ledger.sqlite3") as reader:
        assert reader
        await make_ready(ledger, make_job("other"))
        counts = reader.count_states()
    await ledger.close()
    assert counts == {"running": 2}


async def test_the_open_jobs_are_those_that_are_not_ended(tmp_path: Path) -> None:
    ledger = await open_ledger(tmp_path)
    await record(ledger, make_job("waiting"))
    await accept(ledger, make_job("running"))
    await ledger.hold(await accept(ledger, make_job("held")), "not_found", "Look.")
    await ledger.complete(await make_ready(ledger, make_job("done")), "00", 1)
    await ledger.close()
    with open_reader(tmp_path / "ledger.sqlite3") as reader:
        assert reader
        assert [row["id"] for row in reader.open_jobs(10)] == ["held", "running"]


def test_where_no_run_has_been_there_is_nothing_to_read(tmp_path: Path) -> None:
    with open_reader(tmp_path / "ledger.sqlite3") as reader:
        assert reader is None


def count_states(path: Path) -> Counter[str]:
    with open_reader(path) as reader:
        assert reader
        return reader.count_states()


def test_a_damaged_ledger_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigurationError, match="damaged"):
        count_states(tmp_path / "ledger.sqlite3")
