"""A manifest becomes jobs, for one edition, or nothing is sent."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import Desk
from hypothesis import given, settings
from hypothesis import strategies as st
from manifests import add_file, add_image, file_faults, load

from hedra_batch.errors import InputFileError, ManifestError, UsageError
from hedra_batch.manifest.loading import load_manifest
from hedra_batch.money import NO_BUDGETS, Budgets, Money
from hedra_batch.simulator.service import Simulator
from hedra_batch.units import Limits, Rate


def test_an_image_is_known_by_the_hash_of_its_bytes(tmp_path: Path) -> None:
    data = add_image(tmp_path, "a.png")
    image = next(iter(load(tmp_path, "jobs: [{id: x, prompt: P, image: a.png}]").jobs)).inputs.get_media("image")
    assert image is not None
    assert (image.source, image.path) == ("a.png", tmp_path / "a.png")
    assert image.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("edition", ["../x", "a/b", "", ".hidden", "a b", "x\0"])
def test_an_edition_must_be_part_of_a_file_name(tmp_path: Path, edition: str) -> None:
    with pytest.raises(UsageError, match="edition"):
        load(tmp_path, "prompts: [P]", edition=edition or "-")


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    manifest = load(tmp_path, "prompts: [P]", name="spring sale.yaml")
    assert (manifest.name, manifest.path) == ("spring sale", tmp_path / "spring sale.yaml")
    assert (manifest.limits, manifest.budgets) == (Limits(), NO_BUDGETS)
    assert (manifest.on_unknown, manifest.quiet_window_seconds) == ("resend", 600)


def test_what_is_said_holds(tmp_path: Path) -> None:
    settings = (
        "name: May\nbudget: 500 credits\non_unknown: hold\nquiet_window: 90s\nlimits: {submit: 30/min, in_flight: 9}"
    )
    manifest = load(tmp_path, f"{settings}\nprompts: [P]")
    assert (manifest.name, manifest.budgets) == ("May", Budgets(Money(500)))
    assert (manifest.limits.submit, manifest.limits.in_flight, manifest.limits.uploads) == (Rate(30, 60), 9, 2)
    assert (manifest.on_unknown, manifest.quiet_window_seconds) == ("hold", 90)


def test_a_relative_path_is_relative_to_the_manifest(tmp_path: Path) -> None:
    add_image(tmp_path, "a.png")
    (tmp_path / "sub").mkdir()
    manifest = load(tmp_path, "jobs: [{id: x, prompt: P, image: ../a.png}]", name="sub/m.yaml")
    assert next(iter(manifest.jobs)).inputs.get_media("image") is not None


def test_all_faults_of_files_are_told_at_once(tmp_path: Path) -> None:
    add_file(tmp_path, "text.png", b"text")
    body = "images:\n  a: photos/*.png\n  b: text.png\njobs:\n- {id: x, image: none.png}\n- {id: y, image: none.png}"
    told = [line.split(": ")[:2] for line in file_faults(tmp_path, body)]
    assert told == [["m.yaml:4:6", "images.a"], ["m.yaml:5:6", "images.b"], ["m.yaml:7:18", "jobs[0].image"]]


def test_faults_of_the_text_come_before_those_of_files(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("version: 1\nprompts: ['']\nimages: [missing.png]")
    with pytest.raises(ManifestError):
        load_manifest(tmp_path / "m.yaml")


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


# This and the next take well under a second; what is asserted leaves room for the measuring of coverage.
def test_a_hundred_thousand_jobs_can_be_loaded(tmp_path: Path) -> None:
    prompts = "".join(f"- Storm number {number} gathers over the hills\n" for number in range(1000))
    images = "".join(f"- https://example.com/{number}.png\n" for number in range(100))
    assert len(load(tmp_path, f"prompts:\n{prompts}images:\n{images}").jobs) == 100_000


def test_ten_thousand_single_jobs_can_be_loaded(tmp_path: Path) -> None:
    job = "- {{id: job{}, prompt: A market at golden hour, model: m, aspect_ratio: 16:9, duration: 5s}}\n"
    assert len(load(tmp_path, "jobs:\n" + "".join(map(job.format, range(10_000)))).jobs) == 10_000
