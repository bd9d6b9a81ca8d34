"""How long a person waits: for the help, the plan and the status, and for the first request of a run that goes on."""

from __future__ import annotations

import signal
import statistics
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.command import call
from benchmarks.figures import to_mib
from benchmarks.manifests import write_jobs, write_matrix
from benchmarks.rivals import Errand
from benchmarks.runs import PROGRAM, find_out, run, start
from benchmarks.service import SUBMIT, Service
from benchmarks.table import Row

_TARGET_HELP_SECONDS = 0.15
_TARGET_PLAN_SECONDS = 5.0
_TARGET_RESUME_SECONDS = 2.0
_TARGET_FIRST_SECONDS = 0.6
_TARGET_JOBS_SECONDS = 15
_TARGET_JOBS_MIB = 400
_QUICK_SPEED = 600
_TARGET_STATUS_SECONDS = 0.3
#: Of ten jobs of the large ledger, so many are done.
_DONE_OF_TEN = 9
_STOPPED = 128 + signal.SIGTERM


def measure_start(bench: Bench) -> list[Row]:
    """Time the help."""
    folder = bench.make_folder("start")
    seconds = _time_command(bench, folder, "--help")
    return [
        Row(
            name="start",
            figure="hedra-batch --help",
            measured=f"{seconds * 1000:.0f} ms",
            rival=f"median of {bench.effort.repeats}",
            target=f"<= {_TARGET_HELP_SECONDS * 1000:.0f} ms",
            is_met=seconds <= _TARGET_HELP_SECONDS,
        )
    ]


def measure_first(bench: Bench) -> list[Row]:
    """Time a run of one job with the default limits to its first paid request, and the bare script to its own."""
    pairs = [(_time_first(bench, number), _time_bare(bench, number)) for number in range(bench.effort.repeats)]
    seconds, bare_seconds = (statistics.median(times) for times in zip(*pairs, strict=True))
    return [
        Row(
            name="first",
            figure="from the command to the first paid request, 1 job, default limits",
            measured=f"{seconds:.2f} s",
            rival=f"bare script: {bare_seconds:.2f} s; medians of {len(pairs)}",
            target=f"<= {_TARGET_FIRST_SECONDS} s",
            is_met=seconds <= _TARGET_FIRST_SECONDS,
        )
    ]


def _time_first(bench: Bench, number: int) -> float:
    folder = bench.make_folder(f"first-{number}")
    manifest = write_jobs(folder, 1)
    with Service(folder, _QUICK_SPEED) as service:
        account = run(manifest, service)
        return service.wait_for_request(account.started_at, {SUBMIT}) - account.started_at


def _time_bare(bench: Bench, number: int) -> float:
    folder = bench.make_folder(f"first-{number}-bare")
    with Service(folder, _QUICK_SPEED) as service:
        errand = Errand.make(service.url, folder, jobs=1, in_flight=1, downloads=1, pause_seconds=0.1)
        account = call("benchmarks.rivals", "bare", errand.to_json(), folder=folder)
        return service.wait_for_request(account.started_at, {SUBMIT}) - account.started_at


def measure_plan_jobs(bench: Bench) -> list[Row]:
    """Time the plan of a manifest that writes each of its jobs out, and look at the memory that it takes."""
    folder = bench.make_folder("plan-jobs")
    manifest = write_jobs(folder, bench.effort.large_jobs)
    account = call(PROGRAM, "plan", str(manifest), "--offline", folder=folder, stdout=folder / "plan.txt")
    peak_mib = to_mib(account.peak_bytes)
    return [
        Row(
            name="plan-jobs",
            figure=f"hedra-batch plan of {bench.effort.large_jobs} single jobs; peak memory",
            measured=f"{account.wall_seconds:.1f} s, {peak_mib:.0f} MiB",
            rival=f"{manifest.stat().st_size / 10**6:.0f} MB of YAML",
            target=f"<= {_TARGET_JOBS_SECONDS} s, <= {_TARGET_JOBS_MIB} MiB",
            is_met=account.wall_seconds <= _TARGET_JOBS_SECONDS and peak_mib <= _TARGET_JOBS_MIB,
        )
    ]


