"""What the terminal at a stream is and can do now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TextIO

#: The names of terminals that only print.
PLAIN_TERMINALS = frozenset({"", "dumb", "unknown"})
#: What a terminal has that does not tell its size.
USUAL_SIZE = os.terminal_size((80, 24))


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


def read_size(stream: TextIO) -> os.terminal_size:
    """Read the size as it is at this moment: a person may change it at any time."""
    try:
        columns, lines = os.get_terminal_size(stream.fileno())
    except OSError:
        return USUAL_SIZE
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
