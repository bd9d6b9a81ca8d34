"""The real command on a terminal: where the live view is shown, and that nothing of it stays behind."""

from __future__ import annotations

import asyncio
import functools
import os
import pty
import re
import shutil
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress

import pytest
from conftest import Desk, wait_until
from test_surroundings import is_stopped
from watched import ESCAPE, FIRST, SECOND, Window, watching

from hedra_batch.progress import Snapshot
from hedra_batch.report.live import BAR_COLUMNS
from hedra_batch.report.screen import Lines, Screen, show_live

ENDLESS = "jobs: [{id: scene, prompt: An endless scene}, {id: bad, prompt: Something forbidden}]"
DATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")
BAR = re.compile("[━─]")
COLOUR = re.compile(r"\x1b\[[0-9;]*\b(3[0-7]|9[0-7])m")


@pytest.mark.parametrize("term", ["dumb", "unknown", "", "vt52"])
async def test_a_terminal_without_a_cursor_gets_dated_lines(desk: Desk, term: str) -> None:
    desk.write_manifest("jobs: [{id: good, prompt: A scene}]")
    async with watching(desk, "run", "batch.yaml", TERM=term) as watched:
        assert await watched.end() == 0
        *lines, last = watched.shown.splitlines()
    assert (last[:13], "\x1b" in watched.shown, len(lines) >= 3) == ("batch: done=1", False, True)
    assert all(DATED.match(line) for line in lines)


async def test_a_run_in_the_background_leaves_the_terminal_to_the_shell(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: good, prompt: A scene}]")
    async with watching(desk, "run", "batch.yaml", is_background=True) as watched:
        assert await watched.end() == 0
    assert (SECOND in watched.shown, DATED.search(watched.shown) is not None) == (False, True)


@pytest.mark.parametrize("term", ["xterm", "linux", "tmux-256color", "nobody-knows-it"])
async def test_any_other_terminal_gets_the_view(desk: Desk, term: str) -> None:
    desk.write_manifest("jobs: [{id: good, prompt: A scene}]")
    async with watching(desk, "run", "batch.yaml", TERM=term) as watched:
        assert await watched.end() == 0
    assert (watched.shown.count(SECOND), watched.shown.count(FIRST)) == (1, 1)
    assert not DATED.search(watched.shown)


@pytest.mark.parametrize(("no_color", "has_colour"), [("", True), ("1", False)])
async def test_colours_can_be_left_out(desk: Desk, no_color: str, has_colour: bool) -> None:
    desk.write_manifest(ENDLESS)
    async with watching(desk, "run", "batch.yaml", NO_COLOR=no_color) as watched:
        await wait_until(lambda: "generating" in watched.shown)
        assert bool(COLOUR.search(watched.shown)) is has_colour


async def test_a_view_that_is_interrupted_leaves_words_and_no_remains(desk: Desk) -> None:
    desk.write_manifest(ENDLESS)
    async with watching(desk, "run", "batch.yaml") as watched:
        await wait_until(lambda: "generating" in watched.shown and "moderation" in watched.shown)
        watched.process.send_signal(signal.SIGINT)
        assert await watched.end() == 130
    lines = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in watched.first_screen.splitlines()]
    assert lines[0].startswith("batch: 2 new videos")
    assert lines[1:4] == [
        "bad: refused: The prompt was refused by content moderation",
        "Stopping. What is being sent now is finished first, and nothing is",
        "  lost. 1 video is still at the server: run the same line again to go on.",
    ]
    assert lines[4].startswith("batch: done=0 failed=1 running=1 ")
    assert watched.shown.rindex("\x1b[?25h") < watched.shown.rindex(FIRST)


async def test_each_picture_fits_the_window_of_its_moment(desk: Desk) -> None:
    desk.write_manifest(ENDLESS)
    async with watching(desk, "run", "batch.yaml", COLUMNS="200", LINES="50") as watched:
        for columns, lines in [(80, 24), (40, 8), (120, 40), (20, 4)]:
            watched.resize(columns, lines)
            # Each is as wide and as high as the window, so it covers all of the one before.
            await wait_until(functools.partial(watched.has_picture, columns, lines))


async def test_a_suspended_run_leaves_the_terminal_to_the_shell_and_takes_it_again(desk: Desk) -> None:
    desk.write_manifest(ENDLESS)
    async with watching(desk, "run", "batch.yaml") as watched:
        await wait_until(lambda: "generating" in watched.shown)
        watched.process.send_signal(signal.SIGTSTP)
        await wait_until(lambda: is_stopped(watched.process.pid))
        await wait_until(lambda: FIRST in watched.shown)
        watched.process.send_signal(signal.SIGCONT)
        await wait_until(
            lambda: "generating" in watched.shown.rpartition(SECOND)[2] and watched.shown.count(SECOND) == 2
        )


async def test_a_terminal_that_takes_nothing_holds_up_no_run(desk: Desk) -> None:
    jobs = ", ".join(f"{{id: job-{number}, prompt: Scene {number}}}" for number in range(4))
    desk.write_manifest(f"jobs: [{jobs}]")
    summary = desk.folder / "batch.out" / "summary.json"
    async with watching(desk, "run", "batch.yaml", "--submit", "4/s") as watched:
        await wait_until(lambda: SECOND in watched.shown)
        termios.tcflow(watched.terminal, termios.TCOOFF)
        await wait_until(summary.exists)
        termios.tcflow(watched.terminal, termios.TCOON)
        assert await watched.end() == 0
    assert watched.first_screen.endswith("batch: done=4 failed=0 running=0 held=0 exit=0 -> batch.out/videos\n")


