"""The text of a manifest file, and what it says as plain values that know where they stand in it."""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from hedra_batch.errors import InputFileError, ManifestError
from hedra_batch.manifest.faults import Fault, Loc, Position, render_line, shown_path
from hedra_batch.manifest.names import is_standard_input

LARGEST_BYTES = 16 * 1024 * 1024
MOST_LINES = 1_000_000

_LINE_ENDS = "\n\r\x85\u2028\u2029"
_LINE_END = re.compile(rf"\r\n|[{_LINE_ENDS}]")
#: What YAML 1.2 does not allow in a file, escaped or not.
_NOT_YAML = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: What people take for a manifest, by its ending, and what to do with it.
_FOREIGN = {
    **dict.fromkeys(
        (".csv", ".tsv", ".xlsx", ".xls", ".ods"),
        "a table and no manifest (write a manifest with a job for each row: 'jobs: [{{id: …, prompt: …}}]')",
    ),
    **dict.fromkeys(
        (".png", ".jpg", ".jpeg", ".webp", ".gif"),
        "a picture and no manifest (write a manifest with the lines 'version: 1', 'images: {name}' and 'prompts: …')",
    ),
    ".mp4": "a video and no manifest",
}
#: Two escaped halves of one character in JSON, behind an even number of backslashes.
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})")


@dataclass(frozen=True)
class ManifestText:
    """A manifest's text, and the name by which its user calls the file."""

    file: str
    content: str

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in _LINE_END.finditer(self.content))]

    def find_position(self, offset: int) -> Position:
        line = bisect_right(self._line_starts, min(offset, len(self.content)))
        return Position(self.file, line, offset - self._line_starts[line - 1] + 1)


def read_text(path: Path) -> ManifestText:
    """Read a manifest from a file, or from the standard input for `-`.

    Raises InputFileError for no readable file, ManifestError for one that is no text.
    """
    is_input = is_standard_input(path)
    file = "<stdin>" if is_input else shown_path(str(path))
    data = _read_input() if is_input else _read_bytes(path, file)
    if len(data) > LARGEST_BYTES:
        raise _no_text(ManifestText(file, ""), 0, f"is larger than {LARGEST_BYTES // 1024**2} MB")
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        readable = ManifestText(file, data[: error.start].decode("utf-8-sig", "replace"))
        raise _no_text(
            readable, len(readable.content), "is not UTF-8 text from here on (save the file as UTF-8)"
        ) from error
    text = ManifestText(file, _join_surrogates(content))
    if sum(map(content.count, _LINE_ENDS)) > MOST_LINES:
        raise _no_text(ManifestText(file, ""), 0, f"has too many lines (at most {MOST_LINES:,})")
    if unreadable := _NOT_YAML.search(content):
        code = f"U+{ord(unreadable[0]):04X}"
        raise _no_text(text, unreadable.start(), f"holds the invisible character {code} (remove it)")
    return text


def _join_surrogates(content: str) -> str:
    """Write each character that JSON escapes in two halves as YAML does: its parser takes no half of one."""
    if not content.lstrip().startswith("{"):
        return content
    return _SURROGATES.sub(lambda match: f"{match[1]}\\U{ord(_read_pair(match[2])):08x}", content)


def _read_pair(escaped: str) -> str:
    halves = bytes.fromhex(escaped[2:6] + escaped[8:])
    return halves.decode("utf-16-be")


@lru_cache(maxsize=1)
def _read_input() -> bytes:
    """Read the standard input, which can be read only once; for whatever else a manifest is read, it is the same."""
    return sys.stdin.buffer.read(LARGEST_BYTES + 1)


def _read_bytes(path: Path, file: str) -> bytes:
    try:
        if not path.is_file():
            # Opening a pipe or a device could wait for ever.
            raise InputFileError([f"{file}: {_describe_no_file(path)}"])
        if foreign := _FOREIGN.get(path.suffix.lower()):
            raise InputFileError([f"{file}: is {foreign.format(name=shown_path(path.name))}"])
        if not path.stat().st_size:
            # So say streams of the kernel too, and reading one could wait for ever.
            return b""
        with path.open("rb") as stream:
            return stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise InputFileError([f"{file}: the manifest cannot be read: {error.strerror or error}"]) from error


def _describe_no_file(path: Path) -> str:
    """Say what stands in the place of a manifest, and what to write instead."""
    if not path.is_dir():
        return f"the manifest {'is not a file' if path.exists() else 'does not exist (check its name and folder)'}"
    if (path / "identity.json").exists():
        return "is a run folder (write the manifest that was run into it; --folder names a run folder)"
    found = sorted(each.name for each in path.iterdir() if each.suffix.lower() in {".yaml", ".yml"} and each.is_file())
    if found:
        return f"is a folder (write a manifest in it, such as {shown_path(str(path / found[0]))})"
    return f"is a folder (write a manifest beside it, with a line such as 'images: {shown_path(path.name)}/*.jpg')"


def _no_text(text: ManifestText, offset: int, what: str) -> ManifestError:
    return ManifestError([render_line(text.find_position(offset), "manifest", what)])


class Mapping(dict[str, Any]):
    """A mapping of the file; `marks` has the offsets of each key and of its value."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        super().__init__()
        self.marks: dict[str, tuple[int, int]] = {}


class Sequence(list[Any]):
    """A list of the file; `marks` has the offset of each item, in a text of its own where it was read from there."""

    __slots__ = ("marks", "text")

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[int] = []
        self.text: ManifestText | None = None


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
        return self.text.file

    def find_position(self, loc: Loc, offset: int | None = None) -> Position:
        if offset is not None:
            return self.text.find_position(offset)
        text, (_, found) = self._find(loc)
        return text.find_position(found)

    def key_offset(self, loc: Loc) -> int:
        """Find where the key at the end of `loc` stands."""
        return self._find(loc)[1][0]

    def _find(self, loc: Loc) -> tuple[ManifestText, tuple[int, int]]:
        """Find in which text, and where in it, the key and the value at `loc` stand."""
        text, marks, value = self.text, (self.start, self.start), self.values
        for part in loc:
            if isinstance(value, Mapping) and part in value:
                marks = value.marks[str(part)]
            elif isinstance(value, Sequence) and isinstance(part, int) and part < len(value):
                text, marks = value.text or text, (value.marks[part], value.marks[part])
            else:
                break
            value = value[part]
        return text, marks
