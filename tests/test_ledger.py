"""The ledger's events on a real file."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from hedra_batch.clock import CLOCK
from hedra_batch.errors import BudgetReachedError, ConfigurationError, LedgerError
from hedra_batch.inputs import Inputs
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger.backend import ConflictError
from hedra_batch.ledger.budget import Spending
from hedra_batch.ledger.identity import Binding, Identity
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.state import TRANSITIONS, State

BINDING = Binding("spring", "https://api.example.com", "key-of-the-tests")


def make_job(job_id: str = "market", prompt: str = "A storm", edition: str = "") -> Job:
    return Job(job_id, edition, Inputs(prompt), f"videos/{job_id}.mp4")


async def open_ledger(folder: Path, binding: Binding = BINDING, **allowed: Any) -> Ledger:
    return await Ledger.open(folder / "ledger.sqlite3", folder / "identity.json", binding, **allowed)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    opened = await open_ledger(tmp_path)
    yield opened
    await opened.close()


async def record(ledger: Ledger, job: Job | None = None, number: int = 1) -> Attempt:
    [attempt] = await ledger.record([(job or make_job(), number)])
    assert attempt == await ledger.attempt(attempt.key)
    return attempt


async def reserve(ledger: Ledger, job: Job | None = None) -> Attempt:
    attempt = await record(ledger, job)
    return await ledger.reserve(attempt, ledger.derive_generation_id(attempt), b'{"x":1}', 30)


async def accept(ledger: Ledger, job: Job | None = None) -> Attempt:
    attempt = await ledger.begin_send(await reserve(ledger, job))
    return await ledger.accept(attempt, generation_id=attempt.generation_id or "", asset_id="asset")


async def use_ledger(folder: Path) -> None:
    ledger = await open_ledger(folder)
    await reserve(ledger)
    await ledger.close()


async def make_ready(ledger: Ledger, job: Job | None = None) -> Attempt:
    attempt = await accept(ledger, job)
    return await ledger.mark_ready(attempt, iter([attempt.wanted_output]), None, 25)


async def test_a_new_job_is_recorded_with_its_inputs(ledger: Ledger) -> None:
    attempt = await record(ledger)
    assert (attempt.state, attempt.number, attempt.fields) == (State.NEW, 1, {"prompt": "A storm"})


async def test_the_bytes_of_a_body_are_kept_as_they_are(ledger: Ledger) -> None:
    reserved = await reserve(ledger)
    assert (await ledger.attempt(reserved.key)).body == b'{"x":1}'


async def test_a_send_is_counted_before_it_begins(ledger: Ledger) -> None:
    sending = await ledger.begin_send(await reserve(ledger))
    assert (sending.state, sending.sends, sending.submitted_at is not None) == (State.SENDING, 1, True)


async def test_an_event_needs_the_state_it_starts_from(ledger: Ledger) -> None:
    reserved = await reserve(ledger)
    await ledger.begin_send(reserved)
    with pytest.raises(ConflictError, match="not in RESERVED any more"):
        await ledger.begin_send(reserved)


async def test_a_conflict_leaves_the_other_changes_of_its_commit_alone(ledger: Ledger) -> None:
    stale, fresh = await reserve(ledger), await reserve(ledger, make_job("other"))
    await ledger.begin_send(stale)
    answers = await asyncio.gather(ledger.begin_send(stale), ledger.begin_send(fresh), return_exceptions=True)
    assert isinstance(answers[0], ConflictError)
    assert (await ledger.attempt(fresh.key)).state is State.SENDING


async def test_the_file_itself_refuses_every_transition_that_the_table_lacks(tmp_path: Path) -> None:
    ledger = await open_ledger(tmp_path)
    await record(ledger)
    await ledger.close()
    allowed = {(start, end) for start, ends in TRANSITIONS.items() for end in ends}
    taken = set()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)) as connection:
        [trigger] = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE name = 'attempts_known_transitions'"
        ).fetchone()
        for start, end in itertools.product(State, State):
            connection.execute("DROP TRIGGER attempts_known_transitions")
            connection.execute("UPDATE attempts SET state = ?", (start,))
            connection.execute(trigger)
            with suppress(sqlite3.IntegrityError):
                connection.execute("UPDATE attempts SET state = ?", (end,))
                taken.add((start, end))
    assert taken == allowed


async def test_every_change_of_state_is_in_the_history(tmp_path: Path, ledger: Ledger) -> None:
    done = await ledger.complete(await make_ready(ledger), "00ff", 10)
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as connection:
        rows = connection.execute("SELECT to_state FROM history WHERE attempt_key = ? ORDER BY rowid", (done.key,))
        states = [row[0] for row in rows]
    connection.close()
    assert states == ["NEW", "RESERVED", "SENDING", "ACCEPTED", "READY", "DONE"]


async def test_a_send_cut_short_by_a_crash_is_unknown_to_the_next_run(tmp_path: Path) -> None:
    first = await open_ledger(tmp_path)
    sending = await first.begin_send(await reserve(first))
    await first.close()
    second = await open_ledger(tmp_path)
    recovered = await second.attempt(sending.key)
    await second.close()
    assert (recovered.state, recovered.unknown_sends, recovered.unknown_mark is not None) == (State.UNKNOWN, 1, True)


async def test_a_reservation_that_was_never_sent_stays_unsent(tmp_path: Path) -> None:
    first = await open_ledger(tmp_path)
    reserved = await reserve(first)
    await first.close()
    second = await open_ledger(tmp_path)
    recovered = await second.attempt(reserved.key)
    await second.close()
    assert (recovered.state, recovered.is_surely_unsent, recovered.body) == (State.NEW, True, None)


async def test_a_lost_send_that_was_about_to_be_repeated_is_read_again_first(tmp_path: Path) -> None:
    first = await open_ledger(tmp_path)
    unknown = await first.mark_unknown(await first.begin_send(await reserve(first)), "Lost.")
    await first.resend(unknown, b"{}")
    await first.close()
    second = await open_ledger(tmp_path)
    recovered = await second.attempt(unknown.key)
    await second.close()
    assert (recovered.state, recovered.resends, recovered.unknown_mark) == (State.UNKNOWN, 0, unknown.unknown_mark)


async def test_ids_are_derived_alike_in_every_run(tmp_path: Path) -> None:
    first = await open_ledger(tmp_path)
    attempt = await record(first)
    derived = first.derive_generation_id(attempt)
    await first.close()
    second = await open_ledger(tmp_path)
    again = second.derive_generation_id(await second.attempt(attempt.key))
    await second.close()
    assert derived == again == str(uuid.UUID(derived))


async def test_every_attempt_has_an_id_of_its_own(ledger: Ledger) -> None:
    jobs = [(make_job(), 1), (make_job(), 2), (make_job("other"), 1), (make_job(edition="b"), 1)]
    ids = {ledger.derive_generation_id(attempt) for attempt in await ledger.record(jobs)}
    assert len(ids) == 4


async def test_an_unsent_attempt_takes_the_inputs_of_the_manifest(ledger: Ledger) -> None:
    reserved = await reserve(ledger)
    rewritten = await ledger.rewrite(reserved.key, make_job(prompt="A calm"))
    assert (rewritten.state, rewritten.fields, rewritten.body) == (State.NEW, {"prompt": "A calm"}, None)


async def test_an_attempt_that_may_be_paid_keeps_its_inputs(ledger: Ledger) -> None:
    accepted = await accept(ledger)
    with pytest.raises(ConflictError, match="may have been accepted"):
        await ledger.rewrite(accepted.key, make_job(prompt="A calm"))


async def test_a_file_name_is_claimed_once(ledger: Ledger) -> None:
    await make_ready(ledger)
    second = await accept(ledger, make_job("other"))
    ready = await ledger.mark_ready(second, iter(["videos/market.mp4", "videos/market.take2.mp4"]), None, None)
    assert ready.output == "videos/market.take2.mp4"


async def test_an_asset_is_found_by_its_content_until_it_is_gone(ledger: Ledger) -> None:
    await ledger.assets.record("00ff", "asset-1", "hero.png")
    found = await ledger.assets.find("00ff")
    await ledger.assets.record_gone("asset-1")
    assert (found, await ledger.assets.find("00ff")) == ("asset-1", None)


async def test_a_server_that_ignored_an_id_once_is_not_trusted_again(ledger: Ledger) -> None:
    attempt = await ledger.begin_send(await reserve(ledger))
    await ledger.accept(attempt, generation_id="an-id-of-its-own")
    await ledger.record_ids_verdict("honoured")
    assert ledger.ids_verdict == "ignored"


async def test_what_is_known_of_a_server_is_known_to_the_next_run(tmp_path: Path) -> None:
    first = await open_ledger(tmp_path)
    await accept(first)
    await first.close()
    second = await open_ledger(tmp_path)
    await second.close()
    assert second.ids_verdict == "honoured"


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (Binding("autumn", BINDING.base_url, BINDING.api_key), "belongs to the manifest 'spring'"),
        (Binding("spring", "https://other.example.com", BINDING.api_key), "belongs to the API at"),
        (Binding("spring", BINDING.base_url, "another-key"), "another API key"),
    ],
)
async def test_a_folder_of_something_else_is_refused(tmp_path: Path, other: Binding, sentence: str) -> None:
    await use_ledger(tmp_path)
    with pytest.raises(ConfigurationError, match=sentence):
        await open_ledger(tmp_path, other)


async def test_a_mistyped_address_or_key_is_put_right_as_long_as_nothing_was_ready_to_be_sent(tmp_path: Path) -> None:
    await (await open_ledger(tmp_path, Binding("spring", "https://typo.example.com", "typo"))).close()
    await use_ledger(tmp_path)


async def test_an_older_copy_of_the_identity_cannot_bind_a_paid_folder_anew(tmp_path: Path) -> None:
    first = await open_ledger(tmp_path)
    old = (tmp_path / "identity.json").read_bytes()
    await accept(first)
    await first.close()
    (tmp_path / "identity.json").write_bytes(old)
    with pytest.raises(ConfigurationError, match="older copy"):
        await open_ledger(tmp_path, Binding("spring", "https://other.example.com", "another-key"))
    assert (tmp_path / "identity.json").read_bytes() == old


async def test_an_emptied_ledger_is_refused(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    (tmp_path / "ledger.sqlite3").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="ledger is empty"):
        await open_ledger(tmp_path)


async def test_a_replaced_key_is_taken_once_it_is_said_to_be_of_the_same_account(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    replaced = Binding(BINDING.manifest, BINDING.base_url, "another-key")
    await (await open_ledger(tmp_path, replaced, same_account=True)).close()
    await (await open_ledger(tmp_path, replaced)).close()
    assert "another-key" not in (tmp_path / "identity.json").read_text()


async def test_an_older_copy_of_the_ledger_is_refused(tmp_path: Path) -> None:
    await (await open_ledger(tmp_path)).close()
    old = (tmp_path / "ledger.sqlite3").read_bytes()
    await (await open_ledger(tmp_path)).close()
    (tmp_path / "ledger.sqlite3").write_bytes(old)
    with pytest.raises(ConfigurationError, match="older copy"):
        await open_ledger(tmp_path)


async def test_a_ledger_without_its_identity_is_refused(tmp_path: Path) -> None:
    await (await open_ledger(tmp_path)).close()
    (tmp_path / "identity.json").unlink()
    with pytest.raises(ConfigurationError, match="no identity"):
        await open_ledger(tmp_path)


async def test_a_lost_ledger_is_begun_anew_with_every_job_unknown(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    (tmp_path / "ledger.sqlite3").unlink()
    ledger = await open_ledger(tmp_path)
    attempt = await record(ledger)
    later = await record(ledger, number=2)
    await ledger.close()
    assert (attempt.state, attempt.generation_id) == (State.UNKNOWN, ledger.derive_generation_id(attempt))
    assert (later.state, later.is_surely_unsent) == (State.NEW, True)


async def test_the_loss_of_a_ledger_is_remembered_by_the_next(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    (tmp_path / "ledger.sqlite3").unlink()
    first = await open_ledger(tmp_path)
    await first.close()
    second = await open_ledger(tmp_path)
    await second.close()
    assert second.loss == first.loss is not None


async def test_a_ledger_that_was_never_used_is_simply_made_again(tmp_path: Path) -> None:
    await (await open_ledger(tmp_path)).close()
    (tmp_path / "ledger.sqlite3").unlink()
    ledger = await open_ledger(tmp_path)
    await ledger.close()
    assert ledger.loss is None


async def test_a_copy_of_a_used_folder_is_refused_until_it_is_said_to_have_moved(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    await use_ledger(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    with pytest.raises(ConfigurationError, match="copy of another"):
        await open_ledger(tmp_path / "second")
    await (await open_ledger(tmp_path / "second", is_moved=True)).close()
    await (await open_ledger(tmp_path / "second")).close()


async def test_a_renamed_folder_is_no_copy(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    await use_ledger(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "second")
    await (await open_ledger(tmp_path / "second")).close()
    assert json.loads((tmp_path / "second" / "identity.json").read_text())["run_counter"] == 2


async def test_a_damaged_page_is_noticed_at_the_opening(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    content = bytearray((tmp_path / "ledger.sqlite3").read_bytes())
    for place in range(4096 * 3, len(content), 4096):
        content[place : place + 16] = bytes(16)
    (tmp_path / "ledger.sqlite3").write_bytes(content)
    with pytest.raises(ConfigurationError, match="damaged"):
        await open_ledger(tmp_path)


async def test_a_ledger_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    ledger = await open_ledger(tmp_path)
    unknown = await ledger.mark_unknown(await ledger.begin_send(await reserve(ledger)), "Lost.")
    await ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)) as connection:
        strip_to_schema_1(connection)
    again = await open_ledger(tmp_path)
    mark = (await again.attempt(unknown.key)).unknown_mark
    spending = await again.read_spending("")
    await again.close()
    assert CLOCK.least_seconds_since(mark or "") < CLOCK.boot_seconds()
    assert spending == Spending(30, 0)


def strip_to_schema_1(connection: sqlite3.Connection) -> None:
    """Take away what later versions of the program have added to a ledger."""
    connection.executescript("DROP TABLE spending; DROP TRIGGER attempts_spending_insert;")
    connection.executescript("DROP TRIGGER attempts_spending_update; DROP INDEX attempts_by_number;")
    connection.execute("CREATE INDEX history_by_attempt ON history (attempt_key)")
    for column in ("price", "liability", "unknown_mark", "accepted_mark", "absent_at", "ordered_at"):
        connection.execute(f"ALTER TABLE attempts DROP COLUMN {column}")
    connection.execute("PRAGMA user_version = 1")


@asynccontextmanager
async def open_capped(folder: Path, budget_credits: int) -> AsyncIterator[Ledger]:
    ledger = await open_ledger(folder, budget_credits=budget_credits)
    yield ledger
    await ledger.close()


async def test_the_budget_counts_what_is_reserved_and_what_may_be_charged(tmp_path: Path) -> None:
    async with open_capped(tmp_path, 70) as ledger:
        await ledger.mark_unknown(await ledger.begin_send(await reserve(ledger)), "Lost.")
        await reserve(ledger, make_job("second"))
        with pytest.raises(BudgetReachedError, match="60 are spent or reserved"):
            await reserve(ledger, make_job("third"))


async def test_each_edition_has_the_budget_for_itself(tmp_path: Path) -> None:
    async with open_capped(tmp_path, 30) as ledger:
        await ledger.begin_send(await reserve(ledger))
        other = await ledger.begin_send(await reserve(ledger, make_job(edition="june")))
    assert other.state is State.SENDING


async def test_what_was_refused_costs_nothing(tmp_path: Path) -> None:
    async with open_capped(tmp_path, 30) as ledger:
        await ledger.reject(await ledger.begin_send(await reserve(ledger)), "invalid_argument", "No.", None)
        assert (await reserve(ledger, make_job("second"))).state is State.RESERVED


async def test_a_lost_request_is_not_sent_again_beyond_a_budget_that_was_lowered(tmp_path: Path) -> None:
    async with open_capped(tmp_path, 30) as ledger:
        unknown = await ledger.mark_unknown(await ledger.begin_send(await reserve(ledger)), "Lost.")
    async with open_capped(tmp_path, 20) as ledger:
        again = await ledger.resend(unknown, b"{}")
        with pytest.raises(BudgetReachedError):
            await ledger.begin_send(again)


async def test_under_a_budget_an_unknown_price_is_not_taken_for_nothing(tmp_path: Path) -> None:
    async with open_capped(tmp_path, 1000) as ledger:
        attempt = await record(ledger)
        with pytest.raises(BudgetReachedError, match="whose price is not known"):
            await ledger.reserve(attempt, ledger.derive_generation_id(attempt), b"{}", None)


async def test_a_charge_that_is_reported_too_low_does_not_widen_the_budget(ledger: Ledger) -> None:
    accepted = await accept(ledger)
    await ledger.mark_ready(accepted, iter([accepted.wanted_output]), None, 0)
    assert (await ledger.read_spending("")).credits == 30


async def test_a_ledger_that_ends_before_the_last_known_run_is_refused(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    with pytest.raises(ConfigurationError, match="this folder has seen run 5"):
        await open_ledger(tmp_path, last_run=5)


async def test_a_given_up_attempt_still_counts_as_spent(ledger: Ledger) -> None:
    unknown = await ledger.mark_unknown(await ledger.begin_send(await reserve(ledger)), "Lost.")
    await ledger.abandon(await ledger.hold(unknown, "unknown_outcome", "Look."))
    assert (await ledger.read_spending("")).credits == 30


async def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    Identity.create(BINDING, "1").save(tmp_path / "identity.json")
    (tmp_path / "ledger.sqlite3").write_bytes(b"This is a shopping list, not a database." * 100)
    with pytest.raises(ConfigurationError, match="damaged or no ledger"):
        await open_ledger(tmp_path)


async def test_a_ledger_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    await (await open_ledger(tmp_path)).close()
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="newer version"):
        await open_ledger(tmp_path)


async def test_an_id_that_another_job_has_is_refused_and_the_ledger_goes_on(ledger: Ledger) -> None:
    first = await accept(ledger)
    second = await ledger.begin_send(await reserve(ledger, make_job("other")))
    with pytest.raises(ConflictError, match="rules"):
        await ledger.accept(second, generation_id=first.generation_id or "")
    assert (await ledger.mark_unknown(second, "An id of another job.")).state is State.UNKNOWN


async def test_after_an_error_of_the_file_nothing_more_is_written(ledger: Ledger) -> None:
    reserved = await reserve(ledger)
    with pytest.raises(LedgerError, match="could not be written"):
        await ledger._writer.run(lambda connection: connection.execute("no SQL").rowcount)
    with pytest.raises(LedgerError, match="Nothing more is sent"):
        await ledger.begin_send(reserved)


async def test_a_refused_command_does_not_bind_the_folder_to_its_key(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    with pytest.raises(ConfigurationError):
        await open_ledger(tmp_path, Binding("autumn", BINDING.base_url, "another-key"), same_account=True)
    await (await open_ledger(tmp_path)).close()


async def test_a_refused_resend_leaves_the_unknown_send_before_it_unknown(ledger: Ledger) -> None:
    unknown = await ledger.mark_unknown(await ledger.begin_send(await reserve(ledger)), "Lost.")
    resent = await ledger.begin_send(await ledger.resend(unknown, b"{}"))
    again = await ledger.mark_unknown(resent, "429", unknown_sends=1)
    assert (again.state, again.sends, again.unknown_sends) == (State.UNKNOWN, 2, 1)


async def test_commits_are_durable_and_in_wal(ledger: Ledger) -> None:
    pragmas = await ledger._writer.run(
        lambda db: (db.execute("PRAGMA synchronous").fetchone()[0], db.execute("PRAGMA journal_mode").fetchone()[0])
    )
    assert pragmas == (2, "wal")


async def test_many_waiting_changes_share_their_commits(ledger: Ledger, tmp_path: Path) -> None:
    attempts = await ledger.record([(make_job(f"job-{number}"), 1) for number in range(200)])
    before = (tmp_path / "ledger.sqlite3-wal").stat().st_size
    await asyncio.gather(*(ledger.reserve(attempt, f"id-{attempt.key}", b"{}", None) for attempt in attempts))
    grown = (tmp_path / "ledger.sqlite3-wal").stat().st_size - before
    # A commit of its own writes at least three pages of 4 KiB for each change.
    assert grown < 200 * 3 * 4096


async def test_an_operation_that_refuses_after_a_change_takes_nothing_with_it_to_the_disk(tmp_path: Path) -> None:
    def change_and_refuse(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE info SET value = 'other' WHERE key = 'manifest'")
        raise ConflictError("no")

    ledger = await open_ledger(tmp_path)
    with pytest.raises(LedgerError, match="refused after it had changed something"):
        await ledger._writer.run(change_and_refuse)
    await ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as connection:
        assert connection.execute("SELECT value FROM info WHERE key = 'manifest'").fetchone() != ("other",)


async def test_what_was_refused_costs_nothing_and_a_higher_charge_counts(ledger: Ledger) -> None:
    refused = await ledger.begin_send(await reserve(ledger))
    before = await ledger.read_spending("")
    await ledger.reject(refused, "invalid_argument", "No.", None)
    charged = await accept(ledger, make_job("second"))
    await ledger.mark_ready(charged, iter([charged.wanted_output]), None, 45)
    assert (before, await ledger.read_spending("")) == (Spending(30, 0), Spending(45, 0))
