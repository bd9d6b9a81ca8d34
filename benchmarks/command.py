"""Runs a command in a process of its own and accounts for it: wall time, CPU time, peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from hedra_batch.cli.loop import STANDARD, VARIABLE

#: The children are modules of this repository, installed or not.
ROOT = Path(__file__).parents[1]
KEY = "key-of-the-benchmark"
#: No run takes longer; one that hangs must not keep the others waiting.
_LONGEST_SECONDS = 900.0
#: Nothing of the user's own account; and bytecode is kept, as it is where the program is installed.
_NOT_INHERITED = ("HEDRA_", "PYTHONDONTWRITEBYTECODE")
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


class FailedError(Exception):
    """A command ended in another way than it should."""


@dataclass(frozen=True, slots=True)
class Account:
    """What a command took."""

    exit_code: int
    #: When it was started, in seconds since 1970.
    started_at: float
    wall_seconds: float
    #: Of the program and the system on its behalf, from its start to its end.
    cpu_seconds: float
    #: A child counts with at least what its parent took when it was started, so this process has to stay small.
    peak_bytes: int


class Command:
    """`python -m WORDS` in a process of its own, which does not outlive the `with`."""

    def __init__(self, *words: str, folder: Path, stdout: Path | None = None, loop: str = STANDARD) -> None:
        """Start it; what it says on stderr, and on stdout unless that has a file, stands in its folder."""
        self._stderr = folder / f"{words[0]}.err"
        with self._stderr.open("ab") as errors, (stdout or self._stderr).open("ab") as output:
            self.started_at = time.time()
            self._started_seconds = time.perf_counter()
            self._process = subprocess.Popen(
                (sys.executable, "-m", *words),
                cwd=ROOT,
                # What is remembered of run folders goes with the folder.
                env=make_environment(loop) | {"XDG_STATE_HOME": str(folder.absolute() / "state")},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )

    def wait(self, *accepted_codes: int) -> Account:
        """Wait for its end. Raises FailedError when it does not end with one of the codes, which are 0 unless given."""
        watchdog = threading.Timer(_LONGEST_SECONDS, self._process.kill)
        watchdog.start()
        try:
            _, status, usage = os.wait4(self._process.pid, 0)
        finally:
            watchdog.cancel()
        wall_seconds = time.perf_counter() - self._started_seconds
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._process.returncode not in (accepted_codes or (0,)):
            raise FailedError(f"{self._process.args!r} ended with {self._process.returncode}: {self._read_errors()}")
        cpu_seconds = usage.ru_utime + usage.ru_stime
        peak_bytes = usage.ru_maxrss * _MAXRSS_BYTES
        return Account(self._process.returncode, self.started_at, wall_seconds, cpu_seconds, peak_bytes)

    def stop(self, signal_number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(signal_number)

    def _read_errors(self) -> str:
        return self._stderr.read_text("utf-8", "replace")[-2000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()


def make_environment(loop: str = STANDARD) -> dict[str, str]:
    """Make the environment of a command on an event loop."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    return {**inherited, "HEDRA_API_KEY": KEY, VARIABLE: loop}


def call(
    *words: str, folder: Path, stdout: Path | None = None, loop: str = STANDARD, accepted_codes: tuple[int, ...] = (0,)
) -> Account:
    """Run a command to its end. Raises FailedError."""
    with Command(*words, folder=folder, stdout=stdout, loop=loop) as command:
        return command.wait(*accepted_codes)
