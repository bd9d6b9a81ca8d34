"""A manifest is a text file of a bounded size, and everything in it has a position."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hedra_batch.errors import InputFileError, ManifestError
from hedra_batch.manifest.document import read_text
from hedra_batch.manifest.loading import load_manifest

KERNEL_STREAM = Path("/proc/kmsg")


FILES = [
    (b"%TAG !a! tag:b\n" * 3 + b"---\nversion: 1", "1:1: manifest: has a line '%TAG', which a manifest cannot use"),
    (b"version: 1\r...\r%TAG !a! tag:b\r---\ra: b", "3:1: manifest: has a line '%TAG', which a manifest cannot use"),
    ("version: 1".encode("utf-16-le"), "1:2: manifest: holds the invisible character U+0000"),
    ("version: 1".encode("utf-32"), "1:1: manifest: is not UTF-8"),
    (b"version: 1\na: \xc0\xaf", "2:4: manifest: is not UTF-8"),
    (b"version: 1\na: \xed\xa0\x80", "2:4: manifest: is not UTF-8"),
    (b"version: 1\na: \x1b]0;x\x07", "2:4: manifest: holds the invisible character U+001B"),
    ("version: 1\na: \ufffe".encode(), "2:4: manifest: holds the invisible character U+FFFE"),
]


@pytest.mark.parametrize(("content", "fault"), FILES)
def test_a_file_that_is_no_plain_text_is_told_with_its_place(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "m.yaml").write_bytes(content)
    with pytest.raises(ManifestError, match=r"\A[^\n]*\Z") as caught:
        load_manifest(tmp_path / "m.yaml")
    assert f"m.yaml:{fault}" in str(caught.value)


def test_a_sparse_manifest_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").touch()
    os.truncate(tmp_path / "m.yaml", 100 * 1024**2)
    with pytest.raises(ManifestError, match=r"m\.yaml:1:1: manifest: is larger than 16 MB"):
        load_manifest(tmp_path / "m.yaml")


def test_a_link_to_what_is_no_regular_file_is_no_manifest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for number, target in enumerate([tmp_path / "pipe", tmp_path, Path("/dev/zero"), Path("/dev/tty")]):
        link = tmp_path / f"{number}.yaml"
        link.symlink_to(target)
        with pytest.raises(InputFileError, match=r"the manifest is not a file|is a folder"):
            load_manifest(link)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_bytes(b"\xef\xbb\xbfversion: 1\nprompts: ['']")
    with pytest.raises(ManifestError, match=r"m\.yaml:2:11: prompts"):
        load_manifest(tmp_path / "m.yaml")


def test_a_missing_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"none\.yaml: the manifest does not exist"):
        load_manifest(tmp_path / "none.yaml")


def test_a_manifest_is_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path, tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(InputFileError, match=r"the manifest is not a file|is a folder"):
            load_manifest(path)


def test_a_name_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="cannot be read: File name too long"):
        load_manifest(tmp_path / ("x" * 300))


def test_a_file_name_is_shown_safely(tmp_path: Path) -> None:
    with pytest.raises(InputFileError) as caught:
        read_text(tmp_path / "\x1b]0;x\udcff.yaml")
    assert str(caught.value).isprintable()
