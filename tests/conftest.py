"""What the tests share: a simulated API on a real socket, the real command in a process, and small inputs."""

from __future__ import annotations

import asyncio
import functools
import os
import resource
import signal
import struct
import sys
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from simulated import Service, running

from hedra_batch.cli.execution import prepare, run_batch
from hedra_batch.cli.fetch import fetch_results
from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.workspace import find_workspace
from hedra_batch.run.settings import RunSettings
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

#: So fast that a generation of two minutes takes an eighth of a second.
SPEED = 1000.0

FAST_LIMITS = "limits: {submit: 100/s, in_flight: 8, uploads: 2, downloads: 4, poll: 100/s}"


#: Times are settings: pauses that nobody needs to sit through.
IMPATIENT = RunSettings(
    stop_grace_seconds=0.2,
    first_pause_seconds=0.01,
    throttle_seconds=0.05,
    shortest_poll_seconds=0.05,
    longest_poll_seconds=0.2,
)


#: How much the exhaustive suites do; the defaults are those of `.ci/run`.
EFFORTS = {
    "manifests": 5000,
    "answers": 5000,
    "schedules": 5000,
    "kills": 100,
    "documents": 150,
    "days": 150,
    "seed": 0,
}


# In the background or under nohup some signals are ignored, and so they are in the commands started here.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
# Each command would compile the whole program anew, which takes as long as everything else that most of them do.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# No command that is started here may remember anything in the home of whoever runs the tests.
STATE_FOLDER = tempfile.TemporaryDirectory(prefix="hedra-batch-state-", ignore_cleanup_errors=True)
os.environ["XDG_STATE_HOME"] = STATE_FOLDER.name


def pytest_addoption(parser: pytest.Parser) -> None:
    for name, default in EFFORTS.items():
        parser.addoption(f"--{name}", type=int, default=default, metavar="N", help=f"for -m proof [default: {default}]")


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        lines = [line for line in self.err.splitlines() if " exit=" in line]
        return lines[-1] if lines else ""


@dataclass(frozen=True, slots=True)
class Desk:
    """A folder with manifests, and the command at hand in it."""

    folder: Path
    base_url: str

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def write_manifest(self, body: str, *, name: str = "batch.yaml") -> Path:
        return self.write(name, f"version: 1\n{FAST_LIMITS}\n{body}")

    def add_image(self, name: str, shade: int = 0) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_png(shade))
        return path

    async def call(self, *words: str, file_limit_bytes: int | None = None, **environment: str) -> Finished:
        """Run a command to its end."""
        process = await self.spawn(words, environment, file_limit_bytes=file_limit_bytes)
        out, err = await process.communicate()
        return Finished(process.returncode or 0, out.decode(), err.decode())

    async def run_here(self, settings: RunSettings = IMPATIENT, **options: Any) -> int:
        """Run `batch.yaml` in this process, so that its pauses are settings; returns the exit code."""
        told = RunOptions(self.folder / "batch.yaml", base_url=self.base_url, **options)
        return await run_batch(prepare(told, settings, {"HEDRA_API_KEY": "key-of-the-tests"}))

    async def fetch_here(self, settings: RunSettings = IMPATIENT) -> int:
        """Fetch the results of `batch.yaml` in this process; returns the exit code."""
        told = RunOptions(self.folder / "batch.yaml", base_url=self.base_url)
        workspace = find_workspace(told, "batch", {"HEDRA_API_KEY": "key-of-the-tests"})
        return await fetch_results(workspace, told, settings)

    @property
    def environment(self) -> dict[str, str]:
        """What the command finds in its environment; what it remembers of run folders stays in this folder."""
        own = {"HEDRA_API_KEY": "key-of-the-tests", "HEDRA_BASE_URL": self.base_url}
        return {**own, "XDG_STATE_HOME": str(self.folder / ".state")}

    async def start(self, *words: str, **environment: str) -> asyncio.subprocess.Process:
        """Start a command and leave it running."""
        return await self.spawn(words, environment)

    async def spawn(
        self,
        words: tuple[str, ...],
        environment: dict[str, str],
        *,
        file_limit_bytes: int | None = None,
        stdin: int = asyncio.subprocess.DEVNULL,
        stderr: int = asyncio.subprocess.PIPE,
    ) -> asyncio.subprocess.Process:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HEDRA_")}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hedra_batch", *words),
            cwd=self.folder,
            env={**inherited, **self.environment, **environment},
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            preexec_fn=functools.partial(limit_files, file_limit_bytes) if file_limit_bytes else None,
        )


def limit_files(size_bytes: int) -> None:
    """Make every write beyond a size fail, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


def make_png(shade: int) -> bytes:
    """A real PNG of 16 x 16 pixels in one of 256 shades."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = (b"\x00" + bytes([shade % 256]) * 16) * 16
    header = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


async def wait_until(condition: Callable[[], bool]) -> None:
    """Return as soon as a condition holds that another process brings about; the test's timeout bounds it."""
    while not condition():  # noqa: ASYNC110 - no event of this process tells of another's
        await asyncio.sleep(0.01)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(SimulatorSettings(speed=SPEED)) as service:
        yield service


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with running() as each:
        yield each


@pytest.fixture
def desk(tmp_path: Path, simulator: Simulator) -> Desk:
    return Desk(tmp_path, simulator.url)
