"""Whether a file is a whole MP4: the container's own boxes, which a cut body cannot satisfy."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from hedra_batch.errors import DownloadError


def check_container(path: Path) -> None:
    """Walk the top-level boxes (ISO/IEC 14496-12) to the end of the file.

    Raises DownloadError unless it begins with `ftyp`, has `moov` and `mdat`, and the boxes fill it exactly.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        kinds = []
        position = 0
        while position < size_bytes:
            kind, length = _read_box(file, size_bytes - position)
            kinds.append(kind)
            position += length
            file.seek(position, os.SEEK_SET)
            if kinds[0] != b"ftyp":
                raise DownloadError("What arrived is not an MP4 file.")
    if position != size_bytes or not {b"moov", b"mdat"} <= set(kinds):
        raise DownloadError("The MP4 file that arrived is cut short.")


def _read_box(file: BinaryIO, remaining_bytes: int) -> tuple[bytes, int]:
    header = file.read(8)
    if len(header) < 8:
        raise DownloadError("The MP4 file that arrived is cut short.")
    length, kind = struct.unpack(">I4s", header)
    if length == 1:
        extended = file.read(8)
        length = struct.unpack(">Q", extended)[0] if len(extended) == 8 else 0
    elif length == 0:
        length = remaining_bytes
    if length < 8:
        raise DownloadError("What arrived is not an MP4 file." if kind != b"mdat" else "The MP4 file is damaged.")
    return kind, length
