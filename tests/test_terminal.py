"""How words reach a person: wrapped between words on a terminal, one line each elsewhere."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import pytest

from hedra_batch.report.terminal import USUAL_SIZE, find_width, fit, wrap

SENTENCE = "spring: three of the videos are damaged, and two are missing"
COMMAND = "    hedra-batch fetch a-manifest-with-a-long-name.yaml --simulate"


@contextmanager
def open_terminal(columns: int) -> Iterator[TextIO]:
    near, far = pty.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(near, "rb"), os.fdopen(far, "w") as stream:
        yield stream


def show(folder: Path, *words: str, columns: int = 40) -> str:
    """Call the command on a terminal, and return what it prints."""
    near, far = pty.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "hedra_batch", *words]
    subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=far, stderr=far, check=False)
    os.close(far)
    shown = b""
    # The terminal reports an error once the last process has left it.
    with os.fdopen(near, "rb", buffering=0) as screen, suppress(OSError):
        while chunk := screen.read(4096):
            shown += chunk
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("short", ["short"]),
        (SENTENCE, ["spring: three of the videos are", "  damaged, and two are missing"]),
        ("  a list of many words that is long", ["  a list of many words that is", "    long"]),
        ("    why      it is not known what happened", ["    why      it is not known", "             what happened"]),
        (COMMAND, [COMMAND]),
        (f"KEY=any{COMMAND[3:]}", [f"KEY=any{COMMAND[3:]}"]),
        ("Its help is shown by `hedra-batch run --help`.", ["Its help is shown by", "  `hedra-batch run --help`."]),
        ("see /a/path-that-is/longer/than-any/line/here", ["see", "  /a/path-that-is/longer/than-any/line/here"]),
    ],
)
def test_a_line_is_broken_between_words_and_no_command_is(line: str, lines: list[str]) -> None:
    assert wrap(line, 32).split("\n") == lines


def test_on_a_terminal_each_line_is_wrapped_to_its_width() -> None:
    with open_terminal(40) as stream:
        assert fit(f"{SENTENCE}\n{COMMAND}", stream).split("\n") == [
            "spring: three of the videos are damaged,",
            "  and two are missing",
            COMMAND,
        ]


@pytest.mark.parametrize(("columns", "width"), [(120, 120), (0, USUAL_SIZE.columns)])
def test_a_terminal_that_does_not_say_how_wide_it_is_is_taken_for_a_common_one(columns: int, width: int) -> None:
    with open_terminal(columns) as stream:
        assert find_width(stream) == width


def test_in_a_file_one_line_stays_one_line(tmp_path: Path) -> None:
    with (tmp_path / "out.txt").open("w") as stream:
        assert fit(f"{SENTENCE} {SENTENCE} {SENTENCE}", stream) == f"{SENTENCE} {SENTENCE} {SENTENCE}"


def test_an_error_on_a_terminal_is_wrapped_and_steers_nothing(tmp_path: Path) -> None:
    shown = show(tmp_path, "plan", "spring.yaml", "--submit", "often")
    assert shown.startswith("hedra-batch: No such option '--submit'.")
    assert max(map(len, shown.splitlines())) <= 40
    assert "\x1b" not in shown


def test_what_is_told_of_no_run_ends_in_a_whole_command(tmp_path: Path) -> None:
    name = "a-manifest-with-a-very-long-name.yaml"
    (tmp_path / name).write_text("version: 1\njobs: [{id: sea, prompt: P}]")
    assert show(tmp_path, "status", name).splitlines()[-1] == f"    hedra-batch plan {name}"
