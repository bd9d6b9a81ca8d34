"""Results as large as long videos: what they cost and how fast they come, beside a script that hashes them too."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.command import Account, call
from benchmarks.manifests import write_texts
from benchmarks.rivals import Errand
from benchmarks.runs import run
from benchmarks.service import DOWNLOAD, Service
from benchmarks.table import Row

_SPEED = 600
_DOWNLOADS = 4
_TARGET_CPU = 1.15
_TARGET_THROUGHPUT = 0.97


@dataclass(frozen=True, slots=True)
class _Turn:
    cpu_seconds: float
    #: From the first request for a file to the end of the process.
    wall_seconds: float


def measure_files(bench: Bench) -> list[Row]:
    """Let the program and the script fetch the same files in turns."""
    pairs = []
    for number in range(bench.effort.files_pairs):
        pairs.append((_run_program(bench, number), _run_rival(bench, number)))
        bench.tell(f"files: {pairs[-1]}")
    costs = [program.cpu_seconds / rival.cpu_seconds for program, rival in pairs]
    speeds = [rival.wall_seconds / program.wall_seconds for program, rival in pairs]
    files = f"{bench.effort.files} files of {bench.effort.files_mb} MB"
    rivals = [rival for _, rival in pairs]
    return [
        _make_row(
            "files",
            f"CPU time of {files}, start-up included",
            costs,
            f"script that hashes too: {statistics.median(rival.cpu_seconds for rival in rivals):.2f} s",
            f"<= {_TARGET_CPU}x",
            lambda ratio: ratio <= _TARGET_CPU,
        ),
        _make_row(
            "throughput",
            f"bytes a second of {files}, {_DOWNLOADS} at once",
            speeds,
            f"the same script: {_describe_speed(bench, rivals)}",
            f">= {_TARGET_THROUGHPUT}x",
            lambda ratio: ratio >= _TARGET_THROUGHPUT,
        ),
    ]


def _make_row(
    name: str, figure: str, ratios: list[float], rival: str, target: str, is_met: Callable[[float], bool]
) -> Row:
    ratio = statistics.median(ratios)
    measured = f"{ratio:.2f}x ({' '.join(f'{each:.2f}' for each in ratios)})"
    return Row(name=name, figure=figure, measured=measured, rival=rival, target=target, is_met=is_met(ratio))


def _describe_speed(bench: Bench, rivals: list[_Turn]) -> str:
    total_mb = bench.effort.files * bench.effort.files_mb
    return f"{total_mb / statistics.median(rival.wall_seconds for rival in rivals):.0f} MB/s"


def _run_program(bench: Bench, number: int) -> _Turn:
    folder = bench.make_folder(f"files-{number}")
    manifest = write_texts(folder, bench.effort.files, in_flight=bench.effort.files, downloads=_DOWNLOADS)
    with _serve(bench, folder) as service:
        return _make_turn(run(manifest, service), service)


def _run_rival(bench: Bench, number: int) -> _Turn:
    folder = bench.make_folder(f"files-{number}-bare")
    jobs = bench.effort.files
    with _serve(bench, folder) as service:
        errand = Errand.make(service.url, folder, jobs=jobs, in_flight=jobs, downloads=_DOWNLOADS, pause_seconds=0.1)
        return _make_turn(call("benchmarks.rivals", "hashing", errand.to_json(), folder=folder), service)


def _serve(bench: Bench, folder: Path) -> Service:
    return Service(folder, _SPEED, "--video-mb", str(bench.effort.files_mb))


def _make_turn(account: Account, service: Service) -> _Turn:
    first_at = service.wait_for_request(account.started_at, {DOWNLOAD})
    return _Turn(account.cpu_seconds, account.started_at + account.wall_seconds - first_at)
