"""The name of a manifest, read without the rest of it where that can be done.

What is odd is left to the composer, which alone knows what it means and how to complain of it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from hedra_batch.manifest.composer import (
    CHARACTERS_PER_VALUE,
    CORE_SCHEMA,
    DEEPEST,
    LOADER,
    MERGE,
    MOST_VALUES,
    compose_whole,
)
from hedra_batch.manifest.document import ManifestText, read_text
from hedra_batch.manifest.lines import read_manifest_name
from hedra_batch.manifest.names import make_manifest_name


class _OddError(Exception):
    """Only composing the whole file tells what this means."""


def load_name(path: Path) -> str:
    """Read only what names the run folder, so that a ledger can be looked at beside a manifest with faults.

    Raises ManifestError where the text cannot be read as far as its name, InputFileError where there is no file.
    """
    try:
        return read_manifest_name(_find_name(read_text(path)))
    except ValueError:
        # What cannot name a folder is a fault that a run tells; here the file's own name is the best guess.
        return make_manifest_name(path.stem)


def _find_name(text: ManifestText) -> object:
    with suppress(_OddError, yaml.YAMLError):
        return _Scan(text).find_name()
    values = compose_whole(text).values
    return values.get("name") if isinstance(values, dict) else None


class _Scan:
    """Passes over the events of one file, within the composer's limits, and keeps none of its values."""

    def __init__(self, text: ManifestText) -> None:
        if "%TAG" in text.content:
            raise _OddError
        # Typed loosely: the parser in C and the one in Python share no type.
        loader: Any = LOADER(text.content)
        self._next = loader.get_event
        self._count = 0
        #: Values that each anchor stands for.
        self._weights: dict[str | None, int] = {}

    def find_name(self) -> str | None:
        """Read on to the name at the top of the manifest; None where it has none, or one that is no text."""
        self._expect(yaml.StreamStartEvent)
        self._expect(yaml.DocumentStartEvent)
        self._expect(yaml.MappingStartEvent)
        self._grow(1)
        while isinstance(key := self._next(), yaml.ScalarEvent):
            if key.value == "name":
                return self._read_name()
            if key.value == MERGE:
                raise _OddError
            self._grow(1)
            self._skip(self._next(), 1)
        if not isinstance(key, yaml.MappingEndEvent):
            raise _OddError
        self._expect(yaml.DocumentEndEvent)
        self._expect(yaml.StreamEndEvent)
        return None

    def _expect(self, kind: type[yaml.Event]) -> None:
        if not isinstance(self._next(), kind):
            raise _OddError

    def _read_name(self) -> str | None:
        event = self._next()
        if not isinstance(event, yaml.ScalarEvent):
            raise _OddError
        # The parser complains of the rest of a line, as in `name: May: sale`, with what follows only.
        self._next()
        is_text = event.tag is not None or not event.implicit[0] or not CORE_SCHEMA.fullmatch(event.value)
        return str(event.value) if is_text else None

    def _skip(self, event: Any, depth: int) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._grow(self._weights.get(event.anchor, MOST_VALUES))
            return
        before = self._count
        if isinstance(event, yaml.ScalarEvent):
            self._grow(1 + len(event.value) // CHARACTERS_PER_VALUE)
        else:
            self._skip_collection(event, depth)
        if event.anchor is not None:
            self._weights[event.anchor] = self._count - before

    def _skip_collection(self, event: Any, depth: int) -> None:
        if depth >= DEEPEST:
            raise _OddError
        self._grow(1)
        if isinstance(event, yaml.SequenceStartEvent):
            while not isinstance(item := self._next(), yaml.SequenceEndEvent):
                self._skip(item, depth + 1)
            return
        while isinstance(key := self._next(), yaml.ScalarEvent):
            self._grow(1)
            self._skip(self._next(), depth + 1)
        if not isinstance(key, yaml.MappingEndEvent):
            raise _OddError

    def _grow(self, by: int) -> None:
        self._count += by
        if self._count > MOST_VALUES:
            raise _OddError
