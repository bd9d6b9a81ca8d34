"""`simulate`: the simulated API on its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hedra_batch.cli.help import show_examples
from hedra_batch.cli.options import COUNT, DURATION, RATE
from hedra_batch.errors import EXIT_DONE
from hedra_batch.units import Rate

if TYPE_CHECKING:
    from hedra_batch.simulator.settings import SimulatorSettings


@click.command(
    epilog=show_examples(
        "hedra-batch simulate --speed 60", "hedra-batch simulate --fault lost-answer=0.1 --fault 429=0.05 --folder sim"
    )
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8787,
    show_default=True,
    metavar="N",
    help="Where it listens; 0 takes a free port.",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="FACTOR",
    help="How much faster it is than the real API.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME=PROBABILITY",
    help="Misbehave this often, from 0 to 1; may be repeated. `--fault help` lists what can go wrong.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="Another number draws other faults and durations.",
)
@click.option(
    "--credits",
    type=click.IntRange(min=0),
    default=10_000,
    show_default=True,
    metavar="CREDITS",
    help="What the account has at first.",
)
@click.option(
    "--charge-factor",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="FACTOR",
    help="Charge so many times what its price list says.",
)
@click.option("--api-wallet", "has_api_wallet", is_flag=True, help="Pay for the API from a wallet of its own.")
@click.option(
    "--refund-after",
    "refund_seconds",
    type=DURATION,
    metavar="TIME",
    help="Give failed videos back so much later, and show it; --speed divides it.",
)
@click.option(
    "--rate",
    type=RATE,
    metavar="RATE",
    help="Refuse requests that come faster, as in 20/s; --speed does not change it.",
)
@click.option("--concurrency", type=COUNT, metavar="N", help="Refuse to make more videos at once.")
@click.option(
    "--generation-time",
    "generation_seconds",
    type=DURATION,
    default="2m",
    show_default=True,
    metavar="TIME",
    help="How long a video takes, give or take a half; --speed divides it.",
)
@click.option(
    "--eta-noise",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    metavar="SHARE",
    help="How wrong its estimates of that time are at most.",
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
    help="Where it keeps its state, billing.jsonl and requests.jsonl.",
)
def simulate(faults: tuple[str, ...], rate: Rate | None, **settings: Any) -> int:
    """Serve a simulated Hedra API on this machine, to try things on.

    It costs nothing, needs no network, and takes any API key but one that begins with wrong. It goes on until Ctrl-C.
    A trial by `run --simulate` brings one of its own.
    """
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

    from hedra_batch.report.terminal import say
    from hedra_batch.simulator.service import Simulator

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    async with Simulator(settings) as simulator:
        print(f"Simulated Hedra API at {simulator.url}", flush=True)
        say("Use it from another terminal; Ctrl-C stops it:")
        say(f"    HEDRA_API_KEY=any-key hedra-batch run spring.yaml --base-url {simulator.url}")
        await stopped.wait()
    return EXIT_DONE
