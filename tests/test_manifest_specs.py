"""Every prompt goes with every image, and single jobs stand beside them, each under its id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifests import add_file, add_image, faults, ids, inputs_of, load

from hedra_batch.errors import InputFileError, ManifestError
from hedra_batch.inputs import MEDIA_FIELDS, Field
from hedra_batch.manifest.loading import load_manifest
from hedra_batch.manifest.names import prompt_slug

JOBS = [
    ("images: ['https://example.com/a']", "2:9: images", "has no prompt to go with"),
    ("jobs: [{id: x}]", "2:8: jobs[0].prompt", "is missing (give the job a prompt"),
    ("jobs: [{id: 7, prompt: P}]", "2:13: jobs[0].id", "must be a name, not the number 7"),
    ("jobs: []", "1:1: manifest", "asks for no video"),
    (
        "jobs: [{id: x, prompt: P}]\ndefaults: {variations: 100}\nprompts: [" + "x," * 2000 + "]",
        "1:1: manifest",
        "200,100",
    ),
    ("prompts: {a: P}\nexclude: [b]", "3:11: exclude[0]", "'b' is not the id of a job (write an id, or a pattern"),
    ("prompts: {storm: P, x: Q}\nexclude: [strom]", "3:11: exclude[0]", "did you mean 'storm'?"),
    ("prompts: {a: P}\nexclude: ['*']", "3:10: exclude", "leaves no job"),
    ("prompts: {a: P}\nexclude: [" + "'*'," * 101 + "]", "3:10: exclude", "at most 100 for 1 jobs"),
]


@pytest.mark.parametrize(("body", "start", "part"), JOBS)
def test_a_fault_is_told_with_its_place_and_what_is_allowed(tmp_path: Path, body: str, start: str, part: str) -> None:
    (line,) = faults(tmp_path, body)
    assert line.startswith(f"m.yaml:{start}")
    assert part in line


def test_every_prompt_goes_with_every_image(tmp_path: Path) -> None:
    add_image(tmp_path, "hero.png")
    manifest = load(
        tmp_path, "prompts: {gentle: Slowly, storm: Wildly}\nimages: {a: hero.png, b: https://example.com/b.png}"
    )
    assert ids(manifest) == ["a--gentle", "a--storm", "b--gentle", "b--storm"]
    assert [(job.image_id, job.prompt_id) for job in manifest.jobs][1] == ("a", "storm")


def test_prompts_alone_make_jobs_without_an_image(tmp_path: Path) -> None:
    (job,) = load(tmp_path, "prompts: {gentle: Slowly}").jobs
    assert (job.id, job.prompt_id, job.image_id, job.inputs.get_media("image")) == ("gentle", "gentle", "", None)


def test_images_alone_take_the_default_prompt(tmp_path: Path) -> None:
    add_image(tmp_path, "hero.png")
    (job,) = load(tmp_path, "defaults: {prompt: Slowly}\nimages: [hero.png]").jobs
    assert (job.id, job.prompt_id, job.image_id, job.inputs.get_text("prompt")) == ("hero", "", "hero", "Slowly")


def test_prompts_alone_take_the_default_image(tmp_path: Path) -> None:
    (job,) = load(tmp_path, "defaults: {image: 'https://example.com/b.png'}\nprompts: {gentle: Slowly}").jobs
    assert (job.id, job.image_id) == ("gentle", "b")


def test_an_unnamed_prompt_is_named_by_its_text(tmp_path: Path) -> None:
    assert ids(load(tmp_path, "prompts: [Slow pan]")) == [prompt_slug("Slow pan")]


def test_a_pattern_finds_its_images_sorted_and_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("red/front.png", "blue/front.png", ".old/front.png", "blue/back.png"):
        add_image(tmp_path, f"photos/{name}")
    (tmp_path / "photos/green/front.png").mkdir(parents=True)
    manifest = load(tmp_path, "prompts: {p: Slowly}\nimages: {others: photos/*/front.png}")
    assert ids(manifest) == ["blue-front--p", "red-front--p"]


def test_a_file_with_a_wildcard_in_its_name_is_that_file(tmp_path: Path) -> None:
    add_image(tmp_path, "a[1].png")
    add_image(tmp_path, "a1.png")
    assert ids(load(tmp_path, "prompts: {p: Slowly}\nimages: ['a[1].png']")) == ["a-1--p"]


def test_a_single_job_has_the_fields_of_its_own_and_the_defaults(tmp_path: Path) -> None:
    body = "defaults: {model: m, duration: 5s, aspect_ratio: 16:9}\njobs: [{id: x, prompt: P, duration: 500ms}]"
    inputs = next(iter(load(tmp_path, body).jobs)).inputs
    assert inputs.values == {"prompt": "P", "model": "m", "aspect_ratio": "16:9", "duration_ms": 500}


@pytest.mark.parametrize(
    ("job", "job_id"),
    [
        ("{id: x, prompt: P, image: a.png}", "x"),
        ("{prompt: P, image: a.png}", f"a--{prompt_slug('P')}"),
        ("{prompt: P}", prompt_slug("P")),
        ("{image: a.png}", "a"),
        ("{duration: 5s}", prompt_slug("D")),
    ],
)
def test_a_single_job_without_an_id_is_named_by_what_is_its_own(tmp_path: Path, job: str, job_id: str) -> None:
    add_image(tmp_path, "a.png")
    assert ids(load(tmp_path, f"defaults: {{prompt: D}}\njobs: [{job}]")) == [job_id]


def test_a_morph_has_two_images(tmp_path: Path) -> None:
    add_image(tmp_path, "a.png")
    inputs = next(
        iter(load(tmp_path, "jobs: [{id: x, prompt: P, image: a.png, end_image: 'https://example.com/b'}]").jobs)
    ).inputs
    end_image = inputs.get_media("end_image")
    assert end_image is not None
    assert (end_image.source, end_image.path) == ("https://example.com/b", None)


def shuffled(items: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[tuple[list[Any], list[Any]]]:
    return items.flatmap(lambda some: st.tuples(st.just(some), st.permutations(some)))


@settings(deadline=None)
@given(
    shuffled(st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True)),
    shuffled(st.lists(st.sampled_from("uvwxyz"), unique=True)),
)
def test_ids_never_depend_on_the_order(
    tmp_path_factory: pytest.TempPathFactory,
    prompts: tuple[list[str], list[str]],
    jobs: tuple[list[str], list[str]],
) -> None:
    folder = tmp_path_factory.getbasetemp()
    found = []
    for some, single in zip(prompts, jobs, strict=True):
        body = f"prompts: [{', '.join(some)}]\njobs: [{', '.join(f'{{prompt: {one}}}' for one in single)}]"
        found.append({job.id: job.inputs.get_text("prompt") for job in load(folder, body).jobs})
    assert found[0] == found[1]


def test_two_images_of_one_name_are_told_with_their_files(tmp_path: Path) -> None:
    add_file(tmp_path, "p/a.png")
    add_file(tmp_path, "p/A.jpg")
    (tmp_path / "m.yaml").write_text("version: 1\nprompts: {p: P}\nimages: [p/*]")
    with pytest.raises(ManifestError, match=r"'p/a.png' has the name 'a', like 'p/A.jpg' of images\[0\] on line 3"):
        load_manifest(tmp_path / "m.yaml")


OWN_SEED = "makes all 3 variations alike: the same video would be paid for 3 times (remove the seed, or"
OWN_VARIATIONS = (
    "asks for 3 videos, which the seed under defaults makes alike: the same video would be paid for 3 times (write"
)
SEEDS = [
    ("jobs: [{prompt: P, seed: 7, variations: 3}]", "2:26: jobs[0].seed", OWN_SEED),
    ("jobs: [{prompt: P, seed: 0, variations: 3}]", "2:26: jobs[0].seed", OWN_SEED),
    ("defaults: {variations: 3}\njobs: [{prompt: P, seed: 7}]", "3:26: jobs[0].seed", OWN_SEED),
    ("defaults: {seed: 5, variations: 3}\njobs: [{prompt: P, seed: 7}]", "3:26: jobs[0].seed", OWN_SEED),
    ("defaults: {seed: 7}\njobs: [{prompt: P, variations: 3}]", "3:32: jobs[0].variations", OWN_VARIATIONS),
    ("defaults: {seed: 7, variations: 3}\njobs: [{prompt: P}, {prompt: Q}]", "2:18: defaults.seed", OWN_SEED),
    ("defaults: {seed: 7, variations: 3}\nprompts: [P, Q]", "2:18: defaults.seed", OWN_SEED),
    ("defaults: {prompt: P, seed: 7, variations: 3}\nimages: ['https://h/a']", "2:29: defaults.seed", OWN_SEED),
]


@pytest.mark.parametrize(("body", "start", "part"), SEEDS)
def test_a_seed_with_several_variations_is_refused_where_it_can_be_mended(
    tmp_path: Path, body: str, start: str, part: str
) -> None:
    (line,) = faults(tmp_path, body)
    assert line.startswith(f"m.yaml:{start}: {part}")


@pytest.mark.parametrize(
    "body",
    [
        "jobs: [{prompt: P, seed: 7}]",
        "jobs: [{prompt: P, seed: 7, variations: 1}]",
        "defaults: {seed: 7}\nprompts: [P, Q]",
        "defaults: {variations: 3}\njobs: [{prompt: P, seed: 7, variations: 1}]",
        "defaults: {seed: 7, variations: 3}\njobs: [{prompt: P, variations: 1}]",
    ],
)
def test_a_seed_is_for_one_variation(tmp_path: Path, body: str) -> None:
    assert {inputs.values["seed"] for inputs in inputs_of(load(tmp_path, body))} == {7}


def test_a_seed_of_defaults_that_no_job_takes_with_several_variations_is_no_fault(tmp_path: Path) -> None:
    body = "defaults: {seed: 7, variations: 3}\njobs:\n- {id: x, prompt: P, variations: 1}"
    assert ids(load(tmp_path, body)) == ["x"]


@pytest.mark.parametrize("own", [{"seed": 0, "negative_prompt": "rain"}, {}])
def test_a_field_of_the_job_stands_above_that_of_the_defaults(tmp_path: Path, own: dict[str, str | int]) -> None:
    defaults = {"negative_prompt": "text", "seed": 7}
    body = json.dumps({"id": "x", "prompt": "P", **own})
    (inputs,) = inputs_of(load(tmp_path, f"defaults: {json.dumps(defaults)}\njobs: [{body}]"))
    assert inputs.values == {"prompt": "P", **defaults, **own}


def test_the_defaults_hold_for_every_pair(tmp_path: Path) -> None:
    body = "defaults: {negative_prompt: text, end_image: 'https://h/b'}\nprompts: [P]\nimages: ['https://h/a']"
    (inputs,) = inputs_of(load(tmp_path, body))
    media = {field.name: image.source for field, image in inputs.list_media()}
    assert (inputs.get_text("negative_prompt"), media) == ("text", {"image": "https://h/a", "end_image": "https://h/b"})


@pytest.mark.parametrize("field", MEDIA_FIELDS, ids=lambda field: field.key)
def test_the_file_of_every_media_field_is_looked_for(tmp_path: Path, field: Field) -> None:
    for body in (f"defaults: {{{field.key}: none.png}}\nprompts: [P]", f"jobs: [{{prompt: P, {field.key}: none.png}}]"):
        with pytest.raises(InputFileError, match=rf"{field.key}: 'none.png' does not exist"):
            load(tmp_path, body)
