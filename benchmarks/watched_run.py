"""Runs `MANIFEST RUN_FOLDER BASE_URL` in its own process, on an event loop that is watched for stalls."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import selectors
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from hedra_batch.cli.execution import prepare, run_batch, spare_collector
from hedra_batch.cli.options import RunOptions
from hedra_batch.run.settings import RunSettings

#: How often somebody looks whether the loop is stalled, and after how long it counts as a stall worth a name.
_LOOK_SECONDS = 0.005
_NAMED_SECONDS = 0.01
_PACKAGE = str(Path(sys.modules[RunOptions.__module__].__file__ or "").parents[1])


class WatchedSelector(selectors.DefaultSelector):
    """Notes the longest time from the return of one `select` to the call of the next."""

    def __init__(self) -> None:
        super().__init__()
        self.worst_seconds = 0.0
        #: CPU time of the loop's thread in it: the rest, the machine was doing something else.
        self.worst_cpu_seconds = 0.0
        #: Since when it has not been called; None while it waits.
        self.busy_since: float | None = None
        #: Time that the collector took in the worst stall: nobody can look at a place meanwhile.
        self.worst_collecting_seconds = 0.0
        self._cpu_since = 0.0
        self._collecting_since = 0.0
        self._collecting_seconds = 0.0
        gc.callbacks.append(self._note_collection)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events, and note how long nobody did."""
        if self.busy_since is not None and (seconds := time.perf_counter() - self.busy_since) > self.worst_seconds:
            self.worst_seconds, self.worst_cpu_seconds = seconds, time.thread_time() - self._cpu_since
            self.worst_collecting_seconds = self._collecting_seconds
        self.busy_since = None
        events = super().select(timeout)
        self._collecting_seconds = 0.0
        self._cpu_since, self.busy_since = time.thread_time(), time.perf_counter()
        return events

    def _note_collection(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting_since = time.perf_counter()
        else:
            self._collecting_seconds += time.perf_counter() - self._collecting_since


class Lookout(threading.Thread):
    """Looks from beside the loop at where it stands in its longest stall."""

    def __init__(self, selector: WatchedSelector) -> None:
        super().__init__(daemon=True)
        self._selector = selector
        self._loop_thread = threading.get_ident()
        self._longest_seconds = _NAMED_SECONDS
        self.place = ""

    def run(self) -> None:
        """Look for ever."""
        while True:
            time.sleep(_LOOK_SECONDS)
            since = self._selector.busy_since
            if since is not None and (seconds := time.perf_counter() - since) > self._longest_seconds:
                self._longest_seconds = seconds
                frames = sys._current_frames()  # noqa: SLF001 - documented, and there is no other way
                self.place = _name_place(frames.get(self._loop_thread))


def _name_place(frame: FrameType | None) -> str:
    """Name the innermost line of the program, and what it has called."""
    called = frame.f_code.co_qualname if frame else ""
    while frame and not frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if not frame:
        return f"{called}, not called by the program"
    return f"{Path(frame.f_code.co_filename).relative_to(_PACKAGE)}:{frame.f_lineno} {called}"


def run_watched(manifest: Path, folder: Path, base_url: str) -> dict[str, float | str]:
    """Run a manifest to its end, and tell of its worst stall."""
    options = RunOptions(manifest, folder=folder, base_url=base_url, is_quiet=True)
    prepared = prepare(options, RunSettings(), os.environ)
    spare_collector()
    selector = WatchedSelector()
    lookout = Lookout(selector)
    lookout.start()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        exit_code = runner.run(run_batch(prepared))
    if exit_code:
        sys.exit(exit_code)
    return {
        "wall_seconds": selector.worst_seconds,
        "cpu_seconds": selector.worst_cpu_seconds,
        "collecting_seconds": selector.worst_collecting_seconds,
        "place": lookout.place,
    }


if __name__ == "__main__":
    print(json.dumps(run_watched(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])))
