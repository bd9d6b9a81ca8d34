"""What is wrong with a manifest is told all at once, each fault with its place and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hedra_batch.errors import ManifestError
from hedra_batch.manifest.loading import load_manifest

SECRET = "sk_hedra_0123456789abcdef"

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

VALUES = [
    ("budget: 500", "2:9: budget", "write it as 500 credits"),
    ("budget: lots", "2:9: budget", "500 credits"),
    ("defaults: {duration: 5}", "2:22: defaults.duration", "allowed: 5s or 5000ms"),
    ("defaults: {duration: 11m}", "2:22: defaults.duration", "too long (at most 10m)"),
    ("defaults: {duration: 0s}", "2:22: defaults.duration", "not a positive"),
    ("defaults: {duration: " + "9" * 400 + "s}", "2:22: defaults.duration", "…' is no quantity"),
    ("defaults: {aspect_ratio: 0:9}", "2:26: defaults.aspect_ratio", "allowed: 16:9"),
    ("defaults: {aspect_ratio: 16x9}", "2:26: defaults.aspect_ratio", "allowed: 16:9"),
    ("defaults: {resolution: 720}", "2:24: defaults.resolution", "allowed: 540p"),
    ("defaults: {model: ''}", "2:19: defaults.model", "is empty"),
    ("defaults: {model: 7}", "2:19: defaults.model", "must be text, not the number 7 (put it in quotes)"),
    ("defaults: {model: }", "2:19: defaults.model", "has no value"),
    ("defaults: {variations: 101}", "2:24: defaults.variations", "allowed: 1 to 100"),
    ("defaults: {variations: true}", "2:24: defaults.variations", "allowed: 1 to 100"),
    ("limits: {in_flight: 0}", "2:21: limits.in_flight", "allowed: 1 to 1,000"),
    ("limits: {submit: 10}", "2:18: limits.submit", "allowed: 10/min"),
    ("limits: {poll: fast}", "2:16: limits.poll", "10/min"),
    ("on_unknown: no", "2:13: on_unknown", "allowed: 'resend' or 'hold'"),
    ("quiet_window: 600", "2:15: quiet_window", "allowed: 600s or 10m"),
    ("name: ../x", "2:7: name", "cannot name a folder"),
    ('name: "a\\tb"', "2:7: name", "allowed: one line of text"),
]

PROMPTS = [
    ("prompts: ['  ']", "2:11: prompts[0]", "is empty"),
    ("prompts: [" + "x" * 20_001 + "]", "2:11: prompts[0]", "has 20,001 characters (at most 20,000)"),
    ("prompts: ['{{name}} walks']", "2:11: prompts[0]", "reserved for templates"),
    ("prompts: {a b: P}", "2:11: prompts['a b']", "cannot be a name (allowed: letters, digits"),
    ("prompts: {Storm: P, storm: Q}", "2:28: prompts.storm", "has the name 'storm', as has prompts.Storm on line 2"),
    ("prompts:\n- Slow pan #2", "3:3: prompts[0]", "ends before '#2', which YAML reads as a comment"),
    ("jobs:\n- prompt: Slow pan #2", "3:11: jobs[0].prompt", "put the text in quotes"),
    ("defaults: {prompt: Slow\n  pan #2\n  }\nprompts: [P]", "2:20: defaults.prompt", "put the text in quotes"),
    ("prompts:\n- Shoe: slow pan", "3:3: prompts[0]", "YAML as a mapping (a prompt is text: put the text in quotes)"),
    ("prompts: {a: A storm, rain}", "2:27: prompts.rain", "put the text in quotes"),
    ("prompts: [no, yes, true]", "2:20: prompts[2]", "the truth value true"),
    ("prompts: [12]", "2:11: prompts[0]", "the number 12 (a prompt is text: put the text in quotes)"),
    ("prompts:\n-", "3:2: prompts[0]", "put the text in quotes"),
    ("jobs:\n- {id: x, prompt: A storm, then rain}", "3:28: jobs[0]['then rain']", "put the text in quotes"),
    ("jobs:\n- prompt: Shoe: slow pan", "3:15: jobs[0].prompt", "put the text in quotes"),
    ("prompts:\n- *bold* words", "3:8: prompts", "put the text in quotes"),
    ("prompts:\n- 'it's", "3:7: prompts[0]", "put the text in quotes"),
    ("prompts:\n- @home", "3:3: prompts", "put the text in quotes"),
    ("prompts: [a, b", "2:15: prompts[1]", "a '[' is not closed"),
    ("prompts: [!new x]", "2:11: prompts[0]", "has the tag '!new'"),
]

IMAGES = [
    ("images: ['http://example.com/a']", "2:10: images[0]", "allowed: a path, or an https:// URL"),
    ("images: ['file:///etc/passwd']", "2:10: images[0]", "allowed: a path, or an https:// URL"),
    ("images: ['data:image/png;base64,AAAA']", "2:10: images[0]", "allowed: a path, or an https:// URL"),
    ("images: ['https:///a']", "2:10: images[0]", "is no URL"),
    ("images: ['https://[a']", "2:10: images[0]", "is no URL"),
    ("images: ['https://me:word@example.com/a']", "2:10: images[0]", "a user or a password"),
    (
        "defaults: {image: '*.png'}",
        "2:19: defaults.image",
        "is a pattern (allowed: one image; patterns go into images)",
    ),
    ("jobs: [{id: x, prompt: P, end_image: 'a?'}]", "2:38: jobs[0].end_image", "is a pattern (allowed: one image"),
]

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
    ("prompts: {a: P}\nexclude: [b]", "3:11: exclude[0]", "'b' is the id of no job (allowed: an id, or a pattern"),
    ("prompts: {storm: P, x: Q}\nexclude: [strom]", "3:11: exclude[0]", "did you mean 'storm'?"),
    ("prompts: {a: P}\nexclude: ['*']", "3:10: exclude", "leaves no job"),
    ("prompts: {a: P}\nexclude: [" + "'*'," * 101 + "]", "3:10: exclude", "at most 100 with a wildcard"),
]

OUTPUTS = [
    ("prompts: {a: P, b: Q}\noutput: x.mp4", "3:9: output", "the file of 'b' would be that of 'a' too"),
    ("prompts: [P]\noutput: '{image}.mp4'", "3:9: output", "an empty {image}, since the job has no image"),
    ("jobs: [{id: x, prompt: P}]\noutput: '{prompt}.mp4'", "3:9: output", "an empty {prompt}"),
    ("prompts: [P]\noutput: '{nmae}.mp4'", "3:9: output", "allowed: {id}, {image}, {prompt}, {edition}"),
    ("prompts: [P]\noutput: '{id}{.mp4'", "3:9: output", "a brace that belongs to no field"),
    ("prompts: [P]\noutput: '{id}-{edition}.mp4'", "3:9: output", "which is empty without --edition"),
    ("prompts: [P]\noutput: '{id}.mov'", "3:9: output", "does not end in .mp4"),
    ("prompts: [P]\noutput: /tmp/{id}.mp4", "3:9: output", "an absolute path"),
    ("prompts: [P]\noutput: ../{id}.mp4", "3:9: output", "a hidden part, or '..'"),
    ("prompts: [P]\noutput: a/.b/{id}.mp4", "3:9: output", "a hidden part, or '..'"),
    ("prompts: [P]\noutput: a//{id}.mp4", "3:9: output", "an empty part"),
    ("prompts: [P]\noutput: a\\{id}.mp4", "3:9: output", "a backslash"),
    ("prompts: [P]\noutput: Logs/{id}.mp4", "3:9: output", "where the run keeps its own files"),
    ("prompts: {logs: P}\noutput: '{id}/x.mp4'", "3:9: output", "among the run's own files"),
    ("prompts: {a.take2: P}", "2:20: prompts.a.take2", "the name of a later take"),
    (
        "prompts: {" + "ä" * 100 + ": P}\nimages: {" + "ö" * 100 + ": 'https://h/x'}",
        "3:112: images.",
        "a name of 406 bytes",
    ),
]


def faults(folder: Path, body: str, *, edition: str = "") -> list[str]:
    """Every fault of a manifest, without the folder in front; the body begins on line 2."""
    path = folder / "m.yaml"
    path.write_text(f"version: 1\n{body}", "utf-8")
    with pytest.raises(ManifestError) as caught:
        load_manifest(path, edition=edition)
    return [line.removeprefix(f"{folder}/") for line in caught.value.problems]


@pytest.mark.parametrize(("body", "start", "part"), [*SHAPES, *PROMPTS, *JOBS, *OUTPUTS])
def test_a_fault_is_told_with_its_place_and_what_is_allowed(tmp_path: Path, body: str, start: str, part: str) -> None:
    (line,) = faults(tmp_path, body)
    assert line.startswith(f"m.yaml:{start}")
    assert part in line


@pytest.mark.parametrize(("body", "start", "part"), [*VALUES, *IMAGES])
def test_a_faulty_value_is_told_beside_a_sound_job(tmp_path: Path, body: str, start: str, part: str) -> None:
    (line,) = faults(tmp_path, body if "jobs" in body else f"{body}\njobs: [{{id: sound, prompt: P}}]")
    assert line.startswith(f"m.yaml:{start}: ")
    assert part in line


@pytest.mark.parametrize("version", ["2", "'1'", "1.0", "true", "null"])
def test_the_version_is_the_number_one(tmp_path: Path, version: str) -> None:
    (tmp_path / "m.yaml").write_text(f"version: {version}\nprompts: [P]")
    with pytest.raises(ManifestError, match=r"m.yaml:1:\d+: version: .* \(allowed: 1\)"):
        load_manifest(tmp_path / "m.yaml")


def test_a_missing_version_is_told_with_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("prompts: [P]")
    with pytest.raises(ManifestError, match=r"1:1: version: is missing \(write 'version: 1'"):
        load_manifest(tmp_path / "m.yaml")


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


def test_editions_may_not_share_their_files(tmp_path: Path) -> None:
    (line,) = faults(tmp_path, "prompts: [P]\noutput: films/{id}.mp4", edition="b")
    assert "needs {edition}" in line


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
    assert told[-1].endswith("and there are more")
