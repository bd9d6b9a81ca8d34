"""Stopping a run: by a signal or by the clock, once, and in order."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Cancels the work when a signal comes or the time is up, and remembers which."""

    def __init__(self, describe_rest: Callable[[], str]) -> None:
        """Make one that says what becomes of the work, as it stands at the moment of the stop."""
        self._describe_rest = describe_rest
        self._task: asyncio.Task[Any] | None = None
        self.signal_number: int | None = None
        self.is_time_up = False

    @contextmanager
    def watch(self, max_runtime_seconds: float | None) -> Iterator[None]:
        """Heed signals and the time until the context ends; one that comes while the run ends changes nothing."""
        loop = asyncio.get_running_loop()
        # `nohup` has SIGHUP ignored, and so it stays.
        heeded = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
        for number in heeded:
            loop.add_signal_handler(number, self._on_signal, number)
        timer = loop.call_later(max_runtime_seconds, self._on_time_up) if max_runtime_seconds else None
        try:
            yield
        finally:
            for number in heeded:
                loop.remove_signal_handler(number)
            if timer:
                timer.cancel()

    async def guard(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Run the work to its end and return its result; None when it was stopped."""
        task = asyncio.create_task(work, name="run")
        self._task = task
        if self.is_stopped:
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            if not self.is_stopped:
                raise
            return None
        finally:
            self._task = None

    @property
    def is_stopped(self) -> bool:
        return self.signal_number is not None or self.is_time_up

    def _on_signal(self, number: int) -> None:
        if self.signal_number is None:
            logger.warning("Stopping. %s", self._describe_rest())
            self.signal_number = number
            self._cancel()

    def _on_time_up(self) -> None:
        logger.warning("Stopping: the time of --max-runtime is up. %s", self._describe_rest())
        self.is_time_up = True
        self._cancel()

    def _cancel(self) -> None:
        if self._task:
            self._task.cancel()
