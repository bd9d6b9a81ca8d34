"""Writes a playable MP4 file of one colour without an encoder: two key frames, which all frames point at by turns.

The first macroblock of a frame carries the colour as raw samples (I_PCM); every other one predicts it from its
neighbours (intra 16x16, DC, no residual), which takes a single byte.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, islice

#: Constrained baseline at level 4.0, which is enough for 1920x1080.
PROFILE = bytes([66, 0b1100_0000, 40])

_MACROBLOCK_PIXELS = 16

_TICKS_PER_SECOND = 24_000
_TICKS_PER_MS = 24
#: 24 frames a second.
_TICKS_PER_FRAME = 1000
_BOX_HEAD_BYTES = 8
#: Repeats after a prime number of bytes, so that a part of a file is like no other part near it.
_FILLING = hashlib.shake_256(b"filling").digest(65_537)
_TRACK = 1
_UPRIGHT = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Picture:
    """A still of one colour (Y, Cb, Cr), as the NAL units that a decoder takes."""

    width: int
    height: int
    colour: Colour

    @property
    def columns(self) -> int:
        """Macroblocks from left to right."""
        return -(-self.width // _MACROBLOCK_PIXELS)

    @property
    def rows(self) -> int:
        """Macroblocks from top to bottom."""
        return -(-self.height // _MACROBLOCK_PIXELS)

    def sequence_parameters(self) -> bytes:
        """Say how large the picture is, and how much of the last macroblocks is cut off."""
        # Id 0, frame numbers of 4 bits, shown in the order of decoding, one reference frame without gaps.
        head = _ue(0) + _ue(0) + _ue(2) + _ue(1) + "0"
        # Whole frames, 8x8 inference, cropping in units of two pixels.
        right = (self.columns * _MACROBLOCK_PIXELS - self.width) // 2
        bottom = (self.rows * _MACROBLOCK_PIXELS - self.height) // 2
        crop = _ue(0) + _ue(right) + _ue(0) + _ue(bottom)
        size = _ue(self.columns - 1) + _ue(self.rows - 1) + "111" + crop
        return _nal_unit(0x67, PROFILE + _to_bytes(head + size + "0" + "1"))

    def picture_parameters(self) -> bytes:
        """Say how the frames are coded: CAVLC, one slice group, deblocking controlled in the slice."""
        bits = _ue(0) * 2 + "00" + _ue(0) * 3 + "000" + _ue(0) * 3 + "100"
        return _nal_unit(0x68, _to_bytes(bits + "1"))

    def key_frame(self, number: int) -> bytes:
        """Write the whole picture; neighbouring key frames must differ in their number."""
        # First macroblock 0, all slices intra, parameters 0, frame 0; no marks, no change of quality, no deblocking.
        head = _ue(0) + _ue(7) + _ue(0) + "0000" + _ue(number) + "00" + _ue(0) + _ue(1)
        raw = bytes([self.colour[0]] * 256 + [self.colour[1]] * 64 + [self.colour[2]] * 64)
        # Raw samples begin at a whole byte; nothing else is aligned until the stop bit.
        return _nal_unit(0x65, _to_bytes(head + _ue(25)) + raw + _to_bytes(self._predicted() + "1"))

    def _predicted(self) -> str:
        """All macroblocks but the first; the length code of an empty residual depends on the neighbours' lengths."""
        plain = _ue(3) + _ue(0) + _ue(0)
        empty, empty_beside_raw = plain + "1", plain + "000011"
        first_row = [empty_beside_raw] + [empty] * (self.columns - 2)
        second_row = [empty_beside_raw] + [empty] * (self.columns - 1)
        rest = [empty] * (self.columns * (self.rows - 2))
        return "".join(first_row[: self.columns - 1] + second_row[: self.columns * (self.rows - 1)] + rest)


def _ue(value: int) -> str:
    code = f"{value + 1:b}"
    return "0" * (len(code) - 1) + code


