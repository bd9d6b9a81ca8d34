"""The JSON Schema that editors take says what the loader does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from hedra_batch.errors import ManifestError
from hedra_batch.inputs import FIELDS, ValueType
from hedra_batch.manifest.loading import load_manifest
from hedra_batch.manifest.schema import manifest_schema
from hedra_batch.manifest.values import KINDS

SOUND = """\
version: 1
name: spring
budget: 500 credits
defaults: {model: fal/grok-video-i2v, aspect_ratio: "16:9", resolution: 720p, duration: 5s}
prompts: {gentle: Slowly, storm: Wildly}
images: [https://example.com/hero.jpg]
exclude: [hero--storm]
jobs:
- {id: market, prompt: A market, variations: 2}
- {id: still, prompt: A market, negative_prompt: text, seed: 7}
limits: {submit: 10/min, in_flight: 4, uploads: 2, downloads: 4, poll: 1/s}
output: videos/{id}.mp4
on_unknown: hold
quiet_window: 10m
"""


FAULTY = [
    "version: 2\nprompts: [P]",
    "prompts: [P]",
    "version: 1\nprompts: []",
    "version: 1\nprompts: [5]",
    "version: 1\nnmae: x",
    "version: 1\nbudget: 500",
    "version: 1\njobs: [{prompt: P, duration: 5000}]",
    "version: 1\ndefaults: {aspect_ratio: wide}",
    "version: 1\ndefaults: {id: x}",
    "version: 1\njobs: [{prompt: P, seed: '7'}]",
    "version: 1\njobs: [{prompt: P, seed: 9223372036854775808}]",
    "version: 1\njobs: [{prompt: P, negative_prompt: ''}]",
    "version: 1\njobs: [{id: a/b, prompt: P}]",
    "version: 1\nlimits: {in_flight: 0}",
    "version: 1\nprompts: [P]\noutput: x.mov",
]


def is_valid(text: str) -> bool:
    schema: dict[str, Any] = manifest_schema()
    return bool(jsonschema.Draft202012Validator(schema).is_valid(yaml.safe_load(text)))


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(manifest_schema())


def test_both_take_a_sound_manifest(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(SOUND)
    assert load_manifest(tmp_path / "m.yaml").jobs
    assert is_valid(SOUND)


@pytest.mark.parametrize("text", FAULTY)
def test_both_refuse_a_faulty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(ManifestError):
        load_manifest(tmp_path / "m.yaml")
    assert not is_valid(text)


def test_every_key_has_a_description() -> None:
    schema = manifest_schema()
    parts = {name: schema["$defs"][name] for name in schema["$defs"]}
    fields = [field for part in [schema, *parts.values()] for field in part["properties"].values()]
    assert all("description" in field or "$ref" in field for field in fields)


@pytest.mark.parametrize("part", ["JobFields", "JobEntry"])
def test_every_field_of_a_job_is_in_the_schema_with_its_description(part: str) -> None:
    properties = manifest_schema()["$defs"][part]["properties"]
    assert list(properties)[: len(FIELDS)] == [field.key for field in FIELDS]
    for field in FIELDS:
        assert properties[field.key]["description"].startswith(field.description)
        assert properties[field.key].get("examples", []) == list(field.examples)


def test_every_type_of_values_can_be_read() -> None:
    assert set(KINDS) == set(ValueType)


def test_a_seed_is_a_whole_number_of_64_bits_to_editors() -> None:
    seed = manifest_schema()["$defs"]["JobEntry"]["properties"]["seed"]
    assert (seed["type"], seed["minimum"], seed["maximum"]) == ("integer", -(2**63), 2**63 - 1)