@pytest.fixture
def window() -> Iterator[Window]:
    if shutil.which("tmux") is None:
        pytest.skip("only tmux can tell what a window shows after it was resized")
    window = Window(f"hedra-batch-{os.getpid()}")
    yield window
    window.close()


async def test_a_window_that_is_resized_shows_no_remains(desk: Desk, window: Window) -> None:
    jobs = ", ".join(f"{{id: {'very-' * 9}long-{number}, prompt: An endless scene}}" for number in range(4))
    desk.write_manifest(f"jobs: [{jobs}]")
    window.open(desk, "run", "batch.yaml")
    await wait_until(lambda: "generating" in window.capture())
    for columns, lines in [(50, 10), (130, 40), (30, 20), (90, 12), (40, 8), (80, 24)]:
        window.resize(columns, lines)
        await wait_until(functools.partial(shows_one_view, window, columns))
    window.call("send-keys", "C-c")
    await wait_until(lambda: "exit=130" in window.capture())
    assert not re.search("elapsed|generating|allowed|[━─]", window.capture())


def shows_one_view(window: Window, columns: int) -> bool:
    """Tell whether a window shows the view as it is drawn for its width, once and with nothing beside."""
    shown = window.capture()
    words = [shown.count(word) for word in ("elapsed", "spent", "allowed", "generating")]
    return words[:3] == [1, 1, 1] and 1 <= words[3] <= 4 and bool(BAR.search(shown)) is (columns >= BAR_COLUMNS)


async def break_view() -> Snapshot:
    raise ZeroDivisionError


async def test_a_view_that_breaks_ends_no_run(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("ERROR", "hedra_batch"):
        async with show_live("spring", break_view, Screen(sys.stderr)):
            await wait_until(lambda: bool(caplog.messages))
    assert caplog.messages == ["the live view cannot be shown; the run goes on without it"]


class Terminal:
    """A terminal of this process, and what it has shown."""

    def __init__(self, near: int, far: int) -> None:
        self._near = near
        self.far = far
        self.screen = Screen(os.fdopen(far, "w", closefd=False))
        self._shown = b""

    def shows(self, text: str) -> bool:
        with suppress(BlockingIOError):
            self._shown += os.read(self._near, 65536)
        return text in ESCAPE.sub("", self._shown.decode().replace("\r\n", "\n"))


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    near, far = pty.openpty()
    os.set_blocking(near, False)
    terminal = Terminal(near, far)
    yield terminal
    terminal.screen.close()
    os.close(near)
    os.close(far)


async def test_once_a_view_broke_a_warning_is_on_the_terminal_at_once(terminal: Terminal) -> None:
    async with show_live("spring", break_view, terminal.screen) as lines:
        lines.write("before\n")
        await wait_until(lambda: terminal.shows("before\n"))
        lines.write("after\n")
        await wait_until(lambda: terminal.shows("before\nafter\n"))


async def test_what_is_warned_of_while_the_view_is_left_follows_what_was_kept(terminal: Terminal) -> None:
    async with show_live("spring", show_nothing, terminal.screen) as lines:
        await wait_until(lambda: terminal.shows("elapsed"))
        termios.tcflow(terminal.far, termios.TCOOFF)
        lines.write("first\n")
        asyncio.get_running_loop().call_later(0.5, lines.write, "second\n")
        asyncio.get_running_loop().call_later(1.0, termios.tcflow, terminal.far, termios.TCOON)
    await wait_until(lambda: terminal.shows("first\nsecond\n"))


async def show_nothing() -> Snapshot:
    return Snapshot()


def test_a_terminal_that_takes_nothing_is_not_waited_for_without_end(terminal: Terminal) -> None:
    termios.tcflow(terminal.far, termios.TCOOFF)
    terminal.screen.leave(["a word\n"])
    assert not terminal.screen.close(patience_seconds=0.05)
    termios.tcflow(terminal.far, termios.TCOON)
    assert terminal.screen.close()
    assert terminal.shows("a word\n")


#: Ends while the terminal at stderr takes nothing.
STUCK = """
import sys
from hedra_batch.report.screen import Screen

screen = Screen(sys.stderr)
screen.leave(["a word"])
sys.exit(7 if not screen.close(patience_seconds=0.05) else 0)
"""


async def test_a_process_ends_although_its_terminal_takes_nothing(terminal: Terminal) -> None:
    termios.tcflow(terminal.far, termios.TCOOFF)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", STUCK, stderr=terminal.far)
    assert await process.wait() == 7
    termios.tcflow(terminal.far, termios.TCOON)


def test_log_lines_are_given_out_once_and_the_latest_stay_for_the_view() -> None:
    lines = Lines()
    lines.write("one\n")
    assert (lines.take(), lines.take(), list(lines.latest)) == (["one\n"], [], ["one\n"])


async def test_nothing_to_draw_with_is_loaded_where_there_is_no_terminal(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: good, prompt: A scene}]")
    finished = await desk.call("run", "batch.yaml", PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip() for line in finished.err.splitlines()}
    assert "hedra_batch.report.terminal" in imported
    assert not imported & {"rich", "rich.console", "curses"}
