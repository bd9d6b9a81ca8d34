"""Stopping a run: by a signal or by the clock, once, and in order."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Cancels the work when a signal comes or the time is up, and remembers which."""

    def __init__(self, max_runtime_seconds: float | None) -> None:
        self._ends_at = time.monotonic() + max_runtime_seconds if max_runtime_seconds else None
        self._task: asyncio.Task[Any] | None = None
        self.signal_number: int | None = None
        self.is_time_up = False

    async def guard(self, work: Coroutine[Any, Any, None]) -> bool:
        """Run the work; returns whether it came to its end by itself."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(work, name="run")
        for number in STOPPING:
            loop.add_signal_handler(number, self._on_signal, number)
        timer = loop.call_later(self._ends_at - time.monotonic(), self._on_time_up) if self._ends_at else None
        try:
            await self._task
        except asyncio.CancelledError:
            if self.signal_number is None and not self.is_time_up:
                raise
            return False
        finally:
            for number in STOPPING:
                loop.remove_signal_handler(number)
            if timer:
                timer.cancel()
        return True

    def _on_signal(self, number: int) -> None:
        if self.signal_number is None:
            logger.warning("stopping on %s: what is being sent ends first", signal.Signals(number).name)
            self.signal_number = number
            self._cancel()

    def _on_time_up(self) -> None:
        logger.info("stopping: the time of --max-runtime is up")
        self.is_time_up = True
        self._cancel()

    def _cancel(self) -> None:
        if self._task:
            self._task.cancel()
