"""Where a video goes is inside the run folder, and never where another file is."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifests import faults, load

from hedra_batch.manifest.loading import load_manifest

OUTPUTS = [
    ("prompts: {a: P, b: Q}\noutput: x.mp4", "3:9: output", "the file of 'b' would also be the file of 'a'"),
    ("prompts: [P]\noutput: '{image}.mp4'", "3:9: output", "an empty {image} in its name, since the job has no image"),
    ("jobs: [{id: x, prompt: P}]\noutput: '{prompt}.mp4'", "3:9: output", "an empty {prompt}"),
    (
        "prompts: [P]\noutput: '{nmae}.mp4'",
        "3:9: output",
        "has an unknown placeholder: '{nmae}' (allowed: {id}, {image}, {prompt}, {edition})",
    ),
    ("prompts: [P]\noutput: '{a}-{b}-{id}.mp4'", "3:9: output", "has unknown placeholders: '{a}', '{b}' (allowed"),
    ("prompts: [P]\noutput: '{id}{.mp4'", "3:9: output", "has a '{' or '}' that is no placeholder"),
    ("prompts: [P]\noutput: '{id}-{edition}.mp4'", "3:9: output", "which is empty without --edition"),
    ("prompts: [P]\noutput: '{id}.mov'", "3:9: output", "does not end in .mp4"),
    ("prompts: [P]\noutput: /tmp/{id}.mp4", "3:9: output", "an absolute path"),
    ("prompts: [P]\noutput: ../{id}.mp4", "3:9: output", "has '..' or a hidden name"),
    ("prompts: [P]\noutput: a/.b/{id}.mp4", "3:9: output", "has '..' or a hidden name"),
    ("prompts: [P]\noutput: a//{id}.mp4", "3:9: output", "has an empty folder name"),
    ("prompts: [P]\noutput: a\\{id}.mp4", "3:9: output", "a backslash"),
    ("prompts: [P]\noutput: Logs/{id}.mp4", "3:9: output", "where the run keeps its own files"),
    ("prompts: {logs: P}\noutput: '{id}/x.mp4'", "3:9: output", "among the run's own files"),
    ("prompts: {a.take2: P}", "2:20: prompts.a.take2", "end in .take and a number, which is kept for new takes"),
]


LONG = "日" * 70


NUMBERED = ", ".join(f"n{number}: P" for number in range(200))


ADDRESSED = ", ".join(f"i{number}: https://h/{number}" for number in range(100))


PAIRS = f"prompts: {{{NUMBERED}}}\nimages: {{{ADDRESSED}}}\n"


HOSTILE_OUTPUTS = [
    ("prompts: {con: P}", "2:16: prompts.con", "have 'con' in its path, a name that Windows keeps for a device"),
    ("prompts: {LPT¹.x: P}", "2:19: prompts.LPT¹.x", "have 'LPT¹' in its path, a name that Windows keeps for a device"),
    ("prompts: {a: P}\noutput: 'x/Com1 .d/{id}.mp4'", "3:9: output", "have 'Com1' in its path, a name that Windows"),
    ("prompts: {a: P}\noutput: " + "a/" * 98 + "{id}.mp4", "3:9: output", "has 204 characters (at most 200)"),
    (
        f"prompts: {{{LONG}: P}}\nimages: {{{LONG}: 'https://h/x'}}\noutput: '{'{image}/{prompt}/' * 2}x.mp4'",
        "4:9: output",
        "have a path of 849 bytes (at most 800: shorten the names)",
    ),
    ("prompts: [P]\noutput: a/../../{id}.mp4", "3:9: output", "has '..' or a hidden name"),
    ("prompts: [P]\noutput: //host/share/{id}.mp4", "3:9: output", "an absolute path"),
    (
        "prompts: [P]\noutput: '{id.__class__}.mp4'",
        "3:9: output",
        "has an unknown placeholder: '{id.__class__}' (allowed",
    ),
    ("prompts: [P]\noutput: '{id!r:>999999999}.mp4'", "3:9: output", "has an unknown placeholder: '{id!r"),
    (PAIRS + "exclude: [" + "'*x'," * 51 + "]", "4:10: exclude", "at most 50 for 20,000 jobs"),
    (
        "prompts: {a: P}\nexclude: ['" + "*a" * 126 + "']",
        "3:11: exclude[0]",
        "has 252 characters, more than any id (at most 250)",
    ),
]


@pytest.mark.parametrize(("body", "start", "part"), OUTPUTS)
def test_a_fault_is_told_with_its_place_and_what_is_allowed(tmp_path: Path, body: str, start: str, part: str) -> None:
    (line,) = faults(tmp_path, body)
    assert line.startswith(f"m.yaml:{start}")
    assert part in line


@pytest.mark.parametrize(("body", "start", "part"), HOSTILE_OUTPUTS)
def test_harm_is_told_with_its_place(tmp_path: Path, body: str, start: str, part: str) -> None:
    told = faults(tmp_path, body)
    assert any(line.startswith(f"m.yaml:{start}: ") and part in line for line in told), told
    assert all(map(str.isprintable, told))


def test_editions_may_not_share_their_files(tmp_path: Path) -> None:
    (line,) = faults(tmp_path, "prompts: [P]\noutput: films/{id}.mp4", edition="b")
    assert "needs {edition}" in line


@pytest.mark.parametrize("name", ["console", "com", "com10", "nul0", "lpt", "x.con"])
def test_names_that_only_resemble_a_device_are_allowed(tmp_path: Path, name: str) -> None:
    (tmp_path / "m.yaml").write_text(f"version: 1\nprompts: {{{name}: P}}")
    assert next(iter(load_manifest(tmp_path / "m.yaml").jobs)).output == f"videos/{name}.mp4"


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
