"""Reading a ledger from outside: the view that others may rely on."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest
from test_ledger import accept, apply, make_job, make_ready, miss, open_ledger, record, send

from hedra_batch.decide import Reply
from hedra_batch.errors import ConfigurationError
from hedra_batch.ledger import events
from hedra_batch.ledger.records import RESULT_COLUMNS, LatestAttempt
from hedra_batch.ledger.sqlite.queries import PAGE_ROWS, SqliteReader
from hedra_batch.ledger.sqlite.reading import open_reader
from hedra_batch.money import Money
from hedra_batch.state import State

DOCUMENTED = (
    "id, edition, state, attempt, generation_id, asset_id, prompt_id, image_id, model, prompt, image, aspect_ratio, "
    "resolution, duration_ms, output, sha256, bytes, credits_estimated, credits_charged, error_code, error, "
    "request_id, submitted_at, finished_at, formerly, credits_refunded"
)


async def test_the_view_has_the_documented_columns(tmp_path: Path) -> None:
    await (await open_ledger(tmp_path)).close()
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as connection:
        cursor = connection.execute("SELECT * FROM results")
    connection.close()
    assert ", ".join(column[0] for column in cursor.description) == DOCUMENTED == ", ".join(RESULT_COLUMNS)


async def test_a_job_is_shown_with_its_latest_attempt(tmp_path: Path) -> None:
    ledger = await open_ledger(tmp_path)
    attempt = await send(ledger)
    refusal = events.end_send(attempt.state, Reply.REFUSED, "invalid_argument", "No.", request_id="request-1")
    await apply(ledger, attempt, refusal)
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
    await miss(ledger, make_job("held"))
    await apply(ledger, await make_ready(ledger, make_job("done")), events.complete("00", 1))
    await ledger.close()
    with open_reader(tmp_path / "ledger.sqlite3") as reader:
        assert reader
        assert [row["id"] for row in reader.open_jobs(10)] == ["held", "running"]


async def test_the_open_jobs_come_in_the_order_of_recording_up_to_a_limit(tmp_path: Path) -> None:
    ledger = await open_ledger(tmp_path)
    for job_id in ("c", "a", "b"):
        await accept(ledger, make_job(job_id))
    with open_reader(tmp_path / "ledger.sqlite3") as reader:
        assert reader
        assert [row["id"] for row in reader.open_jobs(2)] == ["c", "a"]
    await ledger.close()


READINGS: dict[str, Callable[[SqliteReader], Iterable[object]]] = {
    "results": lambda reader: reader.results(has_all_attempts=False),
    "attempts": lambda reader: reader.results(has_all_attempts=True),
    "held": lambda reader: reader.held(),
    "files": lambda reader: reader.files(),
}


@pytest.mark.parametrize("name", READINGS)
async def test_who_reads_slowly_does_not_keep_the_log_of_a_run_from_being_emptied(tmp_path: Path, name: str) -> None:
    ledger = await open_ledger(tmp_path)
    for number in range(3):
        await make_ready(ledger, make_job(f"ready{number}"))
        await miss(ledger, make_job(f"held{number}"))
    with open_reader(tmp_path / "ledger.sqlite3") as reader:
        assert reader
        rows = iter(READINGS[name](reader))
        next(rows)
        await record(ledger)
        assert is_log_emptied(tmp_path / "ledger.sqlite3")
        assert len(list(rows)) >= 2
    await ledger.close()


def is_log_emptied(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        is_busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not is_busy


async def test_the_pages_have_every_job_in_the_order_of_recording(tmp_path: Path) -> None:
    ledger = await open_ledger(tmp_path)
    ids = [f"job{number}" for number in range(2 * PAGE_ROWS + 1)]
    await ledger.record([(make_job(job_id), 1) for job_id in ids])
    await ledger.close()
    with open_reader(tmp_path / "ledger.sqlite3") as reader:
        assert reader
        rows = reader.results(has_all_attempts=False)
        assert [row["id"] for row in rows] == [row["id"] for row in rows] == ids


async def test_each_job_comes_once_whatever_is_recorded_between_two_pages(tmp_path: Path) -> None:
    ledger = await open_ledger(tmp_path)
    ids = [f"job{number}" for number in range(PAGE_ROWS + 1)]
    await ledger.record([(make_job(job_id), 1) for job_id in ids])
    with open_reader(tmp_path / "ledger.sqlite3") as reader:
        assert reader
        rows = iter(reader.results(has_all_attempts=False))
        first = next(rows)
        await ledger.record([(make_job(job_id), 2) for job_id in (ids[0], ids[-1])])
        assert [(row["id"], row["attempt"]) for row in (first, *rows)] == [(job_id, 1) for job_id in ids]
    await ledger.close()


@pytest.mark.parametrize(
    ("read", "way"),
    [
        (lambda reader: reader.count_states(), "SCAN"),
        (lambda reader: reader.open_jobs(9), "SEARCH"),
        (lambda reader: reader.held(), "SEARCH"),
    ],
)
async def test_what_is_open_is_found_by_the_index_of_states(
    tmp_path: Path, read: Callable[[SqliteReader], Iterable[object]], way: str
) -> None:
    await (await open_ledger(tmp_path)).close()
    with open_reader(tmp_path / "ledger.sqlite3") as reader:
        assert reader
        [step] = explain_reach(reader, read)
    assert re.match(rf"{way} attempts USING (COVERING )?INDEX attempts_by_state\b", step)


def explain_reach(reader: SqliteReader, read: Callable[[SqliteReader], Iterable[object]]) -> list[str]:
    """List how SQLite reaches the attempts, but for those whose key it has by then."""
    queries: list[str] = []
    reader.connection.set_trace_callback(queries.append)
    list(read(reader))
    reader.connection.set_trace_callback(None)
    steps = [row[3] for query in queries for row in reader.connection.execute(f"EXPLAIN QUERY PLAN {query}")]
    return [step for step in steps if re.match(r"(SCAN|SEARCH) (attempts|a)\b", step) and "(rowid=?)" not in step]


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


async def test_the_view_has_the_ids_and_credits_as_ever(tmp_path: Path) -> None:
    ledger = await open_ledger(tmp_path)
    sending = await send(ledger)
    await make_ready(ledger, make_job("ready"))
    accepted = await apply(ledger, await send(ledger, make_job("other")), events.accept("an-id-of-its-own"))
    with open_reader(tmp_path / "ledger.sqlite3") as reader:
        assert reader
        rows = list(reader.results(has_all_attempts=False))
    await ledger.close()
    assert [row["generation_id"] for row in rows][::2] == [sending.request_key, accepted.remote_id]
    assert [(row["credits_estimated"], row["credits_charged"]) for row in rows] == [(30, None), (30, 25), (30, None)]


async def test_an_amount_in_another_unit_is_no_credits(tmp_path: Path) -> None:
    ledger = await open_ledger(tmp_path)
    await apply(ledger, await record(ledger), events.reserve("key", b"{}", Money(7, "cents")))
    with open_reader(tmp_path / "ledger.sqlite3") as reader:
        assert reader
        [row] = reader.results(has_all_attempts=False)
        assert (row["credits_estimated"], reader.sum_credits("")["may_be_charged"]) == (None, 0)
    await ledger.close()


async def test_what_an_edition_has_cost_is_summed_by_what_is_known_of_it(tmp_path: Path) -> None:
    ledger = await open_ledger(tmp_path)
    await make_ready(ledger, make_job("charged"), charged=35)
    await accept(ledger, make_job("running"))
    await send(ledger, make_job("sending"))
    assert await ledger.look(lambda reader: reader.sum_credits("")) == {
        "estimated": 60,
        "charged": 35,
        "may_be_charged": 95,
        "unpriced": 0,
    }
    await ledger.close()


async def test_a_held_job_is_told_with_its_reason_and_its_price(tmp_path: Path) -> None:
    ledger = await open_ledger(tmp_path)
    held = await miss(ledger)
    [row] = await ledger.look(lambda reader: list(reader.held()))
    await ledger.close()
    told = (row["id"], row["state"], row["generation_id"], row["prompt"], row["credits_estimated"], row["error"])
    assert told == ("market", State.HELD_MISSING, held.remote_id, "A storm", 30, "Look.")


async def test_how_jobs_stand_is_found_by_their_names_and_by_their_states(tmp_path: Path) -> None:
    ledger = await open_ledger(tmp_path)
    sending, _ = await send(ledger), await record(ledger, make_job("other"))
    wanted = [("", "market"), ("", "unknown")]
    found = await ledger.look(lambda reader: list(reader.find_all(wanted)))
    in_states = await ledger.look(lambda reader: list(reader.find_in_states([State.SENDING])))
    await ledger.close()
    assert found == in_states == [LatestAttempt.of(sending)]


async def test_the_latest_attempts_are_found_by_their_index(tmp_path: Path) -> None:
    await (await open_ledger(tmp_path)).close()
    with open_reader(tmp_path / "ledger.sqlite3") as reader:
        assert reader
        [step] = explain_reach(reader, lambda reader: reader.find_all([("", "market")]))
    assert "USING INDEX attempts_latest" in step
