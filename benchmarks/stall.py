"""The worst stall of the event loop: the longest time in which a run heard neither signals nor answers."""

from __future__ import annotations

import json

from benchmarks.bench import Bench
from benchmarks.command import call
from benchmarks.manifests import write_texts
from benchmarks.runs import find_out
from benchmarks.service import Service
from benchmarks.table import Row

_TARGET_MS = 50


def measure_stall(bench: Bench) -> list[Row]:
    """Run as for the CPU time, on a loop that is watched."""
    folder = bench.make_folder("stall")
    manifest = write_texts(folder, bench.effort.stall_jobs, in_flight=200)
    told = folder / "stall.json"
    with Service(folder, 600) as service:
        call("benchmarks.watched_run", str(manifest), str(find_out(manifest)), service.url, folder=folder, stdout=told)
    worst = json.loads(told.read_text("utf-8"))
    wall_ms, cpu_ms, collecting_ms = (worst[f"{kind}_seconds"] * 1000 for kind in ("wall", "cpu", "collecting"))
    return [
        Row(
            name="stall",
            figure=f"worst stall of the event loop in a run of {bench.effort.stall_jobs} jobs",
            measured=f"{wall_ms:.0f} ms (CPU {cpu_ms:.0f} ms, of it garbage collection {collecting_ms:.0f} ms)",
            rival=f"longest seen in {worst['place'] or 'no place: the collector lets nobody look'}",
            target=f"<= {_TARGET_MS} ms",
            is_met=wall_ms <= _TARGET_MS,
        )
    ]
