"""Words made to fit a width of cells, without cutting any in two. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

from hedra_batch.report.terminal import fill

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

    def squeeze(word: str, room: int) -> str:
        return shorten(word, room) if cell_len(word) > width and room >= width // 2 else word

    return fill(text.split(), width, measure=cell_len, squeeze=squeeze)


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
