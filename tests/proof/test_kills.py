"""Killed at every step, and at any moment: the same line again ends with one charge a job and every file whole."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from functools import partial

import pytest
from checker import check
from forking import NETWORK, Action, Kind, Server, Strike, finish, name_errors, open_folder, serve, sweep

from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

#: Parts that can run beside each other.
CHUNKS = 8
THREE_JOBS = """
  - {id: one, prompt: One scene}
  - {id: two, prompt: Another scene}
  - {id: hero, prompt: Wind, image: hero.png}
"""
FIFTY_JOBS = "".join(f"  - {{id: job-{number}, prompt: Scene {number}}}\n" for number in range(50))
#: A call after which something is elsewhere than before it, even when nothing follows: at the service, or on the disk.
LASTING = NETWORK | Kind.SYNC
BAD_WEATHER = {
    **dict.fromkeys(("lost-request", "lost-answer", "5xx-before", "5xx-after", "429", "garbage"), 0.02),
    **dict.fromkeys(("slow", "cut-download", "expired-link", "missing-link"), 0.05),
}
#: About the time that an undisturbed run of fifty jobs takes.
LONGEST_LIFE_SECONDS = 1.0
#: Where a run is killed, each with a number of calls that a run of three jobs makes at the least.
STRIKES = {"before": (Strike(Action.KILL_BEFORE), 200), "after": (Strike(Action.KILL_AFTER, LASTING), 40)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.mark.parametrize("moment", STRIKES)
@pytest.mark.parametrize("chunk", range(CHUNKS))
async def test_killed_at_every_step_nothing_is_paid_twice_or_lost(server: Server, moment: str, chunk: int) -> None:
    strike, least = STRIKES[moment]
    assert await sweep(strike, 1 + chunk, CHUNKS, partial(is_killed, server)) > least


async def is_killed(server: Server, strike: Strike) -> bool:
    """Have a run killed and go on; tells whether it came to the call that it was to be killed at."""
    with open_folder(THREE_JOBS) as folder:
        async with Simulator(SimulatorSettings(speed=10_000)) as service:
            code = await server.run(folder, service.url, strike)
            assert code in (0, -signal.SIGKILL), name_errors(folder).read_text("utf-8")
            check(folder / "batch.out", service.billing, service.requests, is_over=False)
            await finish(server, folder, service)
    return code < 0


@pytest.mark.parametrize("chunk", range(CHUNKS))
async def test_killed_at_any_moment_in_bad_weather_fifty_jobs_are_paid_once_each(
    server: Server, pytestconfig: pytest.Config, chunk: int
) -> None:
    kills, seed = pytestconfig.getoption("kills"), pytestconfig.getoption("seed")
    chance = random.Random(CHUNKS * seed + chunk)
    remaining = (kills + chunk) // CHUNKS
    while remaining > 0:
        remaining -= await kill_often(server, chance, remaining)


async def kill_often(server: Server, chance: random.Random, most: int) -> int:
    """Kill the runs of one folder until they were killed that often or all is done; returns how often."""
    kills = 0
    settings = SimulatorSettings(speed=1000, faults=BAD_WEATHER, seed=chance.randrange(10**6))
    with open_folder(FIFTY_JOBS) as folder:
        async with Simulator(settings) as service:
            while kills < most:
                moment = chance.random() * LONGEST_LIFE_SECONDS
                if await server.run(folder, service.url, kill_after_seconds=moment) >= 0:
                    break
                check(folder / "batch.out", service.billing, service.requests, is_over=False)
                kills += 1
            await finish(server, folder, service)
    return kills
