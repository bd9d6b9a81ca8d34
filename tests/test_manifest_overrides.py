"""Single jobs that ask for something else than what the manifest says of many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from manifests import add_image, faults, ids, load

MATRIX = (
    "prompts: {storm: A storm, turn: A turn}\nimages: {hero: hero.png, sea: sea.png}\ndefaults: {resolution: 720p}\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, width in (("hero.png", 8), ("sea.png", 9), ("other.png", 10)):
        add_image(tmp_path, name, width)
    return tmp_path


def read(folder: Path, body: str, field: str) -> dict[str, Any]:
    return {job.id: job.inputs.values.get(field) for job in load(folder, body).jobs}


def test_one_pair_is_changed_without_the_others(folder: Path) -> None:
    before = {job.id: job.inputs.digest for job in load(folder, MATRIX).jobs}
    after = {
        job.id: job.inputs.digest
        for job in load(folder, f"{MATRIX}overrides: {{hero--turn: {{prompt: A slow turn}}}}").jobs
    }
    assert {name for name, digest in before.items() if after[name] != digest} == {"hero--turn"}
    assert list(after) == list(before)


def test_an_id_beats_patterns_and_a_later_pattern_an_earlier_one(folder: Path) -> None:
    overrides = "{hero--storm: {resolution: 480p}, 'hero--*': {resolution: 1080p}, '*--storm': {resolution: 4K}}"
    body = f"{MATRIX}overrides: {overrides}"
    assert read(folder, body, "resolution") == {
        "hero--storm": "480p",
        "hero--turn": "1080p",
        "sea--storm": "4K",
        "sea--turn": "720p",
    }


def test_what_is_not_named_comes_from_the_pattern_below(folder: Path) -> None:
    body = f"{MATRIX}overrides: {{'hero--*': {{resolution: 4K, duration: 8s}}, hero--turn: {{resolution: 480p}}}}"
    assert (read(folder, body, "duration_ms")["hero--turn"], read(folder, body, "resolution")["hero--turn"]) == (
        8000,
        "480p",
    )


def test_a_plain_id_covers_its_variations_and_one_of_them_can_be_named(tmp_path: Path) -> None:
    body = "jobs: [{id: a, prompt: P, variations: 3}]\noverrides: {a: {duration: 8s}, a.v2: {duration: 4s}}"
    assert read(tmp_path, body, "duration_ms") == {"a": 8000, "a.v2": 4000, "a.v3": 8000}


def test_null_takes_a_field_away_and_another_image_is_read(folder: Path) -> None:
    body = f"{MATRIX}overrides: {{hero--turn: {{resolution: null, image: other.png}}, sea--turn: {{image: null}}}}"
    jobs = {job.id: job for job in load(folder, body).jobs}
    assert "resolution" not in jobs["hero--turn"].inputs.values
    image = jobs["hero--turn"].inputs.get_media("image")
    assert image
    assert image.source == "other.png"
    assert jobs["sea--turn"].inputs.get_media("image") is None


def test_the_same_fields_written_at_the_job_have_the_same_digest(tmp_path: Path) -> None:
    [written] = load(tmp_path, "jobs: [{id: a, prompt: Q, duration: 8s}]").jobs
    [changed] = load(tmp_path, "jobs: [{id: a, prompt: P}]\noverrides: {a: {prompt: Q, duration: 8s}}").jobs
    assert written.inputs.digest == changed.inputs.digest


def test_what_is_excluded_may_be_overridden_too(folder: Path) -> None:
    body = f"{MATRIX}exclude: ['hero--*']\noverrides: {{hero--turn: {{prompt: Q}}}}"
    assert ids(load(folder, body)) == ["sea--storm", "sea--turn"]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "{hero--trun: {prompt: Q}}",
            "m.yaml:5:13: overrides.hero--trun: is not the id of a job; did you mean 'hero--turn'?",
        ),
        ("{'*--rain': {prompt: Q}}", "m.yaml:5:13: overrides['*--rain']: matches the id of no job"),
        ("{hero--turn: {promt: Q}}", "m.yaml:5:26: overrides.hero--turn.promt: is not a known key"),
        ("{hero--turn: {duration: 5}}", "m.yaml:5:36: overrides.hero--turn.duration: "),
        ("{hero--turn: {prompt: null}}", "m.yaml:5:34: overrides.hero--turn.prompt: takes the prompt away"),
        ("{hero--turn: {id: x}}", "m.yaml:5:26: overrides.hero--turn.id: is not a known key"),
        ("[hero--turn]", "m.yaml:5:12: overrides: must be a mapping of ids"),
        ("{hero--turn: a prompt}", "m.yaml:5:25: overrides.hero--turn: must be keys with values"),
        ("{hero--turn: {image: '*.png'}}", "m.yaml:5:33: overrides.hero--turn.image: '*.png' is a pattern"),
    ],
)
def test_a_fault_is_told_at_its_place(folder: Path, override: str, told: str) -> None:
    [line] = faults(folder, f"{MATRIX}overrides: {override}")
    assert line.startswith(told), line


def test_a_seed_for_all_variations_is_refused_and_one_for_each_is_not(tmp_path: Path) -> None:
    body = "jobs: [{id: a, prompt: P, variations: 2}]\noverrides: "
    [line] = faults(tmp_path, f"{body}{{a: {{seed: 7}}}}")
    assert "overrides.a.seed: makes variations of 'a' alike" in line
    assert read(tmp_path, f"{body}{{a: {{seed: 7}}, a.v2: {{seed: 8}}}}", "seed") == {"a": 7, "a.v2": 8}
