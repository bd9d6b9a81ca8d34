"""Whether a file is a whole MP4."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from hedra_batch.errors import DownloadError
from hedra_batch.run.container import BOXES_LIMIT, check_container


def box(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


WHOLE = box(b"ftyp", b"isom\0\0\0\0") + box(b"moov", b"x" * 40) + box(b"free") + box(b"mdat", b"y" * 100)
TO_THE_END = box(b"ftyp") + box(b"moov") + struct.pack(">I4s", 0, b"mdat") + b"y" * 30
LARGE = box(b"ftyp") + box(b"moov") + struct.pack(">I4sQ", 1, b"mdat", 16 + 30) + b"y" * 30


def check(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    with path.open("rb") as file:
        check_container(file)


@pytest.mark.parametrize("content", [WHOLE, TO_THE_END, LARGE, box(b"ftyp") + box(b"mdat", b"y") + box(b"moov")])
def test_a_whole_file_passes(tmp_path: Path, content: bytes) -> None:
    check(tmp_path, content)


@pytest.mark.parametrize("content", [WHOLE, LARGE])
def test_a_file_that_is_cut_anywhere_does_not(tmp_path: Path, content: bytes) -> None:
    for length in range(len(content)):
        with pytest.raises(DownloadError):
            check(tmp_path, content[:length])


@pytest.mark.parametrize(
    "content",
    [
        b"<html>Your link has expired</html>" * 10,
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        b"\0" * 200,
        box(b"ftyp") + box(b"mdat"),
        box(b"ftyp") + box(b"moov"),
        box(b"moov") + box(b"ftyp") + box(b"mdat"),
        WHOLE + b"trailing rubbish that is no box at all",
        box(b"ftyp") + struct.pack(">I4s", 4, b"moov"),
    ],
)
def test_what_is_no_video_does_not(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DownloadError):
        check(tmp_path, content)


@pytest.mark.parametrize("length", [0, 3, 8, 15, 16, 45, 47, 2**32, 2**44, 2**62, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_box_whose_long_length_is_wrong_does_not(tmp_path: Path, length: int) -> None:
    content = box(b"ftyp") + box(b"moov") + struct.pack(">I4sQ", 1, b"mdat", length) + b"y" * 30
    with pytest.raises(DownloadError):
        check(tmp_path, content)


@pytest.mark.parametrize("content", [b"<html>expired</html>", b"\0" * 200, b"Error: the link has expired, ask again."])
def test_what_is_something_else_is_told_as_that(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DownloadError, match="not an MP4"):
        check(tmp_path, content)


def test_a_file_of_nothing_but_boxes_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="not an MP4"):
        check(tmp_path, WHOLE + box(b"free") * BOXES_LIMIT)
