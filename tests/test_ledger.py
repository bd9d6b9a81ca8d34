"""The ledger's events on a real file."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hedra_batch.decide import Deduplication, Reply, Verdict, before_send, is_surely_unsent
from hedra_batch.errors import LedgerError
from hedra_batch.inputs import FieldValue, Inputs
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger import events
from hedra_batch.ledger.backend import ConflictError, TakenError
from hedra_batch.ledger.events import Event
from hedra_batch.ledger.identity import Binding, Identity
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.money import Money
from hedra_batch.state import TRANSITIONS, State

GOLDEN = "9c9bb59a-e7e5-56c9-8487-612b77b5a1b4"

BINDING = Binding("spring", "https://api.example.com", "key-of-the-tests")


def make_job(job_id: str = "market", prompt: str = "A storm", edition: str = "", **fields: FieldValue) -> Job:
    return Job(job_id, edition, Inputs(prompt, **fields), f"videos/{job_id}.mp4")


async def open_ledger(folder: Path, binding: Binding = BINDING, **allowed: Any) -> Ledger:
    return await Ledger.open(folder / "ledger.sqlite3", folder / "identity.json", binding, **allowed)


@asynccontextmanager
async def opened(folder: Path, **allowed: Any) -> AsyncIterator[Ledger]:
    ledger = await open_ledger(folder, **allowed)
    yield ledger
    await ledger.close()


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with opened(tmp_path) as ledger:
        yield ledger


async def apply(ledger: Ledger, attempt: Attempt, event: Event) -> Attempt:
    """Apply an event; what it returns is what the ledger has."""
    changed = await ledger.apply(attempt, event)
    assert changed == await ledger.attempt(changed.key)
    return changed


async def record(ledger: Ledger, job: Job | None = None, number: int = 1) -> Attempt:
    [attempt] = await ledger.record([(job or make_job(), number)])
    assert attempt == await ledger.attempt(attempt.key)
    return attempt


async def reserve(ledger: Ledger, job: Job | None = None) -> Attempt:
    attempt = await record(ledger, job)
    return await apply(ledger, attempt, events.reserve(ledger.keys.of_attempt(attempt), b'{"x":1}', Money(30)))


async def begin_send(ledger: Ledger, attempt: Attempt) -> Attempt:
    return await apply(ledger, attempt, events.begin_send(attempt.state, before_send(attempt.state, lambda: True)))


async def send(ledger: Ledger, job: Job | None = None) -> Attempt:
    return await begin_send(ledger, await reserve(ledger, job))


async def lose(ledger: Ledger, job: Job | None = None) -> Attempt:
    attempt = await send(ledger, job)
    return await apply(ledger, attempt, events.end_send(attempt.state, Reply.UNKNOWN, "unknown_outcome", "Lost."))


async def resend(ledger: Ledger, job: Job | None = None) -> Attempt:
    planned = await apply(ledger, await lose(ledger, job), events.plan_resend(b"{}"))
    return await begin_send(ledger, planned)


async def order_resend(ledger: Ledger, job: Job | None = None) -> Attempt:
    held = await apply(ledger, await lose(ledger, job), events.hold(Verdict(State.HELD_UNKNOWN), "Look."))
    return await apply(ledger, held, events.order_resend(b"{}"))


async def accept(ledger: Ledger, job: Job | None = None) -> Attempt:
    attempt = await send(ledger, job)
    event = events.accept(attempt.request_key or "", asset_id="asset", shows=Deduplication.PROVEN)
    return await apply(ledger, attempt, event)


async def make_ready(ledger: Ledger, job: Job | None = None, charged: int = 25) -> Attempt:
    attempt = await accept(ledger, job)
    return await apply(ledger, attempt, events.make_ready([attempt.wanted_output], None, Money(charged)))


async def miss(ledger: Ledger, job: Job | None = None) -> Attempt:
    """Have an attempt held that the server had accepted."""
    accepted = await accept(ledger, job)
    return await apply(ledger, accepted, events.deny(accepted.state, State.HELD_MISSING, "not_found", "Look."))


async def use_ledger(folder: Path) -> None:
    async with opened(folder) as ledger:
        await reserve(ledger)


async def test_a_new_job_is_recorded_with_its_inputs(ledger: Ledger) -> None:
    attempt = await record(ledger)
    assert (attempt.state, attempt.number, attempt.fields) == (State.NEW, 1, {"prompt": "A storm"})


async def test_the_bytes_of_a_body_are_kept_as_they_are(ledger: Ledger) -> None:
    reserved = await reserve(ledger)
    assert (await ledger.attempt(reserved.key)).body == b'{"x":1}'


async def test_a_send_is_counted_before_it_begins(ledger: Ledger) -> None:
    sending = await send(ledger)
    assert (sending.state, sending.sends, sending.submitted_at is not None) == (State.SENDING, 1, True)


async def test_an_event_needs_the_state_it_starts_from(ledger: Ledger) -> None:
    reserved = await reserve(ledger)
    await begin_send(ledger, reserved)
    with pytest.raises(ConflictError, match="no longer in the state RESERVED"):
        await begin_send(ledger, reserved)


async def test_a_conflict_leaves_the_other_changes_of_its_commit_alone(ledger: Ledger) -> None:
    stale, fresh = await reserve(ledger), await reserve(ledger, make_job("other"))
    event = events.begin_send(State.RESERVED, State.SENDING)
    await ledger.apply(stale, event)
    answers = await asyncio.gather(ledger.apply(stale, event), ledger.apply(fresh, event), return_exceptions=True)
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
    done = await apply(ledger, await make_ready(ledger), events.complete("00ff", 10))
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as connection:
        rows = connection.execute("SELECT to_state FROM history WHERE attempt_key = ? ORDER BY rowid", (done.key,))
        states = [row[0] for row in rows]
    connection.close()
    assert states == ["NEW", "RESERVED", "SENDING", "ACCEPTED", "READY", "DONE"]


async def test_a_send_cut_short_by_a_crash_is_unknown_to_the_next_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        sending = await send(first)
    async with opened(tmp_path) as second:
        recovered = await second.attempt(sending.key)
    assert (recovered.state, recovered.unknown_sends, recovered.unknown_mark is not None) == (State.UNKNOWN, 1, True)


async def test_a_reservation_that_was_never_sent_stays_unsent(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        reserved = await reserve(first)
    async with opened(tmp_path) as second:
        recovered = await second.attempt(reserved.key)
    assert is_surely_unsent(recovered.state)
    assert (recovered.state, recovered.body) == (State.NEW, None)


async def test_a_lost_send_that_was_about_to_be_repeated_is_read_again_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        unknown = await lose(first)
        await apply(first, unknown, events.plan_resend(b"{}"))
    async with opened(tmp_path) as second:
        recovered = await second.attempt(unknown.key)
    assert (recovered.state, recovered.resends, recovered.unknown_mark) == (State.UNKNOWN, 0, unknown.unknown_mark)


@pytest.mark.parametrize("order", [False, True])
async def test_a_repeated_send_cut_short_by_a_crash_is_another_unknown_one(tmp_path: Path, order: bool) -> None:
    async with opened(tmp_path) as first:
        sending = await (begin_send(first, await order_resend(first)) if order else resend(first))
    async with opened(tmp_path) as second:
        recovered = await second.attempt(sending.key)
    assert recovered.unknown_mark != sending.unknown_mark
    assert (recovered.state, recovered.unknown_sends, recovered.resends) == (State.UNKNOWN, 2, int(not order))


async def test_what_a_person_has_ordered_outlasts_the_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        ordered = await order_resend(first)
    async with opened(tmp_path) as second:
        assert await second.attempt(ordered.key) == ordered


async def test_keys_are_derived_alike_in_every_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        attempt = await record(first)
        derived = first.keys.of_attempt(attempt)
    async with opened(tmp_path) as second:
        again = second.keys.of_attempt(await second.attempt(attempt.key))
    assert derived == again == str(uuid.UUID(derived))


async def test_a_key_is_that_of_every_version(tmp_path: Path) -> None:
    # Written down: with another value here a lost ledger would ask for ids that nobody has sent.
    identity = Identity.create(BINDING, tmp_path, "2026-01-01T00:00:00.000Z")
    replace(identity, batch_uuid="c0ffee00-0000-4000-8000-000000000001").save(tmp_path / "identity.json")
    job = make_job("märkt", edition="june")
    async with opened(tmp_path) as ledger:
        attempt = await record(ledger, job, number=2)
        assert ledger.keys.of_attempt(attempt) == ledger.keys.of_job(job, 2) == GOLDEN


async def test_every_attempt_has_a_key_of_its_own(ledger: Ledger) -> None:
    jobs = [(make_job(), 1), (make_job(), 2), (make_job("other"), 1), (make_job(edition="b"), 1)]
    keys = {ledger.keys.of_attempt(attempt) for attempt in await ledger.record(jobs)}
    assert len(keys) == 4


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
    names = ["videos/market.mp4", "videos/market.take2.mp4"]
    ready = await apply(ledger, second, events.make_ready(iter(names), None, None))
    assert ready.output == "videos/market.take2.mp4"


async def test_without_a_free_file_name_nothing_is_changed(ledger: Ledger) -> None:
    await make_ready(ledger)
    second = await accept(ledger, make_job("other"))
    with pytest.raises(TakenError, match="file names"):
        await ledger.apply(second, events.make_ready(iter(["videos/market.mp4"]), None, None))
    assert await ledger.attempt(second.key) == second


async def test_a_server_that_ignored_an_id_once_is_not_trusted_again(ledger: Ledger) -> None:
    sending = await send(ledger)
    await apply(ledger, sending, events.accept("an-id-of-its-own", shows=Deduplication.NONE))
    await ledger.record_deduplication(sending.kind, Deduplication.PROVEN)
    assert ledger.deduplication(sending.kind) is Deduplication.NONE


async def test_what_is_known_of_a_server_is_known_to_the_next_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        accepted = await accept(first)
    async with opened(tmp_path) as second:
        assert second.deduplication(accepted.kind) is Deduplication.PROVEN


async def test_what_a_server_shows_of_one_kind_of_request_tells_nothing_of_another(ledger: Ledger) -> None:
    await accept(ledger)
    await ledger.record_deduplication("speech", Deduplication.NONE)
    shown = [ledger.deduplication(kind) for kind in ("video", "speech", "image")]
    assert shown == [Deduplication.PROVEN, Deduplication.NONE, Deduplication.UNPROVEN]


async def test_an_id_that_another_job_has_is_refused_and_the_ledger_goes_on(ledger: Ledger) -> None:
    own_id = events.accept("an-id-of-its-own", shows=Deduplication.NONE)
    await apply(ledger, await send(ledger), own_id)
    await ledger.record_deduplication("speech", Deduplication.PROVEN)
    second = await send(ledger, make_job("other"))
    with pytest.raises(TakenError, match="rules"):
        await ledger.apply(second, own_id)
    assert ledger.deduplication("speech") is Deduplication.PROVEN
    assert (await apply(ledger, second, events.lose(second.state, "Taken.", {}))).state is State.UNKNOWN


@pytest.mark.parametrize("is_accepted", [True, False])
async def test_an_id_that_another_job_has_asked_for_is_refused(ledger: Ledger, is_accepted: bool) -> None:
    first = await (accept if is_accepted else send)(ledger)
    second = await send(ledger, make_job("other"))
    with pytest.raises(TakenError, match="Another attempt has asked for the id"):
        await ledger.apply(second, events.accept(first.request_key or "", shows=Deduplication.NONE))
    assert ledger.deduplication("video") is (Deduplication.PROVEN if is_accepted else Deduplication.UNPROVEN)
    assert (await ledger.attempt(second.key)).state is State.SENDING


async def test_a_refused_resend_leaves_the_unknown_send_before_it_unknown(ledger: Ledger) -> None:
    resent = await resend(ledger)
    refused = events.end_send(resent.state, Reply.NOT_ACCEPTED, "not_accepted", "429")
    again = await apply(ledger, resent, refused)
    assert (again.state, again.sends, again.unknown_sends, again.resends) == (State.UNKNOWN, 2, 1, 0)


async def test_an_event_is_refused_from_a_state_that_it_does_not_start_from(ledger: Ledger) -> None:
    new = await record(ledger)
    with pytest.raises(ConflictError, match="NEW to DONE"):
        await ledger.apply(new, events.complete("00ff", 10))
    assert await ledger.attempt(new.key) == new


async def test_what_was_recorded_beside_a_record_is_in_the_next_one(ledger: Ledger) -> None:
    accepted = await accept(ledger)
    await ledger.record_missing(accepted.key, "2026-11-20T10:00:00.000Z")
    overdue = await apply(ledger, accepted, events.mark_overdue("Late."))
    assert overdue.missing_at == "2026-11-20T10:00:00.000Z"


async def test_a_result_that_is_there_again_is_not_missing_any_more(ledger: Ledger) -> None:
    ready = await make_ready(ledger)
    await ledger.record_missing(ready.key, "2026-11-20T10:00:00.000Z")
    lost = await apply(ledger, ready, events.deny(ready.state, State.HELD_LOST, events.RESULT_LOST, "Denied."))
    found = await apply(ledger, lost, events.find_result())
    assert (lost.missing_at is not None, found.missing_at, found.error) == (True, None, None)


async def test_the_key_of_a_request_stays_beside_the_id_of_a_server(ledger: Ledger) -> None:
    sending = await send(ledger)
    accepted = await apply(ledger, sending, events.accept("an-id-of-its-own"))
    assert (accepted.request_key, accepted.remote_id) == (sending.request_key, "an-id-of-its-own")


async def test_a_file_that_was_fetched_anew_is_recorded_where_it_is_done(ledger: Ledger) -> None:
    done = await apply(ledger, await make_ready(ledger), events.complete("00ff", 10))
    restored = await ledger.record_restored(done, "11ff", 11)
    assert (restored.state, restored.sha256) == (State.DONE, "11ff")


async def test_some_attempts_are_read_in_the_order_of_their_keys(ledger: Ledger) -> None:
    first, second = await record(ledger), await record(ledger, make_job("other"))
    assert await ledger.attempts([second.key, first.key]) == [first, second]


async def test_an_attempt_that_is_not_there_is_an_error(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="no attempt with the number 7"):
        await ledger.attempt(7)


async def test_the_last_send_is_known_to_the_next_run(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        resent = await resend(first)
    async with opened(tmp_path) as second:
        assert second.last_sent_at == resent.submitted_at


async def test_a_restore_begins_the_window_of_an_unknown_outcome_anew(tmp_path: Path) -> None:
    async with opened(tmp_path) as ledger:
        unknown = await lose(ledger)
    async with opened(tmp_path, last_run=9) as ledger:
        assert (await ledger.attempt(unknown.key)).unknown_mark != unknown.unknown_mark


async def test_what_is_rewritten_after_a_refusal_was_never_sent(ledger: Ledger) -> None:
    sent = await send(ledger)
    refused = await apply(ledger, sent, events.end_send(sent.state, Reply.NOT_ACCEPTED, "x", "No."))
    rewritten = await ledger.rewrite(refused.key, make_job())
    assert (rewritten.sends, rewritten.submitted_at) == (0, None)


async def test_a_second_restore_before_the_first_is_settled_asks_for_the_whole_time(tmp_path: Path) -> None:
    since = []
    for number in range(3):
        async with opened(tmp_path, last_run=9 * number) as ledger:
            await send(ledger, make_job(f"job-{number}"))
            since.append(ledger.restore.since if ledger.restore else None)
    assert since[0] is None
    assert since[1] == since[2] is not None
