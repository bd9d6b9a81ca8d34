"""What people write first: one text or one pattern where a list may stand, and a file with a prompt on each line."""

from __future__ import annotations

import re
from pathlib import Path

from hedra_batch.errors import InputFileError
from hedra_batch.manifest.document import LARGEST_BYTES, ManifestText, Mapping, Sequence, Tree
from hedra_batch.manifest.faults import WHY_REFUSED, Fault, describe_unsafe, holds_credential, shown, shown_path

#: Keys that take a list, and a single value in its place.
_KEYS = ("prompts", "images")
_LINE = re.compile(r"[^\r\n]+")


def expand_shorthand(tree: Tree, folder: Path) -> None:
    """Put the list that is meant in the place of a single value. Raises InputFileError for a file that is not there."""
    values = tree.values
    if not isinstance(values, Mapping):
        return
    for key in _KEYS:
        written = values.get(key)
        if isinstance(written, str) and written.strip():
            mark = values.marks[key][1]
            is_file = key == "prompts" and names_file(written)
            values[key] = _read_lines(tree, folder, written.strip(), mark) if is_file else _list_one(written, mark)


def names_file(text: str) -> bool:
    """Tell whether a text in the place of prompts names a file with them: a sentence has spaces, and no ending."""
    text = text.strip()
    return "\n" not in text and (text.endswith(".txt") or ("/" in text and " " not in text))


def _list_one(value: str, mark: int) -> Sequence:
    sequence = Sequence()
    sequence.append(value)
    sequence.marks.append(mark)
    return sequence


def _read_lines(tree: Tree, folder: Path, name: str, mark: int) -> Sequence:
    """Read a prompt from each line that has something in it; faults are told at its place in that file."""
    position = tree.text.find_position(mark)
    place = f"{position.file}:{position.line}:{position.column}: prompts: {shown(name)}"
    path = folder / name
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist (paths begin at the manifest's folder)"
            raise InputFileError([f"{place} {what}"])
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise InputFileError([f"{place} cannot be read: {error.strerror or error}"]) from error
    if len(data) > LARGEST_BYTES:
        raise InputFileError([f"{place} is larger than {LARGEST_BYTES // 1024**2} MB"])
    try:
        text = ManifestText(shown_path(str(path)), data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputFileError([f"{place} is not UTF-8 text (save the file as UTF-8)"]) from error
    return _list_lines(tree, text)


def _list_lines(tree: Tree, text: ManifestText) -> Sequence:
    sequence = Sequence()
    sequence.text = text
    for line in _LINE.finditer(text.content):
        if line[0].strip():
            is_secret = holds_credential(line[0])
            if what := WHY_REFUSED if is_secret else describe_unsafe(line[0]):
                tree.faults.append(Fault(("prompts", len(sequence)), what, is_secret=is_secret))
            sequence.append(line[0])
            sequence.marks.append(line.start())
    return sequence
