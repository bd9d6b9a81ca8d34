"""Manifests that mean harm get a sentence with its place: nothing is waited for, sent, or written elsewhere."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from conftest import Desk

from hedra_batch.errors import InputFileError, ManifestError
from hedra_batch.manifest.files import MOST_NAMES, Search, find_images, read_image
from hedra_batch.manifest.loading import load_manifest
from hedra_batch.simulator.service import Simulator

KERNEL_STREAM = Path("/proc/kmsg")

LONG = "日" * 70
NUMBERED = ", ".join(f"n{number}: P" for number in range(200))
ADDRESSED = ", ".join(f"i{number}: https://h/{number}" for number in range(100))
PAIRS = f"prompts: {{{NUMBERED}}}\nimages: {{{ADDRESSED}}}\n"

SYNTAX = [
    ("prompts: [!!python/object/apply:os.mkdir [pwned]]", "2:11: prompts[0]", "python/object/apply:os.mkdir'"),
    ("prompts: [!!python/name:os.system x]", "2:11: prompts[0]", "has the tag"),
    ("prompts: [!!binary aGFybQ==]", "2:11: prompts[0]", "has the tag"),
    ("prompts: !!set {a: P}", "2:10: prompts", "has the tag 'tag:yaml.org,2002:set'"),
    ("prompts: [!<tag:yaml.org,2002:int> 5]", "2:11: prompts[0]", "has the tag"),
    ("!!merge <<: {name: x}", "2:1: ['<<']", "is not known here"),
    ("'<<': {name: x}", "2:1: ['<<']", "is not known here"),
    ("<<: 5", "2:1: ['<<']", "merges what is no mapping"),
    ("<<: [{name: x}, [y]]", "2:1: ['<<']", "merges what is no mapping"),
    ("defaults: &a {<<: *a}", "2:19: manifest", "has an alias"),
    ("<<: &a {x: &b [*a, *b]}", "2:16: manifest", "has an alias"),
    ("jobs: [{id: x, prompt: P, prompt: Q}]", "2:27: jobs[0].prompt", "a second time, first on line 2"),
    ("prompts: {e\u0301: P, é: Q}", "2:18: prompts.é", "a second time, first on line 2"),
    (f"? {'k' * 1001}\n: 5", "2:3: manifest", "has a key of 1,001 characters (at most 1,000; put a text in quotes)"),
]

NAMES = [
    ("prompts: {../x: P}", "2:11: prompts['../x']", "cannot be a name"),
    ("prompts: {'..': P}", "2:11: prompts['..']", "cannot be a name"),
    ("prompts: {'a\\b': P}", "2:11: prompts['a\\\\b']", "cannot be a name"),
    ("images: {/etc/x: 'https://h/a'}\nprompts: [P]", "2:10: images['/etc/x']", "cannot be a name"),
    ("jobs: [{id: ../../x, prompt: P}]", "2:13: jobs[0].id", "cannot be a name"),
    ("prompts: {\u200fa: P}", "2:11: prompts['\\u200fa']", "cannot be a name"),
    ("prompts: {a\u200bb: P}", "2:11: prompts['a\\u200bb']", "cannot be a name"),
    ("jobs: [{id: a\ufeffb, prompt: P}]", "2:13: jobs[0].id", "cannot be a name"),
    ("jobs: [{id: a\U000e0041, prompt: P}]", "2:13: jobs[0].id", "cannot be a name"),
    ('name: "a\u061cb"\nprompts: [P]', "2:7: name", "an invisible character"),
    ("defaults: {model: a\u200e}\nprompts: [P]", "2:19: defaults.model", "an invisible character"),
    ("defaults: {image: a\u2028.png}\nprompts: [P]", "2:19: defaults.image", "an invisible character"),
    ("prompts: {\u212a: P, k: Q}", "2:20: prompts.k", "has the name 'k'"),
    ("prompts: {\ufb01: P, FI: Q}", "2:21: prompts.FI", "has the name 'FI'"),
    ("prompts: {straße: P, STRASSE: Q}", "2:31: prompts.STRASSE", "has the name 'STRASSE'"),
    (
        "prompts: {p: P}\nimages: ['https://h/e%CC%81.png', 'https://h/%C3%89.jpg']",
        "3:35: images[1]",
        "has the name 'É'",
    ),
]

NUMBERS = [
    ("defaults: {variations: " + "9" * 18 + "}", "2:24: defaults.variations", "allowed: 1 to 100"),
    ("defaults: {variations: " + "9" * 5000 + "}", "2:24: defaults.variations", "allowed: 1 to 100"),
    ("limits: {in_flight: 0xffffffffffffffff}", "2:21: limits.in_flight", "allowed: 1 to 1,000"),
    ("limits: {in_flight: 1e999}", "2:21: limits.in_flight", "the number inf"),
    ("limits: {uploads: .nan}", "2:19: limits.uploads", "the number nan"),
    ("limits: {downloads: -1}", "2:21: limits.downloads", "allowed: 1 to 1,000"),
    ("limits: {submit: " + "9" * 40 + "/s}", "2:18: limits.submit", "is no quantity"),
    ("limits: {poll: 0.000/s}", "2:16: limits.poll", "is no rate"),
    ("budget: " + "9" * 40 + " credits", "2:9: budget", "is no quantity"),
    ("budget: \u0663 credits", "2:9: budget", "is no quantity"),
    ("quiet_window: 0.0000000001s", "2:15: quiet_window", "is not a positive whole number"),
    ("version: 1", "2:1: version", "a second time, first on line 1"),
]

OUTPUTS = [
    ("prompts: {con: P}", "2:16: prompts.con", "the name of a device on Windows, 'con'"),
    ("prompts: {LPT¹.x: P}", "2:19: prompts.LPT¹.x", "the name of a device on Windows, 'LPT¹'"),
    ("prompts: {a: P}\noutput: 'x/Com1 .d/{id}.mp4'", "3:9: output", "the name of a device on Windows, 'Com1'"),
    ("prompts: {a: P}\noutput: " + "a/" * 98 + "{id}.mp4", "3:9: output", "has 204 characters (at most 200)"),
    (
        f"prompts: {{{LONG}: P}}\nimages: {{{LONG}: 'https://h/x'}}\noutput: '{'{image}/{prompt}/' * 2}x.mp4'",
        "4:9: output",
        "have a path of 849 bytes (at most 800; shorten the names)",
    ),
    ("prompts: [P]\noutput: a/../../{id}.mp4", "3:9: output", "a hidden part, or '..'"),
    ("prompts: [P]\noutput: //host/share/{id}.mp4", "3:9: output", "an absolute path"),
    ("prompts: [P]\noutput: '{id.__class__}.mp4'", "3:9: output", "has a field of its own"),
    ("prompts: [P]\noutput: '{id!r:>999999999}.mp4'", "3:9: output", "has a field of its own"),
    (PAIRS + "exclude: [" + "'*x'," * 51 + "]", "4:10: exclude", "at most 50 with a wildcard, for 20,000 jobs"),
    ("prompts: {a: P}\nexclude: ['" + "*a" * 126 + "']", "3:11: exclude[0]", "has 252 characters (at most 250"),
]

FILES = [
    (b"%TAG !a! tag:b\n" * 3 + b"---\nversion: 1", "1:1: manifest: has a line for tags, '%TAG'"),
    (b"version: 1\r...\r%TAG !a! tag:b\r---\ra: b", "3:1: manifest: has a line for tags, '%TAG'"),
    ("version: 1".encode("utf-16-le"), "1:2: manifest: holds the character U+0000"),
    ("version: 1".encode("utf-32"), "1:1: manifest: is not UTF-8"),
    (b"version: 1\na: \xc0\xaf", "2:4: manifest: is not UTF-8"),
    (b"version: 1\na: \xed\xa0\x80", "2:4: manifest: is not UTF-8"),
    (b"version: 1\na: \x1b]0;x\x07", "2:4: manifest: holds the character U+001B"),
    ("version: 1\na: \ufffe".encode(), "2:4: manifest: holds the character U+FFFE"),
]


def faults(folder: Path, body: str) -> list[str]:
    """Every fault of the text of a manifest, without the folder in front; the body begins on line 2."""
    path = folder / "m.yaml"
    path.write_text(f"version: 1\n{body}", "utf-8")
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    return [line.removeprefix(f"{folder}/m.yaml:") for line in caught.value.problems]


def file_faults(folder: Path, *sources: str) -> list[str]:
    """Every fault of the files of a manifest, without the place."""
    path = folder / "m.yaml"
    path.write_text("version: 1\ndefaults: {prompt: P}\nimages:\n" + "".join(f"- '{source}'\n" for source in sources))
    with pytest.raises(InputFileError) as caught:
        load_manifest(path)
    return [line.split(": ", 2)[2] for line in caught.value.problems]


@pytest.mark.parametrize(("body", "start", "part"), [*SYNTAX, *NAMES, *OUTPUTS])
def test_harm_is_told_with_its_place(tmp_path: Path, body: str, start: str, part: str) -> None:
    told = faults(tmp_path, body)
    assert any(line.startswith(f"{start}: ") and part in line for line in told), told
    assert all(map(str.isprintable, told))


@pytest.mark.parametrize(("body", "start", "part"), NUMBERS)
def test_a_number_beyond_all_bounds_is_told_with_its_place(tmp_path: Path, body: str, start: str, part: str) -> None:
    (line,) = faults(tmp_path, f"{body}\nprompts: [P]")
    assert line.startswith(f"{start}: ")
    assert part in line


@pytest.mark.parametrize(("content", "fault"), FILES)
def test_a_file_that_is_no_plain_text_is_told_with_its_place(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "m.yaml").write_bytes(content)
    with pytest.raises(ManifestError, match=r"\A[^\n]*\Z") as caught:
        load_manifest(tmp_path / "m.yaml")
    assert f"m.yaml:{fault}" in str(caught.value)


@pytest.mark.parametrize("name", ["console", "com", "com10", "nul0", "lpt", "x.con"])
def test_names_that_only_resemble_a_device_are_allowed(tmp_path: Path, name: str) -> None:
    (tmp_path / "m.yaml").write_text(f"version: 1\nprompts: {{{name}: P}}")
    assert next(iter(load_manifest(tmp_path / "m.yaml").jobs)).output == f"videos/{name}.mp4"


def test_no_tag_makes_anything_happen(tmp_path: Path) -> None:
    faults(tmp_path, f"prompts: [!!python/object/apply:os.mkdir ['{tmp_path}/pwned']]")
    assert [path.name for path in tmp_path.iterdir()] == ["m.yaml"]


def test_merges_that_double_each_other_are_counted(tmp_path: Path) -> None:
    base = "a: &a {" + ",".join(f"k{number}: 1" for number in range(1000)) + "}\n"
    doubled = "".join(
        f"{two}: &{two} {{<<: [*{one}, *{one}]}}\n" for one, two in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "manifest: holds too much" in faults(tmp_path, base + doubled)[-1]


def test_a_key_repeated_by_merges_is_not_read_through_for_each_of_them(tmp_path: Path) -> None:
    told = faults(tmp_path, "x: &x {? " + "key-" * 250_000 + " : 1}\njobs: [" + "{<<: *x, y: 1}," * 2000 + "]")
    assert told[0].startswith("2:10: x: has a key of 1,000,000 characters")
    assert told[-1].endswith("and there are more")


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
        with pytest.raises(InputFileError, match="is not a regular file"):
            load_manifest(link)


@pytest.mark.skipif(not KERNEL_STREAM.exists(), reason="there is no such stream here")
def test_a_stream_of_the_kernel_that_looks_like_a_file_is_not_waited_for(tmp_path: Path) -> None:
    (line,) = file_faults(tmp_path, str(KERNEL_STREAM))
    assert line.startswith("'/proc/kmsg' is no image")
    with pytest.raises(ManifestError, match="is empty"):
        load_manifest(KERNEL_STREAM)


def test_links_to_what_is_no_image_are_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    targets = {"a": "pipe", "b": "/dev/zero", "c": "/dev/tty", "d": "missing", "e": ".", "f": "/etc/passwd"}
    for name, target in targets.items():
        (tmp_path / f"{name}.png").symlink_to(target)
    told = file_faults(tmp_path, "*.png")
    assert [line.rpartition(" is ")[2] for line in told[:2]] == ["no regular file", "no regular file"]
    assert [line.split()[0] for line in told] == ["'a.png'", "'b.png'", "'c.png'", "'d.png'", "'f.png'"]


def test_an_image_far_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBBI", 13, b"IHDR", 8, 8, 8, 2, 0, 0, 0, 0)
    )
    os.truncate(tmp_path / "a.png", 1 << 36)
    assert file_faults(tmp_path, "a.png") == ["'a.png' is larger than 100 MB"]


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\xe0\0\2", b"\xff\xd0"])
def test_a_header_without_end_is_damage(tmp_path: Path, filling: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\2" + filling * 500_000)
    with pytest.raises(ValueError, match=r"'a\.jpg' is damaged"):
        read_image("a.jpg", tmp_path)


@pytest.mark.parametrize("pattern", ["/**/*.nowhere", "../" * 30 + "**/*.nowhere", "/*/*/*/*/*/*/*/*/*.nowhere"])
def test_a_pattern_over_the_whole_disk_is_answered(tmp_path: Path, pattern: str) -> None:
    (line,) = file_faults(tmp_path, pattern)
    assert line.startswith(f"{pattern!r} finds no file") or f"too many files (at most {MOST_NAMES:,}" in line


@pytest.mark.parametrize("pattern", ["**/*.nowhere", "*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*.nowhere", "*/" * 900 + "x"])
def test_links_in_circles_are_followed_once(tmp_path: Path, pattern: str) -> None:
    for folder in "abc":
        (tmp_path / folder).mkdir()
        for other in "abc":
            (tmp_path / folder / f"to-{other}").symlink_to(tmp_path / other)
    (line,) = file_faults(tmp_path, pattern)
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
    assert file_faults(tmp_path, "file/*", "none/*.png") == [
        f"{pattern!r} finds no file (a pattern is relative to the manifest's folder)"
        for pattern in ("file/*", "none/*.png")
    ]


@pytest.mark.parametrize(
    ("body", "words", "code"),
    [
        ("prompts: [!!python/object/apply:os.mkdir [elsewhere]]", (), 65),
        ("prompts: [P]\noutput: ../elsewhere/{id}.mp4", (), 65),
        ("defaults: {prompt: P}\nimages: [pipe.png]", (), 66),
        ("defaults: {prompt: P}\nimages: ['/**/*.nowhere']", (), 66),
        ("prompts: [P]", ("--edition", "../elsewhere"), 2),
    ],
)
async def test_a_hostile_manifest_sends_and_writes_nothing(
    desk: Desk, simulator: Simulator, body: str, words: tuple[str, ...], code: int
) -> None:
    os.mkfifo(desk.folder / "pipe.png")
    desk.write_manifest(body)
    finished = await desk.call("run", "batch.yaml", *words)
    assert (finished.code, simulator.requests) == (code, [])
    assert "Traceback" not in finished.err
    assert {path.name for path in desk.folder.iterdir()} == {"batch.yaml", "pipe.png"}
