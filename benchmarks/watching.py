"""How many reads it takes to follow the jobs, and how soon an end is noticed, beside the vendor's way."""

from __future__ import annotations

import sqlite3
import statistics
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.command import Command, FailedError
from benchmarks.figures import percentile
from benchmarks.manifests import write_texts
from benchmarks.rivals import Errand
from benchmarks.runs import find_out, run
from benchmarks.service import READ, Generation, Service
from benchmarks.table import Row

#: The vendor's guide asks each job so often.
_VENDOR_PAUSE_SECONDS = 5.0
_TARGET_READS = 0.5
_TARGET_MEDIAN = 0.03
_TARGET_LATE = 0.08
_LATE_SHARE = 0.95
_READY = (
    "SELECT attempts.remote_id, history.at FROM history JOIN attempts USING (attempt_key) "
    "WHERE history.to_state = 'READY'"
)


def measure_watching(bench: Bench) -> list[Row]:
    """Follow the same jobs in both ways, at the same time: neither is short of anything."""
    jobs = bench.effort.reads_jobs
    with _start_vendor(bench) as (vendor, vendor_service):
        counts, shares = _run_program(bench)
        bench.tell(f"reads: {counts[READ] / jobs:.3f} a job; waiting for the vendor's way")
        vendor.wait()
        vendor_counts = vendor_service.count_requests()
    reads = counts[READ] / jobs
    median, late = statistics.median(shares), percentile(shares, _LATE_SHARE)
    scale = f"{bench.effort.reads_in_flight} in flight, time {bench.effort.reads_speed}x"
    return [
        Row(
            name="reads",
            figure=f"read requests a finished job, {jobs} jobs, {scale}",
            measured=f"{reads:.3f}",
            rival=f"vendor's way: {vendor_counts[READ] / jobs:.1f}",
            target=f"<= {_TARGET_READS}",
            is_met=reads <= _TARGET_READS,
        ),
        Row(
            name="notice",
            figure="from the end of a generation to READY in the ledger, as a share of its duration: median, 95 %",
            measured=f"{median:.1%}, {late:.1%}",
            rival=f"{len(shares)} jobs",
            target=f"<= {_TARGET_MEDIAN:.0%}, <= {_TARGET_LATE:.0%}",
            is_met=median <= _TARGET_MEDIAN and late <= _TARGET_LATE,
        ),
        Row(
            name="vendor",
            figure="all requests a finished job",
            measured=f"{counts.total() / jobs:.2f}",
            rival=f"vendor's way, a status every {_VENDOR_PAUSE_SECONDS:g} s: {vendor_counts.total() / jobs:.1f}",
        ),
    ]


def _run_program(bench: Bench) -> tuple[Counter[str], list[float]]:
    effort = bench.effort
    folder = bench.make_folder("reads")
    poll = f"{effort.reads_speed}/s"
    manifest = write_texts(folder, effort.reads_jobs, in_flight=effort.reads_in_flight, poll=poll)
    with Service(folder, effort.reads_speed) as service:
        run(manifest, service)
    ready_at = dict(_read_ready(find_out(manifest) / "ledger.sqlite3"))
    generations = list(service.read_generations())
    if {generation.id for generation in generations} != ready_at.keys():
        raise FailedError("The ledger has not seen the end of every generation.")
    return service.count_requests(), [_find_delay(each, ready_at[each.id]) for each in generations]


def _find_delay(generation: Generation, ready_at: float) -> float:
    return (ready_at - generation.ends_at) / generation.seconds


def _read_ready(ledger: Path) -> Iterator[tuple[str, float]]:
    with closing(sqlite3.connect(ledger)) as connection:
        for remote_id, at in connection.execute(_READY):
            yield remote_id, datetime.fromisoformat(at).timestamp()


@contextmanager
def _start_vendor(bench: Bench) -> Iterator[tuple[Command, Service]]:
    effort = bench.effort
    folder = bench.make_folder("vendor")
    videos = folder / "videos"
    videos.mkdir()
    with Service(folder, effort.reads_speed) as service:
        errand = Errand(
            base_url=service.url,
            folder=str(videos),
            jobs=effort.reads_jobs,
            in_flight=effort.reads_in_flight,
            downloads=16,
            pause_seconds=_VENDOR_PAUSE_SECONDS / effort.reads_speed,
        )
        with Command("benchmarks.rivals", "vendor", errand.to_json(), folder=folder) as command:
            yield command, service
