"""What is wrong with a manifest is told all at once, each fault at its position, and never a credential."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifests import faults

from hedra_batch.manifest.loading import load_manifest

SECRET = "sk_hedra_0123456789abcdef"


MANY = """\
budget: 500
defaults: {duration: 5, sise: 3}
prompts:
  a: Slow pan #2
  A: "{{x}}"
jobs:
- {id: x, prompt: P, image: 'http://example.com'}
- {id: X, prompt: Q, variations: 0}
- {id: y, model: m}
exclude: [5]
output: ../{id}.mp4
"""


def test_all_faults_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    keys = ["budget", "defaults.duration", "defaults.sise", "prompts.a", "prompts.A", "prompts.A", "jobs[0].image"]
    keys += ["jobs[1].id", "jobs[1].variations", "jobs[2].prompt", "exclude[0]", "output"]
    assert [line.split(": ")[1] for line in faults(tmp_path, MANY)] == keys


@pytest.mark.parametrize(
    "body",
    [
        f"api_key: {SECRET}",
        f"hedra_api_key: {SECRET}",
        "X-API-Key: abc",
        "defaults: {password: hunter2-hunter2}",
        "jobs: [{prompt: P, token: hunter2-hunter2}]",
        f"budget: {SECRET}",
        f"defaults: {{model: {SECRET}}}",
        f"prompts: {{{SECRET}: P}}",
        f"prompts: [Use {SECRET} for it, 'twice {SECRET}']",
        f"exclude: [{SECRET}]",
        f"jobs: [{{id: {SECRET}, prompt: P}}, {{id: {SECRET}, prompt: Q}}]",
        f"'{SECRET} {{{{': 5",
        "prompts: {api_key: 'hunter2-hunter2 {{'}",
        "password: {hunter2-hunter2: [}",
    ],
)
def test_a_credential_is_refused_and_never_shown(tmp_path: Path, body: str) -> None:
    told = "\n".join(faults(tmp_path, body))
    assert "set HEDRA_API_KEY, or HEDRA_API_KEY_FILE" in told
    assert SECRET not in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    "body",
    [
        "prompts: {secret: A secret garden, token: A token falls}",
        "prompts: [A key-lit portrait of an api-ary keeper]",
        "jobs: [{id: key-visual-for-the-summer-2026, prompt: P, model: hedra-character-3-preview-720p}]",
    ],
)
def test_ordinary_words_are_no_credential(tmp_path: Path, body: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(f"version: 1\n{body}")
    assert load_manifest(path).jobs


def test_text_of_others_is_shown_safely(tmp_path: Path) -> None:
    (line,) = faults(tmp_path, 'prompts: [P]\n"\\e]0;x\\x07' + "y" * 100 + '": 1')[:1]
    assert line.isprintable()
    assert len(line) < 300


@pytest.mark.parametrize(
    "body",
    ["prompts:\n" + "- \n" * 5000, "prompts:\n" + "- P\n" * 5000, "jobs:\n" + "- {id: x, prompt: P}\n" * 5000],
    ids=["empty", "equal", "jobs"],
)
def test_a_thousand_faults_are_enough(tmp_path: Path, body: str) -> None:
    told = faults(tmp_path, body)
    assert len(told) == 1001
    assert told[-1].endswith("these are the first 1,000; there are more")


def test_a_key_repeated_by_merges_is_not_read_through_for_each_of_them(tmp_path: Path) -> None:
    told = faults(tmp_path, "x: &x {? " + "key-" * 250_000 + " : 1}\njobs: [" + "{<<: *x, y: 1}," * 2000 + "]")
    assert told[0].startswith("m.yaml:2:10: x: has a key of 1,000,000 characters")
    assert told[-1].endswith("these are the first 1,000; there are more")
