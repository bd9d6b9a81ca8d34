"""What a Content-Encoding comes to: what is really encoded is decoded, the rest is taken as it is. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress

from hedra_batch.errors import DownloadError

#: What is decoded (RFC 9110, 8.4.1); any other word says nothing that the container does not show.
_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
#: As much as shows what a body is.
HEAD_BYTES = 8
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def list_codings(headers: Sequence[str]) -> list[str]:
    """List what values of Content-Encoding announce of that which is decoded, in its order."""
    words = (word.strip().lower() for value in headers for word in value.split(","))
    return [word for word in words if word in _CODINGS]


class Decoder:
    """Decodes a body piece by piece, unless it begins as a video does, whatever was announced."""

    def __init__(self, codings: Sequence[str], piece_bytes: int) -> None:
        self._codings = codings
        self._piece_bytes = piece_bytes
        self._head = b""
        self._is_plain = False
        self._inflater: zlib._Decompress | None = None

    def decode(self, piece: bytes) -> Iterator[bytes]:
        """Yield what a piece comes to, in pieces that are bounded however much is packed into it.

        Raises DownloadError for what is not encoded as it should be.
        """
        if not self._is_plain and self._inflater is None:
            self._head = piece = self._head + piece
            if len(piece) < HEAD_BYTES:
                return
            self._begin(piece)
        yield from [piece] if self._is_plain else self._inflate(piece)

    def finish(self) -> Iterator[bytes]:
        """Yield what is left. Raises DownloadError where the encoded body is cut short."""
        if self._is_plain:
            return
        if self._inflater is None:
            yield self._head
        elif not self._inflater.eof:
            raise DownloadError("The compressed result is cut short.")

    def _begin(self, head: bytes) -> None:
        self._is_plain = head[4:8] == b"ftyp"
        if not self._is_plain:
            if len(self._codings) > 1:
                raise DownloadError("The media host sends the result compressed more than once.")
            self._inflater = zlib.decompressobj(_find_window(head))

    def _inflate(self, piece: bytes) -> Iterator[bytes]:
        inflater, is_full = self._inflater, False
        # A full piece may leave more to come though nothing is left to be read.
        while inflater and (piece or is_full):
            if inflater.eof:
                # Another member may follow (RFC 1952, 2.2), or zeros that fill up.
                piece = piece.lstrip(b"\0")
                if not piece:
                    return
                inflater = self._inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
            content = self._inflate_some(inflater, piece)
            if content is None:
                raise DownloadError("The result is said to be compressed, and cannot be unpacked.")
            yield content
            is_full = len(content) == self._piece_bytes
            piece = inflater.unused_data if inflater.eof else inflater.unconsumed_tail

    def _inflate_some(self, inflater: zlib._Decompress, piece: bytes) -> bytes | None:
        with suppress(zlib.error):
            return inflater.decompress(piece, self._piece_bytes)
        return None


def _find_window(head: bytes) -> int:
    """Tell gzip and zlib, which know their headers apart, from a bare stream, which some hosts send as deflate."""
    has_header = head[:2] == b"\x1f\x8b" or (head[0] & 15 == 8 and int.from_bytes(head[:2]) % 31 == 0)
    return _GZIP_OR_ZLIB if has_header else -zlib.MAX_WBITS
