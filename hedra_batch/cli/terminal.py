"""How words reach a person: on a terminal wrapped between words to its width, in a pipe or a file as they are.

A command that is to be pasted stands on a line of its own or between backticks, and is never broken.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from typing import TextIO

#: For a terminal that does not say how wide it is.
DEFAULT_WIDTH = 80
#: What the further lines of a sentence are set in by.
INDENT = 2

_COMMAND = re.compile(r"\s*(\w+=\S+ )*hedra-batch ")
_QUOTED = re.compile(r"`[^`]*`")
#: A label with its text in a column: the further lines stand in that column too.
_LABELLED = re.compile(r"\s*\S+ {2,}")
#: Stands for a space that is not a place to break a line.
_TIED = "\0"


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
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_WIDTH
    except (OSError, ValueError):
        return None


def wrap(line: str, width: int) -> str:
    """Break a line between words; a command stays whole, and so does a word that is longer than the line."""
    if len(line) <= width or _COMMAND.match(line):
        return line
    label = _LABELLED.match(line)
    indent = len(label[0]) if label else len(line) - len(line.lstrip()) + INDENT
    tied = _QUOTED.sub(lambda quoted: quoted[0].replace(" ", _TIED), line)
    lines = textwrap.wrap(tied, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace(_TIED, " ")
