"""How far a run is: what changes of state make of the counts, the rows and the names."""

from __future__ import annotations

from collections import Counter

import pytest

from hedra_batch.progress import ENDED_LIMIT, Pace, Progress, Running
from hedra_batch.state import State
from hedra_batch.units import Rate


def make_progress(**counts: int) -> Progress:
    progress = Progress()
    progress.begin(Counter(counts))
    return progress


def pass_through(progress: Progress, key: int, label: str, *states: State) -> None:
    before = State.NEW
    for after in states:
        progress.on_change(key, label, before, after)
        before = after


def test_a_job_is_counted_in_the_state_that_it_has_now() -> None:
    progress = make_progress(new=2)
    pass_through(progress, 1, "a", State.RESERVED, State.ACCEPTED, State.FAILED)
    assert (+progress.counts, progress.running, progress.count_remaining(is_closed=False)) == (
        {"new": 1, "failed": 1},
        {},
        1,
    )


@pytest.mark.parametrize("state", [State.UNKNOWN, State.ACCEPTED, State.OVERDUE, State.READY])
def test_what_the_server_works_on_has_a_row(state: State) -> None:
    progress = make_progress(new=1)
    pass_through(progress, 1, "a", State.RESERVED, State.ACCEPTED)
    progress.on_fraction(1, 0.5)
    progress.on_change(1, "a", State.ACCEPTED, state)
    assert progress.take_snapshot().running == [Running("a", state, 1.0 if state is State.READY else 0.5)]


def test_what_nobody_works_on_in_this_run_any_more_has_none() -> None:
    progress = make_progress(new=1)
    pass_through(progress, 1, "a", State.RESERVED, State.UNKNOWN)
    progress.on_parked(1)
    assert (progress.take_snapshot().running, progress.counts["unknown"]) == ([], 1)


def test_the_names_of_what_ended_are_told_the_latest_first() -> None:
    progress = make_progress(new=3)
    pass_through(progress, 1, "a", State.RESERVED, State.ACCEPTED, State.READY, State.DONE)
    pass_through(progress, 2, "b", State.RESERVED, State.UNKNOWN, State.HELD_UNKNOWN)
    pass_through(progress, 3, "c", State.RESERVED, State.REFUSED)
    assert progress.take_snapshot().ended == [("c", "failed"), ("b", "held"), ("a", "done")]


@pytest.mark.parametrize("state", [State.HELD_UNPROVEN, State.HELD_LOST])
def test_what_was_held_before_and_still_is_has_not_ended_in_this_run(state: State) -> None:
    progress = make_progress(held=1)
    progress.on_change(1, "a", state, state)
    assert (progress.take_snapshot().ended, progress.counts["held"]) == ([], 1)


def test_a_job_that_is_tried_again_has_not_ended() -> None:
    progress = make_progress(new=1)
    pass_through(progress, 1, "a", State.RESERVED, State.ACCEPTED, State.FAILED)
    progress.on_change(2, "a", State.FAILED, State.NEW)
    assert progress.take_snapshot().ended == []


def test_not_more_names_are_kept_than_a_window_shows() -> None:
    progress = make_progress(new=1000)
    for number in range(1000):
        pass_through(progress, number, f"job-{number}", State.REFUSED)
    ended = progress.take_snapshot().ended
    assert (len(ended), ended[0][0]) == (ENDED_LIMIT, "job-999")


@pytest.mark.parametrize(("per_seconds", "submitted"), [(1, 2), (60, 2), (3600, 3)])
def test_submissions_are_counted_as_they_happen(per_seconds: int, submitted: int) -> None:
    progress = make_progress(new=9)
    for key in range(4):
        pass_through(progress, key, f"job-{key}", State.RESERVED, State.ACCEPTED)
    pass_through(progress, 9, "refused", State.RESERVED, State.RESERVED, State.REFUSED)
    for place, age_seconds in enumerate((4000, 100)):
        progress.sent_times[place] -= age_seconds
    rate = Rate(10, per_seconds)
    assert progress.take_snapshot(Pace(rate, rate)).submitted == submitted


def test_a_resend_that_nobody_wants_any_more_was_not_sent() -> None:
    progress = make_progress(new=2)
    pass_through(progress, 1, "a", State.RESEND_DUE, State.UNKNOWN)
    assert progress.take_snapshot().submitted == 0
    pass_through(progress, 2, "b", State.RESEND_DUE, State.ACCEPTED)
    assert progress.take_snapshot().submitted == 1


@pytest.mark.parametrize(("running", "factor"), [(0, 0), (3, 3)])
def test_the_time_left_is_that_of_what_runs_where_nothing_more_is_submitted(running: int, factor: int) -> None:
    progress = make_progress(new=9, running=running)
    pass_through(progress, 1, "a", State.RESERVED, State.ACCEPTED, State.READY, State.DONE)
    snapshot = progress.take_snapshot(closed_by="The budget is reached.")
    assert snapshot.left_seconds == snapshot.elapsed_seconds * factor


def test_the_time_left_is_estimated_by_what_this_run_has_finished() -> None:
    progress = make_progress(new=3)
    assert progress.take_snapshot().left_seconds is None
    pass_through(progress, 1, "a", State.RESERVED, State.ACCEPTED, State.READY, State.DONE)
    progress.started_time -= 60
    snapshot = progress.take_snapshot()
    assert snapshot.elapsed_seconds >= 60
    assert snapshot.left_seconds == snapshot.elapsed_seconds * 2


def test_the_time_of_planning_and_asking_does_not_count() -> None:
    progress = make_progress(new=1)
    progress.started_time -= 3600
    progress.start()
    assert progress.take_snapshot().elapsed_seconds < 3600
