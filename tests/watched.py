"""A real command on a real terminal, and what it shows there."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from conftest import Desk

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: Where the second screen of a terminal begins and ends, and where each picture on it begins.
SECOND, FIRST, HOME = "\x1b[?1049h", "\x1b[?1049l", "\x1b[H"


class Watched:
    """A command whose words go to a terminal; somebody reads it all the time."""

    def __init__(self, screen: int, terminal: int) -> None:
        self._screen = screen
        #: The command's end of the terminal.
        self.terminal = terminal
        self._shown = b""
        self.process: asyncio.subprocess.Process

    @property
    def shown(self) -> str:
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    @property
    def first_screen(self) -> str:
        """What is left when it has ended: all but what was on the second screen."""
        return ESCAPE.sub("", re.sub(re.escape(SECOND) + ".*?" + re.escape(FIRST), "", self.shown, flags=re.DOTALL))

    def has_picture(self, columns: int, lines: int) -> bool:
        """Tell whether the latest whole picture on the second screen fills a window of this size."""
        [*_, picture, _] = ["", *self.shown.split(HOME)]
        rows = ESCAPE.sub("", picture).split("\n")
        return (len(rows), {len(row) for row in rows}) == (lines, {columns})

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    async def end(self) -> int:
        """Return the exit code once the command has ended and everything is read."""
        await self.process.communicate()
        self.read()
        return self.process.returncode or 0

    def read(self) -> None:
        with suppress(BlockingIOError, OSError):
            while chunk := os.read(self._screen, 65536):
                self._shown += chunk


@asynccontextmanager
async def watching(
    desk: Desk, *words: str, size: tuple[int, int] = (80, 24), is_background: bool = False, **environment: str
) -> AsyncIterator[Watched]:
    """Run a command on a terminal of some size; in the background, a shell has started it with `&`."""
    screen, terminal = pty.openpty()
    os.set_blocking(screen, False)
    watched = Watched(screen, terminal)
    watched.resize(*size)
    environment = {"TERM": "xterm", "NO_COLOR": "", **environment}
    spawn = spawn_in_background if is_background else spawn_in_front
    watched.process = await spawn(desk, words, environment, terminal)
    loop = asyncio.get_running_loop()
    loop.add_reader(screen, watched.read)
    try:
        yield watched
    finally:
        loop.remove_reader(screen)
        with suppress(ProcessLookupError):
            watched.process.kill()
        await watched.process.communicate()
        os.close(screen)
        os.close(terminal)


async def spawn_in_front(
    desk: Desk, words: tuple[str, ...], environment: dict[str, str], terminal: int
) -> asyncio.subprocess.Process:
    return await desk.spawn(words, environment, stderr=terminal)


async def spawn_in_background(
    desk: Desk, words: tuple[str, ...], environment: dict[str, str], terminal: int
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *("sh", "-mc", '"$@" & wait $!', "sh", sys.executable, "-m", "hedra_batch", *words),
        cwd=desk.folder,
        env={**os.environ, "HEDRA_API_KEY": "key-of-the-tests", "HEDRA_BASE_URL": desk.base_url, **environment},
        stdin=terminal,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )


class Window:
    """A window of tmux, which shows what a terminal makes of everything."""

    def __init__(self, name: str) -> None:
        self._name = name

    def call(self, *words: str) -> str:
        command = ["tmux", "-u", "-L", self._name, "-f", "/dev/null", *words]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout

    def open(self, desk: Desk, *words: str) -> None:
        """Run a command in it; what it left there can be seen afterwards."""
        settings = ["HEDRA_API_KEY=key-of-the-tests", f"HEDRA_BASE_URL={desk.base_url}"]
        command = shlex.join(["env", *settings, sys.executable, "-m", "hedra_batch", *words])
        size = ("-x", "80", "-y", "24")
        self.call("new-session", "-d", *size, "-c", str(desk.folder), f"{command}; exec sleep 60")

    def resize(self, columns: int, lines: int) -> None:
        self.call("resize-window", "-x", str(columns), "-y", str(lines))

    def capture(self) -> str:
        """Read what the window shows, and what has left it above."""
        return self.call("capture-pane", "-p", "-S", "-")

    def close(self) -> None:
        self.call("kill-server")
