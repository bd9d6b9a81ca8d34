"""A result on its way to the disk: it has its final name only when it is whole, verified and synced."""

from __future__ import annotations

import hashlib
import os
import threading
from io import BufferedReader, FileIO

from hedra_batch.durable import hash_file, make_folders, move_aside, open_own, publish, sync
from hedra_batch.folder import RunFolder
from hedra_batch.run.container import check_container


class PartFile:
    """The `.part` file of one download. Its methods wait for the disk, so they are for a thread of their own."""

    def __init__(self, folder: RunFolder, output: str) -> None:
        self._folder = folder
        self._path = folder.path / output
        self._part = self._path.with_name(self._path.name + ".part")
        self._file: FileIO | None = None
        #: Whether nothing more is done with it.
        self.is_closed = False
        self._hash = hashlib.sha256()
        #: Whoever is cancelled lets go of the file while its last piece may still be on the way.
        self._turn = threading.RLock()

    def append(self, *pieces: bytes) -> None:
        """Write pieces; the first one makes the file, and the folders that it is in.

        Raises WriteError where a link would lead it out of the run folder.
        """
        with self._turn:
            file = self._open()
            for piece in pieces:
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
                sync(file.fileno())
                check_container(file)
            content_hash = self._hash.hexdigest()
            if os.path.lexists(self._path) and not (self._path.is_file() and hash_file(self._path) == content_hash):
                move_aside(self._path)
            publish(self._part, self._path)
            self.is_closed = True
            return content_hash

    def discard(self) -> None:
        """Delete what arrived; it can be anything, a page that repeats the signed link too."""
        self.close()
        if self._file is not None:
            self._part.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file; whoever still waits for a turn to write gets none."""
        with self._turn:
            self.is_closed = True
            if self._file is not None:
                self._file.close()

    def _open(self) -> FileIO:
        if self.is_closed:
            raise ValueError("the download was given up")
        if self._file is None:
            self._folder.require_inside(self._path)
            make_folders(self._path.parent, self._folder.path)
            self._file = FileIO(self._part, "w+", opener=open_own)
        return self._file
