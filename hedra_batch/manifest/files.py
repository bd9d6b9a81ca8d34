"""Images on disk: which files a pattern finds, and whether a file is an image that can be sent."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import imagesize  # type: ignore[import-untyped]  # It has hints, but does not say so.

from hedra_batch.inputs import MediaInput
from hedra_batch.manifest.names import has_wildcard, is_url
from hedra_batch.manifest.patterns import Search
from hedra_batch.manifest.wording import shown

LARGEST_BYTES = 100 * 1024 * 1024
ALLOWED_KINDS = "PNG, JPEG, WebP, GIF"

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
        raise ValueError(f"{shown(pattern)} has more than one '**' (allowed: one)")
    found = sorted((search or Search(folder)).find(pattern))
    if not found:
        raise ValueError(f"{shown(pattern)} finds no file (a pattern is relative to the manifest's folder)")
    return found


def read_image(source: str, folder: Path) -> MediaInput:
    """Check an image and take the hash of its bytes. Raises ValueError when it cannot be sent."""
    if is_url(source):
        return MediaInput(source)
    path = folder / source
    try:
        source.encode()
        if not path.is_file():
            # Opening a pipe or a device could wait for ever.
            raise ValueError(f"{shown(source)} {_say_what_it_is(path)}")
        if not path.stat().st_size:
            # So say streams of the kernel too, and reading one could wait for ever.
            raise _no_image(source)
        with path.open("rb") as file:
            return MediaInput(source, path, _read_checked(file, source))
    except UnicodeEncodeError as error:
        raise ValueError(f"{shown(source)} has a name that is no text (rename the file)") from error
    except OSError as error:
        raise ValueError(f"{shown(source)} cannot be read: {error.strerror or error}") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _say_what_it_is(path: Path) -> str:
    if not path.exists():
        return "does not exist (a path is relative to the manifest's folder)"
    return "is a folder (allowed: a file)" if path.is_dir() else "is no regular file"


def _read_checked(file: BinaryIO, source: str) -> str:
    head = file.read(_HEADER_BYTES)
    if not any(is_kind(head) for is_kind in _KINDS):
        raise _no_image(source)
    # The way a photo is turned does not matter here, and looking for it reads on to the end.
    width, height = imagesize.get(_Header(head), exif_rotation=False)
    if width < 1 or height < 1:
        raise ValueError(f"{shown(source)} is damaged: it does not say its width and height")
    return _hash(head, file, source)


def _no_image(source: str) -> ValueError:
    return ValueError(f"{shown(source)} is no image that can be sent (allowed: {ALLOWED_KINDS})")


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
            raise ValueError(f"{shown(source)} is larger than {LARGEST_BYTES // 1024**2} MB")
        digest.update(chunk)
    return digest.hexdigest()
