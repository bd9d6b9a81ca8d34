"""Pace, pause and slots, in a time that only the timers move."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from virtual import VirtualLoop

from hedra_batch.errors import SubmittingClosedError
from hedra_batch.pipeline.pace import Pace, Pause
from hedra_batch.pipeline.slots import Slots
from hedra_batch.quantity import Rate


def run_virtually(work: Callable[[], Coroutine[Any, Any, list[float]]]) -> list[float]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work())


async def pass_through(pace: Pace, passed: list[float]) -> None:
    await pace.wait()
    passed.append(asyncio.get_running_loop().time())


def measure_gaps(passed: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(passed)]


@pytest.mark.parametrize("rate", [Rate(30, 60), Rate(10, 60), Rate(20, 1)])
def test_requests_pass_evenly_and_never_in_a_burst(rate: Rate) -> None:
    async def work() -> list[float]:
        pace, passed = Pace(rate, Pause()), list[float]()
        await asyncio.gather(*(pass_through(pace, passed) for _ in range(50)))
        return passed

    gaps = measure_gaps(run_virtually(work))
    assert min(gaps) >= rate.interval_seconds * 0.999
    assert max(gaps) <= rate.interval_seconds * 1.001


def test_idle_time_is_not_saved_up_for_a_burst() -> None:
    async def work() -> list[float]:
        pace, passed = Pace(Rate(1, 1), Pause()), list[float]()
        await pass_through(pace, passed)
        await asyncio.sleep(100)
        await asyncio.gather(*(pass_through(pace, passed) for _ in range(5)))
        return passed

    assert min(measure_gaps(run_virtually(work))) >= 0.999


def test_a_pause_holds_everybody_and_an_extension_too() -> None:
    async def work() -> list[float]:
        pause, passed = Pause(), list[float]()
        paces = [Pace(Rate(100, 1), pause), Pace(Rate(100, 1), pause)]
        pause.extend(10, "test")
        asyncio.get_running_loop().call_later(9, pause.extend, 20, "test")
        await asyncio.gather(*(pass_through(pace, passed) for pace in paces))
        return passed

    assert min(run_virtually(work)) >= 29


def test_after_a_pause_the_pace_is_kept_too() -> None:
    async def work() -> list[float]:
        pause, passed = Pause(), list[float]()
        pace = Pace(Rate(30, 60), pause)
        for second in (1, 5, 21):
            asyncio.get_running_loop().call_later(second, pause.extend, 10, "test")
        await asyncio.gather(*(pass_through(pace, passed) for _ in range(20)))
        return passed

    assert min(measure_gaps(run_virtually(work))) >= 1.999


def test_the_first_request_keeps_its_distance_from_the_last_of_an_earlier_run() -> None:
    async def work() -> list[float]:
        pace, passed = Pace(Rate(30, 60), Pause(), since_last_seconds=0.5), list[float]()
        await asyncio.gather(*(pass_through(pace, passed) for _ in range(2)))
        return passed

    first, second = run_virtually(work)
    assert (first >= 1.499, second - first >= 1.999) == (True, True)


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    async def work() -> list[float]:
        pause, passed = Pause(), list[float]()
        pause.extend(10, "test")
        pause.extend(1, "test")
        await pass_through(Pace(Rate(100, 1), pause), passed)
        return passed

    assert run_virtually(work)[0] >= 10


async def test_no_more_enter_than_there_are_slots() -> None:
    slots = Slots(2)
    await slots.enter(1)
    await slots.enter(2)
    third = asyncio.create_task(slots.enter(3))
    await asyncio.sleep(0)
    assert not third.done()
    await slots.leave(1)
    await third


async def test_what_is_in_flight_already_takes_its_slots_without_asking() -> None:
    slots = Slots(1)
    slots.take_over(1)
    slots.take_over(2)
    third = asyncio.create_task(slots.enter(3))
    await slots.leave(1)
    await asyncio.sleep(0)
    assert not third.done()
    await slots.leave(2)
    await third


async def test_whoever_has_a_slot_may_enter_again() -> None:
    slots = Slots(1)
    await slots.enter(1)
    await slots.enter(1)
    await slots.leave(1)
    await slots.enter(2)


async def test_closing_sends_away_those_who_wait_and_those_who_come() -> None:
    slots = Slots(1)
    await slots.enter(1)
    waiting = asyncio.create_task(slots.enter(2))
    await asyncio.sleep(0)
    await slots.close()
    with pytest.raises(SubmittingClosedError):
        await waiting
    with pytest.raises(SubmittingClosedError):
        await slots.enter(3)
