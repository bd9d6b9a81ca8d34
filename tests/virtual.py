"""A time that only timers move: hours pass in an instant, and the same seed brings the same course of things."""

from __future__ import annotations

import asyncio
import errno
import io
import random
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from typing import Any

from hedra_batch.clock import Clock

#: What the wall clock shows when a loop begins.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
#: How long work of another thread takes: mostly nothing, so that much happens at once; now and then the disk is busy.
WORK_SECONDS = (0.0, 0.0, 0.001, 0.02, 0.4)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer when no socket has anything to say; each turn takes a nanosecond.

    What would be done in another thread is done at once, and its answer comes a drawn time later.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.now_seconds = 0.0
        self._random = random.Random(seed)
        #: Whether the disk takes nothing more, as when the process was killed.
        self.is_disk_gone = False
        #: Whoever had one opened may be gone when it is.
        self._files: list[io.IOBase] = []

    def time(self) -> float:
        return self.now_seconds

    def run_in_executor(  # type: ignore[override]  # it is known here which kind of future that is
        self, _executor: Executor | None, function: Callable[..., Any], *values: Any
    ) -> asyncio.Future[Any]:
        answer = self.create_future()
        self.call_later(self._random.choice(WORK_SECONDS), _settle, answer, *self._work(function, *values))
        return answer

    def _work(self, function: Callable[..., Any], *values: Any) -> tuple[Any, Exception | None]:
        if self.is_disk_gone and not _closes(function):
            return None, OSError(errno.EIO, "the disk is gone")
        try:
            result = function(*values)
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told
            return None, error
        if isinstance(result, io.IOBase):
            self._files.append(result)
        return result, None

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()

    def _run_once(self) -> None:
        self.now_seconds += 1e-9
        if not self._ready and not self._stopping:  # type: ignore[attr-defined]  # there is no public way
            self._jump()
        super()._run_once()  # type: ignore[misc]

    def _jump(self) -> None:
        # Both ends of every connection are here, so what was sent is there to be read by now.
        if events := self._selector.select(0):  # type: ignore[attr-defined]
            self._process_events(events)  # type: ignore[attr-defined]
            return
        timers = (timer.when() for timer in self._scheduled if not timer.cancelled())  # type: ignore[attr-defined]
        self.now_seconds = max(self.now_seconds, min(timers, default=0.0))


def _closes(function: Callable[..., Any]) -> bool:
    """Tell whether a call only lets go of a file, wherever that is."""
    return getattr(getattr(function, "func", function), "__name__", "") == "close"


def _settle(answer: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if answer.cancelled():
        return
    if error:
        answer.set_exception(error)
    else:
        answer.set_result(result)


class VirtualClock(Clock):
    """The clock of a machine in the time of a loop; the machine can be started anew, and the clock be set."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._starts = 1
        self._started_seconds = 0.0
        self._ahead_seconds = 0.0

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._loop.time() + self._ahead_seconds)

    def boot_seconds(self) -> float:
        return self._loop.time() - self._started_seconds

    def boot_id(self) -> str:
        return f"start-{self._starts}"

    def restart(self) -> None:
        """Start the machine anew: all that was marked before has passed, but nobody can tell how long ago."""
        self._starts += 1
        self._started_seconds = self._loop.time()

    def set_ahead(self, seconds: float) -> None:
        """Set the wall clock ahead; no more time has passed for that."""
        self._ahead_seconds += seconds
