"""A result on its way to the disk: it has its final name only when it is whole, verified and synced."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Sequence
from io import BufferedReader, FileIO
from pathlib import Path

from hedra_batch.durable import hash_file, make_folders, move_aside, open_own, publish, sync
from hedra_batch.errors import DownloadError
from hedra_batch.folder import RunFolder
from hedra_batch.run.container import HEAD_BYTES, begins_as_mp4, check_container

#: So many bytes of a part are asked for once more when a download goes on: they show that it is the same file.
OVERLAP_BYTES = 64
#: Read at once of a part that is continued.
READ_BYTES = 2**20


class PartFile:
    """The `.part` file of one download. Its methods wait for the disk, so they are for a thread of their own."""

    def __init__(self, folder: RunFolder, output: str) -> None:
        self._folder = folder
        self._path = folder.path / output
        self._part = name_part(self._path)
        self._file: FileIO | None = None
        #: Whether nothing more is done with it.
        self.is_closed = False
        self._hash = hashlib.sha256()
        #: What arrives once more of a part that is continued, as it was the first time.
        self._overlap = b""
        #: Whether it is the beginning of a video that is there.
        self._is_begun = False
        #: One that is cancelled lets go of the file while its last piece may still be on the way.
        self._turn = threading.RLock()

    def measure(self) -> int:
        """Return how many bytes an earlier try has left."""
        try:
            found = self._part.lstat()
        except OSError:
            return 0
        return found.st_size if stat.S_ISREG(found.st_mode) else 0

    def resume(self, offset_bytes: int) -> None:
        """Go on with what an earlier try has left. Raises DownloadError where it has changed since it was measured."""
        with self._turn:
            file = self._open("r+")
            remaining_bytes = offset_bytes
            while remaining_bytes and (piece := file.read(min(remaining_bytes, READ_BYTES))):
                self._hash.update(piece)
                remaining_bytes -= len(piece)
            if remaining_bytes:
                raise DownloadError("What had arrived of the video is gone.")
            self._overlap = file.read(OVERLAP_BYTES)
            file.seek(offset_bytes)
            self._is_begun = True

    def append(self, *pieces: bytes) -> None:
        """Write pieces; the first call makes the file anew, and the folders that it is in.

        Raises WriteError where a link would lead it out of the run folder, and DownloadError where the pieces do not go
        on with what is there; then it is deleted. What begins as no video gets no file at all: it can be anything, a
        page that repeats the signed link too.
        """
        with self._turn:
            self._require_video(pieces)
            file = self._open()
            for piece in pieces:
                self._compare(piece)
                self._hash.update(piece)
                remaining = memoryview(piece)
                while remaining:
                    remaining = remaining[file.write(remaining) :]

    def finish(self, *pieces: bytes) -> str:
        """Write the last pieces, sync, verify, rename; returns the SHA-256 in hex. Raises DownloadError for no video.

        Whatever has the final name is whole, also after a power cut.
        """
        with self._turn:
            self.append(*pieces)
            with BufferedReader(self._open()) as file:
                try:
                    sync(file.fileno())
                except OSError:
                    # What the disk has of it is not known any more, so nothing may go on with it.
                    self.discard()
                    raise
                check_container(file)
            content_hash = self._hash.hexdigest()
            if os.path.lexists(self._path) and not (self._path.is_file() and hash_file(self._path) == content_hash):
                move_aside(self._path)
            publish(self._part, self._path)
            self.is_closed = True
            return content_hash

    def keep(self, *pieces: bytes) -> None:
        """Write the last pieces, and leave the file for the next try."""
        with self._turn:
            if not self.is_closed:
                self.append(*pieces)
                self.close()

    def discard(self) -> None:
        """Delete what arrived."""
        with self._turn:
            if not self.is_closed and self._file is not None:
                self._part.unlink(missing_ok=True)
            self.close()

    def close(self) -> None:
        """Let go of the file; what still waits for a turn to write gets none."""
        with self._turn:
            self.is_closed = True
            if self._file is not None:
                self._file.close()

    def _require_video(self, pieces: Sequence[bytes]) -> None:
        if pieces and not self._is_begun:
            head = b"".join(piece[:HEAD_BYTES] for piece in pieces)[:HEAD_BYTES]
            self._is_begun = begins_as_mp4(head)
            if not self._is_begun and not self.is_closed:
                raise DownloadError("What arrived is not an MP4 file.")

    def _compare(self, piece: bytes) -> None:
        known, self._overlap = self._overlap[: len(piece)], self._overlap[len(piece) :]
        if not piece.startswith(known):
            self.discard()
            raise DownloadError("The media host sends another file than before.")

    def _open(self, mode: str = "w+") -> FileIO:
        if self.is_closed:
            raise ValueError("the download was given up")
        if self._file is None:
            self._folder.require_inside(self._path)
            make_folders(self._path.parent, self._folder.path)
            self._file = FileIO(self._part, mode, opener=open_own)
        return self._file


def name_part(path: Path) -> Path:
    """Name the file that has what arrived of another one so far."""
    return path.with_name(f"{path.name}.part")
