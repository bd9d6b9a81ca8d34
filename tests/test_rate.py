"""The rate of requests, cooldowns and the backlog, in a time that only the timers move."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from virtual import VirtualLoop

from hedra_batch.run.pacing.rate import Backlog, Cooldown, RateLimiter
from hedra_batch.units import Rate

T = TypeVar("T")


def run_virtually(work: Callable[[], Coroutine[Any, Any, T]], make_loop: Callable[[], VirtualLoop] = VirtualLoop) -> T:
    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(work())


async def pass_through(limiter: RateLimiter, passed: list[float]) -> None:
    await limiter.wait()
    passed.append(asyncio.get_running_loop().time())


def measure_gaps(passed: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(passed)]


@pytest.mark.parametrize("rate", [Rate(30, 60), Rate(10, 60), Rate(20, 1)])
def test_requests_pass_evenly_and_never_in_a_burst(rate: Rate) -> None:
    async def work() -> list[float]:
        limiter, passed = RateLimiter(rate, Cooldown()), list[float]()
        await asyncio.gather(*(pass_through(limiter, passed) for _ in range(50)))
        return passed

    gaps = measure_gaps(run_virtually(work))
    assert min(gaps) >= rate.interval_seconds * 0.999
    assert max(gaps) <= rate.interval_seconds * 1.001


def test_idle_time_is_not_saved_up_for_a_burst() -> None:
    async def work() -> list[float]:
        limiter, passed = RateLimiter(Rate(1, 1), Cooldown()), list[float]()
        await pass_through(limiter, passed)
        await asyncio.sleep(100)
        await asyncio.gather(*(pass_through(limiter, passed) for _ in range(5)))
        return passed

    assert min(measure_gaps(run_virtually(work))) >= 0.999


def test_free_turns_wait_for_no_interval_and_then_the_pace_begins() -> None:
    async def work() -> list[float]:
        limiter, passed = RateLimiter(Rate(1, 1), Cooldown(), free_turns=2), list[float]()
        for _ in range(5):
            await pass_through(limiter, passed)
        return passed

    assert run_virtually(work) == pytest.approx([0.0, 0.0, 0.0, 1.0, 2.0], abs=0.01)


def test_a_pause_holds_a_free_turn_too() -> None:
    async def work() -> list[float]:
        cooldown, passed = Cooldown(), list[float]()
        cooldown.extend(10.0, "a test")
        await pass_through(RateLimiter(Rate(1, 1), cooldown, free_turns=1), passed)
        return passed

    assert run_virtually(work) == pytest.approx([10.0], abs=0.01)


def test_a_pause_holds_everybody_and_an_extension_too() -> None:
    async def work() -> list[float]:
        cooldown, passed = Cooldown(), list[float]()
        limiters = [RateLimiter(Rate(100, 1), cooldown), RateLimiter(Rate(100, 1), cooldown)]
        cooldown.extend(10, "test")
        asyncio.get_running_loop().call_later(9, cooldown.extend, 20, "test")
        await asyncio.gather(*(pass_through(limiter, passed) for limiter in limiters))
        return passed

    assert min(run_virtually(work)) >= 29


def test_after_a_pause_the_pace_is_kept_too() -> None:
    async def work() -> list[float]:
        cooldown, passed = Cooldown(), list[float]()
        limiter = RateLimiter(Rate(30, 60), cooldown)
        for second, length_seconds in ((1, 10), (5, 10), (21, 10), (40.4, 3)):
            asyncio.get_running_loop().call_later(second, cooldown.extend, length_seconds, "test")
        await asyncio.gather(*(pass_through(limiter, passed) for _ in range(20)))
        return passed

    assert min(measure_gaps(run_virtually(work))) >= 1.999


def test_the_first_request_keeps_its_distance_from_the_last_of_an_earlier_run() -> None:
    async def work() -> list[float]:
        limiter, passed = RateLimiter(Rate(30, 60), Cooldown(), since_last_seconds=0.5), list[float]()
        await asyncio.gather(*(pass_through(limiter, passed) for _ in range(2)))
        return passed

    first, second = run_virtually(work)
    assert (first >= 1.499, second - first >= 1.999) == (True, True)


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    async def work() -> list[float]:
        cooldown, passed = Cooldown(), list[float]()
        cooldown.extend(10, "test")
        cooldown.extend(1, "test")
        await pass_through(RateLimiter(Rate(100, 1), cooldown), passed)
        return passed

    assert run_virtually(work)[0] >= 10


class LateLoop(VirtualLoop):
    """A busy machine: timers are heard late."""

    def __init__(self, most_seconds: float) -> None:
        super().__init__()
        self._most_seconds = most_seconds
        self._lateness = random.Random(1)

    def _jump(self) -> None:
        before = self.now_seconds
        super()._jump()
        if self.now_seconds > before:
            self.now_seconds += self._lateness.uniform(0, self._most_seconds)


def count_most_in_window(passed: list[float], seconds: float) -> int:
    return max(sum(first <= each < first + seconds for each in passed) for first in passed)


@pytest.mark.parametrize(
    ("rate", "late_seconds", "most"),
    [(Rate(10, 60), 3, 21), (Rate(20, 1), 0.025, 21), (Rate(100, 1), 0.005, 21), (Rate(1000, 1), 0.005, 26)],
)
def test_wakeups_that_come_late_slow_nothing_down_and_bring_no_burst(
    rate: Rate, late_seconds: float, most: int
) -> None:
    async def work() -> list[float]:
        limiter, passed = RateLimiter(rate, Cooldown()), list[float]()
        await asyncio.gather(*(pass_through(limiter, passed) for _ in range(600)))
        return passed

    passed = run_virtually(work, lambda: LateLoop(late_seconds))
    assert passed[-1] - passed[0] <= 1.03 * 599 * rate.interval_seconds
    assert count_most_in_window(passed, 20 * rate.interval_seconds) <= most


def test_after_idle_time_the_next_but_one_comes_a_whole_interval_later() -> None:
    async def work() -> list[float]:
        limiter, passed = RateLimiter(Rate(1, 1), Cooldown()), list[float]()
        for idle_seconds in (1.6, 7.0, 100.0):
            await asyncio.gather(*(pass_through(limiter, passed) for _ in range(2)))
            await asyncio.sleep(idle_seconds)
        return passed

    assert min(measure_gaps(run_virtually(work))) >= 0.999


def test_a_cut_halves_the_pace_once_a_pause_and_after_it_there_is_no_burst() -> None:
    async def work() -> list[float]:
        cooldown, passed = Cooldown(), list[float]()
        limiter = RateLimiter(Rate(10, 1), cooldown)
        turns = [await limiter.wait() for _ in range(3)]
        for turn in turns:
            limiter.cut(turn, "Too many")
            cooldown.extend(5, "test")
        await asyncio.gather(*(pass_through(limiter, passed) for _ in range(20)))
        return passed

    gaps = measure_gaps(run_virtually(work))
    assert (min(gaps) >= 0.1999, max(gaps) <= 0.2001) == (True, True)


def run_at_changing_pace(taken: Callable[[int], bool], count: int) -> list[float]:
    """Send one by one through a pace of 32/s: `taken` says which the API takes."""

    async def work() -> list[float]:
        cooldown, passed = Cooldown(), list[float]()
        limiter = RateLimiter(Rate(32, 1), cooldown, name="submit")
        for number in range(count):
            turn = await limiter.wait()
            passed.append(turn)
            await asyncio.sleep(0.001)
            if taken(number):
                limiter.on_accepted(turn)
            else:
                limiter.cut(turn, "The API asks to slow down (Too many)")
                cooldown.extend(0.01, "test")
        return passed

    return run_virtually(work)


def test_a_pace_never_falls_below_a_thirty_second_of_what_was_asked_for() -> None:
    gaps = measure_gaps(run_at_changing_pace(lambda _: False, 20))
    assert gaps[-1] == pytest.approx(1.0, abs=0.1)


def test_a_pace_comes_back_step_by_step_to_what_was_asked_for_and_no_further() -> None:
    gaps = measure_gaps(run_at_changing_pace(lambda number: number > 0, 100))
    rates = [round(1 / gap, 1) for gap in gaps]
    assert list(dict.fromkeys(rates[1:])) == [16.0, 19.2, 22.4, 25.6, 28.8, 32.0]


def test_what_was_under_way_when_a_pause_began_does_not_raise_a_pace(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> list[float]:
        cooldown = Cooldown()
        limiter = RateLimiter(Rate(10, 1), cooldown)
        turns = [await limiter.wait() for _ in range(30)]
        limiter.cut(turns[0], "Too many")
        cooldown.extend(5, "test")
        for turn in turns[1:]:
            limiter.on_accepted(turn)
        return turns

    with caplog.at_level(logging.INFO, "hedra_batch.run.pacing.rate"):
        run_virtually(work)
    assert [line for line in caplog.messages if "goes" in line] == [
        "the request pace goes from 10/s to 5/s: too many",
    ]


def test_a_refusal_begins_the_row_of_the_accepted_anew(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hedra_batch.run.pacing.rate"):
        run_at_changing_pace(lambda number: number % 10 != 0, 31)
    assert [line for line in caplog.messages if "accepted" in line] == []


def test_each_change_of_pace_is_told_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hedra_batch.run.pacing.rate"):
        run_at_changing_pace(lambda number: number > 0, 12)
    assert [line for line in caplog.messages if "goes" in line] == [
        "the submit pace goes from 32/s to 16/s: the API asks to slow down (Too many)",
        "the submit pace goes from 16/s to 19.2/s: 10 requests in a row were accepted",
    ]


def test_a_backlog_holds_a_pace_and_lets_nobody_burst_after_it() -> None:
    async def work() -> list[float]:
        backlog, passed = Backlog(), list[float]()
        limiter = RateLimiter(Rate(1, 1), Cooldown(), backlog)
        for second, change in ((2.5, backlog.grow), (3.5, backlog.grow), (9.2, backlog.shrink), (20.7, backlog.shrink)):
            asyncio.get_running_loop().call_later(second, change)
        await asyncio.gather(*(pass_through(limiter, passed) for _ in range(6)))
        return passed

    assert run_virtually(work) == pytest.approx([0, 1, 2, 20.7, 21.7, 22.7], abs=0.001)