def measure_plan(bench: Bench) -> list[Row]:
    """Time the plan of the large manifest."""
    folder = bench.make_folder("plan")
    manifest = write_matrix(folder, bench.effort.large_prompts, bench.effort.large_images, in_flight=50)
    account = call(PROGRAM, "plan", str(manifest), "--offline", folder=folder, stdout=folder / "plan.txt")
    lines = (folder / "plan.txt").read_bytes().count(b"\n")
    return [
        Row(
            name="plan",
            figure=f"hedra-batch plan of {bench.effort.large_jobs} jobs",
            measured=f"{account.wall_seconds:.2f} s",
            rival=f"lines: {lines}",
            target=f"<= {_TARGET_PLAN_SECONDS:g} s",
            is_met=account.wall_seconds <= _TARGET_PLAN_SECONDS,
        )
    ]


def measure_resume(bench: Bench) -> list[Row]:
    """Go on with a large ledger most of which is done, and ask for its status, at rest and while it is written."""
    folder = bench.make_folder("resume")
    manifest = write_matrix(folder, bench.effort.large_prompts, bench.effort.large_images, in_flight=50, submit="50/s")
    with Service(folder, 600) as service:
        run(manifest, service, "--first", "1")
        bench.tell("resume: making the ledger")
        done = bench.effort.large_jobs * _DONE_OF_TEN // 10
        call("benchmarks.large", str(manifest), str(find_out(manifest)), str(done), folder=folder)
        at_rest_seconds = _time_status(bench, manifest)
        resumes = [_time_resume(manifest, service) for _ in range(bench.effort.resume_repeats - 1)]
        with start(manifest, service) as command:
            resumes.append(service.wait_for_request(command.started_at) - command.started_at)
            busy_seconds = _time_status(bench, manifest)
            command.stop(signal.SIGTERM)
            command.wait(0, _STOPPED)
    return [_make_resume_row(bench, resumes), _make_status_row(bench, at_rest_seconds, busy_seconds)]


def _make_resume_row(bench: Bench, resumes: list[float]) -> Row:
    seconds = statistics.median(resumes)
    jobs = bench.effort.large_jobs
    return Row(
        name="resume",
        figure="from the start of a run to the first request at the server",
        measured=f"{seconds:.2f} s",
        rival=f"a ledger of {jobs} jobs, {jobs * _DONE_OF_TEN // 10} of them done; median of {len(resumes)}",
        target=f"<= {_TARGET_RESUME_SECONDS:g} s",
        is_met=seconds <= _TARGET_RESUME_SECONDS,
    )


def _make_status_row(bench: Bench, at_rest_seconds: float, busy_seconds: float) -> Row:
    return Row(
        name="status",
        figure="hedra-batch status: at rest, while a run writes",
        measured=f"{at_rest_seconds * 1000:.0f} ms, {busy_seconds * 1000:.0f} ms",
        rival=f"the same ledger; medians of {bench.effort.repeats}",
        target=f"<= {_TARGET_STATUS_SECONDS * 1000:.0f} ms",
        is_met=max(at_rest_seconds, busy_seconds) <= _TARGET_STATUS_SECONDS,
    )


def _time_resume(manifest: Path, service: Service) -> float:
    with start(manifest, service) as command:
        arrived_at = service.wait_for_request(command.started_at)
        command.stop(signal.SIGTERM)
        command.wait(0, _STOPPED)
    return arrived_at - command.started_at


def _time_status(bench: Bench, manifest: Path) -> float:
    words = ("status", str(manifest), "--folder", str(find_out(manifest)))
    return _time_command(bench, manifest.parent, *words)


def _time_command(bench: Bench, folder: Path, *words: str) -> float:
    accounts = [call(PROGRAM, *words, folder=folder) for _ in range(bench.effort.repeats)]
    return statistics.median(account.wall_seconds for account in accounts)
