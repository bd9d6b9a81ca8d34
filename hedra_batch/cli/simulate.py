"""The simulated API: on its own for `simulate`, inside a run for `--simulate`."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hedra_batch.cli.place import TRIAL_SPEED
from hedra_batch.simulator.faults import FAULTS, parse_faults
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings
from hedra_batch.units import Rate

TRIAL_KEY = "a-key-of-the-simulated-account"


def make_trial(folder: Path) -> Simulator:
    """Make the API of a trial, with its state in the run folder, so that an interrupted trial goes on."""
    return Simulator(SimulatorSettings(folder=folder, speed=TRIAL_SPEED))


def serve(faults: Sequence[str], rate: Rate | None, **settings: Any) -> int:
    """Serve until a signal comes; returns the exit code. All else are fields of the simulator's settings."""
    if "help" in faults:
        for name, meaning in FAULTS.items():
            print(f"{name:15} {meaning}")
        return 0
    if rate:
        settings.update(window_submissions=rate.count, window_seconds=rate.per_seconds)
    return asyncio.run(_serve(SimulatorSettings(faults=parse_faults(faults), **settings)))


async def _serve(settings: SimulatorSettings) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    async with Simulator(settings) as simulator:
        print(f"Simulated Hedra API at {simulator.url}", flush=True)
        print(
            f"  HEDRA_API_KEY=any-key hedra-batch run MANIFEST --base-url {simulator.url}", file=sys.stderr, flush=True
        )
        await stopped.wait()
    return 0