def _to_bytes(bits: str) -> bytes:
    """Fill up with zeros to whole bytes."""
    padded = bits + "0" * (-len(bits) % 8)
    return int(padded, 2).to_bytes(len(padded) // 8, "big")


def _nal_unit(header: int, payload: bytes) -> bytes:
    """Break up what would read as a start code."""
    return bytes([header]) + re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", payload)


def fill_up(movie: bytes, least_bytes: int) -> bytes:
    """Make a file as large as asked for, by a box that players skip."""
    missing_bytes = least_bytes - len(movie)
    if missing_bytes <= 0:
        return movie
    filling_bytes = max(missing_bytes - _BOX_HEAD_BYTES, 0)
    return movie + _box(b"free", (_FILLING * (filling_bytes // len(_FILLING) + 1))[:filling_bytes])


@lru_cache(maxsize=32)
def make_movie(width: int, height: int, duration_ms: int, identity: str) -> bytes:
    """Make the file; the identity decides its colour and stands in it, so no two files are alike."""
    if width % 2 or height % 2 or min(width, height, duration_ms) <= 0:
        raise ValueError(f"No movie has {width}x{height} pixels and {duration_ms} ms: sides are even, all is positive.")
    picture = Picture(width, height, _colour(identity))
    samples = [_prefixed(picture.key_frame(number), ">I") for number in (0, 1)]
    ticks = duration_ms * _TICKS_PER_MS
    head = _box(b"ftyp", b"isom", _u32(0x200), b"isomavc1mp41")
    label = _box(b"free", identity.encode())
    # The offsets inside moov do not change its size, so a draft of it tells where the samples will stand.
    draft = _moov(picture, ticks, samples, 0)
    first_offset = len(head) + len(draft) + len(label) + _BOX_HEAD_BYTES
    return head + _moov(picture, ticks, samples, first_offset) + label + _box(b"mdat", *samples)


def _colour(identity: str) -> tuple[int, int, int]:
    luma, blue, red = hashlib.sha256(identity.encode()).digest()[:3]
    return 64 + luma // 2, 64 + blue // 2, 64 + red // 2


def _u16(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


def _u32(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def _prefixed(unit: bytes, length_format: str) -> bytes:
    return struct.pack(length_format, len(unit)) + unit


def _box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return _u32(_BOX_HEAD_BYTES + len(content)) + kind + content


def _full_box(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    """Begin a box with its version, which is 0, and its flags."""
    return _box(kind, _u32(flags), *parts)


def _moov(picture: Picture, ticks: int, samples: list[bytes], first_offset: int) -> bytes:
    rate, volume, next_track = _u32(0x10000), _u16(0x100), _u32(_TRACK + 1)
    times = _u32(0, 0, _TICKS_PER_SECOND, ticks)
    header = _full_box(b"mvhd", times, rate, volume, bytes(10), _UPRIGHT, bytes(24), next_track)
    return _box(b"moov", header, _trak(picture, ticks, samples, first_offset))


def _trak(picture: Picture, ticks: int, samples: list[bytes], first_offset: int) -> bytes:
    size = _u32(picture.width << 16, picture.height << 16)
    is_enabled = 7
    header = _full_box(b"tkhd", _u32(0, 0, _TRACK, 0, ticks), bytes(16), _UPRIGHT, size, flags=is_enabled)
    media_header = _full_box(b"mdhd", _u32(0, 0, _TICKS_PER_SECOND, ticks), _u16(0x55C4, 0))
    handler = _full_box(b"hdlr", _u32(0), b"vide", bytes(12), b"simulator\0")
    media = _box(b"mdia", media_header, handler, _minf(picture, ticks, samples, first_offset))
    return _box(b"trak", header, media)


def _minf(picture: Picture, ticks: int, samples: list[bytes], first_offset: int) -> bytes:
    header = _full_box(b"vmhd", bytes(8), flags=1)
    in_this_file = _full_box(b"url ", flags=1)
    where = _box(b"dinf", _full_box(b"dref", _u32(1), in_this_file))
    table = _box(b"stbl", _stsd(picture), *_frame_tables(ticks, samples, first_offset))
    return _box(b"minf", header, where, table)


def _frame_tables(ticks: int, samples: list[bytes], first_offset: int) -> tuple[bytes, ...]:
    """Say how long each frame is shown and where it stands; the last frame takes what is left of the time."""
    frames = -(-ticks // _TICKS_PER_FRAME)
    last = ticks - (frames - 1) * _TICKS_PER_FRAME
    runs = [run for run in ((frames - 1, _TICKS_PER_FRAME), (1, last)) if run[0]]
    sizes = islice(cycle(len(sample) for sample in samples), frames)
    offsets = islice(cycle((first_offset, first_offset + len(samples[0]))), frames)
    return (
        _full_box(b"stts", _u32(len(runs)), *(_u32(*run) for run in runs)),
        _full_box(b"stsc", _u32(1, 1, 1, 1)),
        _full_box(b"stsz", _u32(0, frames, *sizes)),
        _full_box(b"stco", _u32(frames, *offsets)),
    )


def _stsd(picture: Picture) -> bytes:
    sequence = _prefixed(picture.sequence_parameters(), ">H")
    parameters = _prefixed(picture.picture_parameters(), ">H")
    lengths_of_four_bytes = b"\xff"
    decoder = _box(b"avcC", b"\1", PROFILE, lengths_of_four_bytes, b"\xe1", sequence, b"\1", parameters)
    size, resolution = _u16(picture.width, picture.height), _u32(72 << 16, 72 << 16)
    rest = bytes(4) + _u16(1) + bytes(32) + _u16(24, 0xFFFF)
    entry = _box(b"avc1", bytes(6), _u16(1), bytes(16), size, resolution, rest, decoder)
    return _full_box(b"stsd", _u32(1), entry)
