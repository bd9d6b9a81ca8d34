"""Files that a manifest names are found within a bound, and are images, before anything is sent."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import pytest
from manifests import GIF, JPEG, PNG, WEBP, add_file, file_faults, load

from hedra_batch.errors import InputFileError, ManifestError
from hedra_batch.manifest.files import LARGEST_BYTES as LARGEST_IMAGE_BYTES
from hedra_batch.manifest.files import MOST_NAMES, Search, find_images, read_image
from hedra_batch.manifest.loading import load_manifest

KERNEL_STREAM = Path("/proc/kmsg")


def image_faults(folder: Path, *sources: str) -> list[str]:
    """Every fault of the files of a manifest, without the place."""
    path = folder / "m.yaml"
    path.write_text("version: 1\ndefaults: {prompt: P}\nimages:\n" + "".join(f"- '{source}'\n" for source in sources))
    with pytest.raises(InputFileError) as caught:
        load_manifest(path)
    return [line.split(": ", 2)[2] for line in caught.value.problems]


@pytest.mark.parametrize("data", [PNG, JPEG, GIF, WEBP])
def test_the_four_kinds_are_images(tmp_path: Path, data: bytes) -> None:
    add_file(tmp_path, "a", data)
    assert read_image("a", tmp_path).sha256 == hashlib.sha256(data).hexdigest()


def test_a_url_is_left_to_the_server(tmp_path: Path) -> None:
    image = read_image("https://example.com/a.png", tmp_path)
    assert (image.path, image.sha256) == (None, None)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "is not an image that can be sent (allowed: PNG, JPEG, WebP, GIF)"),
        (b"<svg width='8' height='8'/>", "is not an image that can be sent"),
        (b"BM" + b"\0" * 60, "is not an image that can be sent"),
        (PNG[:20], "is damaged"),
        (PNG.replace(struct.pack(">II", 8, 8), struct.pack(">II", 0, 8)), "is damaged"),
        (b"\xff\xd8\xff" + b"\0" * 3_000_000, "is damaged"),
    ],
)
def test_anything_else_is_no_image(tmp_path: Path, data: bytes, part: str) -> None:
    add_file(tmp_path, "a.png", data)
    with pytest.raises(ValueError, match=r"'a\.png' ") as caught:
        read_image("a.png", tmp_path)
    assert part in str(caught.value)


def test_an_image_has_a_largest_size(tmp_path: Path) -> None:
    with add_file(tmp_path, "a.png").open("r+b") as file:
        file.truncate(LARGEST_IMAGE_BYTES)
    assert read_image("a.png", tmp_path)
    with (tmp_path / "a.png").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match="larger than 100 MB"):
        read_image("a.png", tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    (line,) = file_faults(tmp_path, "images: [a.png]")
    assert line == "m.yaml:3:10: images[0]: 'a.png' is not an ordinary file"


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("/dev/zero", "is not an ordinary file"),
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
        add_file(tmp_path, name)
    assert find_images(pattern, tmp_path) == found


@pytest.mark.parametrize(("pattern", "part"), [("*.gif", "finds no file"), ("**/**", "more than one '**'")])
def test_a_pattern_must_find_something_in_bounds(tmp_path: Path, pattern: str, part: str) -> None:
    add_file(tmp_path, "a.png")
    with pytest.raises(ValueError, match=r"'\*") as caught:
        find_images(pattern, tmp_path)
    assert part in str(caught.value)


def test_a_pattern_outside_the_folder_is_followed(tmp_path: Path) -> None:
    add_file(tmp_path, "photos/a.png")
    (tmp_path / "sub").mkdir()
    assert find_images("../photos/*", tmp_path / "sub") == ["../photos/a.png"]
    assert find_images(f"{tmp_path}/photos/*", tmp_path / "sub") == [f"{tmp_path}/photos/a.png"]


@pytest.mark.skipif(not KERNEL_STREAM.exists(), reason="there is no such stream here")
def test_a_stream_of_the_kernel_that_looks_like_a_file_is_not_waited_for(tmp_path: Path) -> None:
    (line,) = image_faults(tmp_path, str(KERNEL_STREAM))
    assert line.startswith("'/proc/kmsg' is not an image")
    with pytest.raises(ManifestError, match="is empty"):
        load_manifest(KERNEL_STREAM)


def test_links_to_what_is_no_image_are_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    targets = {"a": "pipe", "b": "/dev/zero", "c": "/dev/tty", "d": "missing", "e": ".", "f": "/etc/passwd"}
    for name, target in targets.items():
        (tmp_path / f"{name}.png").symlink_to(target)
    told = [wait.what for wait in load(tmp_path, "defaults: {prompt: P}\nimages: '*.png'").jobs.waiting.values()]
    assert [line.rpartition(" is ")[2] for line in told[:2]] == ["not an ordinary file", "not an ordinary file"]
    assert [line.split()[0] for line in told] == ["'a.png'", "'b.png'", "'c.png'", "'d.png'", "'f.png'"]


def test_an_image_far_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBBI", 13, b"IHDR", 8, 8, 8, 2, 0, 0, 0, 0)
    )
    os.truncate(tmp_path / "a.png", 1 << 36)
    assert image_faults(tmp_path, "a.png") == ["'a.png' is larger than 100 MB (make it smaller)"]


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\xe0\0\2", b"\xff\xd0"])
def test_a_header_without_end_is_damage(tmp_path: Path, filling: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\2" + filling * 500_000)
    with pytest.raises(ValueError, match=r"'a\.jpg' is damaged"):
        read_image("a.jpg", tmp_path)


@pytest.mark.parametrize("pattern", ["/**/*.nowhere", "../" * 30 + "**/*.nowhere", "/*/*/*/*/*/*/*/*/*.nowhere"])
def test_a_pattern_over_the_whole_disk_is_answered(tmp_path: Path, pattern: str) -> None:
    (line,) = image_faults(tmp_path, pattern)
    assert line.startswith(f"{pattern!r} finds no file") or f"too many files (at most {MOST_NAMES:,}" in line


@pytest.mark.parametrize("pattern", ["**/*.nowhere", "*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*.nowhere", "*/" * 900 + "x"])
def test_links_in_circles_are_followed_once(tmp_path: Path, pattern: str) -> None:
    for folder in "abc":
        (tmp_path / folder).mkdir()
        for other in "abc":
            (tmp_path / folder / f"to-{other}").symlink_to(tmp_path / other)
    (line,) = image_faults(tmp_path, pattern)
    assert "finds no file" in line


def test_a_file_with_several_ways_to_it_is_found_by_the_shortest(tmp_path: Path) -> None:
    (tmp_path / "z/deep").mkdir(parents=True)
    (tmp_path / "z/deep/x.png").touch()
    (tmp_path / "y").symlink_to("z/deep")
    (tmp_path / "z/back").symlink_to(tmp_path)
    assert find_images("**/*.png", tmp_path) == ["y/x.png"]
    assert find_images("z/*/x.png", tmp_path) == ["z/deep/x.png"]


def test_all_patterns_together_look_at_so_much(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.png").touch()
    search = Search(tmp_path, most_names=70)
    assert [len(list(search.find("*.png"))) for _ in range(2)] == [30, 30]
    with pytest.raises(
        ValueError, match=r"'\*\.jpg' leads through too many files \(at most 70 names, for all patterns"
    ):
        list(search.find("*.jpg"))


def test_a_folder_that_may_not_be_listed_has_nothing_to_find(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert image_faults(tmp_path, "file/*", "none/*.png") == [
        f"{pattern!r} finds no file (paths begin at the manifest's folder)" for pattern in ("file/*", "none/*.png")
    ]
