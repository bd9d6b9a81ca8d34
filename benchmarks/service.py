"""The simulated API in a process of its own, and what it has written down of requests and generations."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from benchmarks.command import ROOT, FailedError, make_environment

_CREDITS = 10**9
_PAUSE_SECONDS = 0.02
_PATIENCE_SECONDS = 60.0
SUBMIT = "submit"
READ = "read"
DOWNLOAD = "download"
OTHER = "other"
KINDS = (SUBMIT, READ, DOWNLOAD, OTHER)


class Request(NamedTuple):
    """A request as it arrived."""

    #: In seconds since 1970.
    at: float
    #: SUBMIT, READ, DOWNLOAD or OTHER.
    kind: str


@dataclass(frozen=True, slots=True)
class Generation:
    """One that was accepted."""

    id: str
    #: In seconds since 1970.
    created_at: float
    #: Real ones, from its acceptance to its end.
    seconds: float

    @property
    def ends_at(self) -> float:
        """When it ends, in seconds since 1970."""
        return self.created_at + self.seconds


class Service:
    """A simulator with many credits; `with Service(folder, speed) as service` starts and stops it."""

    def __init__(self, folder: Path, speed: float, *flags: str) -> None:
        self._folder = folder / "service"
        words = (
            "--port",
            "0",
            "--speed",
            str(speed),
            "--credits",
            str(_CREDITS),
            "--folder",
            str(self._folder),
            *flags,
        )
        self._process = subprocess.Popen(
            (sys.executable, "-m", "hedra_batch", "simulate", *words),
            cwd=ROOT,
            env=make_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout
        #: Base address of the API.
        self.url = self._process.stdout.readline().rpartition(" ")[2].strip()
        if not self.url:
            self.stop()
            raise FailedError("The simulator did not start.")

    def stop(self) -> None:
        """End it; its records stay."""
        self._process.terminate()
        self._process.communicate()

    def read_requests(self, since: float = 0.0) -> Iterator[Request]:
        """Read what has arrived since an instant, in the order of the answers."""
        for record in self._read("requests.jsonl"):
            if record["at"] >= since:
                yield Request(record["at"], _name_kind(record["method"], record["path"]))

    def count_requests(self) -> Counter[str]:
        """Count the requests of each kind."""
        return Counter(request.kind for request in self.read_requests())

    def read_generations(self) -> Iterator[Generation]:
        """Read what was accepted, in that order."""
        for record in self._read("generations.jsonl"):
            yield Generation(record["id"], record["created_at"], record["seconds"])

    def wait_for_request(self, since: float, kinds: Container[str] = KINDS) -> float:
        """Wait for the first request since an instant; returns when it arrived. Raises FailedError when none does."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            found = [request.at for request in self.read_requests(since) if request.kind in kinds]
            if found:
                return min(found)
            time.sleep(_PAUSE_SECONDS)
        raise FailedError("The command has sent nothing.")

    def _read(self, name: str) -> Iterator[dict[str, Any]]:
        path = self._folder / name
        if not path.exists():
            return
        with path.open(encoding="utf-8") as file:
            for line in file:
                # The last one may be half written.
                if line.endswith("\n"):
                    yield json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def _name_kind(method: str, path: str) -> str:
    if path.startswith("/media/"):
        return DOWNLOAD
    if "/generations" not in path:
        return OTHER
    return SUBMIT if method == "POST" else READ
