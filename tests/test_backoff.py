"""Pauses that grow."""

from __future__ import annotations

import pytest

from hedra_batch.run.pacing.backoff import Backoff


@pytest.mark.parametrize(
    ("first_seconds", "longest_seconds", "pauses"),
    [
        (0.5, 30.0, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]),
        (5.0, 5.0, [5.0, 5.0]),
        # A first one that is too long is cut too.
        (8.0, 2.0, [2.0, 2.0]),
        (0.0, 30.0, [0.0, 0.0]),
    ],
)
def test_pauses_double_up_to_the_longest(first_seconds: float, longest_seconds: float, pauses: list[float]) -> None:
    backoff = Backoff(first_seconds, longest_seconds)
    assert [backoff.next_seconds() for _ in pauses] == pauses


def test_what_goes_well_lets_them_begin_anew() -> None:
    backoff = Backoff(1.0, 8.0)
    assert [backoff.next_seconds(), backoff.next_seconds()] == [1.0, 2.0]
    backoff.reset()
    assert [backoff.next_seconds(), backoff.next_seconds()] == [1.0, 2.0]


def test_the_last_pause_can_be_asked_for_again_without_growing() -> None:
    backoff = Backoff(1.0, 8.0)
    assert backoff.last_seconds == 1.0
    assert [backoff.next_seconds(), backoff.next_seconds(), backoff.last_seconds, backoff.last_seconds] == [1, 2, 2, 2]


def test_what_fails_for_ever_never_overflows() -> None:
    backoff = Backoff(0.5, 30.0)
    assert {backoff.next_seconds() for _ in range(5000)} == {0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0}
