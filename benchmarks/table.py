"""The one table: a row a figure, beside its limit or its rival."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_HEAD = ("figure", "measured", "limit or rival", "target", "met")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure."""

    #: What `--only` takes.
    name: str
    figure: str
    measured: str
    #: What it is measured against, in the same run.
    rival: str = ""
    target: str = ""
    #: None where the product promises nothing.
    is_met: bool | None = None


def write_table(rows: Iterable[Row]) -> Iterator[str]:
    """Write the lines of a Markdown table."""
    yield _write_line(_HEAD)
    yield _write_line(["---"] * len(_HEAD))
    for row in rows:
        met = {True: "yes", False: "no", None: ""}[row.is_met]
        yield _write_line((f"{row.name}: {row.figure}", row.measured, row.rival, row.target, met))


def _write_line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
