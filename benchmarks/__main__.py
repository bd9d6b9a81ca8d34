"""`python -m benchmarks`: takes the figures one after the other and prints them as one table."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.bench import FULL, SHORT, Bench
from benchmarks.command import FailedError
from benchmarks.cost import measure_cpu
from benchmarks.files import measure_files
from benchmarks.flow import measure_pace, measure_slots
from benchmarks.memory import measure_in_flight, measure_large, measure_soak
from benchmarks.readiness import measure_first, measure_plan, measure_plan_jobs, measure_resume, measure_start
from benchmarks.stall import measure_stall
from benchmarks.stopping import measure_stopping
from benchmarks.table import Row, write_table
from benchmarks.watching import measure_short, measure_watching


class Measurement(NamedTuple):
    """Takes one or several figures in one go."""

    names: tuple[str, ...]
    take: Callable[[Bench], list[Row]]


MEASUREMENTS = (
    Measurement(("first",), measure_first),
    Measurement(("cpu", "cpu-fast"), measure_cpu),
    Measurement(("files", "throughput"), measure_files),
    Measurement(("pace", "window"), measure_pace),
    Measurement(("slots",), measure_slots),
    Measurement(("reads", "notice", "vendor"), measure_watching),
    Measurement(("reads-short", "notice-short", "reads-no-eta", "notice-no-eta"), measure_short),
    Measurement(("stop-send", "stop"), measure_stopping),
    Measurement(("memory",), measure_in_flight),
    Measurement(("soak",), measure_soak),
    Measurement(("memory-manifest",), measure_large),
    Measurement(("plan",), measure_plan),
    Measurement(("plan-jobs",), measure_plan_jobs),
    Measurement(("resume", "status"), measure_resume),
    Measurement(("start",), measure_start),
    Measurement(("stall",), measure_stall),
)
NAMES = tuple(name for measurement in MEASUREMENTS for name in measurement.names)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns 1 when a figure could not be taken."""
    told = _make_parser().parse_args(arguments)
    if told.list:
        print("\n".join(NAMES))
        return 0
    # Whatever ends this, what it has started ends too.
    # In the background it is ignored, and so it would be in the commands that are measured.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    effort = SHORT if told.short else FULL
    with tempfile.TemporaryDirectory(prefix="hedra-benchmarks-", dir=told.folder) as folder:
        bench = Bench(Path(folder), replace(effort, reads_speed=told.speed) if told.speed else effort)
        load = os.getloadavg()[0]
        rows, failures = _take(bench, told.only)
    if told.short:
        rows = [replace(row, is_met=None) for row in rows]
    if rows:
        print("\n".join(write_table(rows)))
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} CPUs, {platform.system()}, load before: {load:.1f}.")
    if told.short:
        print("This was `--short`: it shows that everything can be run; its figures mean nothing.")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--short", action="store_true", help="everything in small numbers; the figures mean nothing")
    parser.add_argument("--only", choices=NAMES, metavar="NAME", help="only this figure")
    parser.add_argument("--list", action="store_true", help="print the names of the figures")
    parser.add_argument("--speed", type=int, metavar="N", help="time of reads and notice [default: 2x]")
    parser.add_argument("--folder", help="work in here, on a real disk [default: the folder of temporary files]")
    return parser


def _take(bench: Bench, only: str | None) -> tuple[list[Row], list[str]]:
    """Take the figures; one that cannot be taken leaves the others alone."""
    rows, failures = [], []
    for names, take in MEASUREMENTS:
        if only and only not in names:
            continue
        bench.tell(f"{', '.join(names)} …")
        started_seconds = time.perf_counter()
        try:
            rows += [row for row in take(bench) if only in (None, row.name)]
        except FailedError as error:
            failures.append(f"{', '.join(names)}: {error}")
        bench.tell(f"{', '.join(names)}: took {time.perf_counter() - started_seconds:.1f} s")
    return rows, failures


if __name__ == "__main__":
    sys.exit(main())
