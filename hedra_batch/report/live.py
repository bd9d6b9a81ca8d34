"""The live view of a run on a terminal: redrawn at most four times a second. Imported only there."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.logging import RichHandler
from rich.table import Table
from rich.text import Text

from hedra_batch.progress import Progress, Running
from hedra_batch.state import UNDER_WAY, State

REDRAWS_A_SECOND = 4
#: Running jobs that are shown one by one.
ROWS_LIMIT = 12
BAR_WIDTH = 24

_WORDS = {
    **dict.fromkeys(UNDER_WAY, "submitting"),
    State.UNKNOWN: "outcome unknown",
    State.ACCEPTED: "generating",
    State.OVERDUE: "overdue",
    State.READY: "fetching",
}


class View:
    """Draws a Progress as it is at the moment of drawing."""

    def __init__(self, name: str, progress: Progress, pace: str) -> None:
        self._name = name
        self._progress = progress
        self._pace = pace

    def __rich__(self) -> Group:
        table = Table.grid(padding=(0, 2))
        running = list(self._progress.running.values())
        for row in running[:ROWS_LIMIT]:
            table.add_row(Text(row.label, no_wrap=True), _draw_bar(row), _WORDS.get(row.state, row.state.lower()))
        hidden = len(running) - ROWS_LIMIT
        more = [Text(f"… and {hidden} more", style="dim")] if hidden > 0 else []
        return Group(self._headline(), table, *more)

    def _headline(self) -> Text:
        counts = self._progress.counts
        seconds = self._progress.estimate_seconds_left()
        left = f", about {_describe_duration(seconds)} left" if seconds else ""
        running = counts["running"] + counts["unknown"]
        return Text.assemble(
            (f"{self._name}  ", "bold"),
            (f"{counts['done']} done", "green"),
            f"  {running} running  {counts['new']} waiting  ",
            (f"{counts['failed']} failed", "red" if counts["failed"] else ""),
            (f"  pace {self._pace}{left}", "dim"),
        )


class _LastingStream:
    """A terminal that may go away, at a SIGHUP say, without taking the run with it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


@contextmanager
def show_live(name: str, progress: Progress, pace: str, level: int) -> Iterator[logging.Handler]:
    """Show the view until the context ends; yields a handler that prints log lines above it."""
    console = Console(file=cast(TextIO, _LastingStream(sys.stderr)))
    handler = RichHandler(level, console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S")
    with Live(View(name, progress, pace), console=console, refresh_per_second=REDRAWS_A_SECOND, transient=True):
        yield handler


def _draw_bar(row: Running) -> Text:
    filled = round(row.fraction * BAR_WIDTH)
    return Text.assemble(("━" * filled, "green"), ("━" * (BAR_WIDTH - filled), "bright_black"), f" {row.fraction:4.0%}")


def _describe_duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
