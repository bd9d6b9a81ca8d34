"""What the pacing tells of itself: how fast submissions may go at a moment, and what keeps the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from test_rate import run_virtually

from hedra_batch import errors
from hedra_batch.api.protocol import RequestGroup
from hedra_batch.api.v2.refusals import read_refusal
from hedra_batch.progress import Pace
from hedra_batch.run.settings import RunSettings
from hedra_batch.run.wiring import Lanes
from hedra_batch.units import Limits, Rate

SETTINGS = RunSettings(limits=Limits(submit=Rate(10, 60), in_flight=2), throttle_seconds=12.0)
AWAY = errors.NotSentError("The connection was refused")


def read_after(prepare: Callable[[Lanes], Awaitable[None]], *, is_awaited: bool = True) -> Pace:
    """Let things happen to the lanes of a run, have one more submission wait, and read the pace."""

    async def work() -> Pace:
        lanes = Lanes(SETTINGS, None)
        await prepare(lanes)
        waiting = asyncio.create_task(lanes.submissions.wait()) if is_awaited else None
        await asyncio.sleep(1)
        pace = lanes.read_pace()
        if waiting:
            waiting.cancel()
        return pace

    return run_virtually(work)


async def submit(lanes: Lanes) -> None:
    await lanes.submissions.wait()


def test_after_a_submission_the_pace_keeps_the_next_one() -> None:
    pace = read_after(submit)
    assert (pace.is_awaited, round(pace.next_seconds), pace.allowed, pace.pause_seconds) == (True, 5, Rate(10, 60), 0)


def test_nobody_waits_where_nothing_is_to_be_submitted() -> None:
    assert not read_after(submit, is_awaited=False).is_awaited


def test_what_an_earlier_run_sent_keeps_the_first_one() -> None:
    async def work() -> float:
        lanes = Lanes(SETTINGS, SETTINGS.clock.now_text())
        waiting = asyncio.create_task(lanes.submissions.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        return lanes.read_pace().next_seconds

    assert 0 < run_virtually(work) <= 6


def test_a_429_halves_the_pace_and_names_its_pause() -> None:
    async def refuse(lanes: Lanes) -> None:
        turn_time = await lanes.submissions.wait()
        lanes.submissions.on_failed(errors.ThrottledError("Too many"), turn_time)

    pace = read_after(refuse)
    assert (pace.allowed, pace.configured, round(pace.pause_seconds)) == (Rate(5, 60), Rate(10, 60), 11)
    assert pace.pause_reason == "the API asks to slow down"


def test_a_window_that_is_used_up_is_a_pause_of_submissions() -> None:
    async def use_up(lanes: Lanes) -> None:
        lanes.on_used_up(RequestGroup.READS, 90.0)
        lanes.on_used_up(RequestGroup.SUBMISSIONS, 30.0)

    assert round(read_after(use_up).pause_seconds) == 29


def test_an_outage_lasts_from_the_first_failure_to_the_next_answer() -> None:
    async def fail(lanes: Lanes) -> None:
        lanes.submissions.on_unreachable(AWAY)
        await asyncio.sleep(9)

    async def recover(lanes: Lanes) -> None:
        await fail(lanes)
        lanes.reads.on_answered()

    assert [round(read_after(happens).outage_seconds) for happens in (fail, recover)] == [10, 0]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (AWAY, "the API cannot be reached"),
        (errors.NoAnswerError("Timed out"), "the API does not answer"),
        (errors.GarbledError("What?"), "the API's answers cannot be read"),
        (read_refusal(503, {}, "overloaded"), "the API answers with errors (503)"),
        (errors.OutOfCreditsError("No credits"), "the API answers with errors"),
    ],
)
def test_what_the_api_does_instead_of_answering_is_told(failure: errors.HedraBatchError, reason: str) -> None:
    async def fail(lanes: Lanes) -> None:
        lanes.reads.on_failed(failure, None)

    assert read_after(fail).outage_reason == reason


def test_places_in_flight_and_what_the_api_runs_at_once_are_told() -> None:
    async def shrink(lanes: Lanes) -> None:
        lanes.concurrency.take(1)
        lanes.concurrency.take(2)
        await lanes.concurrency.shrink(2)

    pace = read_after(shrink)
    assert (pace.in_flight, pace.slots, pace.configured_slots) == (1, 1, 2)


def test_results_that_wait_to_be_downloaded_are_told() -> None:
    async def grow(lanes: Lanes) -> None:
        lanes.backlog.grow()

    assert read_after(grow).backlog == 1
