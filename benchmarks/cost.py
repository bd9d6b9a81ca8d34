"""What a job costs in CPU time, beside a bare script that makes the same requests."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.command import call
from benchmarks.manifests import write_texts
from benchmarks.rivals import Errand
from benchmarks.runs import run
from benchmarks.service import Service
from benchmarks.table import Row

_SPEED = 600
_IN_FLIGHT = 200
_DOWNLOADS = 16
_READS_PER_SECOND = 10
_TARGET_RATIO = 1.5


@dataclass(frozen=True, slots=True)
class _Turn:
    cpu_ms: float
    requests: Counter[str]

    def describe(self, jobs: int) -> str:
        requests = ", ".join(f"{kind} {number / jobs:.2f}" for kind, number in sorted(self.requests.items()))
        return f"{self.cpu_ms:.2f} ms a job (requests a job: {requests})"


def measure_cpu(bench: Bench) -> list[Row]:
    """Let the program and the bare script take turns, and compare each with the turn beside it."""
    jobs = bench.effort.cpu_jobs
    pairs = []
    for number in range(bench.effort.cpu_pairs):
        pairs.append((_run_program(bench, number), _run_rival(bench, number)))
        bench.tell(f"cpu: {pairs[-1][0].cpu_ms:.2f} ms a job, bare {pairs[-1][1].cpu_ms:.2f} ms")
    ratios = [program.cpu_ms / rival.cpu_ms for program, rival in pairs]
    ratio = statistics.median(ratios)
    program, rival = (
        sorted(turns, key=lambda turn: turn.cpu_ms)[len(turns) // 2] for turns in zip(*pairs, strict=True)
    )
    return [
        Row(
            name="cpu",
            figure=f"CPU time of a finished job, start-up included, {jobs} jobs",
            measured=f"{ratio:.2f}x ({' '.join(f'{each:.2f}' for each in ratios)}); {program.describe(jobs)}",
            rival=f"bare script: {rival.describe(jobs)}",
            target=f"<= {_TARGET_RATIO}x",
            is_met=ratio <= _TARGET_RATIO,
        )
    ]


def _run_program(bench: Bench, number: int) -> _Turn:
    folder = bench.make_folder(f"cpu-{number}")
    manifest = write_texts(folder, bench.effort.cpu_jobs, in_flight=_IN_FLIGHT, poll=f"{_READS_PER_SECOND}/s")
    with Service(folder, _SPEED) as service:
        account = run(manifest, service)
    return _Turn(account.cpu_seconds / bench.effort.cpu_jobs * 1000, service.count_requests())


def _run_rival(bench: Bench, number: int) -> _Turn:
    folder = bench.make_folder(f"cpu-{number}-bare")
    videos = folder / "videos"
    videos.mkdir()
    with Service(folder, _SPEED) as service:
        errand = Errand(
            base_url=service.url,
            folder=str(videos),
            jobs=bench.effort.cpu_jobs,
            in_flight=_IN_FLIGHT,
            downloads=_DOWNLOADS,
            pause_seconds=1 / _READS_PER_SECOND,
        )
        account = call("benchmarks.rivals", "bare", errand.to_json(), folder=folder)
    return _Turn(account.cpu_seconds / bench.effort.cpu_jobs * 1000, service.count_requests())
