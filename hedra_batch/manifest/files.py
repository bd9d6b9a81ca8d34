"""Files that a manifest names: which ones a pattern finds, and whether a file is an image that can be sent.

Patterns look within a bound: one can mean the whole disk, or run in circles.
"""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import io
import mmap
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from unicodedata import normalize

import imagesize  # type: ignore[import-untyped]  # It has hints, but does not say so.

from hedra_batch.inputs import MediaInput
from hedra_batch.manifest.faults import shown
from hedra_batch.manifest.names import has_wildcard, is_url
from hedra_batch.manifest.pictures import is_whole

LARGEST_BYTES = 100 * 1024 * 1024
ALLOWED_KINDS = "PNG, JPEG, WebP, GIF"

#: Names that the patterns of one manifest look at, all together.
MOST_NAMES = 100_000

#: For so long after its last change a file may still be on its way here.
FRESH_SECONDS = 10.0

_ALL_BELOW = "**"
#: Of files that are meant as pictures, whatever is in them.
_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif"})
#: As much as tells the kind of a picture.
_HEAD_BYTES = 16
_CHUNK_BYTES = 1024 * 1024
#: The size stands in here even behind a large colour profile.
_HEADER_BYTES = 2 * 1024 * 1024
#: A sound header takes a hundred; a hostile one would be looked through byte by byte.
_MOST_READS = 5_000
_KINDS: tuple[Callable[[bytes], bool], ...] = (
    lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
    lambda head: head.startswith(b"\xff\xd8\xff"),
    lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP",
    lambda head: head.startswith((b"GIF87a", b"GIF89a")),
)


def is_pattern(source: str, folder: Path) -> bool:
    """Tell whether a source stands for all files that it finds; a file of exactly that name is just that file."""
    return has_wildcard(source) and not is_url(source) and not _is_file(folder / source)


def find_images(pattern: str, folder: Path, search: Search | None = None) -> list[str]:
    """List the files that a pattern finds, sorted, without hidden ones. Raises ValueError for none or too many."""
    if pattern.count("**") > 1:
        raise ValueError(f"{shown(pattern)} has more than one '**' (write it once)")
    found = sorted((search or Search(folder)).find(pattern))
    if not found:
        hint = _hint_at_brackets(pattern, folder) or "paths begin at the manifest's folder"
        raise ValueError(f"{shown(pattern)} finds no file ({hint})")
    return found


def read_image(source: str, folder: Path) -> MediaInput:
    """Check an image and take the hash of its bytes. Raises ValueError when it cannot be sent."""
    if is_url(source):
        return MediaInput(source)
    path = _locate(source, folder)
    try:
        source.encode()
        if not path.is_file():
            # Opening a pipe or a device could wait for ever.
            raise ValueError(f"{shown(source)} {_say_what_it_is(path)}")
        if not path.stat().st_size:
            # So say streams of the kernel too, and reading one could wait for ever.
            raise _no_image(source)
        with path.open("rb") as file:
            content_hash = _read_checked(file, source)
            _require_whole(file, source)
            return MediaInput(source, path, content_hash)
    except UnicodeEncodeError as error:
        raise ValueError(f"{shown(source)} has a name that is not valid text (rename the file)") from error
    except OSError as error:
        raise ValueError(f"{shown(source)} cannot be read: {error.strerror or error}") from error


def may_be_picture(source: str, folder: Path) -> bool:
    """Tell whether a file that a pattern found is meant, by its ending or its first bytes."""
    path = folder / source
    if path.suffix.lower() in _ENDINGS or not _is_file(path):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return True
    return any(is_kind(head) for is_kind in _KINDS)


def is_fresh(source: str, folder: Path) -> bool:
    """Tell whether a file has changed so lately that it may still be on its way here."""
    try:
        return abs(time.time() - (folder / source).stat().st_mtime) < FRESH_SECONDS
    except OSError:
        return False


def _hint_at_brackets(pattern: str, folder: Path) -> str:
    """Say how a folder is written whose name has what patterns read as a choice of letters."""
    parts = PurePosixPath(pattern).parts
    for index, part in enumerate(parts[:-1]):
        if has_wildcard(part) and (folder / PurePosixPath(*parts[: index + 1])).is_dir():
            escaped = PurePosixPath(*parts[:index], glob.escape(part), *parts[index + 1 :])
            return f"a folder is called {shown(part)}; write it as {shown(str(escaped))}"
    return ""


def _locate(source: str, folder: Path) -> Path:
    """Find a file whose name on the disk may be in another Unicode form than it is written in."""
    path = folder / source
    if source.isascii() or os.path.lexists(path):
        return path
    for part in PurePosixPath(source).parts:
        folder /= _find_form(folder, part)
    return folder


def _find_form(folder: Path, name: str) -> str:
    """Find how a name is written in a folder; as it is where it is not there at all."""
    if name.isascii() or os.path.lexists(folder / name):
        return name
    wanted = normalize("NFC", name)
    with suppress(OSError, ValueError):
        return next((each.name for each in folder.iterdir() if normalize("NFC", each.name) == wanted), name)
    return name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _say_what_it_is(path: Path) -> str:
    if not path.exists():
        return "does not exist (paths begin at the manifest's folder)"
    return "is a folder (write the path of a file)" if path.is_dir() else "is not an ordinary file"


def _read_checked(file: BinaryIO, source: str) -> str:
    head = file.read(_HEADER_BYTES)
    if not any(is_kind(head) for is_kind in _KINDS):
        raise _no_image(source)
    # The way a photo is turned does not matter here, and looking for it reads on to the end.
    width, height = imagesize.get(_Header(head), exif_rotation=False)
    if width < 1 or height < 1:
        raise ValueError(f"{shown(source)} is damaged: its width and height cannot be read (save it anew)")
    return _hash(head, file, source)


def _require_whole(file: BinaryIO, source: str) -> None:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if not is_whole(content):
            raise ValueError(f"{shown(source)} is not whole: its end is missing (copy it again, or save it anew)")


def _no_image(source: str) -> ValueError:
    return ValueError(f"{shown(source)} is not an image that can be sent (allowed: {ALLOWED_KINDS})")


class _Header(io.BytesIO):
    """The start of an image, which ends where it has been read from too often."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        return super().read(size) if self._reads <= _MOST_READS else b""


def _hash(head: bytes, file: BinaryIO, source: str) -> str:
    digest, size = hashlib.sha256(head), len(head)
    while chunk := file.read(_CHUNK_BYTES):
        size += len(chunk)
        if size > LARGEST_BYTES:
            raise ValueError(f"{shown(source)} is larger than {LARGEST_BYTES // 1024**2} MB (make it smaller)")
        digest.update(chunk)
    return digest.hexdigest()


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
                yield f"{way}{_find_form(self._folder / way, part)}/"

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
        last = _find_form(self._folder / way, last)
        path = self._folder / way / last
        if os.path.lexists(path) and not _is_folder(path):
            yield f"{way}{last}"

    def _match(self, way: str, part: str) -> Iterator[os.DirEntry[str]]:
        matches = re.compile(fnmatch.translate(normalize("NFC", part))).match
        for entry in self._list(way):
            if matches(normalize("NFC", entry.name)) and (part.startswith(".") or not entry.name.startswith(".")):
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
