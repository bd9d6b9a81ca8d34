"""Runs of the command in forked children, which can be killed or be failed at their n-th system call.

Starting an interpreter takes longer than a small run, so one process imports everything once and forks a child for each
run. The library of interpose.c is preloaded into it and armed in the child only.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import IntEnum, IntFlag
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from checker import check
from conftest import IMPATIENT, make_png

from hedra_batch.cli.execution import execute
from hedra_batch.cli.main import guard
from hedra_batch.cli.options import RunOptions
from hedra_batch.simulator.service import Simulator

SOURCE = Path(__file__).with_name("interpose.c")
KEY = "key-of-the-tests"
SETTINGS = replace(IMPATIENT, shortest_poll_seconds=0.01, first_pause_seconds=0.005)
QUIET_WINDOW_SECONDS = 0.05
HEAD = """\
version: 1
limits: {submit: 1000/s, in_flight: %d, uploads: 2, downloads: 4, poll: 1000/s}
defaults: {duration: 5s, resolution: 540p}
jobs:
"""
MEMORY = Path("/dev/shm")
#: Runs without a kill that are enough for whatever the service does.
RUNS_LIMIT = 10
#: A run that takes longer hangs, and ends by SIGALRM.
LONGEST_RUN_SECONDS = 60


class Kind(IntFlag):
    """What a system call does; the numbers are those of interpose.c."""

    WRITE = 1
    #: A write to a log file.
    LOG = 2
    SYNC = 4
    RENAME = 8
    UNLINK = 16
    TRUNCATE = 32
    MAKE_FOLDER = 64
    #: An open that may create a file, and any other.
    CREATE = 128
    OPEN = 256
    CONNECT = 512
    SEND = 1024


NETWORK = Kind.CONNECT | Kind.SEND
#: What changes something on the disk, but for the log.
CHANGES = Kind.WRITE | Kind.SYNC | Kind.RENAME | Kind.UNLINK | Kind.TRUNCATE | Kind.MAKE_FOLDER | Kind.CREATE


class Action(IntEnum):
    """What is done at the n-th call."""

    OFF = 0
    #: All calls are noted, as they are with every other action too.
    NOTE = 1
    KILL_BEFORE = 2
    KILL_AFTER = 3
    FAIL_ONCE = 4
    #: This call and all later ones fail.
    FAIL_FROM = 5


@dataclass(frozen=True, slots=True)
class Strike:
    """What is to happen to a run at its n-th call of some kinds."""

    action: Action = Action.OFF
    kinds: Kind = CHANGES | NETWORK
    at: int = 0
    #: The `errno` of a call that fails.
    error: int = 0

    def at_call(self, number: int) -> Strike:
        return replace(self, at=number)


async def sweep(strike: Strike, first: int, stride: int, is_reached: Callable[[Strike], Awaitable[bool]]) -> int:
    """Strike one call after another until a run does not come so far; returns the number of that call."""
    number = first
    while await is_reached(strike.at_call(number)):
        number += stride
    return number


@dataclass(frozen=True, slots=True)
class Note:
    """One call as the library noted it: those on files when they are done, those on connections when they begin."""

    #: Counts up; 0 for a call of a kind that is not counted.
    number: int
    kind: Kind
    descriptor: int
    #: done, begun, failed or killed.
    what: str
    #: A path, a port, or the first line that is sent.
    target: str

    @property
    def is_paid_post(self) -> bool:
        return self.kind is Kind.SEND and self.target.startswith("POST ") and "/generations " in self.target


NO_STRIKE = Strike()


@dataclass(slots=True)
class Server:
    """The process that forks; `folder` of a run holds `batch.yaml`."""

    process: subprocess.Popen[str]

    async def run(
        self, folder: Path, base_url: str, strike: Strike = NO_STRIKE, kill_after_seconds: float | None = None
    ) -> int:
        """Run the batch of a folder to its end and return the exit code, or less than 0 for a signal."""
        order = {"folder": str(folder), "base_url": base_url, "strike": asdict(strike)}
        return await asyncio.to_thread(self._run, json.dumps(order), kill_after_seconds)

    def _run(self, order: str, kill_after_seconds: float | None) -> int:
        assert self.process.stdin
        print(order, file=self.process.stdin, flush=True)
        child = self._read()
        if kill_after_seconds is not None:
            time.sleep(kill_after_seconds)
            # The server reads what became of its child only after this line, so the number is still that child's.
            os.kill(child, signal.SIGKILL)
        print(file=self.process.stdin, flush=True)
        return os.waitstatus_to_exitcode(self._read())

    def _read(self) -> int:
        assert self.process.stdout
        return int(self.process.stdout.readline())


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Compile the library into a folder and start a server; skips the test where that cannot be."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or not compiler:
        pytest.skip("system calls are only caught on Linux, and with a C compiler")
    library = folder / "interpose.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    paths = [os.environ.get("PYTHONPATH", ""), str(SOURCE.parent.parent)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HEDRA_")}
    environment = {
        **inherited,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "LD_PRELOAD": str(library),
        "HEDRA_API_KEY": KEY,
    }
    words = [sys.executable, __file__, str(library)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        yield Server(process)
        assert process.stdin
        process.stdin.close()


@contextmanager
def open_folder(jobs: str, in_flight: int = 16) -> Iterator[Path]:
    """Make a folder with a manifest and an image beside it; in memory, where syncs cost nothing, if there is such."""
    with TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as room:
        folder = Path(room).resolve() / "desk"
        folder.mkdir()
        (folder / "hero.png").write_bytes(make_png(0))
        write_manifest(folder, jobs, in_flight)
        yield folder


def write_manifest(folder: Path, jobs: str, in_flight: int = 16) -> None:
    (folder / "batch.yaml").write_text(HEAD % in_flight + jobs, "utf-8")


async def finish(server: Server, folder: Path, service: Simulator) -> None:
    """Repeat the line until all is done, and judge what became of it."""
    for _ in range(RUNS_LIMIT):
        code = await server.run(folder, service.url)
        if code == 0:
            break
    assert code == 0, name_errors(folder).read_text("utf-8")
    check(folder / "batch.out", service.billing, service.requests, exit_code=code, secrets=[KEY])


def name_notes(folder: Path) -> Path:
    """Name the file with the calls of the last run; it stands beside the folder, so that it counts as none itself."""
    return folder.with_name(f"{folder.name}.notes")


def name_errors(folder: Path) -> Path:
    """Name the file with what the last run said."""
    return folder.with_name(f"{folder.name}.err")


def read_notes(folder: Path) -> list[Note]:
    """Read the calls of the last run of a folder."""
    path = name_notes(folder)
    return [read_note(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def read_note(line: str) -> Note:
    number, kind, descriptor, what, target = line.split(" ", 4)
    return Note(int(number), Kind[kind], int(descriptor), what, target)


# In the server


def fork_runs(library: ctypes.CDLL) -> None:
    """Fork a child for each line, and answer with its number and with how it ended."""
    # What is frozen is not touched by a child's collections, so its pages stay shared.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            run_child(library, json.loads(line))
        answer(child)
        sys.stdin.readline()
        answer(os.waitpid(child, 0)[1])


def answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def run_child(library: ctypes.CDLL, order: dict[str, object]) -> None:
    """Run the command and end the process with its code."""
    code = 70
    try:
        folder = Path(str(order["folder"]))
        redirect_streams(folder)
        signal.alarm(LONGEST_RUN_SECONDS)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        arm(library, folder, order["strike"])
        options = RunOptions(
            folder / "batch.yaml", base_url=str(order["base_url"]), quiet_window_seconds=QUIET_WINDOW_SECONDS
        )
        code = guard(lambda: execute(options, SETTINGS))
        sys.stderr.flush()
    finally:
        os._exit(code)


def redirect_streams(folder: Path) -> None:
    """Keep what the command says in a file beside the folder, and give its run no other streams of the server's."""
    said = os.open(name_errors(folder), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    silence = os.open(os.devnull, os.O_RDWR)
    for old, new in ((silence, 0), (silence, 1), (said, 2)):
        os.dup2(old, new)


def arm(library: ctypes.CDLL, folder: Path, strike: object) -> None:
    chosen = Strike(**strike)  # type: ignore[arg-type] # as `asdict` has written it
    notes = name_notes(folder)
    notes.unlink(missing_ok=True)
    library.interpose_arm(
        chosen.action, chosen.kinds, ctypes.c_long(chosen.at), chosen.error, os.fsencode(folder), os.fsencode(notes)
    )


if __name__ == "__main__":
    fork_runs(ctypes.CDLL(sys.argv[1]))
