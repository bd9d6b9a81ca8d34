"""Append-only lists of records, kept in memory and, given a folder, as JSON lines that outlive the process."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

from hedra_batch.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import DataclassInstance

    Record = TypeVar("Record", bound=DataclassInstance)
else:
    Record = TypeVar("Record")


class Journal(Generic[Record]):
    """The records of one kind.

    A line has reached the operating system when `append` returns, so killing the process loses none of them.
    """

    def __init__(self, kind: type[Record], folder: Path | None, name: str) -> None:
        self._kind = kind
        self._path = folder / name if folder else None
        self._file: BinaryIO | None = None
        self.records: list[Record] = self._read(self._path) if self._path and self._path.exists() else []

    def append(self, *records: Record) -> None:
        """Add records, all in one write."""
        self.records += records
        if self._path:
            self._file = self._file or _open_to_append(self._path)
            self._file.write(b"".join(_to_line(record) for record in records))
            self._file.flush()

    def close(self) -> None:
        """Close the file; the next `append` opens it again."""
        if self._file:
            self._file.close()
            self._file = None

    def _read(self, path: Path) -> list[Record]:
        content = path.read_bytes()
        whole, _, torn = content.rpartition(b"\n")
        if torn:
            # The process was killed while it wrote this line, so nothing that rests on it was ever answered.
            os.truncate(path, len(content) - len(torn))
        return [self._from_line(path, number, line) for number, line in enumerate(whole.split(b"\n"), 1) if line]

    def _from_line(self, path: Path, number: int, line: bytes) -> Record:
        try:
            return self._kind(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{path}:{number} is no record of the simulator; give it another folder.") from error


def _open_to_append(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def _to_line(record: DataclassInstance) -> bytes:
    return json.dumps(asdict(record), separators=(",", ":")).encode() + b"\n"
