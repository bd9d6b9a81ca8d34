"""The events as values: which states they lead from and to, and what they write."""

from __future__ import annotations

from itertools import product

import pytest

from hedra_batch.decide import AFTER_INTERRUPTION, Reply, Verdict, before_send
from hedra_batch.ledger import events
from hedra_batch.ledger.events import Event, Guard
from hedra_batch.money import Money
from hedra_batch.state import ENDS, TO_SEND, TRANSITIONS, UNDER_WAY, State

SENDS = [
    events.end_send(source, reply, "code", "Text.")
    for source, reply in product(sorted(UNDER_WAY), Reply)
    if reply is not Reply.ACCEPTED
]
ALL: list[Event] = [
    events.reserve("key", b"{}", Money(30)),
    *(events.begin_send(source, before_send(source, lambda: True)) for source in sorted(TO_SEND)),
    events.accept("id"),
    *SENDS,
    events.refuse("code", "Text.", None),
    events.find_sent("key", None, "mark"),
    events.plan_resend(b"{}"),
    events.order_resend(b"{}"),
    events.look_again(),
    events.hold(Verdict(State.HELD_UNPROVEN), "Text."),
    events.hold(Verdict(State.HELD_UNKNOWN), "Text."),
    events.deny(State.ACCEPTED, State.HELD_MISSING, "not_found", "Text."),
    events.deny(State.OVERDUE, State.HELD_MISSING, "not_found", "Text."),
    events.deny(State.READY, State.HELD_LOST, events.RESULT_LOST, "Text."),
    events.abandon(None),
    events.mark_overdue("Text."),
    events.fail("code", "Text.", None),
    events.make_ready(["name"], None, None),
    events.find_result(),
    events.complete("00ff", 1),
]
MOVES = {(source, event.target) for event in ALL for source in event.sources}


def test_no_event_is_against_the_table_of_transitions() -> None:
    assert not [(source, target) for source, target in MOVES if target not in TRANSITIONS[source]]


def test_every_transition_has_its_event_or_follows_a_crash() -> None:
    assert {(source, target) for source in TRANSITIONS for target in TRANSITIONS[source]} == (
        MOVES | set(AFTER_INTERRUPTION.items())
    )


@pytest.mark.parametrize("event", ALL, ids=lambda event: f"{'|'.join(sorted(event.sources))}-{event.target}")
def test_an_end_is_written_down_with_its_time_and_nothing_else_is(event: Event) -> None:
    assert ("finished_at" in event.stamps) is (event.target in ENDS)


@pytest.mark.parametrize("event", ALL, ids=lambda event: f"{'|'.join(sorted(event.sources))}-{event.target}")
def test_the_budget_is_asked_before_a_reservation_and_before_each_send(event: Event) -> None:
    guards = {State.RESERVED: Guard.RESERVE, **dict.fromkeys(UNDER_WAY, Guard.SEND)}
    is_return = event in SENDS
    assert event.guard is (None if is_return else guards.get(event.target))


@pytest.mark.parametrize(
    ("source", "target", "adds"),
    [
        (State.RESERVED, State.SENDING, {"sends": 1}),
        (State.RESEND_DUE, State.RESENDING, {"sends": 1, "resends": 1}),
        (State.RESEND_ORDERED, State.RESENDING_ORDERED, {"sends": 1}),
    ],
)
def test_each_send_is_counted_and_those_of_the_program_itself_count_towards_their_limit(
    source: State, target: State, adds: dict[str, int]
) -> None:
    assert events.begin_send(source, target).adds == adds


@pytest.mark.parametrize(
    ("source", "reply", "adds"),
    [
        (State.SENDING, Reply.REFUSED, {}),
        (State.SENDING, Reply.NOT_ACCEPTED, {}),
        (State.SENDING, Reply.UNKNOWN, {"unknown_sends": 1}),
        (State.RESENDING, Reply.UNKNOWN, {"unknown_sends": 1}),
        (State.RESENDING, Reply.REFUSED, {"unknown_sends": 0}),
        (State.RESENDING, Reply.NOT_ACCEPTED, {"unknown_sends": 0, "resends": -1}),
        (State.RESENDING_ORDERED, Reply.NOT_ACCEPTED, {}),
        (State.RESENDING_ORDERED, Reply.UNKNOWN, {"unknown_sends": 1}),
    ],
)
def test_what_a_send_counts_goes_by_what_came_of_it(source: State, reply: Reply, adds: dict[str, int]) -> None:
    assert events.end_send(source, reply, "code", "Text.").adds == adds


@pytest.mark.parametrize("event", [event for event in ALL if event.target is State.UNKNOWN])
def test_the_quiet_window_begins_with_each_lost_send_and_with_nothing_else(event: Event) -> None:
    assert ("unknown_mark" in event.marks) is (event.sources <= UNDER_WAY)


@pytest.mark.parametrize("event", [events.end_send(State.SENDING, Reply.UPLOAD_GONE, "c", "Text.")])
def test_a_request_that_is_made_again_loses_its_body(event: Event) -> None:
    assert (event.target, event.sets["body"]) == (State.NEW, None)
