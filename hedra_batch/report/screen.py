"""The terminal of a run while its live view is shown: a screen of its own, which leaves nothing behind when it ends.

Log lines that come meanwhile are kept, and stand on the ordinary screen afterwards. Imported only where there is a
terminal.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TextIO, cast

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from hedra_batch.errors import HedraBatchError
from hedra_batch.progress import TakeSnapshot
from hedra_batch.report.live import draw
from hedra_batch.report.terminal import is_foreground, read_size, wrap

logger = logging.getLogger(__name__)

REDRAW_SECONDS = 0.25
#: Log lines that are kept for the ordinary screen, where the log file has all, and those that the view may show.
KEPT_LIMIT = 1000
SHOWN_LIMIT = 50
#: How long a run waits for a terminal that takes nothing just now.
LEAVING_SECONDS = 2.0


class Lines:
    """The log lines of a run, as a stream for its handler: the latest for the view, all of them for afterwards."""

    def __init__(self) -> None:
        self.latest: deque[str] = deque(maxlen=SHOWN_LIMIT)
        self._kept: deque[str] = deque(maxlen=KEPT_LIMIT)

    def write(self, text: str) -> None:
        self.latest.append(text)
        self._kept.append(text)

    def flush(self) -> None:
        """Keep on keeping."""

    def take(self) -> list[str]:
        """Give out what was not given out yet."""
        taken = list(self._kept)
        self._kept.clear()
        return taken


class Screen:
    """The second screen of a terminal, where there is one: open from the first picture until it is left.

    A thread of its own writes to the terminal, so that one that takes nothing for a while holds up nothing else.
    """

    def __init__(self, stream: TextIO) -> None:
        #: The terminal, for questions about it.
        self.stream = stream
        self._lasting = _LastingStream(stream)
        self._console = Console(file=cast(TextIO, self._lasting), force_terminal=True)
        self._live = Live(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="screen")

    async def show(self, picture: Sequence[Text], size: os.terminal_size) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._show, picture, size)

    def _show(self, picture: Sequence[Text], size: os.terminal_size) -> None:
        self._console.size = ConsoleDimensions(*size)
        self._live.start()
        # All of it, each time: so whatever else came onto the screen is gone.
        self._live.update(Group(*picture), refresh=True)

    def leave(self, texts: Iterable[str]) -> Future[None]:
        """Begin to go back to the ordinary screen, which is as it was, and to write texts there."""
        return self._thread.submit(self._leave, texts)

    def close(self) -> None:
        """Wait until the terminal has taken everything: what is written to it next comes after that."""
        self._thread.shutdown()

    def _leave(self, texts: Iterable[str]) -> None:
        if self._live.is_started:
            # For a terminal with one screen only.
            self._console.clear()
            self._live.stop()
        width = read_size(self.stream).columns
        for text in texts:
            self._lasting.write("\n".join(wrap(line, width) for line in text.splitlines()) + "\n")
        self._lasting.flush()


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


@asynccontextmanager
async def show_live(name: str, take_snapshot: TakeSnapshot, screen: Screen) -> AsyncIterator[Lines]:
    """Show the view until the context ends; yields where log lines go meanwhile."""
    lines = Lines()
    drawing = asyncio.create_task(_keep_drawing(name, take_snapshot, screen, lines), name="view")
    try:
        with _heed_suspension(screen, lines):
            yield lines
    finally:
        drawing.cancel()
        await asyncio.wait({drawing})
        await asyncio.wait({asyncio.wrap_future(screen.leave(lines.take()))}, timeout=LEAVING_SECONDS)


async def _keep_drawing(name: str, take_snapshot: TakeSnapshot, screen: Screen, lines: Lines) -> None:
    """Draw again and again. A view that breaks is left, and the run goes on without."""
    try:
        while True:
            if is_foreground(screen.stream):
                snapshot = await take_snapshot()
                size = read_size(screen.stream)
                await screen.show(draw(name, snapshot, list(lines.latest), size), size)
            else:
                await asyncio.wrap_future(screen.leave(lines.take()))
            await asyncio.sleep(REDRAW_SECONDS)
    except HedraBatchError:
        # A ledger that cannot be read ends the run as well, which then says why.
        return
    except Exception:
        logger.exception("the live view cannot be shown; the run goes on without it")
        screen.leave(lines.take())


@contextmanager
def _heed_suspension(screen: Screen, lines: Lines) -> Iterator[None]:
    """Leave the terminal to the shell at a Ctrl-Z; the next picture takes it again."""

    def suspend() -> None:
        wait({screen.leave(lines.take())}, timeout=LEAVING_SECONDS)
        os.kill(os.getpid(), signal.SIGSTOP)

    loop = asyncio.get_running_loop()
    is_heeded = signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL
    if is_heeded:
        loop.add_signal_handler(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        if is_heeded:
            loop.remove_signal_handler(signal.SIGTSTP)
