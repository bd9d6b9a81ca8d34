"""Rows of the ledger as a table, JSON lines or CSV. Pure: yields text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hedra_batch.sanitize import to_line

#: What a table shows of the many columns.
TABLE_COLUMNS = ("id", "edition", "state", "attempt", "output", "credits_charged", "error_code", "error")
CELL_WIDTH = 60
#: Between columns, and before those that stand on a further line of a row.
GAP = "  "
FURTHER_INDENT = "    "


def to_json_lines(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False) + "\n"


def to_csv(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    """Write a header and a line a row, by RFC 4180.

    A text that a spreadsheet would run as a formula gets an apostrophe before it.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_defuse(row[name]) for name in columns])
        yield _drain(buffer)
    yield _drain(buffer)


def to_table(
    rows: Iterable[dict[str, Any]], columns: Sequence[str] = TABLE_COLUMNS, width: int | None = None
) -> Iterator[str]:
    """Align columns that are as wide as their cells; those that are empty everywhere are left out.

    Columns that find no room in a width go on a further line of each row. The rows are iterated twice, so that none
    has to be kept; a cell that has grown by then only loses its alignment.
    """
    longest = dict.fromkeys(columns, 0)
    for row in rows:
        for name in columns:
            longest[name] = max(longest[name], len(to_cell(row[name])))
    lines = _fold({name: max(len(name), length) for name, length in longest.items() if length}, width)
    if lines:
        yield _align({name: name.upper() for name in columns}, lines)
        for row in rows:
            yield _align(row, lines)


def _fold(widths: dict[str, int], limit: int | None) -> list[dict[str, int]]:
    """Divide columns into lines, so that each fits; a column that fits nowhere has a line of its own."""
    lines: list[dict[str, int]] = []
    room = 0
    for name, width in widths.items():
        if not lines or (limit is not None and width > room):
            room = (limit or 0) - (len(FURTHER_INDENT) if lines else 0)
            lines.append({})
        lines[-1][name] = width
        room -= width + len(GAP)
    return lines


def _align(row: dict[str, Any], lines: list[dict[str, int]]) -> str:
    aligned = [GAP.join(to_cell(row[name]).ljust(width) for name, width in line.items()).rstrip() for line in lines]
    first, *further = aligned
    return "".join([f"{first}\n", *(f"{FURTHER_INDENT}{line}\n" for line in further if line)])


def to_cell(value: object) -> str:
    """Write a value on one line, without control characters, not too wide, and cut between words where it has any."""
    if value is None:
        return ""
    line = to_line(str(value), CELL_WIDTH)
    whole_words = line.rpartition(" ")[0]
    is_cut = len(line) == CELL_WIDTH and line.endswith("…")
    return f"{whole_words} …" if is_cut and len(whole_words) > CELL_WIDTH // 2 else line


def _defuse(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _drain(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
