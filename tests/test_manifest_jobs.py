"""Jobs are made of specs: a job for each variation, less what is excluded, each under an id of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifests import faults, ids, load


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ("jobs:\n- {id: x, prompt: P}\n- {id: x, prompt: Q}", (3, 4)),
        ("jobs:\n- {id: Hero, prompt: P}\n- {id: hero, prompt: Q}", (3, 4)),
        ("jobs:\n- {prompt: P}\n- {prompt: P}", (3, 4)),
        ("prompts:\n- P\njobs:\n- {prompt: P}", (3, 5)),
        ("prompts: {c: P, b--c: Q}\nimages:\n  a--b: https://h/x\n  a: https://h/y", (4, 5)),
        ("jobs:\n- {id: x, prompt: P, variations: 2}\n- {id: x.v2, prompt: Q}", (3, 4)),
        ("prompts:\n- P\n- P", (3, 4)),
        ("prompts: {p: P}\nimages:\n- https://h/a.png\n- https://h/b/a.jpg", (4, 5)),
    ],
)
def test_two_equal_ids_are_told_with_both_lines(tmp_path: Path, body: str, lines: tuple[int, int]) -> None:
    (line,) = faults(tmp_path, body)
    assert line.startswith(f"m.yaml:{lines[1]}:")
    assert f"on line {lines[0]}" in line


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
