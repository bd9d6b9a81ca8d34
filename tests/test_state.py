"""The states and the table of transitions between them."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest

from hedra_batch.state import (
    ENDED_BADLY,
    ENDS,
    HELD,
    IN_FLIGHT,
    LIABILITIES,
    OPEN,
    PUBLIC_STATES,
    SETTLEABLE,
    TO_SEND,
    TRANSITIONS,
    UNDER_WAY,
    UNFINISHED,
    UNSENT,
    UNSETTLED,
    Cause,
    Liability,
    State,
)

Table = Mapping[State, Mapping[State, Cause]]
#: What comes about though no server ever answers again.
UNANSWERED = Cause.STEP | Cause.TIME | Cause.PERSON
ANY = UNANSWERED | Cause.ANSWER
AT_SERVER = {State.ACCEPTED, State.OVERDUE, State.READY}


def find_reachable(table: Table, start: State, causes: Cause = ANY) -> set[State]:
    reached, frontier = {start}, {start}
    while frontier:
        frontier = {end for each in frontier for end, cause in table[each].items() if cause & causes} - reached
        reached |= frontier
    return reached


def find_dead_ends(table: Table) -> set[State]:
    """Find the states that no end is reached from once no server answers any more."""
    return {state for state in State if not find_reachable(table, state, UNANSWERED) & ENDS}


def test_there_are_few_states() -> None:
    assert len(State) <= 20


def test_every_state_has_its_row_in_the_table() -> None:
    assert set(TRANSITIONS) == set(State)


def test_every_transition_leads_to_another_state_for_a_cause() -> None:
    for start, ends in TRANSITIONS.items():
        assert set(ends) <= set(State) - {start}
        assert all(ends.values())


def test_every_state_can_be_reached_from_new() -> None:
    assert find_reachable(TRANSITIONS, State.NEW) == set(State)


def test_a_final_state_is_one_that_nothing_leaves() -> None:
    assert {state for state, following in TRANSITIONS.items() if not following} == ENDS
    assert {State.DONE, State.REFUSED, State.FAILED, State.ABANDONED} == ENDS


def test_from_every_state_a_way_leads_to_an_end_though_no_server_answers_any_more() -> None:
    assert find_dead_ends(TRANSITIONS) == set()


@pytest.mark.parametrize(
    ("start", "end", "dead"),
    [
        (State.READY, State.HELD_LOST, set()),
        (State.HELD_LOST, State.ABANDONED, {State.HELD_LOST}),
        (State.OVERDUE, State.ABANDONED, set()),
        (State.HELD_MISSING, State.ABANDONED, {State.HELD_MISSING}),
    ],
)
def test_without_a_way_there_is_a_dead_end(start: State, end: State, dead: set[State]) -> None:
    table = copy.deepcopy(TRANSITIONS)
    del table[start][end]
    assert find_dead_ends(table) == dead


def test_from_a_possible_charge_only_a_clear_no_to_a_first_send_leads_back_to_new() -> None:
    assert [state for state in State if state not in UNSENT and State.NEW in TRANSITIONS[state]] == [State.SENDING]
    assert TRANSITIONS[State.SENDING][State.NEW] is Cause.ANSWER


def test_what_was_lost_once_is_never_taken_for_unsent_again() -> None:
    for state in UNSETTLED - {State.SENDING} | HELD:
        assert not find_reachable(TRANSITIONS, state) & UNSENT


def test_nothing_is_accepted_without_a_send() -> None:
    assert not [state for state in UNSENT if State.ACCEPTED in TRANSITIONS[state]]


def test_a_send_begins_in_one_place_for_each_kind() -> None:
    leading = {state: {start for start, ends in TRANSITIONS.items() if state in ends} for state in UNDER_WAY}
    assert all(len(starts) == 1 for starts in leading.values())
    assert set().union(*leading.values()) == TO_SEND


def test_only_a_person_gives_up() -> None:
    giving_up = {start: ends[State.ABANDONED] for start, ends in TRANSITIONS.items() if State.ABANDONED in ends}
    assert giving_up == dict.fromkeys(SETTLEABLE, Cause.PERSON)


def test_only_a_person_orders() -> None:
    ordering = {
        start: ends[State.RESEND_ORDERED]
        for start, ends in TRANSITIONS.items()
        if start in HELD and ends.get(State.RESEND_ORDERED)
    }
    assert ordering == dict.fromkeys((State.HELD_UNPROVEN, State.HELD_UNKNOWN), Cause.PERSON)


def test_each_state_is_in_one_group() -> None:
    groups = [UNSENT, UNSETTLED, AT_SERVER, HELD, ENDS]
    assert sum(len(group) for group in groups) == len(State)
    assert frozenset().union(*groups) == set(State)


@pytest.mark.parametrize(
    ("one", "another"),
    [(OPEN, UNSENT), (OPEN, HELD), (OPEN, ENDS), (TO_SEND, UNDER_WAY), (IN_FLIGHT, TO_SEND), (IN_FLIGHT, SETTLEABLE)],
)
def test_groups_that_exclude_each_other_share_nothing(one: frozenset[State], another: frozenset[State]) -> None:
    assert not one & another


def test_all_ends_but_one_are_bad() -> None:
    assert {State.DONE} == ENDS - ENDED_BADLY


def test_the_public_states_are_the_documented_ones() -> None:
    assert set(PUBLIC_STATES.values()) == {"new", "running", "unknown", "done", "failed", "held"}
    assert set(UNFINISHED) < set(PUBLIC_STATES.values())


@pytest.mark.parametrize(
    ("states", "public"),
    [
        ({State.NEW, State.RESERVED}, "new"),
        # A send before was lost, so it is not known whether they are paid for.
        ({State.RESEND_DUE, State.RESEND_ORDERED}, "unknown"),
        ({State.SENDING, State.RESENDING, State.RESENDING_ORDERED, State.UNKNOWN}, "unknown"),
        (AT_SERVER, "running"),
        ({State.HELD_UNPROVEN, State.HELD_UNKNOWN, State.HELD_MISSING, State.HELD_LOST}, "held"),
        ({State.DONE}, "done"),
        ({State.REFUSED, State.FAILED, State.ABANDONED}, "failed"),
    ],
)
def test_every_state_has_a_public_one(states: set[State], public: str) -> None:
    assert {PUBLIC_STATES[state] for state in states} == {public}
    assert set(PUBLIC_STATES) == set(State)


@pytest.mark.parametrize(
    ("states", "liability"),
    [
        ({State.NEW, State.REFUSED}, Liability.NONE),
        ({State.RESERVED}, Liability.RESERVED),
        (set(State) - {State.NEW, State.REFUSED, State.RESERVED}, Liability.CHARGED),
    ],
)
def test_a_budget_counts_whatever_may_be_paid_for(states: set[State], liability: Liability) -> None:
    assert {state for state, each in LIABILITIES.items() if each is liability} == states
