"""The terminal of a run while its live view is shown: a screen of its own, which leaves nothing behind when it ends.

Log lines that come meanwhile are kept, and stand on the ordinary screen afterwards; those that come once it is left,
come there at once. Imported only where there is a terminal.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TextIO, cast

from rich.console import Console, ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from hedra_batch.errors import HedraBatchError
from hedra_batch.progress import TakeSnapshot
from hedra_batch.report.live import draw
from hedra_batch.report.terminal import USUAL_SIZE, find_size, fit, is_foreground

logger = logging.getLogger(__name__)

REDRAW_SECONDS = 0.25
#: Log lines that are kept for the ordinary screen, where the log file has all, and those that the view may show.
KEPT_LIMIT = 1000
SHOWN_LIMIT = 50
#: How long a run waits for a terminal that takes nothing just now, and how long its process does in the end: a person
#: may hold it with Ctrl-S for a while, but somebody may wait for the exit code.
LEAVING_SECONDS = 2.0
CLOSING_SECONDS = 30.0

Receive = Callable[[Iterable[str]], Future[None]]


class Lines:
    """The log lines of a run, as a stream for its handler: the latest for the view, all of them for afterwards."""

    def __init__(self) -> None:
        self.latest: deque[str] = deque(maxlen=SHOWN_LIMIT)
        self._kept: deque[str] = deque(maxlen=KEPT_LIMIT)
        self._receive: Receive | None = None

    def write(self, text: str) -> None:
        self.latest.append(text)
        self._kept.append(text)
        if self._receive:
            self._receive(self.take())

    def pass_on(self, receive: Receive) -> Future[None]:
        """Keep nothing any more: give what is kept to a receiver, and each line that comes from now on."""
        self._receive = receive
        return receive(self.take())

    def flush(self) -> None:
        """Keep on keeping."""

    def take(self) -> list[str]:
        """Give out what was not given out yet."""
        taken = []
        # Other threads may log meanwhile.
        with suppress(IndexError):
            while True:
                taken.append(self._kept.popleft())
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
        self._steps: SimpleQueue[tuple[Future[None], Callable[[], None]]] = SimpleQueue()
        # A process can end although its terminal takes nothing.
        Thread(target=self._work, name="screen", daemon=True).start()

    async def show(self, picture: Sequence[Text], size: os.terminal_size) -> None:
        await asyncio.wrap_future(self._do(partial(self._show, picture, size)))

    def _show(self, picture: Sequence[Text], size: os.terminal_size) -> None:
        self._console.size = ConsoleDimensions(*size)
        self._live.start()
        # All of it, each time: so whatever else came onto the screen is gone.
        self._live.update(Group(*picture), refresh=True)

    def leave(self, texts: Iterable[str]) -> Future[None]:
        """Begin to go back to the ordinary screen, which is as it was, and to write texts there."""
        return self._do(partial(self._leave, texts))

    def close(self, patience_seconds: float = CLOSING_SECONDS) -> bool:
        """Wait until the terminal has taken everything, so that what is written to it next comes after that.

        Returns whether it has; what it has not taken is given up with the process.
        """
        return not wait({self._do(self._lasting.flush)}, patience_seconds).not_done

    def _do(self, step: Callable[[], None]) -> Future[None]:
        """Have a step done by the thread of the terminal, after all that were given to it before."""
        done = Future[None]()
        self._steps.put((done, step))
        return done

    def _work(self) -> None:
        while True:
            done, step = self._steps.get()
            if done.set_running_or_notify_cancel():
                try:
                    step()
                except Exception as error:  # noqa: BLE001 - for those who wait for the step
                    done.set_exception(error)
                else:
                    done.set_result(None)

    def _leave(self, texts: Iterable[str]) -> None:
        if self._live.is_started:
            # For a terminal with one screen only.
            self._console.clear()
            self._live.stop()
        for text in texts:
            self._lasting.write(fit(text.removesuffix("\n"), self.stream) + "\n")
        self._lasting.flush()


class _LastingStream:
    """A terminal that may go away, at a SIGHUP say, without taking the run with it.

    It writes past the stream's own buffer: a thread that is stuck in there would keep Python from ending.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding
        self._waiting = bytearray()

    def write(self, text: str) -> int:
        self._waiting += text.encode(self.encoding, "backslashreplace")
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            while self._waiting:
                del self._waiting[: os.write(self._stream.fileno(), self._waiting)]
        self._waiting.clear()

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
        await asyncio.wait({asyncio.wrap_future(lines.pass_on(screen.leave))}, timeout=LEAVING_SECONDS)


async def _keep_drawing(name: str, take_snapshot: TakeSnapshot, screen: Screen, lines: Lines) -> None:
    """Draw again and again. A view that breaks is left, and the run goes on without."""
    try:
        while True:
            if is_foreground(screen.stream):
                snapshot = await take_snapshot()
                size = find_size(screen.stream) or USUAL_SIZE
                await screen.show(draw(name, snapshot, list(lines.latest), size), size)
            else:
                await asyncio.wrap_future(screen.leave(lines.take()))
            await asyncio.sleep(REDRAW_SECONDS)
    except HedraBatchError:
        # A ledger that cannot be read ends the run as well, which then says why.
        pass
    except Exception:
        logger.exception("the live view cannot be shown; the run goes on without it")
    lines.pass_on(screen.leave)


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
