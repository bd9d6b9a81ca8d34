"""Images that a manifest names are found, and are images, before anything is sent."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import pytest

from hedra_batch.errors import InputFileError, ManifestError
from hedra_batch.manifest.files import LARGEST_BYTES, find_images, read_image
from hedra_batch.manifest.loading import load_manifest

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBBI", 13, b"IHDR", 8, 8, 8, 2, 0, 0, 0, 0)
JPEG = b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 11, 8, 8, 8, 1) + b"\1\x11\0\xff\xd9"
GIF = b"GIF89a" + struct.pack("<HH", 8, 8) + b"\0\0\0;"
WEBP = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\7\0\0\7\0\0"


def add(folder: Path, name: str, data: bytes = PNG) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def file_faults(folder: Path, body: str) -> list[str]:
    """Every fault of the files of a manifest; the body begins on line 2."""
    path = folder / "m.yaml"
    path.write_text(f"version: 1\ndefaults: {{prompt: P}}\n{body}", "utf-8")
    with pytest.raises(InputFileError) as caught:
        load_manifest(path)
    return [line.removeprefix(f"{folder}/") for line in caught.value.problems]


@pytest.mark.parametrize("data", [PNG, JPEG, GIF, WEBP])
def test_the_four_kinds_are_images(tmp_path: Path, data: bytes) -> None:
    add(tmp_path, "a", data)
    assert read_image("a", tmp_path).sha256 == hashlib.sha256(data).hexdigest()


def test_a_url_is_left_to_the_server(tmp_path: Path) -> None:
    image = read_image("https://example.com/a.png", tmp_path)
    assert (image.path, image.sha256) == (None, None)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "is no image that can be sent (allowed: PNG, JPEG, WebP, GIF)"),
        (b"<svg width='8' height='8'/>", "is no image that can be sent"),
        (b"BM" + b"\0" * 60, "is no image that can be sent"),
        (PNG[:20], "is damaged"),
        (PNG.replace(struct.pack(">II", 8, 8), struct.pack(">II", 0, 8)), "is damaged"),
        (b"\xff\xd8\xff" + b"\0" * 3_000_000, "is damaged"),
    ],
)
def test_anything_else_is_no_image(tmp_path: Path, data: bytes, part: str) -> None:
    add(tmp_path, "a.png", data)
    with pytest.raises(ValueError, match=r"'a\.png' ") as caught:
        read_image("a.png", tmp_path)
    assert part in str(caught.value)


def test_an_image_has_a_largest_size(tmp_path: Path) -> None:
    with add(tmp_path, "a.png").open("r+b") as file:
        file.truncate(LARGEST_BYTES)
    assert read_image("a.png", tmp_path)
    with (tmp_path / "a.png").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match="larger than 100 MB"):
        read_image("a.png", tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    (line,) = file_faults(tmp_path, "images: [a.png]")
    assert line == "m.yaml:3:10: images[0]: 'a.png' is no regular file"


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("/dev/zero", "is no regular file"),
        ("missing.png", "does not exist"),
        ("loop.png", "does not exist"),
        ("folder", "is a folder"),
        ("x" * 300, "cannot be read: File name too long"),
    ],
)
def test_what_is_no_file_is_told(tmp_path: Path, source: str, part: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    (line,) = file_faults(tmp_path, f"images: [{source}]")
    assert part in line


def test_all_faults_of_files_are_told_at_once(tmp_path: Path) -> None:
    add(tmp_path, "text.png", b"text")
    body = "images:\n  a: photos/*.png\n  b: text.png\njobs:\n- {id: x, image: none.png}\n- {id: y, image: none.png}"
    told = [line.split(": ")[:2] for line in file_faults(tmp_path, body)]
    assert told == [["m.yaml:4:6", "images.a"], ["m.yaml:5:6", "images.b"], ["m.yaml:7:18", "jobs[0].image"]]


def test_faults_of_the_text_come_before_those_of_files(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("version: 1\nprompts: ['']\nimages: [missing.png]")
    with pytest.raises(ManifestError):
        load_manifest(tmp_path / "m.yaml")


def test_two_images_of_one_name_are_told_with_their_files(tmp_path: Path) -> None:
    add(tmp_path, "p/a.png")
    add(tmp_path, "p/A.jpg")
    (tmp_path / "m.yaml").write_text("version: 1\nprompts: {p: P}\nimages: [p/*]")
    with pytest.raises(ManifestError, match=r"'p/a.png' has the name 'a', as has 'p/A.jpg' of images\[0\] on line 3"):
        load_manifest(tmp_path / "m.yaml")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", ["a.png", "b.txt"]),
        ("**", ["a.png", "b.txt", "c/d.png", "c/e/f.png"]),
        ("**/*.png", ["a.png", "c/d.png", "c/e/f.png"]),
        ("./c//*.png", ["c/d.png"]),
        ("[!b].png", ["a.png"]),
        (".hidden/*", [".hidden/h.png"]),
    ],
)
def test_a_pattern_finds_files_sorted_and_leaves_hidden_ones_out(
    tmp_path: Path, pattern: str, found: list[str]
) -> None:
    for name in ("c/d.png", "b.txt", "a.png", "c/e/f.png", ".x.png", ".hidden/h.png", "c/.y/z.png"):
        add(tmp_path, name)
    assert find_images(pattern, tmp_path) == found


@pytest.mark.parametrize(("pattern", "part"), [("*.gif", "finds no file"), ("**/**", "more than one '**'")])
def test_a_pattern_must_find_something_in_bounds(tmp_path: Path, pattern: str, part: str) -> None:
    add(tmp_path, "a.png")
    with pytest.raises(ValueError, match=r"'\*") as caught:
        find_images(pattern, tmp_path)
    assert part in str(caught.value)


def test_a_pattern_outside_the_folder_is_followed(tmp_path: Path) -> None:
    add(tmp_path, "photos/a.png")
    (tmp_path / "sub").mkdir()
    assert find_images("../photos/*", tmp_path / "sub") == ["../photos/a.png"]
    assert find_images(f"{tmp_path}/photos/*", tmp_path / "sub") == [f"{tmp_path}/photos/a.png"]
