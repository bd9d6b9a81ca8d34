"""Writes a playable MP4 file of one colour: two key frames, which all frames point at by turns."""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache
from itertools import cycle, islice

from hedra_batch.simulator.picture import PROFILE, Picture

_TICKS_PER_SECOND = 24_000
_TICKS_PER_MS = 24
#: 24 frames a second.
_TICKS_PER_FRAME = 1000
_BOX_HEAD_BYTES = 8
_TRACK = 1
_UPRIGHT = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


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
