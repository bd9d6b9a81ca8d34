"""Whether a picture is whole: its own structure is followed to its end, whatever stands behind that. Pure."""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Callable

#: The bytes of a file, mapped: a picture may have 100 MB.
Content = bytes | mmap.mmap

_PNG, _JPEG, _GIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", (b"GIF87a", b"GIF89a")
_PNG_TYPE = re.compile(rb"[A-Za-z]{4}")
#: What begins a marker within the data of a JPEG: neither a byte that is escaped, nor a restart, nor what fills up.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
#: Markers that no length follows.
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
_GIF_IMAGE, _GIF_EXTENSION, _GIF_END = 0x2C, 0x21, 0x3B


class _CutError(Exception):
    """The structure goes on behind the end of the file, or is none."""


def is_whole(content: Content) -> bool:
    """Tell whether a picture of a known kind has all that its structure announces."""
    try:
        _find_walk(content)(content)
    except (_CutError, IndexError, struct.error):
        return False
    return True


def _find_walk(content: Content) -> Callable[[Content], None]:
    if content[:8] == _PNG:
        return _walk_png
    if content[:3] == _JPEG:
        return _walk_jpeg
    return _walk_gif if content[:6] in _GIF else _walk_webp


def _walk_png(content: Content) -> None:
    """Go from chunk to chunk up to IEND (PNG specification, 5.3)."""
    position, kind = len(_PNG), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, position)
        position += 12 + length
        if position > len(content) or not _PNG_TYPE.fullmatch(kind):
            raise _CutError


def _walk_jpeg(content: Content) -> None:
    """Go from segment to segment, and through the data of each scan, up to EOI (ITU-T T.81, B.1)."""
    position = 2
    while True:
        if content[position] != 0xFF:
            raise _CutError
        marker = content[position + 1]
        if marker == _JPEG_END:
            return
        if marker == 0xFF or marker in _JPEG_ALONE:
            # Fill bytes may stand before a marker.
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", content, position + 2)
        position += 2 + length
        if marker == _JPEG_SCAN:
            following = _JPEG_MARKER.search(content, position)
            if following is None:
                raise _CutError
            position = following.start()


def _walk_gif(content: Content) -> None:
    """Go from block to block up to the trailer (GIF89a, appendix A)."""
    position = 13 + _count_colours(content[10])
    while (kind := content[position]) != _GIF_END:
        if kind == _GIF_IMAGE:
            position += 11 + _count_colours(content[position + 9])
        elif kind == _GIF_EXTENSION:
            position += 2
        else:
            raise _CutError
        while size := content[position]:
            position += 1 + size
        position += 1


def _count_colours(flags: int) -> int:
    """Count the bytes of a table of colours by what announces it."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _walk_webp(content: Content) -> None:
    """See that the container is here, and its last chunk ends within it (RFC 9649, 2.4)."""
    (size,) = struct.unpack_from("<I", content, 4)
    end, position = 8 + size, 12
    if end > len(content):
        raise _CutError
    while position < end:
        (length,) = struct.unpack_from("<I", content, position + 4)
        position += 8 + length + length % 2
    # Some writers leave out the byte that fills up the last chunk.
    if position > end + 1 or end <= 12:
        raise _CutError
