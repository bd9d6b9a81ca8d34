"""Whether a file is an MP4 with everything that its own boxes announce.

A cut between two boxes, or inside of one that runs to the end, is beyond it: the media client sees to the length.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from hedra_batch.errors import DownloadError

#: Far more than any video has; each one is read, so a file of nothing but boxes would take very long.
BOXES_LIMIT = 100_000
#: The length and the kind of the first box.
HEAD_BYTES = 8


def begins_as_mp4(head: bytes) -> bool:
    """Tell whether the first bytes of a file are those of an MP4."""
    return head[4:HEAD_BYTES] == b"ftyp"


def check_container(file: BinaryIO) -> None:
    """Walk the top-level boxes (ISO/IEC 14496-12) to the end of the file.

    Raises DownloadError unless it begins with `ftyp`, has `moov` and `mdat`, and the boxes fill it exactly.
    """
    size_bytes = file.seek(0, os.SEEK_END)
    position = file.seek(0)
    kinds: list[bytes] = []
    while position < size_bytes:
        kind, length = _read_box(file, size_bytes - position)
        kinds.append(kind)
        if kinds[0] != b"ftyp" or len(kinds) > BOXES_LIMIT:
            raise DownloadError("What arrived is not an MP4 file.")
        if length > size_bytes - position:
            raise DownloadError("The MP4 file that arrived is cut short.")
        position = file.seek(position + length)
    if not {b"moov", b"mdat"} <= set(kinds):
        raise DownloadError("The MP4 file that arrived is cut short.")


def _read_box(file: BinaryIO, remaining_bytes: int) -> tuple[bytes, int]:
    header = file.read(16)
    if len(header) < 8:
        raise DownloadError("The MP4 file that arrived is cut short.")
    length, kind = struct.unpack_from(">I4s", header)
    header_bytes = 8
    if length == 1:
        header_bytes = 16
        length = int.from_bytes(header[8:])
    elif length == 0:
        length = remaining_bytes
    if length < header_bytes:
        raise DownloadError("What arrived is not an MP4 file.")
    return kind, length
