"""The job record and the table of transitions."""

from __future__ import annotations

from pathlib import Path

import pytest

from hedra_batch.inputs import Inputs, MediaInput
from hedra_batch.job import Attempt
from hedra_batch.state import PUBLIC_STATES, TRANSITIONS, UNSENT, State


def make_attempt(state: State, unknown_sends: int = 0) -> Attempt:
    return Attempt(1, "", "market", 1, state, "v1:0", {}, "videos/market.mp4", unknown_sends=unknown_sends)


def test_every_state_has_its_row_in_the_table() -> None:
    assert set(TRANSITIONS) == set(State)


def test_every_state_can_be_reached_from_new() -> None:
    reached, frontier = {State.NEW}, {State.NEW}
    while frontier:
        frontier = {end for start in frontier for end in TRANSITIONS[start]} - reached
        reached |= frontier
    assert reached == set(State)


def test_a_final_state_is_one_that_nothing_leaves() -> None:
    final = {state for state, following in TRANSITIONS.items() if not following}
    assert final == {State.DONE, State.REFUSED, State.FAILED, State.ABANDONED}


def test_no_transition_leads_from_a_possible_charge_back_to_new() -> None:
    assert not [state for state in set(State) - UNSENT if State.NEW in TRANSITIONS[state]]


def test_nothing_is_accepted_without_a_send() -> None:
    assert not [state for state in UNSENT if State.ACCEPTED in TRANSITIONS[state]]


def test_the_public_states_are_the_documented_ones() -> None:
    assert set(PUBLIC_STATES.values()) == {"new", "running", "unknown", "done", "failed", "held"}


def test_every_state_has_a_public_one() -> None:
    assert set(PUBLIC_STATES) == set(State)


def test_the_digest_is_that_of_version_one() -> None:
    # Written down: another value here would make every paid job of every user look changed.
    inputs = Inputs("A storm", model="fal/grok-video-t2v", aspect_ratio="16:9", duration_ms=5000)
    assert inputs.digest == "v1:308abb781358f4dde1ae8095505da8ef52a6eb6679aaab55ded8ff810ee498b1"


def test_the_digest_takes_an_image_by_its_content() -> None:
    first = Inputs("x", image=MediaInput("a.png", Path("a.png"), "00ff"))
    renamed = Inputs("x", image=MediaInput("b.png", Path("b.png"), "00ff"))
    assert first.digest == renamed.digest


@pytest.mark.parametrize(
    "other",
    [
        Inputs("y"),
        Inputs("x", model="m"),
        Inputs("x", aspect_ratio="1:1"),
        Inputs("x", resolution="720p"),
        Inputs("x", duration_ms=5000),
        Inputs("x", image=MediaInput("a.png", Path("a.png"), "00ff")),
        Inputs("x", end_image=MediaInput("https://example.com/a.png")),
    ],
)
def test_any_other_input_gives_another_digest(other: Inputs) -> None:
    assert other.digest != Inputs("x").digest


@pytest.mark.parametrize(
    ("state", "unknown_sends", "is_unsent"),
    [
        (State.NEW, 0, True),
        (State.RESERVED, 0, True),
        (State.RESERVED, 1, False),
        (State.REFUSED, 0, False),
        (State.SENDING, 0, False),
        (State.UNKNOWN, 1, False),
        (State.DONE, 0, False),
    ],
)
def test_an_attempt_is_surely_unsent_only_when_no_send_can_have_been_accepted(
    state: State, unknown_sends: int, is_unsent: bool
) -> None:
    assert make_attempt(state, unknown_sends).is_surely_unsent is is_unsent
