"""Ledgers that earlier versions of the program wrote are opened, and go on."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_ledger import apply, begin_send, make_job, opened

from hedra_batch.clock import CLOCK
from hedra_batch.decide import Deduplication
from hedra_batch.errors import ConfigurationError
from hedra_batch.inputs import Inputs
from hedra_batch.job import Attempt
from hedra_batch.ledger import events
from hedra_batch.ledger.budget import Spending
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.opening import open_reader
from hedra_batch.ledger.records import RESULT_COLUMNS
from hedra_batch.ledger.sqlite.migrations import STATES_OF_4, WORDS_OF_4, migrate
from hedra_batch.ledger.sqlite.schema import SCHEMA_VERSION, read_schema
from hedra_batch.money import NO_BUDGETS, Money
from hedra_batch.state import LIABILITIES, State

LEDGERS = Path(__file__).parent / "ledgers"
SCHEMAS = range(1, 5)
#: Those of the public view that there were from the start.
COLUMNS_OF_1 = [name for name in RESULT_COLUMNS if name not in ("formerly", "credits_refunded")]
#: What the next run makes of what the killed one has left.
RECOVERED = {
    State.RESERVED: State.NEW,
    **dict.fromkeys((State.SENDING, State.RESENDING, State.RESENDING_ORDERED, State.RESEND_DUE), State.UNKNOWN),
}


def take(schema: int, folder: Path) -> Path:
    """Copy a run folder of an earlier version; returns its ledger."""
    shutil.copytree(LEDGERS / f"schema-{schema}", folder, dirs_exist_ok=True)
    return folder / "ledger.sqlite3"


@contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        yield connection


def read(path: Path, query: str) -> list[tuple[Any, ...]]:
    with connect(path) as connection:
        return connection.execute(query).fetchall()


def migrate_file(path: Path) -> None:
    with connect(path) as connection:
        migrate(connection, connection.execute("PRAGMA user_version").fetchone()[0], CLOCK)


async def find(ledger: Ledger, job_id: str, number: int = 1) -> Attempt:
    attempts = await ledger.attempts(range(1, 100))
    [attempt] = [each for each in attempts if (each.job_id, each.number) == (job_id, number)][-1:]
    return attempt


def name_state(job_id: str) -> State:
    """Name the state that a job of these ledgers is named after."""
    return State(job_id.removesuffix("-elsewhere").upper().replace("-", "_"))


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_attempt_is_in_the_state_that_says_its_whole_condition(tmp_path: Path, schema: int) -> None:
    path = take(schema, tmp_path)
    migrate_file(path)
    states = dict(read(path, "SELECT job_id, state FROM attempts WHERE number = 1"))
    assert states == {job_id: name_state(job_id) for job_id in states}
    assert len(set(states.values())) == {1: 16, 2: 18, 3: 18, 4: 19}[schema]


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_a_run_opens_it_and_recovers_what_a_crash_left(tmp_path: Path, schema: int) -> None:
    path = take(schema, tmp_path)
    async with opened(tmp_path, is_moved=True) as ledger:
        assert (ledger.run_number, ledger.loss, ledger.last_sent_at is not None) == (3, None, True)
    for job_id, state in read(path, "SELECT job_id, state FROM attempts WHERE number = 1"):
        assert state == RECOVERED.get(name_state(job_id), name_state(job_id))
    assert read(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_it_has_cost_is_summed_as_before(tmp_path: Path, schema: int) -> None:
    path = take(schema, tmp_path)
    migrate_file(path)
    sums: dict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    instants = "coalesce(submitted_at, changed_at)"
    for edition, instant, state, *prices in read(
        path, f"SELECT edition, {instants}, state, estimated, charged FROM attempts"
    ):
        known = [price for price in prices if price is not None]
        row = sums[edition, instant[:7], "credits" if known else "", LIABILITIES[State(state)]]
        row[0] += max(known, default=0)
        row[1] += not known
    told = {(*key,): [amount, unpriced] for *key, amount, unpriced in read(path, "SELECT * FROM spending")}
    assert told == {key: row for key, row in sums.items() if key[3] != "none"}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_public_view_says_what_it_said(tmp_path: Path, schema: int) -> None:
    path = take(schema, tmp_path)
    query = f"SELECT {', '.join(COLUMNS_OF_1)} FROM results ORDER BY edition, id"
    before = read(path, query)
    migrate_file(path)
    changed = {old[0]: (old[2], new[2]) for old, new in zip(before, read(path, query), strict=True) if old != new}
    # A lost send that is to be sent again was shown as new, which it never was.
    again = {"resend-due", "resend-ordered"} & {row[0] for row in before if schema < 4}
    assert changed == dict.fromkeys(again, ("new", "unknown"))


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_history_of_every_attempt_leads_to_its_state(tmp_path: Path, schema: int) -> None:
    path = take(schema, tmp_path)
    migrate_file(path)
    last: dict[int, str | None] = defaultdict(lambda: None)
    for key, before, after in read(path, "SELECT attempt_key, from_state, to_state FROM history ORDER BY rowid"):
        assert before == last[key]
        last[key] = after
    assert last == dict(read(path, "SELECT attempt_key, state FROM attempts"))
    words = {word for (word,) in read(path, "SELECT to_state FROM history")}
    assert words <= {*State, "HELD"}


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_keys_are_those_that_this_version_derives_too(tmp_path: Path, schema: int) -> None:
    take(schema, tmp_path)
    async with opened(tmp_path, is_moved=True) as ledger:
        for attempt in await ledger.attempts(range(1, 100)):
            is_reserved = attempt.job_id != "new" and attempt.number == 1
            assert attempt.bought_as == attempt.job_id
            assert attempt.request_key == (ledger.keys.of_attempt(attempt) if is_reserved else None)
            assert (attempt.remote_id is None) is (attempt.accepted_at is None)


@pytest.mark.parametrize("schema", [2, 3, 4])
async def test_the_id_of_a_server_stands_beside_the_key_of_the_stored_request(tmp_path: Path, schema: int) -> None:
    take(schema, tmp_path)
    async with opened(tmp_path, is_moved=True) as ledger:
        attempt = await find(ledger, "accepted-elsewhere")
        assert attempt.remote_id == "an-id-of-the-server"
        assert attempt.request_key == ledger.keys.of_attempt(attempt)


@pytest.mark.parametrize(
    ("schema", "verdict"), [(1, Deduplication.PROVEN), *((later, Deduplication.NONE) for later in (2, 3, 4))]
)
async def test_what_is_known_of_the_server_is_about_videos(tmp_path: Path, schema: int, verdict: Deduplication) -> None:
    take(schema, tmp_path)
    async with opened(tmp_path, is_moved=True) as ledger:
        assert [ledger.deduplication(kind) for kind in ("video", "speech")] == [verdict, Deduplication.UNPROVEN]


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_uploads_are_found_again(tmp_path: Path, schema: int) -> None:
    take(schema, tmp_path)
    async with opened(tmp_path, is_moved=True) as ledger:
        found = [await ledger.uploads.find("image", sha256) for sha256 in ("00ff", "11ff")]
    assert found == ["asset-of-hero", None]


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_the_identity_stays_and_takes_its_format(tmp_path: Path, schema: int) -> None:
    before = json.loads((take(schema, tmp_path).parent / "identity.json").read_text())
    async with opened(tmp_path, is_moved=True):
        pass
    after = json.loads((tmp_path / "identity.json").read_text())
    changed = {("run_counter", 2), ("place", before.get("place")), ("format", before.get("format"))}
    assert before.items() - changed <= after.items()
    assert (after["format"], after["run_counter"]) == (2, 3)


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_jobs_go_on_from_where_they_stood(tmp_path: Path, schema: int) -> None:
    take(schema, tmp_path)
    async with opened(tmp_path, is_moved=True) as ledger:
        unknown = await apply(ledger, await find(ledger, "resending"), events.plan_resend(b"{}"))
        resent = await begin_send(ledger, unknown)
        overdue = await find(ledger, "overdue")
        ready = await apply(ledger, overdue, events.make_ready([overdue.wanted_output], None, Money(30)))
        await apply(ledger, ready, events.complete("00ff", 10))
        missing = await find(ledger, "held-missing")
        await apply(ledger, missing, events.abandon(missing.error))
        rewritten = await ledger.rewrite((await find(ledger, "reserved")).key, make_job("reserved"))
    assert (resent.state, resent.resends, rewritten.state) == (State.RESENDING, 2, State.NEW)


@pytest.mark.parametrize("schema", [2, 3, 4])
async def test_what_a_person_has_ordered_is_sent(tmp_path: Path, schema: int) -> None:
    take(schema, tmp_path)
    async with opened(tmp_path, is_moved=True, budgets=NO_BUDGETS) as ledger:
        sending = await begin_send(ledger, await find(ledger, "resend-ordered"))
    assert (sending.state, sending.sends, sending.resends) == (State.RESENDING_ORDERED, 2, 0)


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_a_further_attempt_follows_the_latest(tmp_path: Path, schema: int) -> None:
    take(schema, tmp_path)
    async with opened(tmp_path, is_moved=True) as ledger:
        await ledger.record([(make_job("refused"), 2)])
    with open_reader(tmp_path / "ledger.sqlite3") as reader:
        assert reader
        latest = {(each.edition, each.job_id): each.number for each in reader.find_in_states(State)}
    assert (latest["", "refused"], latest["june", "failed"], latest["", "done"]) == (2, 2, 1)


async def test_a_ledger_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    take(1, tmp_path)
    async with opened(tmp_path, is_moved=True) as ledger:
        marks = [(await find(ledger, "unknown")).unknown_mark, (await find(ledger, "accepted")).accepted_mark]
        spending = await ledger.read_spending("june")
    assert all(CLOCK.least_seconds_since(mark or "") < CLOCK.boot_seconds() for mark in marks)
    assert spending == Spending(Money(65), 0)


#: state, unknown_sends, ordered_at, accepted_at, error_code of schema 3, and today's state.
CASES = [
    ("NEW", 0, None, None, None, "NEW"),
    ("RESERVED", 0, None, None, None, "RESERVED"),
    ("RESERVED", 0, None, None, "not_accepted", "RESERVED"),
    ("RESERVED", 1, None, None, None, "RESEND_DUE"),
    ("RESERVED", 1, "then", None, None, "RESEND_ORDERED"),
    ("RESERVED", 0, "then", None, None, "RESEND_ORDERED"),
    ("SUBMITTING", 0, None, None, None, "SENDING"),
    ("SUBMITTING", 2, None, None, None, "RESENDING"),
    ("SUBMITTING", 1, "then", None, None, "RESENDING_ORDERED"),
    ("UNKNOWN", 1, None, None, "unknown_outcome", "UNKNOWN"),
    ("ACCEPTED", 0, None, "then", None, "ACCEPTED"),
    ("ACCEPTED", 1, None, "then", None, "ACCEPTED"),
    ("STUCK", 0, None, "then", "overdue", "OVERDUE"),
    ("READY", 0, None, "then", None, "READY"),
    ("HELD", 0, None, "then", "not_found", "HELD_MISSING"),
    ("HELD", 1, None, "then", "ids_unproven", "HELD_MISSING"),
    ("HELD", 1, None, None, "ids_unproven", "HELD_UNPROVEN"),
    ("HELD", 1, None, None, "unknown_outcome", "HELD_UNKNOWN"),
    ("HELD", 1, None, None, None, "HELD_UNKNOWN"),
    ("DONE", 0, None, "then", None, "DONE"),
    ("REJECTED", 0, None, None, "invalid_argument", "REFUSED"),
    ("FAILED", 0, None, "then", "internal", "FAILED"),
    ("ABANDONED", 1, None, None, "abandoned", "ABANDONED"),
]


@pytest.mark.parametrize(("state", "unknown_sends", "ordered_at", "accepted_at", "error_code", "after"), CASES)
def test_a_state_of_schema_3_has_its_own_today(
    tmp_path: Path,
    state: str,
    unknown_sends: int,
    ordered_at: str | None,
    accepted_at: str | None,
    error_code: str | None,
    after: str,
) -> None:
    path = take(3, tmp_path)
    with connect(path) as connection:
        connection.execute("DROP TRIGGER attempts_known_transitions")
        connection.execute(
            "UPDATE attempts SET state = ?, unknown_sends = ?, ordered_at = ?, accepted_at = ?, error_code = ? "
            "WHERE job_id = 'new'",
            (state, unknown_sends, ordered_at, accepted_at, error_code),
        )
    migrate_file(path)
    assert read(path, "SELECT state FROM attempts WHERE job_id = 'new'") == [(after,)]


def test_every_row_of_the_mapping_has_its_case() -> None:
    tried = {(before, after) for before, *_, after in CASES}
    assert {(before, after) for before, _, after in STATES_OF_4} | set(WORDS_OF_4.items()) <= tried
    assert {after for *_, after in CASES} == set(State) - {State.HELD_LOST}


async def test_what_was_sent_under_another_name_of_its_model_is_known_by_it(tmp_path: Path) -> None:
    take(4, tmp_path)
    async with opened(tmp_path, is_moved=True) as ledger:
        spelled = await find(ledger, "done-elsewhere")
        models = await ledger.look(lambda reader: reader.read_models())
    prompt, slug = "The market, done-elsewhere", "fal/grok-video-t2v"
    assert (spelled.digest, spelled.sent_digest) == tuple(
        Inputs(prompt, model=model).digest for model in ("Grok Video T2V", slug)
    )
    assert models == {"grok video t2v": slug}


def test_a_resend_that_was_only_planned_does_not_count(tmp_path: Path) -> None:
    path = take(3, tmp_path)
    migrate_file(path)
    assert dict(read(path, "SELECT job_id, resends FROM attempts WHERE job_id LIKE 'resend%'")) == {
        **dict.fromkeys(("resend-due", "resend-ordered", "resending-ordered"), 0),
        "resending": 1,
    }


def test_a_body_that_is_no_json_keeps_the_id(tmp_path: Path) -> None:
    path = take(3, tmp_path)
    with connect(path) as connection:
        connection.execute("UPDATE attempts SET body = CAST('{' AS BLOB) WHERE job_id = 'ready'")
    migrate_file(path)
    assert read(path, "SELECT request_key = remote_id FROM attempts WHERE job_id = 'ready'") == [(1,)]


@pytest.mark.parametrize(("schema", "names"), [(1, ["resends", "missing_at"]), (2, ["accepted_mark"])])
async def test_ledgers_of_a_schema_that_was_not_finished_are_opened_too(
    tmp_path: Path, schema: int, names: list[str]
) -> None:
    with connect(take(schema, tmp_path)) as connection:
        for name in names:
            connection.execute(f"ALTER TABLE attempts DROP COLUMN {name}")
    async with opened(tmp_path, is_moved=True) as ledger:
        attempt = await find(ledger, "accepted")
    assert (attempt.resends, attempt.missing_at, attempt.accepted_mark is not None) == (0, None, True)


def test_a_view_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = take(3, tmp_path)
    with connect(path) as connection:
        connection.execute("CREATE VIEW mine AS SELECT count(*) FROM results WHERE state = 'done'")
        connection.execute("CREATE TABLE notes (text TEXT)")
    migrate_file(path)
    assert read(path, "SELECT * FROM mine") == [(2,)]
    assert read(path, "SELECT * FROM notes") == []


def test_a_migrated_ledger_has_the_schema_of_a_new_one(tmp_path: Path) -> None:
    path = take(1, tmp_path)
    migrate_file(path)
    query = "SELECT type, name, sql FROM sqlite_schema ORDER BY name"
    migrated = read(path, query)
    with connect(tmp_path / "new") as connection:
        for script in read_schema():
            connection.executescript(script)
    assert migrated == read(tmp_path / "new", query)


KILL = """
import os, sqlite3, sys
from hedra_batch.clock import CLOCK
from hedra_batch.ledger.sqlite.migrations import migrate
steps = iter(range(int(sys.argv[2])))
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.set_progress_handler(lambda: next(steps, None) is None and os._exit(9), 100)
migrate(connection, int(sys.argv[3]), CLOCK)
"""


@pytest.mark.parametrize("steps", [5, 60, 120])
def test_a_migration_that_is_killed_leaves_a_whole_ledger(tmp_path: Path, steps: int) -> None:
    path = take(2, tmp_path)
    killed = subprocess.run([sys.executable, "-c", KILL, path, str(steps), "2"], check=False)
    assert killed.returncode == 9
    assert read(path, "PRAGMA integrity_check") == [("ok",)]
    [(version,)] = read(path, "PRAGMA user_version")
    words = {state for (state,) in read(path, "SELECT state FROM attempts")}
    assert (version < SCHEMA_VERSION) is ("SUBMITTING" in words)
    migrate_file(path)
    assert read(path, "SELECT state FROM attempts WHERE job_id = 'sending'") == [("SENDING",)]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_it_can_be_looked_at_before_a_run_has_brought_it_up_to_date(tmp_path: Path, schema: int) -> None:
    path = take(schema, tmp_path)
    before = path.read_bytes()
    with open_reader(path) as reader:
        assert reader
        told = (reader.count_states()["held"], {row["state"] for row in reader.held()}, reader.sum_credits("june"))
    # The first schema knew no order that has not gone out yet.
    ordered = {State.RESEND_ORDERED} if schema > 1 else set()
    lost = {State.HELD_LOST} if schema > 3 else set()
    settleable = (
        {State.READY, State.HELD_MISSING, State.HELD_UNKNOWN, State.HELD_UNPROVEN, State.OVERDUE} | ordered | lost
    )
    assert told == (3 + len(lost), settleable, {"estimated": 60, "charged": 65, "may_be_charged": 65, "unpriced": 0})
    assert path.read_bytes() == before


def test_a_ledger_of_a_newer_program_is_not_looked_at(tmp_path: Path) -> None:
    path = take(3, tmp_path)
    with connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigurationError, match="newer version"), open_reader(path):
        pass
