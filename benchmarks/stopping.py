"""How soon a run ends that a person stops: while a paid request is under way, and while many generations run."""

from __future__ import annotations

import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.command import Command, FailedError
from benchmarks.manifests import write_texts
from benchmarks.runs import find_out, start
from benchmarks.service import Service
from benchmarks.table import Row

_LATENCY_SECONDS = 3.0
#: Beyond the answer: its record, the end of the process.
_TARGET_AFTER_ANSWER_SECONDS = 0.5
_TARGET_RUNNING_SECONDS = 0.2
_RUNNING = 30
_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.02
_COUNT = "SELECT count(*) FROM attempts WHERE state = ?"


def measure_stopping(bench: Bench) -> list[Row]:
    """Press Ctrl-C twice: in the middle of a paid request, and while the server is at work."""
    return [_measure_sending(bench), _measure_running(bench)]


def _measure_sending(bench: Bench) -> Row:
    folder = bench.make_folder("stop-send")
    manifest = write_texts(folder, 1, in_flight=1)
    with Service(folder, 1, "--latency", f"{_LATENCY_SECONDS:g}s") as service, start(manifest, service) as command:
        _wait_for(manifest, "SENDING", 1)
        begun_seconds = time.perf_counter()
        seconds = _stop(command)
        answer_seconds = _LATENCY_SECONDS - (time.perf_counter() - begun_seconds - seconds)
    return Row(
        name="stop-send",
        figure=f"from Ctrl-C to the end, while a paid request of {_LATENCY_SECONDS:g} s has just begun",
        measured=f"{seconds:.2f} s",
        rival=f"its answer, or 8 s: {answer_seconds:.2f} s",
        target=f"<= {_TARGET_AFTER_ANSWER_SECONDS} s more",
        is_met=seconds <= answer_seconds + _TARGET_AFTER_ANSWER_SECONDS,
    )


def _measure_running(bench: Bench) -> Row:
    folder = bench.make_folder("stop")
    manifest = write_texts(folder, _RUNNING, in_flight=_RUNNING)
    with Service(folder, 1) as service, start(manifest, service) as command:
        _wait_for(manifest, "ACCEPTED", _RUNNING)
        seconds = _stop(command)
    return Row(
        name="stop",
        figure=f"from Ctrl-C to the end, while {_RUNNING} generations run",
        measured=f"{seconds:.2f} s",
        rival="",
        target=f"<= {_TARGET_RUNNING_SECONDS} s",
        is_met=seconds <= _TARGET_RUNNING_SECONDS,
    )


def _stop(command: Command) -> float:
    began_seconds = time.perf_counter()
    command.stop(signal.SIGINT)
    command.wait(128 + signal.SIGINT)
    return time.perf_counter() - began_seconds


def _wait_for(manifest: Path, state: str, wanted: int) -> None:
    """Wait until so many attempts of a run are in a state. Raises FailedError when they never are."""
    ledger = find_out(manifest) / "ledger.sqlite3"
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if ledger.exists() and _count(ledger, state) >= wanted:
            return
        time.sleep(_PAUSE_SECONDS)
    raise FailedError(f"There were never {wanted} attempts in {state}.")


def _count(ledger: Path, state: str) -> int:
    try:
        with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute(_COUNT, (state,)).fetchone()[0])
    except sqlite3.OperationalError:
        # It is being made.
        return 0
