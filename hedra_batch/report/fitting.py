"""Words made to fit a width of cells, without cutting any in two. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

#: Stands for the rest of what was cut after a word.
CUT = " …"

#: Words that belong together, and their style.
Part = tuple[str, str]


def join_parts(parts: Iterable[Part], width: int) -> Text:
    """Put as many parts on a line as fit whole, the first one in any case."""
    line = Text()
    for words, style in parts:
        if not line:
            line.append(choose((words,), width), style)
        elif line.cell_len + cell_len(words) + 2 <= width:
            line.append("  ").append(words, style)
        else:
            break
    return line


def choose(variants: Sequence[str], width: int) -> str:
    """Choose the first of several ways to say something that fits, or cut the last one after a word."""
    for words in variants:
        if cell_len(words) <= width:
            return words
    return next(wrap_words(variants[-1], width - len(CUT))) + CUT


def wrap_words(text: str, width: int) -> Iterator[str]:
    """Wrap between words; one that is longer than a line is shortened, to what is left of its line if that is much."""
    line = ""
    for word in text.split():
        room = width - cell_len(line) - 1
        is_long = cell_len(word) > width
        if not line or (cell_len(word) > room and not (is_long and room >= width // 2)):
            if line:
                yield line
            line = shorten(word, width)
        else:
            line = f"{line} {shorten(word, room)}"
    yield line


def shorten(text: str, width: int) -> str:
    """Leave out the middle of what is too wide: ids differ in their beginnings and in their ends."""
    if cell_len(text) <= width:
        return text
    head, tail = "", ""
    while cell_len(head + tail) < width - 1:
        longer = (head + text[len(head)], tail) if len(head) <= len(tail) else (head, text[-len(tail) - 1] + tail)
        if cell_len("".join(longer)) > width - 1:
            break
        head, tail = longer
    return f"{head}…{tail}"
