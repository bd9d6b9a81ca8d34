"""A fault of a manifest, and the line that tells it: `file:line:column: key: what is wrong (what is allowed)`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from hedra_batch.manifest.credentials import holds_credential
from hedra_batch.manifest.names import is_name
from hedra_batch.manifest.wording import shown

#: Nobody reads on beyond so many, and finding more can take long.
MOST_FAULTS = 1_000

#: The way from the root of the manifest to a value: keys and positions.
Loc = tuple[str | int, ...]


class Position(NamedTuple):
    """Where something stands in the file, counted from 1."""

    line: int
    column: int


class Fault(NamedTuple):
    """One thing that is wrong; `what` is the end of a sentence that begins with the key."""

    loc: Loc
    what: str
    #: Where it stands, as an offset into the text; None for where the value at `loc` stands.
    offset: int | None = None
    #: Whether other faults of the same value stay untold, since they could show it.
    is_secret: bool = False


class Map(Protocol):
    """Knows where things stand in one file."""

    @property
    def file(self) -> str:
        """The file's name as it was typed, safe to print."""

    def place(self, loc: Loc, offset: int | None = None) -> Position:
        """Find the place of an offset, or of the value at `loc`, or of the innermost mapping that should have it."""


def render_faults(faults: Iterable[Fault], where: Map) -> list[str]:
    """Write one line a fault, in the order of the file."""
    faults = list(faults)
    secrets = {fault.loc for fault in faults if fault.is_secret}
    told = (fault for fault in faults if fault.is_secret or not _is_within(fault.loc, secrets))
    # The same fault met twice, through an alias, is one line.
    placed = list({(where.place(fault.loc, fault.offset), fault.loc, fault.what) for fault in told})
    placed.sort(key=lambda one: (one[0], str(one[1:])))
    lines = [render_line(where.file, place, render_key(loc), what) for place, loc, what in placed[:MOST_FAULTS]]
    return lines if len(placed) <= MOST_FAULTS else [*lines, f"{where.file}: these are the first, and there are more"]


def render_line(file: str, place: Position, key: str, what: str) -> str:
    """Write the line of one fault."""
    return f"{file}:{place.line}:{place.column}: {key}: {what}"


def render_key(loc: Loc) -> str:
    """Write a way from the root as people do: `jobs[2].duration`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif is_name(part) and not holds_credential(part):
            text += f".{part}" if text else part
        else:
            text += f"[{shown(part)}]"
    return text or "manifest"


def _is_within(loc: Loc, others: set[Loc]) -> bool:
    return bool(others) and any(loc[:length] in others for length in range(len(loc) + 1))
