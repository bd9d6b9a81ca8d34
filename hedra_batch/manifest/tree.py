"""What a manifest says, as plain values, and where in the text each of them stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hedra_batch.manifest.document import ManifestText
from hedra_batch.manifest.faults import Fault, Loc, Position


class Mapping(dict[str, Any]):
    """A mapping of the file; `marks` has the offsets of each key and of its value."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        super().__init__()
        self.marks: dict[str, tuple[int, int]] = {}


class Sequence(list[Any]):
    """A list of the file; `marks` has the offset of each item."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[int] = []


@dataclass(frozen=True)
class Tree:
    """What a manifest says, before it is known whether that makes sense."""

    text: ManifestText
    values: Any
    start: int
    #: What is wrong with the YAML itself; the values are there all the same.
    faults: list[Fault]
    #: Unquoted texts of which YAML took a part for a comment or an anchor, and what it took.
    cuts: dict[Loc, str]
    #: Whether the last of the faults kept the rest from being read, so that there are no values.
    is_broken: bool = False

    @property
    def file(self) -> str:
        """The file's name as it was typed, safe to print."""
        return self.text.file

    def place(self, loc: Loc, offset: int | None = None) -> Position:
        """Find the place of an offset, or of the value at `loc`, or of the innermost mapping that should have it."""
        return self.text.place(self._find(loc)[1] if offset is None else offset)

    def key_offset(self, loc: Loc) -> int:
        """Find where the key at the end of `loc` stands."""
        return self._find(loc)[0]

    def _find(self, loc: Loc) -> tuple[int, int]:
        marks, value = (self.start, self.start), self.values
        for part in loc:
            if isinstance(value, Mapping) and part in value:
                marks = value.marks[str(part)]
            elif isinstance(value, Sequence) and isinstance(part, int) and part < len(value):
                marks = (value.marks[part], value.marks[part])
            else:
                break
            value = value[part]
        return marks
