"""Requests that cost nothing: repeated until they are answered, in a time that only the timers move."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from test_lane import make_lanes
from test_rate import measure_gaps, run_virtually

from hedra_batch import errors
from hedra_batch.run.pacing.lane import Lane
from hedra_batch.run.pacing.retrying import GARBLED_LIMIT, LONGEST_WISH_SECONDS, RetryingClient
from hedra_batch.run.settings import RunSettings

SETTINGS = RunSettings(first_pause_seconds=1.0, longest_pause_seconds=4.0)
NO_ANSWER, GARBLED = errors.NoAnswerError("No answer"), errors.GarbledError("What?")


def answer(*failures: errors.HedraBatchError, times: list[float]) -> Callable[[], Awaitable[str]]:
    """Make a request that fails in these ways and then is answered; the times of its tries are noted."""
    remaining = iter(failures)

    async def request() -> str:
        times.append(asyncio.get_running_loop().time())
        if failure := next(remaining, None):
            raise failure
        return "answer"

    return request


def run_request(*failures: errors.HedraBatchError) -> list[float]:
    """Send one request until it is answered; returns the times of its tries."""

    async def work() -> list[float]:
        times: list[float] = []
        lane, _ = make_lanes()
        assert await RetryingClient(SETTINGS, lane).until_answered(answer(*failures, times=times)) == "answer"
        return times

    return run_virtually(work)


@pytest.mark.parametrize(
    "failures",
    [
        [],
        [NO_ANSWER] * 3,
        [errors.UnavailableError("503"), errors.ThrottledError("Too many"), errors.NotSentError("Refused")],
        [GARBLED] * (GARBLED_LIMIT - 1),
    ],
)
def test_a_request_is_repeated_until_it_is_answered(failures: list[errors.HedraBatchError]) -> None:
    assert len(run_request(*failures)) == len(failures) + 1


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(errors.UnavailableError("503", 3600.0), LONGEST_WISH_SECONDS), (errors.ThrottledError("429", 3600.0), 3600.0)],
)
def test_an_api_that_is_away_is_asked_again_before_the_hour_that_it_names(
    error: errors.RetryError, seconds: float
) -> None:
    [gap] = measure_gaps(run_request(error))
    assert gap == pytest.approx(seconds, rel=0.05)


def test_its_pauses_grow() -> None:
    gaps = measure_gaps(run_request(*[NO_ANSWER] * 6))
    assert 1.0 <= gaps[0] <= gaps[1] <= max(gaps) <= 5.0


def test_a_pause_that_the_server_asks_for_is_kept() -> None:
    first, second = run_request(errors.UnavailableError("503", 70.0))
    assert second - first >= 70.0


@pytest.mark.parametrize(
    ("failures", "end", "tries"),
    [
        ([errors.NotFoundError("not_found", "No.")], errors.NotFoundError, 1),
        ([errors.OutOfCreditsError("No credits.")], errors.OutOfCreditsError, 1),
        ([errors.KeyRefusedError("No.")], errors.KeyRefusedError, 1),
        ([GARBLED] * GARBLED_LIMIT, errors.BrokenContractError, GARBLED_LIMIT),
        ([NO_ANSWER] * 10_000, errors.ApiUnreachableError, None),
    ],
)
def test_what_makes_no_sense_to_repeat_is_not(
    failures: list[errors.HedraBatchError], end: type[Exception], tries: int | None
) -> None:
    async def work() -> int:
        times: list[float] = []
        lane, _ = make_lanes()
        with pytest.raises(end):
            await RetryingClient(SETTINGS, lane).until_answered(answer(*failures, times=times))
        return len(times)

    assert run_virtually(work) == (tries or pytest.approx(10, abs=5))


def test_one_try_is_one_try() -> None:
    async def work() -> list[float]:
        times: list[float] = []
        lane, _ = make_lanes()
        with pytest.raises(errors.NoAnswerError):
            await RetryingClient(SETTINGS, lane).once(answer(NO_ANSWER, times=times))
        return times

    assert len(run_virtually(work)) == 1


async def send_three(lane: Lane, *, is_paced: bool) -> list[float]:
    times: list[float] = []
    client = RetryingClient(SETTINGS, lane)
    await asyncio.gather(*(client.once(answer(times=times), is_paced=is_paced) for _ in range(3)))
    return times


@pytest.mark.parametrize(("is_paced", "distance_seconds"), [(True, 0.1), (False, 0.0)])
def test_what_is_not_paced_takes_no_turn_and_keeps_the_cooldown_all_the_same(
    is_paced: bool, distance_seconds: float
) -> None:
    async def work() -> list[float]:
        lane, _ = make_lanes()
        lane.on_failed(errors.ThrottledError("Too many", 10.0), None)
        return await send_three(lane, is_paced=is_paced)

    times = run_virtually(work)
    assert times == pytest.approx([10.0 + number * distance_seconds for number in range(3)], abs=0.11)
    assert times[-1] - times[0] == pytest.approx(2 * distance_seconds, abs=0.001)


def test_a_clear_no_is_an_answer_too() -> None:
    async def work() -> None:
        lane, _ = make_lanes(RunSettings(first_answer_seconds=1.0, outage_seconds=1.0))
        client = RetryingClient(SETTINGS, lane)
        for failure in (NO_ANSWER, errors.NotFoundError("not_found", "No."), NO_ANSWER):
            with pytest.raises(type(failure)):
                await client.once(answer(failure, times=[]))
            await asyncio.sleep(2)

    run_virtually(work)
