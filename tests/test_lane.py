"""What one kind of request makes of the API's answers, and what that means for the other kinds."""

from __future__ import annotations

import asyncio
import logging

import pytest
from test_rate import measure_gaps, run_virtually

from hedra_batch import errors
from hedra_batch.run.pacing.lane import Lane
from hedra_batch.run.pacing.outage import OutageGuard
from hedra_batch.run.pacing.rate import Cooldown
from hedra_batch.run.settings import RunSettings
from hedra_batch.units import Rate

SETTINGS = RunSettings(
    throttle_seconds=5.0, longest_throttle_seconds=20.0, first_pause_seconds=1.0, longest_pause_seconds=4.0
)
TOO_MANY = errors.ThrottledError("Too many")
AWAY = errors.NotSentError("The connection was refused")


def make_lanes(settings: RunSettings = SETTINGS, rate: Rate = Rate(10, 1)) -> tuple[Lane, Lane]:
    """Make the lanes of submissions and of reads, both of the same rate."""
    guard = OutageGuard(settings)
    return (
        Lane("submit", rate, settings, guard, Cooldown("submissions")),
        Lane("poll", rate, settings, guard, Cooldown("reads")),
    )


async def measure_turns(lane: Lane, count: int) -> list[float]:
    return [await lane.wait() for _ in range(count)]


async def measure_pause(lane: Lane) -> float:
    loop = asyncio.get_running_loop()
    began_time = loop.time()
    await lane.wait_for_cooldown()
    return round(loop.time() - began_time, 3)


def refuse(lane: Lane, refusal: errors.HedraBatchError) -> None:
    """Tell a lane of a refusal as the submitter does."""
    if isinstance(refusal, errors.NotSentError):
        lane.on_unreachable(refusal)
    else:
        lane.on_failed(refusal, None)


def test_a_read_that_cannot_be_sent_pauses_nobody_since_it_is_repeated_with_pauses_of_its_own() -> None:
    async def work() -> float:
        submissions, reads = make_lanes()
        reads.on_failed(AWAY, None)
        return await measure_pause(submissions)

    assert run_virtually(work) == 0.0


def test_a_429_pauses_its_own_kind_only_and_halves_its_rate() -> None:
    async def work() -> tuple[list[float], list[float]]:
        submissions, reads = make_lanes()
        submissions.on_failed(errors.ThrottledError("Too many", 10.0), await submissions.wait())
        return await measure_turns(reads, 5), await measure_turns(submissions, 5)

    read, submitted = run_virtually(work)
    assert (min(submitted) >= 10.0, max(read) < 1.0) == (True, True)
    assert measure_gaps(submitted) == pytest.approx([0.2] * 4, abs=0.001)
    assert measure_gaps(read) == pytest.approx([0.1] * 4, abs=0.001)


def test_a_429_of_what_takes_no_turn_pauses_its_kind_and_halves_nothing() -> None:
    async def work() -> list[float]:
        submissions, reads = make_lanes()
        reads.on_failed(TOO_MANY, None)
        return await measure_turns(submissions, 3) + await measure_turns(reads, 3)

    turns = run_virtually(work)
    assert (max(turns[:3]) < 1.0, min(turns[3:]) >= 5.0) == (True, True)
    assert [*measure_gaps(turns[:3]), *measure_gaps(turns[3:])] == pytest.approx([0.1] * 4, abs=0.001)


@pytest.mark.parametrize(
    ("refusal", "pauses"),
    [
        (TOO_MANY, [5.0, 10.0, 20.0, 20.0]),
        (errors.TooManyAtOnceError("Too many at once"), [5.0, 10.0, 20.0, 20.0]),
        (errors.ThrottledError("Too many", 7.0), [7.0, 7.0, 7.0]),
        (AWAY, [1.0, 2.0, 4.0, 4.0]),
        # Whether the API is well is not told by these: the request itself is tried again after a pause of its own.
        (errors.NoAnswerError("No answer"), [0.0, 0.0]),
        (errors.UnavailableError("503"), [0.0, 0.0]),
        (errors.GarbledError("What?"), [0.0, 0.0]),
    ],
)
def test_pauses_grow_as_long_as_the_same_is_refused(refusal: errors.HedraBatchError, pauses: list[float]) -> None:
    async def work() -> list[float]:
        lane, _ = make_lanes()
        measured = []
        for _each in pauses:
            refuse(lane, refusal)
            measured.append(await measure_pause(lane))
        return measured

    assert run_virtually(work) == pauses


