"""When a generation is read next, by what is expected of it."""

from __future__ import annotations

import pytest

from hedra_batch.run.pacing.schedule import Outlook, Schedule, Usual

SCHEDULE = Schedule(shortest_seconds=0.25, longest_seconds=30.0)
#: Of which two seconds are the finest grid.
MODEL_SECONDS = 120.0


def find_wait(age_seconds: float, outlook: Outlook, now: float = 0.0) -> float:
    return SCHEDULE.find_due(now, age_seconds, outlook) - now


@pytest.mark.parametrize(
    ("age_seconds", "outlook", "wait_seconds"),
    [
        # Estimates that are too long by half end after two thirds of them.
        (0.0, Outlook(end_seconds=40.0, model_seconds=MODEL_SECONDS), 24.0),
        (24.0, Outlook(end_seconds=40.0, estimated_at_seconds=24.0, model_seconds=MODEL_SECONDS), 10.0),
        # Never longer than a run waits at most.
        (0.0, Outlook(end_seconds=3600.0, model_seconds=MODEL_SECONDS), 30.0),
        # Close to the end, as often as the grid has it.
        (39.0, Outlook(end_seconds=40.0, estimated_at_seconds=39.0, model_seconds=MODEL_SECONDS), 2.0),
        (40.0, Outlook(end_seconds=40.0, estimated_at_seconds=39.0, model_seconds=MODEL_SECONDS), 2.0),
        # What is late is read more and more rarely.
        (80.0, Outlook(end_seconds=40.0, model_seconds=MODEL_SECONDS), 10.0),
        (400.0, Outlook(end_seconds=40.0, model_seconds=MODEL_SECONDS), 30.0),
        # Without an estimate of its own: as others of its kind, or as the list of models says.
        (0.0, Outlook(usual=(20.0, 180.0), model_seconds=MODEL_SECONDS), 20.0),
        (100.0, Outlook(usual=(20.0, 180.0)), 2.0),
        (220.0, Outlook(usual=(20.0, 180.0)), 10.0),
        (50.0, Outlook(model_seconds=MODEL_SECONDS), 10.0),
        # Where nobody says anything: after a quarter of its age.
        (0.0, Outlook(), 0.25),
        (8.0, Outlook(), 2.0),
    ],
)
def test_a_generation_is_read_when_it_is_likely_to_have_ended(
    age_seconds: float, outlook: Outlook, wait_seconds: float
) -> None:
    assert find_wait(age_seconds, outlook) == pytest.approx(wait_seconds)


@pytest.mark.parametrize("usual_seconds", [5.0, 30.0, 120.0, 900.0])
def test_an_end_is_never_noticed_much_later_than_the_resolution_though_estimates_are_wrong_by_half(
    usual_seconds: float,
) -> None:
    for error in (0.5, 0.75, 1.0, 1.25, 1.5):
        age_seconds = 0.0
        while age_seconds < usual_seconds:
            end_seconds = age_seconds + (usual_seconds - age_seconds) * error
            outlook = Outlook(end_seconds, age_seconds, model_seconds=usual_seconds)
            age_seconds = SCHEDULE.find_due(age_seconds, age_seconds, outlook)
        assert age_seconds - usual_seconds <= max(usual_seconds * 0.04, 0.5)


def test_reads_of_different_generations_meet() -> None:
    times = {
        SCHEDULE.find_due(10.0 + number / 10, 119.0, Outlook(end_seconds=120.0, model_seconds=MODEL_SECONDS))
        for number in range(20)
    }
    assert times == {12.0, 14.0}


def test_the_grids_of_short_and_long_generations_fall_onto_one_another() -> None:
    times = [
        SCHEDULE.find_due(10.0, 0.0, Outlook(end_seconds=0.0, model_seconds=each)) for each in (30.0, 120.0, 900.0)
    ]
    assert times == [10.5, 12.0, 32.0]


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
