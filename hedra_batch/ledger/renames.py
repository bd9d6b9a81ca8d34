"""Which paid work counts for another job than the one that it was bought for: a file beside the identity.

Each line is on disk before its move is committed, so that a lost ledger can ask under every id that a job ever had.
The last line of an attempt counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from hedra_batch.durable import open_own, sync, sync_folder
from hedra_batch.errors import WriteError


@dataclass(frozen=True, slots=True)
class Rename:
    """An attempt, by what makes its key, and the job that it counts for."""

    edition: str
    bought_as: str
    number: int
    digest: str
    job_id: str


class Renames:
    """The file `renames.jsonl`; nothing in it ever changes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read_size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise self._make_error("read", error) from error

    def append(self, renames: Iterable[Rename]) -> int:
        """Add lines, on disk when it returns; returns the size that the file has then. Raises WriteError."""
        text = "".join(json.dumps(asdict(rename), ensure_ascii=False) + "\n" for rename in renames)
        try:
            is_new = not self._path.exists()
            with open(self._path, "a+b", opener=open_own) as file:
                if file.tell() and not _ends_line(file.fileno(), file.tell()):
                    # A power cut left a piece of a line; its move was never committed.
                    text = "\n" + text
                file.write(text.encode())
                file.flush()
                sync(file.fileno())
                size = file.tell()
            if is_new:
                sync_folder(self._path.parent)
        except OSError as error:
            raise self._make_error("written", error) from error
        return size

    def read(self, after: int = 0) -> list[Rename]:
        """Read the lines after so many bytes, the oldest first. Raises WriteError."""
        try:
            with self._path.open("rb") as file:
                file.seek(after)
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._make_error("read", error) from error
        return [rename for line in lines if (rename := _parse(line))]

    def _make_error(self, what: str, error: OSError) -> WriteError:
        return WriteError(
            f"{self._path} cannot be {what}: {error.strerror or error}. Nothing was sent. Check the disk and the "
            "permissions of the file."
        )


def _ends_line(descriptor: int, size: int) -> bool:
    return os.pread(descriptor, 1, size - 1) == b"\n"


def _parse(line: bytes) -> Rename | None:
    """Read a line; None for a piece of one, whose move was never committed."""
    try:
        return Rename(**json.loads(line))
    except (ValueError, TypeError):
        return None
