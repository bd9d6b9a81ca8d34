"""When a generation is read next, by what is expected of it."""

from __future__ import annotations

import pytest

from hedra_batch.run.pacing.schedule import SEEN_LIMIT, Outlook, Schedule, Usual

SCHEDULE = Schedule(shortest_seconds=0.25, longest_seconds=30.0)
#: Of which 3.6 seconds are the resolution.
MODEL_SECONDS = 120.0


def find_window(age_seconds: float, outlook: Outlook, now: float = 0.0) -> tuple[float, float]:
    """Find from when on it may be read, and how long that may take."""
    by_time, from_time = SCHEDULE.find_due(now, age_seconds, outlook)
    return from_time - now, by_time - from_time


@pytest.mark.parametrize(
    ("age_seconds", "outlook", "wait_seconds", "resolution_seconds"),
    [
        # Estimates that are too long by half end after two thirds of them.
        (0.0, Outlook(end_seconds=40.0, model_seconds=MODEL_SECONDS), 24.0, 3.6),
        (24.0, Outlook(end_seconds=40.0, estimated_at_seconds=24.0, model_seconds=MODEL_SECONDS), 9.6, 3.6),
        # Never longer than a run waits at most.
        (0.0, Outlook(end_seconds=3600.0, model_seconds=MODEL_SECONDS), 30.0, 3.6),
        # Close to the end, as often as the resolution has it.
        (39.0, Outlook(end_seconds=40.0, estimated_at_seconds=39.0, model_seconds=MODEL_SECONDS), 0.9, 3.6),
        (40.0, Outlook(end_seconds=40.0, estimated_at_seconds=39.0, model_seconds=MODEL_SECONDS), 0.9, 3.6),
        # What is late is read more and more rarely, and takes longer than was expected.
        (80.0, Outlook(end_seconds=40.0, model_seconds=MODEL_SECONDS), 10.0, 3.6),
        (400.0, Outlook(end_seconds=40.0, model_seconds=MODEL_SECONDS), 30.0, 12.0),
        # Without an estimate of its own: as others of its kind, or as the list of models says.
        (0.0, Outlook(usual=(20.0, 180.0), model_seconds=MODEL_SECONDS), 20.0, 3.0),
        (100.0, Outlook(usual=(20.0, 180.0)), 0.75, 3.0),
        (220.0, Outlook(usual=(20.0, 180.0)), 10.0, 6.6),
        (50.0, Outlook(model_seconds=MODEL_SECONDS), 10.0, 3.6),
        # Where nobody says anything: after a quarter of its age.
        (0.0, Outlook(), 0.0625, 0.25),
        (8.0, Outlook(), 2.0, 0.25),
    ],
)
def test_a_generation_is_read_when_it_is_likely_to_have_ended(
    age_seconds: float, outlook: Outlook, wait_seconds: float, resolution_seconds: float
) -> None:
    assert find_window(age_seconds, outlook) == pytest.approx((wait_seconds, resolution_seconds))


@pytest.mark.parametrize("usual_seconds", [10.0, 30.0, 120.0, 900.0])
def test_an_end_is_never_noticed_much_later_than_the_resolution_though_estimates_are_wrong_by_half(
    usual_seconds: float,
) -> None:
    for error in (0.5, 0.75, 1.0, 1.25, 1.5):
        age_seconds = 0.0
        while age_seconds < usual_seconds:
            end_seconds = age_seconds + (usual_seconds - age_seconds) * error
            outlook = Outlook(end_seconds, age_seconds, model_seconds=usual_seconds)
            age_seconds = SCHEDULE.find_due(age_seconds, age_seconds, outlook).by_time
        assert age_seconds - usual_seconds <= usual_seconds * 0.04


def test_the_same_moment_is_right_for_generations_that_began_at_different_times() -> None:
    windows = [
        SCHEDULE.find_due(10.0 + number / 10, 119.0, Outlook(end_seconds=120.0, model_seconds=MODEL_SECONDS))
        for number in range(20)
    ]
    assert max(each.from_time for each in windows) < min(each.by_time for each in windows)


def test_what_is_usual_is_told_once_enough_were_seen() -> None:
    usual = Usual()
    for seconds in (100.0, 110.0, 120.0, 130.0):
        usual.add(seconds)
    assert usual.bounds is None
    usual.add(140.0)
    assert usual.bounds == (90.0, 140.0)


def test_a_few_odd_ones_do_not_change_what_is_usual() -> None:
    usual = Usual()
    for seconds in (*[100.0] * 38, 1.0, 9000.0):
        usual.add(seconds)
    assert usual.bounds == (90.0, 100.0)


def test_what_was_seen_long_ago_is_forgotten() -> None:
    usual = Usual()
    for seconds in (*[900.0] * SEEN_LIMIT, *[10.0] * SEEN_LIMIT):
        usual.add(seconds)
    assert usual.bounds == (9.0, 10.0)


def test_of_those_that_began_together_the_last_to_end_do_not_stand_for_all() -> None:
    usual = Usual()
    for number in range(500):
        usual.add(10.0 + number * 0.04)
    assert usual.bounds == pytest.approx((9.9, 29.0), rel=0.03)
