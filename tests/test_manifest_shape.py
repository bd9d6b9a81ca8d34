"""Keys and shapes that a manifest does not have are told with those that it has, and hide no other fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifests import faults

from hedra_batch.errors import ManifestError
from hedra_batch.manifest.loading import load_manifest

SHAPES = [
    ("prompts: [P]\nnmae: x", "3:1: nmae", "did you mean 'name'? (allowed: version, name,"),
    ("jobs:\n- {prompt: P, durration: 5s}", "3:15: jobs[0].durration", "did you mean 'duration'?"),
    ("prompts: [P]\nlimits: {uplods: 3}", "3:10: limits.uplods", "did you mean 'uploads'?"),
    ("prompts: P", "2:10: prompts", "is text (allowed: a list, or a mapping with a name for each)"),
    ("prompts: []", "2:10: prompts", "is empty"),
    ("jobs: {a: b}", "2:7: jobs", "is a mapping (allowed: a list of jobs)"),
    ("jobs: [text]", "2:8: jobs[0]", "is text (allowed: a mapping, such as"),
    ("prompts: [P]\ndefaults: {id: x}", "3:12: defaults.id", "is not known here"),
    ("prompts: [P]\nexclude: x", "3:10: exclude", "is text (allowed: a list of ids and patterns)"),
    ("prompts: [P]\nlimits:", "3:8: limits", "is an empty value"),
    ("name: a\nname: b\nprompts: [P]", "3:1: name", "a second time, first on line 2"),
    ("prompts: [P]\n? [a]\n: b", "3:3: manifest", "has a key that is no plain text"),
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