def test_those_that_were_refused_together_make_the_pause_grow_once() -> None:
    async def work() -> list[float]:
        submissions, reads = make_lanes()
        for _ in range(3):
            submissions.on_failed(TOO_MANY, None)
        first = await measure_pause(submissions)
        submissions.on_failed(TOO_MANY, None)
        return [first, await measure_pause(submissions), await measure_pause(reads)]

    assert run_virtually(work) == [5.0, 10.0, 0.0]


@pytest.mark.parametrize("refusal", [TOO_MANY, AWAY])
@pytest.mark.parametrize("answer", ["on_accepted", "on_answered", "on_unclear"])
def test_an_answer_lets_the_pauses_begin_anew(refusal: errors.HedraBatchError, answer: str) -> None:
    async def work() -> list[float]:
        lane, _ = make_lanes()
        measured = []
        for _ in range(2):
            refuse(lane, refusal)
            measured.append(await measure_pause(lane))
            lane.on_accepted(None) if answer == "on_accepted" else getattr(lane, answer)()
        return measured

    first, second = run_virtually(work)
    assert first == second


def test_what_the_api_takes_brings_its_rate_back() -> None:
    async def work() -> list[float]:
        lane, _ = make_lanes()
        lane.on_failed(TOO_MANY, await lane.wait())
        for turn in await measure_turns(lane, 50):
            lane.on_accepted(turn)
        return await measure_turns(lane, 4)

    assert measure_gaps(run_virtually(work)[1:]) == pytest.approx([0.1] * 2, abs=0.001)


def test_an_api_that_stays_away_ends_the_run_unless_something_shows_that_it_is_there() -> None:
    async def work() -> float:
        lane, _ = make_lanes(RunSettings(first_answer_seconds=30.0, outage_seconds=100.0))
        lane.on_unreachable(AWAY)
        await asyncio.sleep(29)
        lane.on_unreachable(AWAY)
        lane.on_present()
        lane.on_unreachable(AWAY)
        await asyncio.sleep(99)
        lane.on_unreachable(AWAY)
        await asyncio.sleep(1)
        with pytest.raises(errors.ApiUnreachableError, match="Tried for 100 s"):
            lane.on_unreachable(AWAY)
        return asyncio.get_running_loop().time()

    assert run_virtually(work) == pytest.approx(129, abs=0.1)


def test_a_window_that_is_used_up_pauses_its_own_kind_only() -> None:
    async def work() -> tuple[list[float], float]:
        submissions, reads = make_lanes()
        submissions.on_used_up(30.0)
        read, pause = await measure_turns(reads, 3), await measure_pause(reads)
        return [read[-1], *await measure_turns(submissions, 1)], pause

    [read, submitted], pause = run_virtually(work)
    assert (read < 1.0, submitted >= 30.0, pause) == (True, True, 0.0)


def test_a_pause_that_grows_by_little_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        lane, _ = make_lanes()
        for seconds in (10.0, 10.001, 10.002, 20.0):
            lane.on_used_up(seconds)

    with caplog.at_level(logging.INFO, "hedra_batch.run.pacing.rate"):
        run_virtually(work)
    reason = "the API says that it takes no more for now (X-RateLimit-Remaining: 0)"
    assert caplog.messages == [f"submissions pause for {seconds} s: {reason}" for seconds in (10, 20)]


@pytest.mark.parametrize("refusal", [TOO_MANY, errors.ThrottledError("Too many", 3000.0), AWAY])
def test_what_is_refused_to_one_kind_pauses_no_other(refusal: errors.HedraBatchError) -> None:
    async def work() -> list[float]:
        lanes = make_lanes()
        pauses = []
        for refused, other in (lanes, lanes[::-1]):
            refuse(refused, refusal)
            pauses.append(await measure_pause(other))
            await measure_pause(refused)
        return pauses

    assert run_virtually(work) == [0.0, 0.0]
