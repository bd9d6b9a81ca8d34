"""YAML is read by the rules of 1.2, within limits, and every file that is none gets a quick answer."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedra_batch.errors import InputFileError, ManifestError
from hedra_batch.manifest.composer import compose
from hedra_batch.manifest.document import LARGEST_BYTES, ManifestText, Tree, read_text
from hedra_batch.manifest.loading import load_manifest

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def read(content: str) -> Tree:
    return compose(ManifestText("m.yaml", content))


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("16:9", "16:9"),
        ("no", "no"),
        ("2026-11-22", "2026-11-22"),
        ("1_000", "1_000"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-7", -7),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("True", True),
        ("~", None),
        ("", None),
        ("9" * 5000, "9" * 5000),
        ("'12'", "12"),
        ("!!str 12", "12"),
    ],
)
def test_plain_values_are_read_by_yaml_1_2(plain: str, value: object) -> None:
    assert read(f"a: {plain}").values == {"a": value}


def test_keys_are_text_whatever_they_look_like() -> None:
    assert list(read("{1: a, no: b, null: c, 1.10: d, e\u0301: e}").values) == ["1", "no", "null", "1.10", "é"]


def test_aliases_and_merges_are_followed() -> None:
    values = read("a: &a {x: 1, y: 2}\nb: {y: 3, <<: *a}\nc: {<<: [{x: 4}, *a]}\nd: &t text\ne: *t").values
    assert values["b"] == {"x": 1, "y": 3}
    assert values["c"] == {"x": 4, "y": 2}
    assert values["e"] == "text"


@pytest.mark.parametrize(
    ("content", "loc", "place"),
    [
        ("a: 1\nb: [x, {c: y}]", ("b", 1, "c"), (2, 12)),
        ("a: 1\nb: [x, {c: y}]", ("b", 1, "missing"), (2, 8)),
        ("# first\n\nä: 'ü'  ", ("ä",), (3, 4)),
        ("a: 1\r\nb: 2\rc: 3\n", ("c",), (3, 4)),
        ("a: &x {b: 1}\nc: {<<: *x}", ("c", "b"), (1, 11)),
    ],
)
def test_every_value_has_its_place(content: str, loc: tuple[Any, ...], place: tuple[int, int]) -> None:
    assert read(content).find_position(loc) == place


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_bytes(b"\xef\xbb\xbfversion: 1\nprompts: ['']")
    with pytest.raises(ManifestError, match=r"m\.yaml:2:11: prompts"):
        load_manifest(tmp_path / "m.yaml")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "1:1: manifest: is empty"),
        (b"# nothing\n", "1:1: manifest: is empty"),
        (b"version: 1\na: caf\xe9", "2:7: manifest: is not UTF-8"),
        ("version: 1".encode("utf-16"), "1:1: manifest: is not UTF-8"),
        (b"version: 1\na: \0", "2:4: manifest: holds the character U+0000"),
        (b'version: 1\nprompts: ["\\0"]', "2:11: prompts[0]: holds the character U+0000"),
        ('version: 1\nprompts: ["\u202etxt"]'.encode(), "2:11: prompts[0]: holds the character U+202E"),
        (b'version: 1\nprompts: ["\\e[31m"]', "2:11: prompts[0]: holds the character U+001B"),
        (b"version: 1\n---\nversion: 1", "2:1: manifest: holds a second document"),
        (b"%YAML 2.0\n---\na: b", "1:1: manifest: is not YAML from here on"),
        (b"prompts: &a [*a]", "1:14: manifest: has an alias"),
        (b"[" * 100_000, "1:17: manifest: is nested too deeply"),
        (b"? " * 100_000, "1:33: manifest: is nested too deeply"),
        (b"- - " * 100_000, "1:33: manifest: is nested too deeply"),
        (LAUGHS.encode(), "manifest: holds too much"),
        (b"a: &a [" + b"x," * 1000 + b"]\nb: [" + b"*a," * 1000 + b"]", "manifest: holds too much"),
        (b"prompts: [&p " + b"x" * 19_000 + b",*p" * 200_000 + b"]", "manifest: holds too much"),
        (b"\n" * 1_000_001, "1:1: manifest: has too many lines"),
        (b"a" * LARGEST_BYTES, "1:1: manifest: is text"),
        (b"a" * 100_000_000, "1:1: manifest: is larger than 16 MB"),
    ],
    ids=lambda value: value[:20].decode("ascii", "replace") if isinstance(value, bytes) else "",
)
def test_a_hostile_file_is_refused_with_its_place(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "m.yaml").write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        load_manifest(tmp_path / "m.yaml")
    assert fault in str(caught.value)


def test_a_missing_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"none\.yaml: the manifest does not exist"):
        load_manifest(tmp_path / "none.yaml")


def test_a_manifest_is_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path, tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(InputFileError, match="is not a regular file"):
            load_manifest(path)


def test_a_name_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="cannot be read: File name too long"):
        load_manifest(tmp_path / ("x" * 300))


def test_a_file_name_is_shown_safely(tmp_path: Path) -> None:
    with pytest.raises(InputFileError) as caught:
        read_text(tmp_path / "\x1b]0;x\udcff.yaml")
    assert str(caught.value).isprintable()


@settings(deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200))
def test_any_file_is_a_manifest_or_gets_an_answer(
    tmp_path_factory: pytest.TempPathFactory, content: str | bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ManifestError):
        load_manifest(path)


ATOMS = st.sampled_from(
    ["version", "prompts", "images", "jobs", "defaults", "exclude", "limits", "output", "prompt", "id", "image", "name"]
) | st.sampled_from(
    [None, 1, 0.5, True, "x", "X", "a b", "", "*", "{{", "5s", "https://h/a", "{id}.mp4", "api_key", "<<"]
)
TREES = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ATOMS.map(str), inner, max_size=5), max_leaves=20
)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["prompts", "images", "jobs", "defaults", "exclude", "output", "limits"]), TREES)
)
def test_any_tree_is_a_manifest_or_gets_an_answer(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "tree.yaml"
    path.write_text(json.dumps({"version": 1, **tree}))
    with suppress(ManifestError, InputFileError):
        assert load_manifest(path).jobs


@pytest.mark.parametrize("content", ["a: b: c", "a: [x", "a: @b"])
def test_a_syntax_error_names_what_was_being_read(content: str) -> None:
    tree = read(content)
    assert tree.is_broken
    assert tree.faults[-1].loc[:1] == ("a",)


def test_a_syntax_error_hides_no_fault_before_it() -> None:
    assert [fault.offset for fault in read("a: 1\na: 2\nb: [").faults] == [5, 14]
