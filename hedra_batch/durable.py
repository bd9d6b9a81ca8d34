"""Files that survive a power cut: whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Replace a file as a whole: sync of the new one, rename, sync of the folder."""
    part = path.with_name(path.name + ".part")
    with open(part, "w", encoding="utf-8", opener=open_own) as file:
        file.write(text)
        file.flush()
        sync(file.fileno())
    publish(part, path)


def open_own(path: str, flags: int) -> int:
    """Open a file for its owner only, and never through a link that somebody left in its place."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def publish(part: Path, path: Path) -> None:
    """Give a synced file its final name, for good."""
    part.replace(path)
    sync_folder(path.parent)


def make_folders(folder: Path, root: Path) -> None:
    """Make the folders of a file below a root, each readable by the owner only and on disk."""
    if folder.exists():
        return
    for level in reversed([folder, *folder.parents]):
        if level.is_relative_to(root) and not level.exists():
            level.mkdir(mode=0o700, exist_ok=True)
            sync_folder(level.parent)


def move_aside(path: Path) -> None:
    """Keep a file that is not the result, under a name that nothing has."""
    names = (path.with_name(f"{path.name}.old{count or ''}") for count in itertools.count())
    path.rename(next(name for name in names if not os.path.lexists(name)))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    """Return when the content is on the disk; macOS has a call of its own that also empties the drive's cache."""
    if hasattr(fcntl, "F_FULLFSYNC"):
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def hash_file(path: Path) -> str:
    """Read a whole file; returns its SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
