"""A manifest becomes jobs."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedra_batch.errors import UsageError
from hedra_batch.manifest.heading import load_name
from hedra_batch.manifest.loading import Manifest, load_manifest
from hedra_batch.manifest.names import prompt_slug
from hedra_batch.units import Limits, Rate


def load(folder: Path, body: str, *, edition: str = "", name: str = "spring.yaml") -> Manifest:
    path = folder / name
    path.write_text(f"version: 1\n{body}", "utf-8")
    return load_manifest(path, edition=edition)


def add_image(folder: Path, name: str, width: int = 8) -> bytes:
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBBI", 13, b"IHDR", width, 8, 8, 2, 0, 0, 0, 0)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


def ids(manifest: Manifest) -> list[str]:
    return [job.id for job in manifest.jobs]


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


def test_an_image_is_known_by_the_hash_of_its_bytes(tmp_path: Path) -> None:
    data = add_image(tmp_path, "a.png")
    image = next(iter(load(tmp_path, "jobs: [{id: x, prompt: P, image: a.png}]").jobs)).inputs.get_media("image")
    assert image is not None
    assert (image.source, image.path) == ("a.png", tmp_path / "a.png")
    assert image.sha256 == hashlib.sha256(data).hexdigest()


def test_a_morph_has_two_images(tmp_path: Path) -> None:
    add_image(tmp_path, "a.png")
    inputs = next(
        iter(load(tmp_path, "jobs: [{id: x, prompt: P, image: a.png, end_image: 'https://example.com/b'}]").jobs)
    ).inputs
    end_image = inputs.get_media("end_image")
    assert end_image is not None
    assert (end_image.source, end_image.path) == ("https://example.com/b", None)


def test_variations_share_what_they_ask_for(tmp_path: Path) -> None:
    manifest = load(tmp_path, "jobs: [{id: market, prompt: P, variations: 3}]")
    assert ids(manifest) == ["market", "market.v2", "market.v3"]
    assert len({id(job.inputs) for job in manifest.jobs}) == 1


def test_raising_variations_keeps_the_other_ids(tmp_path: Path) -> None:
    body = "defaults: {{variations: {}}}\nprompts: [A, B]\njobs: [{{prompt: C}}]"
    few, many = (set(ids(load(tmp_path, body.format(count)))) for count in (2, 3))
    assert few < many


@pytest.mark.parametrize(
    ("exclude", "left"),
    [("[a--p]", ["a--q", "b--p", "b--q"]), ("['*--q']", ["a--p", "b--p"]), ("['a--?', 'x*']", ["b--p", "b--q"])],
)
def test_excluded_jobs_are_left_out(tmp_path: Path, exclude: str, left: list[str]) -> None:
    images = "images: {a: https://example.com/a, b: https://example.com/b}"
    assert ids(load(tmp_path, f"prompts: {{p: P, q: Q}}\n{images}\nexclude: {exclude}")) == left


@pytest.mark.parametrize(
    ("output", "edition", "expected"),
    [
        ("", "", "videos/i--p.mp4"),
        ("", "b", "videos/b/i--p.mp4"),
        ("output: films/{id}.mp4", "", "films/i--p.mp4"),
        ("output: '{edition}/{image}/{prompt}.mp4'", "b", "b/i/p.mp4"),
        ("output: '{edition}/{image}/{prompt}.mp4'", "", "i/p.mp4"),
    ],
)
def test_the_output_is_made_of_names(tmp_path: Path, output: str, edition: str, expected: str) -> None:
    body = f"prompts: {{p: P}}\nimages: {{i: https://example.com/i}}\n{output}"
    (job,) = load(tmp_path, body, edition=edition).jobs
    assert (job.output, job.edition) == (expected, edition)


@pytest.mark.parametrize("edition", ["../x", "a/b", "", ".hidden", "a b", "x\0"])
def test_an_edition_must_be_part_of_a_file_name(tmp_path: Path, edition: str) -> None:
    with pytest.raises(UsageError, match="edition"):
        load(tmp_path, "prompts: [P]", edition=edition or "-")


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    manifest = load(tmp_path, "prompts: [P]", name="spring sale.yaml")
    assert (manifest.name, manifest.path) == ("spring sale", tmp_path / "spring sale.yaml")
    assert (manifest.limits, manifest.budget_credits) == (Limits(), None)
    assert (manifest.on_unknown, manifest.quiet_window_seconds) == ("resend", 600)


@pytest.mark.parametrize(
    ("body", "name"),
    [("name: May\nbugdet: 5", "May"), ("prompts: 5", "spring"), ("name: ../x", "spring"), ("- a", "spring")],
)
def test_the_name_is_read_beside_faults(tmp_path: Path, body: str, name: str) -> None:
    (tmp_path / "spring.yaml").write_text(body)
    assert load_name(tmp_path / "spring.yaml") == name


def test_what_is_said_holds(tmp_path: Path) -> None:
    settings = (
        "name: May\nbudget: 500 credits\non_unknown: hold\nquiet_window: 90s\nlimits: {submit: 30/min, in_flight: 9}"
    )
    manifest = load(tmp_path, f"{settings}\nprompts: [P]")
    assert (manifest.name, manifest.budget_credits) == ("May", 500)
    assert (manifest.limits.submit, manifest.limits.in_flight, manifest.limits.uploads) == (Rate(30, 60), 9, 2)
    assert (manifest.on_unknown, manifest.quiet_window_seconds) == ("hold", 90)


def test_a_relative_path_is_relative_to_the_manifest(tmp_path: Path) -> None:
    add_image(tmp_path, "a.png")
    (tmp_path / "sub").mkdir()
    manifest = load(tmp_path, "jobs: [{id: x, prompt: P, image: ../a.png}]", name="sub/m.yaml")
    assert next(iter(manifest.jobs)).inputs.get_media("image") is not None


def test_the_space_around_a_prompt_does_not_count(tmp_path: Path) -> None:
    body = "prompts:\n  p: |\n    One.\n    Two.\n\n"
    assert next(iter(load(tmp_path, body).jobs)).inputs.get_text("prompt") == "One.\nTwo."


# Both take well under a second; what is asserted leaves room for the measuring of coverage.


def test_a_hundred_thousand_jobs_can_be_loaded(tmp_path: Path) -> None:
    prompts = "".join(f"- Storm number {number} gathers over the hills\n" for number in range(1000))
    images = "".join(f"- https://example.com/{number}.png\n" for number in range(100))
    assert len(load(tmp_path, f"prompts:\n{prompts}images:\n{images}").jobs) == 100_000


def test_ten_thousand_single_jobs_can_be_loaded(tmp_path: Path) -> None:
    job = "- {{id: job{}, prompt: A market at golden hour, model: m, aspect_ratio: 16:9, duration: 5s}}\n"
    assert len(load(tmp_path, "jobs:\n" + "".join(map(job.format, range(10_000)))).jobs) == 10_000


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
