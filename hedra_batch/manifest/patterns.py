"""The files that patterns find, looked for within a bound: a pattern can mean the whole disk, or run in circles."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from hedra_batch.manifest.names import has_wildcard
from hedra_batch.manifest.wording import shown

#: Names that the patterns of one manifest look at, all together.
MOST_NAMES = 100_000

_ALL_BELOW = "**"


class _BoundError(Exception):
    """There is more to look at than is allowed."""


class Search:
    """Finds files by patterns relative to a folder; all patterns share what may be looked at.

    A way is how a pattern comes to a folder: empty, or with a slash at its end.
    """

    def __init__(self, folder: Path, most_names: int = MOST_NAMES) -> None:
        self._folder = folder
        self._most_names = most_names
        self._looked_at = 0

    def find(self, pattern: str) -> Iterator[str]:
        """Yield what is no folder and not hidden, each by the shortest way where links make several.

        Raises ValueError for a pattern that looks at too much.
        """
        path = PurePosixPath(pattern)
        *parts, last = path.relative_to(path.anchor).parts
        if last == _ALL_BELOW:
            parts, last = [*parts, last], "*"
        try:
            for way in self._walk(path.root, parts):
                yield from self._find_files(way, last)
        except _BoundError as error:
            bound = f"at most {self._most_names:,} names, for all patterns together"
            raise ValueError(f"{shown(pattern)} leads through too many files ({bound})") from error

    def _walk(self, root: str, parts: Iterable[str]) -> list[str]:
        ways = [root]
        for part in parts:
            ways = self._descend(ways) if part == _ALL_BELOW else self._settle(self._enter(ways, part), set())
        return ways

    def _descend(self, ways: list[str]) -> list[str]:
        """Go into all folders below, level by level, so that the shortest ways come first."""
        found: list[str] = []
        seen: set[tuple[int, int]] = set()
        while ways := self._settle(ways, seen):
            found += ways
            ways = list(self._enter(ways, "*"))
        return found

    def _enter(self, ways: Iterable[str], part: str) -> Iterator[str]:
        for way in ways:
            if has_wildcard(part):
                yield from (f"{way}{entry.name}/" for entry in self._match(way, part) if _is_folder(entry))
            else:
                yield f"{way}{part}/"

    def _settle(self, ways: Iterable[str], seen: set[tuple[int, int]]) -> list[str]:
        """Sort ways, and leave out those to folders that were seen before: links make detours, and circles of them."""
        settled = []
        for way in sorted(ways, key=lambda way: (way.count("/"), way)):
            self._count()
            try:
                status = (self._folder / way).stat()
            except OSError:
                continue
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                settled.append(way)
        return settled

    def _find_files(self, way: str, last: str) -> Iterator[str]:
        if has_wildcard(last):
            yield from (f"{way}{entry.name}" for entry in self._match(way, last) if not _is_folder(entry))
            return
        path = self._folder / way / last
        if os.path.lexists(path) and not _is_folder(path):
            yield f"{way}{last}"

    def _match(self, way: str, part: str) -> Iterator[os.DirEntry[str]]:
        matches = re.compile(fnmatch.translate(part)).match
        for entry in self._list(way):
            if matches(entry.name) and (part.startswith(".") or not entry.name.startswith(".")):
                yield entry

    def _list(self, way: str) -> Iterator[os.DirEntry[str]]:
        # What may not be listed, or is no folder, has nothing that could be found.
        with suppress(OSError), os.scandir(self._folder / way) as entries:
            for entry in entries:
                self._count()
                yield entry

    def _count(self) -> None:
        self._looked_at += 1
        if self._looked_at > self._most_names:
            raise _BoundError


def _is_folder(path: Path | os.DirEntry[str]) -> bool:
    """Tell whether a folder is there; what is neither file nor folder stays, so that it is told about, not missed."""
    try:
        return path.is_dir()
    except OSError:
        return False
