"""Before a run submits anything, it reads once what an earlier run left in flight, and waits for that only so long."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import IMPATIENT, Desk, wait_until
from test_faults import list_charged, open_desk
from test_rate import run_virtually

from hedra_batch.run.pacing.rate import FirstRead
from hedra_batch.simulator.service import Simulator

TWO_JOBS = "jobs:\n  - {id: first, prompt: One scene}\n  - {id: second, prompt: Another scene}"


@pytest.mark.parametrize(
    ("keys", "reads", "seconds"),
    [([], {}, 0.0), ([1, 2], {1: 3.0, 2: 8.0}, 8.0), ([1, 2], {1: 3.0}, 30.0), ([1], {7: 1.0}, 30.0)],
)
def test_it_holds_until_all_are_read_or_the_time_is_over(
    keys: list[int], reads: dict[int, float], seconds: float
) -> None:
    async def work() -> float:
        loop, first_read = asyncio.get_running_loop(), FirstRead(30.0)
        began_time = loop.time()
        first_read.begin(keys)
        for key, after in reads.items():
            loop.call_later(after, first_read.on_read, key)
        await first_read.wait()
        assert not first_read.is_on
        return round(loop.time() - began_time, 3)

    assert run_virtually(work) == seconds


async def leave_in_flight(desk: Desk, simulator: Simulator) -> None:
    """Stop a run as soon as its one job was submitted."""
    desk.write_manifest(TWO_JOBS)
    process = await desk.start("run", "batch.yaml", "--id", "first")
    await wait_until(lambda: len(simulator.billing) == 1)
    process.terminate()
    await process.communicate()


async def test_what_is_in_flight_is_read_before_the_first_submission(tmp_path: Path) -> None:
    async with open_desk(tmp_path, speed=20.0) as (desk, simulator):
        await leave_in_flight(desk, simulator)
        before = len(simulator.requests)
        assert await desk.run_here() == 0
        paths = [f"{each.method} {each.path.rpartition('/')[2]}" for each in simulator.requests[before:]]
        assert paths.index("GET generations") < paths.index("POST generations")
        assert len(set(list_charged(simulator))) == 2


async def test_what_cannot_be_read_keeps_no_submission_for_long(tmp_path: Path) -> None:
    async with open_desk(tmp_path, speed=20.0) as (desk, simulator):
        await leave_in_flight(desk, simulator)
        simulator.plan_fault("429", 30, "GET /generations")
        running = asyncio.create_task(desk.run_here(replace(IMPATIENT, first_read_seconds=0.1, throttle_seconds=3.0)))
        await wait_until(lambda: len(simulator.billing) == 2)
        running.cancel()
        await asyncio.wait({running})
