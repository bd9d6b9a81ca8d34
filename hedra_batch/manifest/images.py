"""Images on disk: which files a pattern finds, and whether a file is an image that can be sent."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from glob import iglob
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import imagesize  # type: ignore[import-untyped]  # It has hints, but does not say so.

from hedra_batch.job import ImageInput
from hedra_batch.manifest.naming import has_wildcard, is_url
from hedra_batch.manifest.wording import shown

LARGEST_BYTES = 100 * 1024 * 1024
MOST_FOUND = 100_000
ALLOWED_KINDS = "PNG, JPEG, WebP, GIF"

_CHUNK_BYTES = 1024 * 1024
#: The size stands in here even behind a large colour profile; beyond, a search byte by byte would take seconds.
_HEADER_BYTES = 2 * 1024 * 1024
_KINDS: tuple[Callable[[bytes], bool], ...] = (
    lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
    lambda head: head.startswith(b"\xff\xd8\xff"),
    lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP",
    lambda head: head.startswith((b"GIF87a", b"GIF89a")),
)


def is_pattern(source: str, folder: Path) -> bool:
    """Tell whether a source stands for all files that it finds; a file of exactly that name is just that file."""
    return has_wildcard(source) and not is_url(source) and not _is_file(folder / source)


def find_images(pattern: str, folder: Path) -> list[str]:
    """List the files that a pattern finds, sorted, without hidden ones. Raises ValueError when there is none."""
    if pattern.count("**") > 1:
        raise ValueError(f"{shown(pattern)} has more than one '**' (allowed: one)")
    # Unlike Path.glob it leaves hidden files and folders out.
    paths = islice(iglob(str(Path(pattern)), root_dir=folder, recursive=True), MOST_FOUND + 1)  # noqa: PTH207
    candidates = {path for path in paths if not Path(path).name.startswith(".") and not _is_folder(folder / path)}
    found = _leave_out_detours(sorted(candidates), folder)
    if not found:
        raise ValueError(f"{shown(pattern)} finds no file (a pattern is relative to the manifest's folder)")
    if len(found) > MOST_FOUND:
        raise ValueError(f"{shown(pattern)} finds too many files (at most {MOST_FOUND:,})")
    return found


def _leave_out_detours(paths: list[str], folder: Path) -> list[str]:
    """Keep the shortest way to a file where linked folders, or a circle of them, make several."""
    ways: dict[tuple[str, str], str] = {}
    for path in sorted(paths, key=lambda path: path.count(os.sep)):
        head, name = os.path.split(path)
        ways.setdefault((os.path.realpath(folder / head), name), path)
    return sorted(ways.values())


def read_image(source: str, folder: Path) -> ImageInput:
    """Check an image and take the hash of its bytes. Raises ValueError when it cannot be sent."""
    if is_url(source):
        return ImageInput(source)
    path = folder / source
    try:
        source.encode()
        if not path.is_file():
            # Opening a pipe or a device could wait for ever.
            raise ValueError(f"{shown(source)} {_say_what_it_is(path)}")
        with path.open("rb") as file:
            return ImageInput(source, path, _read_checked(file, source))
    except UnicodeEncodeError as error:
        raise ValueError(f"{shown(source)} has a name that is no text (rename the file)") from error
    except OSError as error:
        raise ValueError(f"{shown(source)} cannot be read: {error.strerror or error}") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _is_folder(path: Path) -> bool:
    # What is neither file nor folder stays, so that it is told about rather than missed.
    try:
        return path.is_dir()
    except OSError:
        return False


def _say_what_it_is(path: Path) -> str:
    if not path.exists():
        return "does not exist (a path is relative to the manifest's folder)"
    return "is a folder (allowed: a file)" if path.is_dir() else "is no regular file"


def _read_checked(file: BinaryIO, source: str) -> str:
    head = file.read(_HEADER_BYTES)
    if not any(is_kind(head) for is_kind in _KINDS):
        raise ValueError(f"{shown(source)} is no image that can be sent (allowed: {ALLOWED_KINDS})")
    # The way a photo is turned does not matter here, and looking for it reads on to the end.
    width, height = imagesize.get(io.BytesIO(head), exif_rotation=False)
    if width < 1 or height < 1:
        raise ValueError(f"{shown(source)} is damaged: it does not say its width and height")
    return _hash(head, file, source)


def _hash(head: bytes, file: BinaryIO, source: str) -> str:
    digest, size = hashlib.sha256(head), len(head)
    while chunk := file.read(_CHUNK_BYTES):
        size += len(chunk)
        if size > LARGEST_BYTES:
            raise ValueError(f"{shown(source)} is larger than {LARGEST_BYTES // 1024**2} MB")
        digest.update(chunk)
    return digest.hexdigest()
