"""How many reads it takes to follow the jobs, and how soon an end is noticed, beside the vendor's way."""

from __future__ import annotations

import sqlite3
import statistics
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
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
_LATE_SHARE = 0.95
_READY = (
    "SELECT attempts.remote_id, history.at FROM history JOIN attempts USING (attempt_key) "
    "WHERE history.to_state = 'READY'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watch:
    """Jobs that are followed, and what that may take."""

    name: str
    jobs: int
    in_flight: int
    speed: int
    polls_per_second: int
    flags: tuple[str, ...] = ()
    target_reads: float
    #: How late an end may be noticed, as a share of the whole: in the middle, and of nearly all.
    target_median: float
    target_late: float

    @property
    def scale(self) -> str:
        """Say how many at once, and how fast they are."""
        how = f", {' '.join(self.flags)}" if self.flags else ""
        return f"{self.in_flight} in flight, time {self.speed}x, poll {self.polls_per_second}/s{how}"


@dataclass(frozen=True, slots=True)
class _Watched:
    requests: Counter[str]
    #: How late each end was noticed, as a share of the whole.
    delays: list[float]


def measure_watching(bench: Bench) -> list[Row]:
    """Follow the same jobs in both ways, at the same time: neither is short of anything."""
    effort = bench.effort
    watch = _Watch(
        name="",
        jobs=effort.reads_jobs,
        in_flight=effort.reads_in_flight,
        speed=effort.reads_speed,
        polls_per_second=effort.reads_speed,
        target_reads=0.5,
        target_median=0.03,
        target_late=0.08,
    )
    with _start_vendor(bench) as (vendor, vendor_service):
        watched = _run_program(bench, watch)
        bench.tell(f"reads: {watched.requests[READ] / watch.jobs:.3f} a job; waiting for the vendor's way")
        vendor.wait()
        vendor_counts = vendor_service.count_requests()
    return [
        *_make_rows(watch, watched, f"vendor's way: {vendor_counts[READ] / watch.jobs:.1f}"),
        Row(
            name="vendor",
            figure="all requests a finished job",
            measured=f"{watched.requests.total() / watch.jobs:.2f}",
            rival=f"vendor's way, a status every {_VENDOR_PAUSE_SECONDS:g} s: {vendor_counts.total() / watch.jobs:.1f}",
        ),
    ]


def measure_short(bench: Bench) -> list[Row]:
    """Follow generations of twenty seconds, with estimates that are wrong by half and with none."""
    flags = ("--generation-time", "20s")
    return [
        *_measure_short(bench, "short", (*flags, "--eta-noise", "0.5"), 0.35, 0.02, 0.055),
        *_measure_short(bench, "no-eta", (*flags, "--eta-share", "0"), 0.5, 0.02, 0.08),
    ]


def _measure_short(
    bench: Bench, name: str, flags: tuple[str, ...], reads: float, median: float, late: float
) -> list[Row]:
    effort = bench.effort
    watch = _Watch(
        name=f"-{name}",
        jobs=effort.short_jobs,
        in_flight=effort.short_in_flight,
        speed=effort.short_speed,
        polls_per_second=5 * effort.short_speed,
        flags=flags,
        target_reads=reads,
        target_median=median,
        target_late=late,
    )
    return _make_rows(watch, _run_program(bench, watch), f"one request for each job: {1.0:.1f}")


def _make_rows(watch: _Watch, watched: _Watched, rival: str) -> list[Row]:
    reads = watched.requests[READ] / watch.jobs
    median, late = statistics.median(watched.delays), percentile(watched.delays, _LATE_SHARE)
    return [
        Row(
            name=f"reads{watch.name}",
            figure=f"read requests a finished job, {watch.jobs} jobs, {watch.scale}",
            measured=f"{reads:.3f}",
            rival=rival,
            target=f"<= {watch.target_reads}",
            is_met=reads <= watch.target_reads,
        ),
        Row(
            name=f"notice{watch.name}",
            figure="from the end of a generation to READY in the ledger, as a share of its duration: median, 95 %",
            measured=f"{median:.1%}, {late:.1%}",
            rival=f"the same {len(watched.delays)} jobs",
            target=f"<= {watch.target_median:.0%}, <= {watch.target_late * 100:g}%",
            is_met=median <= watch.target_median and late <= watch.target_late,
        ),
    ]


def _run_program(bench: Bench, watch: _Watch) -> _Watched:
    folder = bench.make_folder(f"reads{watch.name}")
    poll = f"{watch.polls_per_second}/s"
    manifest = write_texts(folder, watch.jobs, in_flight=watch.in_flight, poll=poll)
    with Service(folder, watch.speed, *watch.flags) as service:
        run(manifest, service)
    ready_at = dict(_read_ready(find_out(manifest) / "ledger.sqlite3"))
    generations = list(service.read_generations())
    if {generation.id for generation in generations} != ready_at.keys():
        raise FailedError("The ledger has not seen the end of every generation.")
    return _Watched(service.count_requests(), [_find_delay(each, ready_at[each.id]) for each in generations])


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
    with Service(folder, effort.reads_speed) as service:
        errand = Errand.make(
            service.url,
            folder,
            jobs=effort.reads_jobs,
            in_flight=effort.reads_in_flight,
            downloads=16,
            pause_seconds=_VENDOR_PAUSE_SECONDS / effort.reads_speed,
        )
        with Command("benchmarks.rivals", "vendor", errand.to_json(), folder=folder) as command:
            yield command, service
