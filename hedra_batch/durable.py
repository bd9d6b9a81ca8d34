"""Files that survive a power cut: whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
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
