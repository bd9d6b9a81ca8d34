"""What the terminal at a stream is and can do now, and how words reach a person there: wrapped between words.

In a pipe or a file they stay as they are. A command that is to be pasted stands on a line of its own or between
backticks, and is never broken.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TextIO

#: The names of terminals that only print.
PLAIN_TERMINALS = frozenset({"", "dumb", "unknown"})
#: What a terminal has that does not tell its size.
USUAL_SIZE = os.terminal_size((80, 24))
#: What the further lines of a sentence are set in by.
INDENT = 2

_COMMAND = re.compile(r"\s*(\w+=\S+ )*hedra-batch ")
_QUOTED = re.compile(r"`[^`]*`")
#: A label with its text in a column: the further lines stand in that column too.
_LABELLED = re.compile(r"\s*\S+ {2,}")
#: Stands for a space that is not a place to break a line.
_TIED = "\0"


def can_show_view(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Tell whether a view can be shown there: on a terminal that is ours and moves its cursor, with more than ASCII."""
    if not stream.isatty() or not stream.encoding.lower().startswith("utf"):
        return False
    return is_foreground(stream) and _has_cursor(environment.get("TERM", ""), stream)


def is_foreground(stream: TextIO) -> bool:
    """Tell whether the terminal is ours now; that of a process in the background is the shell's."""
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except OSError:
        # No shell shares a terminal that does not control this process.
        return True


def find_size(stream: TextIO) -> os.terminal_size | None:
    """Find the size as it is at this moment: a person may change it at any time. None for what is no terminal."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return None
    return os.terminal_size((columns or USUAL_SIZE.columns, lines or USUAL_SIZE.lines))


def _has_cursor(name: str, stream: TextIO) -> bool:
    """Tell whether a terminal moves its cursor as ANSI says; one that this machine does not know most likely does."""
    if name in PLAIN_TERMINALS:
        return False
    try:
        import curses  # noqa: PLC0415 - not every Python has it
    except ImportError:
        return True
    try:
        curses.setupterm(name, stream.fileno())
    except curses.error:
        return True
    return (curses.tigetstr("cup") or b"").startswith(b"\x1b[")


def say(text: str, stream: TextIO | None = None) -> None:
    """Print words, to stderr where nothing else is said."""
    stream = stream or sys.stderr
    print(fit(text, stream), file=stream, flush=True)


def fit(text: str, stream: TextIO) -> str:
    """Return a text as it is to be printed there."""
    width = find_width(stream)
    return text if width is None else "\n".join(wrap(line, width) for line in text.split("\n"))


def find_width(stream: TextIO) -> int | None:
    """Find how many columns a terminal has; None for what is no terminal."""
    size = find_size(stream)
    return size.columns if size else None


def wrap(line: str, width: int) -> str:
    """Break a line between words; a command stays whole, and so does a word that is longer than the line."""
    if len(line) <= width or _COMMAND.match(line):
        return line
    label = _LABELLED.match(line)
    start = label[0] if label else line[: len(line) - len(line.lstrip())]
    indent = " " * (len(start) if label else len(start) + INDENT)
    tied = _QUOTED.sub(lambda quoted: quoted[0].replace(" ", _TIED), line[len(start) :])
    return "\n".join(fill(tied.split(" "), width, start=start, indent=indent)).replace(_TIED, " ")


def _leave(word: str, _room: int) -> str:
    return word


def fill(
    words: Iterable[str],
    width: int,
    *,
    start: str = "",
    indent: str = "",
    measure: Callable[[str], int] = len,
    squeeze: Callable[[str, int], str] = _leave,
) -> Iterator[str]:
    """Put words on lines; `squeeze` may make one shorter for the room that is left on its line."""
    line, has_word = start, False
    for word in words:
        squeezed = squeeze(word, width - measure(line) - 1)
        if has_word and measure(line) + 1 + measure(squeezed) <= width:
            line = f"{line} {squeezed}"
            continue
        if has_word:
            yield line
            line = indent
        line += squeeze(word, width - measure(line))
        has_word = True
    yield line
