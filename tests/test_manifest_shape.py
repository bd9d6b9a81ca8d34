"""Keys and shapes that a manifest does not have are told with those that it has, and hide no other fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifests import faults, inputs_of, load

from hedra_batch.errors import ManifestError
from hedra_batch.inputs import FIELDS, Field, ValueType
from hedra_batch.manifest.loading import load_manifest

TEXT_KEYS = [field.key for field in FIELDS if field.type is ValueType.TEXT]
SHAPES = [
    ("prompts: [P]\nnmae: x", "3:1: nmae", "did you mean 'name'? (allowed: version, name,"),
    ("jobs:\n- {prompt: P, durration: 5s}", "3:15: jobs[0].durration", "did you mean 'duration'?"),
    ("prompts: [P]\nlimits: {uplods: 3}", "3:10: limits.uplods", "did you mean 'uploads'?"),
    (
        "prompts: 5",
        "2:10: prompts",
        "must be a list, each line beginning with '- ', or a name and a ':' for each, not the number 5",
    ),
    ("prompts: []", "2:10: prompts", "is empty"),
    ("jobs: {a: b}", "2:7: jobs", "must be a list of jobs, each beginning with '- ', not a group of keys"),
    ("jobs: [text]", "2:8: jobs[0]", "must be keys with values, such as {prompt: …, image: …}, not text"),
    ("prompts: [P]\ndefaults: {id: x}", "3:12: defaults.id", "is not a known key"),
    ("prompts: [P]\nexclude: x", "3:10: exclude", "must be a list of ids or patterns, such as [hero--storm], not text"),
    ("prompts: [P]\nlimits:", "3:8: limits", "must be keys with values, each as 'key: value', not an empty value"),
    ("name: a\nname: b\nprompts: [P]", "3:1: name", "a second time, first on line 2"),
    ("prompts: [P]\n? [a]\n: b", "3:3: manifest", "has a key that is not plain text"),
]


@pytest.mark.parametrize(("body", "start", "part"), SHAPES)
def test_a_fault_is_told_with_its_place_and_what_is_allowed(tmp_path: Path, body: str, start: str, part: str) -> None:
    (line,) = faults(tmp_path, body)
    assert line.startswith(f"m.yaml:{start}")
    assert part in line


def test_a_missing_version_is_told_with_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("prompts: [P]")
    with pytest.raises(ManifestError, match=r"1:1: version: is missing \(write 'version: 1'"):
        load_manifest(tmp_path / "m.yaml")


@pytest.mark.parametrize(
    "body",
    [
        "defaults: 5\njobs: [{id: x}]",
        "prompts: 5\nimages: ['https://example.com/a']\nexclude: [b]",
        "promts: [P]",
        "prompts: ['']\nexclude: [q]",
        "prompts: [5]\noutput: '{image}.mp4'",
        "jobs: [5]\noutput: '{prompt}.mp4'",
    ],
)
def test_a_fault_is_not_told_again_by_what_follows_from_it(tmp_path: Path, body: str) -> None:
    assert len(faults(tmp_path, body)) == 1


@pytest.mark.parametrize(
    ("body", "position"),
    [
        ("defaults:\n  {key}: no text #2\nprompts: [P]", "3:{column}: defaults.{key}"),
        ("jobs:\n- id: x\n  prompt: P\n  {key}: no text #2", "5:{column}: jobs[0].{key}"),
        ("jobs:\n- id: x\n  prompt: P\n  {key}: &no text", "5:{column}: jobs[0].{key}"),
    ],
)
@pytest.mark.parametrize(
    "key", [field.key for field in FIELDS if field.type is ValueType.TEXT and field.name != "prompt"]
)
def test_a_text_of_which_yaml_took_a_part_is_told_in_every_field(
    tmp_path: Path, body: str, position: str, key: str
) -> None:
    (line,) = faults(tmp_path, body.replace("{key}", key))
    assert line.startswith(f"m.yaml:{position.replace('{column}', str(len(key) + 5)).replace('{key}', key)}: ")
    assert line.endswith("(put the text in quotes)")


def test_a_comment_behind_what_is_no_text_takes_nothing_away(tmp_path: Path) -> None:
    body = "jobs:\n- prompt: P\n  seed: 7 # the best\n  model: m # cheap\n"
    (inputs,) = inputs_of(load(tmp_path, body))
    assert inputs.values == {"prompt": "P", "model": "m", "seed": 7}


def test_a_key_that_is_not_known_is_told_with_all_fields(tmp_path: Path) -> None:
    (line,) = faults(tmp_path, "jobs: [{prompt: P, sed: 7}]")
    keys = [field.key for field in FIELDS]
    assert line.endswith(f"did you mean 'seed'? (allowed: {', '.join(keys)}, variations, id)")


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.key)
def test_a_fault_in_any_field_hides_no_other(tmp_path: Path, field: Field) -> None:
    body = f"jobs:\n- {{id: x, prompt: P}}\n- {{id: x, prompt: P}}\n- {{id: y, prompt: P, {field.key}: [5]}}"
    if field.key == "prompt":
        body = body.replace("y, prompt: P,", "y,")
    assert [line.split(": ")[1] for line in faults(tmp_path, body)] == ["jobs[1].id", f"jobs[2].{field.key}"]
