"""`simulate`: the simulated API on its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hedra_batch.cli.options import DURATION, RATE
from hedra_batch.errors import EXIT_DONE
from hedra_batch.units import Rate

if TYPE_CHECKING:
    from hedra_batch.simulator.settings import SimulatorSettings


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="0 takes a free one.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="How much faster than the real API.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME=PROBABILITY",
    help="Make it misbehave; `--fault help` lists the names.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the faults and durations.")
@click.option(
    "--credits", type=click.IntRange(min=0), default=10_000, show_default=True, help="The account's balance at first."
)
@click.option(
    "--rate",
    type=RATE,
    metavar="RATE",
    help="Refuse more submissions than so many a window: 20/s; --speed does not change it.",
)
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Refuse more generations at once.")
@click.option(
    "--generation-time",
    "generation_seconds",
    type=DURATION,
    default="2m",
    show_default=True,
    metavar="TIME",
    help="What a generation takes, give or take a half; --speed divides it.",
)
@click.option(
    "--eta-noise",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    metavar="SHARE",
    help="How wrong its estimates are at most.",
)
@click.option(
    "--eta-share",
    type=click.FloatRange(min=0, max=1),
    default=0.9,
    show_default=True,
    metavar="SHARE",
    help="The share of generations that get an estimate.",
)
@click.option(
    "--latency",
    "latency_seconds",
    type=DURATION,
    metavar="TIME",
    help="Answer each request so late; --speed does not change it.",
)
@click.option(
    "--video-mb",
    "video_bytes",
    type=click.IntRange(min=0),
    callback=lambda _context, _option, megabytes: megabytes * 10**6,
    default=0,
    metavar="MB",
    help="Fill each video up to so many megabytes.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep state, billing.jsonl and requests.jsonl here.",
)
def simulate(faults: tuple[str, ...], rate: Rate | None, **settings: Any) -> int:
    """Serve a simulated Hedra API on this machine, until interrupted."""
    from hedra_batch.cli.loop import run_on_loop
    from hedra_batch.simulator.faults import FAULTS, parse_faults
    from hedra_batch.simulator.settings import SimulatorSettings

    if "help" in faults:
        for name, meaning in FAULTS.items():
            print(f"{name:15} {meaning}")
        return EXIT_DONE
    given = {name: value for name, value in settings.items() if value is not None}
    if rate:
        given.update(window_submissions=rate.count, window_seconds=rate.per_seconds)
    return run_on_loop(_serve, SimulatorSettings(faults=parse_faults(faults), **given))


async def _serve(settings: SimulatorSettings) -> int:
    import asyncio
    import signal

    from hedra_batch.simulator.service import Simulator

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
    return EXIT_DONE
