"""YAML is read by the rules of 1.2, within limits, and every file that is none gets a quick answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from manifests import faults

from hedra_batch.errors import ManifestError
from hedra_batch.manifest.composer import compose
from hedra_batch.manifest.document import LARGEST_BYTES, ManifestText, Tree
from hedra_batch.manifest.loading import load_manifest

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


SYNTAX = [
    ("prompts: [!!python/object/apply:os.mkdir [pwned]]", "2:11: prompts[0]", "python/object/apply:os.mkdir'"),
    ("prompts: [!!python/name:os.system x]", "2:11: prompts[0]", "has the tag"),
    ("prompts: [!!binary aGFybQ==]", "2:11: prompts[0]", "has the tag"),
    ("prompts: !!set {a: P}", "2:10: prompts", "has the tag 'tag:yaml.org,2002:set'"),
    ("prompts: [!<tag:yaml.org,2002:int> 5]", "2:11: prompts[0]", "has the tag"),
    ("!!merge <<: {name: x}", "2:1: ['<<']", "is not a known key"),
    ("'<<': {name: x}", "2:1: ['<<']", "is not a known key"),
    ("<<: 5", "2:1: ['<<']", "merges something without keys"),
    ("<<: [{name: x}, [y]]", "2:1: ['<<']", "merges something without keys"),
    ("defaults: &a {<<: *a}", "2:19: manifest", "has a value that begins with '*'"),
    ("<<: &a {x: &b [*a, *b]}", "2:16: manifest", "has a value that begins with '*'"),
    ("jobs: [{id: x, prompt: P, prompt: Q}]", "2:27: jobs[0].prompt", "a second time, first on line 2"),
    ("prompts: {e\u0301: P, é: Q}", "2:18: prompts.é", "a second time, first on line 2"),
    (
        f"? {'k' * 1001}\n: 5",
        "2:3: manifest",
        "has a key of 1,001 characters (at most 1,000; if it is a text, put it in quotes)",
    ),
]


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
    assert read(content).find_position(loc) == ("m.yaml", *place)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "1:1: manifest: is empty"),
        (b"# nothing\n", "1:1: manifest: is empty"),
        (b"version: 1\na: caf\xe9", "2:7: manifest: is not UTF-8"),
        ("version: 1".encode("utf-16"), "1:1: manifest: is not UTF-8"),
        (b"version: 1\na: \0", "2:4: manifest: holds the invisible character U+0000"),
        (b'version: 1\nprompts: ["\\0"]', "2:11: prompts[0]: holds the invisible character U+0000"),
        ('version: 1\nprompts: ["\u202etxt"]'.encode(), "2:11: prompts[0]: holds the invisible character U+202E"),
        (b'version: 1\nprompts: ["\\e[31m"]', "2:11: prompts[0]: holds the invisible character U+001B"),
        (b"version: 1\n---\nversion: 1", "2:1: manifest: holds a second document"),
        (b"%YAML 2.0\n---\na: b", "1:1: manifest: cannot be read from here on"),
        (b"prompts: &a [*a]", "1:14: manifest: has a value that begins with '*'"),
        (b"[" * 100_000, "1:17: manifest: is nested too deeply"),
        (b"? " * 100_000, "1:33: manifest: is nested too deeply"),
        (b"- - " * 100_000, "1:33: manifest: is nested too deeply"),
        (LAUGHS.encode(), "manifest: repeats too much"),
        (b"a: &a [" + b"x," * 1000 + b"]\nb: [" + b"*a," * 1000 + b"]", "manifest: repeats too much"),
        (b"prompts: [&p " + b"x" * 19_000 + b",*p" * 200_000 + b"]", "manifest: repeats too much"),
        (b"\n" * 1_000_001, "1:1: manifest: has too many lines"),
        (b"a" * LARGEST_BYTES, "1:1: manifest: must be keys with values, such as 'version: 1', not text"),
        (b"a" * 100_000_000, "1:1: manifest: is larger than 16 MB"),
    ],
    ids=lambda value: value[:20].decode("ascii", "replace") if isinstance(value, bytes) else "",
)
def test_a_hostile_file_is_refused_with_its_place(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "m.yaml").write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        load_manifest(tmp_path / "m.yaml")
    assert fault in str(caught.value)


@pytest.mark.parametrize("content", ["a: b: c", "a: [x", "a: @b"])
def test_a_syntax_error_names_what_was_being_read(content: str) -> None:
    tree = read(content)
    assert tree.is_broken
    assert tree.faults[-1].loc[:1] == ("a",)


def test_a_syntax_error_hides_no_fault_before_it() -> None:
    assert [fault.offset for fault in read("a: 1\na: 2\nb: [").faults] == [5, 14]


@pytest.mark.parametrize(("body", "start", "part"), SYNTAX)
def test_harm_is_told_with_its_place(tmp_path: Path, body: str, start: str, part: str) -> None:
    told = faults(tmp_path, body)
    assert any(line.startswith(f"m.yaml:{start}: ") and part in line for line in told), told
    assert all(map(str.isprintable, told))


def test_no_tag_makes_anything_happen(tmp_path: Path) -> None:
    faults(tmp_path, f"prompts: [!!python/object/apply:os.mkdir ['{tmp_path}/pwned']]")
    assert [path.name for path in tmp_path.iterdir()] == ["m.yaml"]


def test_what_a_file_writes_out_is_not_bounded_like_what_aliases_repeat() -> None:
    tree = read("jobs:\n" + "".join(f"- {{id: scene-{number}, prompt: A sea}}\n" for number in range(70_000)))
    assert (tree.faults, len(tree.values["jobs"])) == ([], 70_000)


def test_merges_that_double_each_other_are_counted(tmp_path: Path) -> None:
    base = "a: &a {" + ",".join(f"k{number}: 1" for number in range(1000)) + "}\n"
    doubled = "".join(
        f"{two}: &{two} {{<<: [*{one}, *{one}]}}\n" for one, two in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "manifest: repeats too much" in faults(tmp_path, base + doubled)[-1]
