"""What a job costs in CPU time, beside a bare script that makes the same requests, on both event loops."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from benchmarks.bench import Bench
from benchmarks.command import call
from benchmarks.manifests import write_texts
from benchmarks.rivals import Errand
from benchmarks.runs import run
from benchmarks.service import Service
from benchmarks.table import Row
from hedra_batch.cli.loop import FAST, STANDARD

_SPEED = 600
_IN_FLIGHT = 200
_DOWNLOADS = 16
_READS_PER_SECOND = 10
_TARGET_RATIO = 1.9
_TARGET_FAST_RATIO = 1.75


@dataclass(frozen=True, slots=True)
class _Turn:
    cpu_ms: float
    requests: Counter[str]

    def describe(self, jobs: int) -> str:
        requests = ", ".join(f"{kind} {number / jobs:.2f}" for kind, number in sorted(self.requests.items()))
        return f"{self.cpu_ms:.2f} ms a job (requests a job: {requests})"


def measure_cpu(bench: Bench) -> list[Row]:
    """Let the program and the bare script take turns, and compare each with the turn beside it."""
    loops = [STANDARD, *([FAST] if find_spec(FAST) else [])]
    programs: dict[str, list[_Turn]] = {loop: [] for loop in loops}
    rivals = []
    for number in range(bench.effort.cpu_pairs):
        for loop in loops:
            programs[loop].append(_run_program(bench, number, loop))
        rivals.append(_run_rival(bench, number))
        told = ", ".join(f"on {loop} {programs[loop][-1].cpu_ms:.2f} ms" for loop in loops)
        bench.tell(f"cpu: {told} a job, bare {rivals[-1].cpu_ms:.2f} ms")
    standard = _compare(bench, "cpu", "start-up included", programs[STANDARD], rivals, _TARGET_RATIO)
    if FAST not in programs:
        return [
            standard,
            Row(name="cpu-fast", figure="the same with the extra `fast`", measured="uvloop is not installed"),
        ]
    return [standard, _compare(bench, "cpu-fast", "the program on uvloop", programs[FAST], rivals, _TARGET_FAST_RATIO)]


def _compare(
    bench: Bench, name: str, how: str, programs: Sequence[_Turn], rivals: Sequence[_Turn], target: float
) -> Row:
    jobs = bench.effort.cpu_jobs
    ratios = [program.cpu_ms / rival.cpu_ms for program, rival in zip(programs, rivals, strict=True)]
    ratio = statistics.median(ratios)
    return Row(
        name=name,
        figure=f"CPU time of a finished job, {how}, {jobs} jobs",
        measured=f"{ratio:.2f}x ({' '.join(f'{each:.2f}' for each in ratios)}); {_choose(programs).describe(jobs)}",
        rival=f"bare script: {_choose(rivals).describe(jobs)}",
        target=f"<= {target}x",
        is_met=ratio <= target,
    )


def _choose(turns: Sequence[_Turn]) -> _Turn:
    """Choose the turn in the middle."""
    return sorted(turns, key=lambda turn: turn.cpu_ms)[len(turns) // 2]


def _run_program(bench: Bench, number: int, loop: str) -> _Turn:
    folder = bench.make_folder(f"cpu-{number}-{loop}")
    manifest = write_texts(folder, bench.effort.cpu_jobs, in_flight=_IN_FLIGHT, poll=f"{_READS_PER_SECOND}/s")
    with Service(folder, _SPEED) as service:
        account = run(manifest, service, loop=loop)
    return _Turn(account.cpu_seconds / bench.effort.cpu_jobs * 1000, service.count_requests())


def _run_rival(bench: Bench, number: int) -> _Turn:
    folder = bench.make_folder(f"cpu-{number}-bare")
    with Service(folder, _SPEED) as service:
        errand = Errand.make(
            service.url,
            folder,
            jobs=bench.effort.cpu_jobs,
            in_flight=_IN_FLIGHT,
            downloads=_DOWNLOADS,
            pause_seconds=1 / _READS_PER_SECOND,
        )
        account = call("benchmarks.rivals", "bare", errand.to_json(), folder=folder)
    return _Turn(account.cpu_seconds / bench.effort.cpu_jobs * 1000, service.count_requests())
