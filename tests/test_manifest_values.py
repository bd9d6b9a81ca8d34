"""Each value of a manifest has its rules, and a value that breaks one is told with what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifests import faults, inputs_of, load

from hedra_batch.errors import ManifestError
from hedra_batch.manifest.loading import load_manifest

VALUES = [
    ("budget: 500", "2:9: budget", "is the number 500, without a unit (write it with its unit: 500 credits)"),
    ("budget: lots", "2:9: budget", "500 credits"),
    (
        "defaults: {duration: 5}",
        "2:22: defaults.duration",
        "is the number 5, without a unit (write 5s for five seconds, or 5000ms)",
    ),
    ("defaults: {duration: 11m}", "2:22: defaults.duration", "too long (at most 10m)"),
    ("defaults: {duration: 0s}", "2:22: defaults.duration", "is not a whole number of milliseconds above 0"),
    ("defaults: {duration: " + "9" * 400 + "s}", "2:22: defaults.duration", "…' cannot be read (write 5s"),
    ("defaults: {aspect_ratio: 0:9}", "2:26: defaults.aspect_ratio", "(write 16:9"),
    ("defaults: {aspect_ratio: 16x9}", "2:26: defaults.aspect_ratio", "(write 16:9"),
    ("defaults: {resolution: 720}", "2:24: defaults.resolution", "720 is not a resolution (write 540p"),
    ("defaults: {model: ''}", "2:19: defaults.model", "is empty"),
    ("defaults: {model: 7}", "2:19: defaults.model", "must be text, not the number 7 (put it in quotes)"),
    ("defaults: {model: }", "2:19: defaults.model", "has no value"),
    ("defaults: {variations: 101}", "2:24: defaults.variations", "must be a whole number from 1 to 100, not 101"),
    ("defaults: {variations: true}", "2:24: defaults.variations", "from 1 to 100, not true"),
    (
        "defaults: {negative_prompt: 5}",
        "2:29: defaults.negative_prompt",
        "the number 5 (a negative prompt is text",
    ),
    ("defaults: {negative_prompt: '{{x}}'}", "2:29: defaults.negative_prompt", "kept for later use"),
    (
        "defaults: {negative_prompt: ''}",
        "2:29: defaults.negative_prompt",
        "is empty (a negative prompt is text: write one)",
    ),
    (
        "defaults: {seed: '7'}",
        "2:18: defaults.seed",
        "must be a whole number, not '7' (write digits alone, without quotes)",
    ),
    ("defaults: {seed: 7.0}", "2:18: defaults.seed", "must be a whole number, not 7.0"),
    ("defaults: {seed: true}", "2:18: defaults.seed", "must be a whole number, not true"),
    ("defaults: {seed: }", "2:18: defaults.seed", "must be a whole number, not an empty value"),
    (
        "defaults: {seed: 9223372036854775808}",
        "2:18: defaults.seed",
        "must be from -9223372036854775808 to 9223372036854775807, not 9223372036854775808",
    ),
    ("defaults: {seed: -9223372036854775809}", "2:18: defaults.seed", "not -9223372036854775809"),
    ("defaults: {seed: 1" + "0" * 40 + "}", "2:18: defaults.seed", "must be a whole number, not '1000"),
    ("limits: {in_flight: 0}", "2:21: limits.in_flight", "must be a whole number from 1 to 1,000, not 0"),
    ("limits: {submit: 10}", "2:18: limits.submit", "(write how many in what time: 10/min"),
    ("limits: {poll: fast}", "2:16: limits.poll", "10/min"),
    ("on_unknown: no", "2:13: on_unknown", "must be 'resend' or 'hold', not 'no'"),
    ("quiet_window: 600", "2:15: quiet_window", "(write 10m for ten minutes, or 600s)"),
    ("name: ../x", "2:7: name", "cannot name a folder"),
    ('name: "a\\tb"', "2:7: name", "write one line of text"),
]


PROMPTS = [
    ("prompts: ['  ']", "2:11: prompts[0]", "is empty"),
    ("prompts: [" + "x" * 20_001 + "]", "2:11: prompts[0]", "has 20,001 characters (at most 20,000)"),
    ("prompts: ['{{name}} walks']", "2:11: prompts[0]", "kept for later use"),
    ("prompts: {a b: P}", "2:11: prompts['a b']", "cannot be a name (allowed: up to 100 letters, digits"),
    ("prompts: {Storm: P, storm: Q}", "2:28: prompts.storm", "has the name 'storm', like prompts.Storm on line 2"),
    ("prompts:\n- Slow pan #2", "3:3: prompts[0]", "ends before '#2', which YAML reads as a comment"),
    ("jobs:\n- prompt: Slow pan #2", "3:11: jobs[0].prompt", "put the text in quotes"),
    ("defaults: {prompt: Slow\n  pan #2\n  }\nprompts: [P]", "2:20: defaults.prompt", "put the text in quotes"),
    ("prompts:\n- Shoe: slow pan", "3:3: prompts[0]", "YAML as a group of keys (a prompt is text: put it in quotes)"),
    (
        "prompts: {a: A storm, rain}",
        "2:27: prompts.rain",
        "has no value (write a text; one with ',' or '#' in it needs quotes)",
    ),
    ("prompts: [no, yes, true]", "2:20: prompts[2]", "the yes-or-no value true"),
    ("prompts: [12]", "2:11: prompts[0]", "the number 12 (a prompt is text: put it in quotes)"),
    ("prompts:\n-", "3:2: prompts[0]", "has no value (write a text; one with ',' or '#' in it needs quotes)"),
    ("jobs:\n- {id: x, prompt: A storm, then rain}", "3:28: jobs[0]['then rain']", "put the whole text in quotes"),
    ("jobs:\n- prompt: Shoe: slow pan", "3:15: jobs[0].prompt", "put the text in quotes"),
    ("prompts:\n- *bold* words", "3:8: prompts", "put the text in quotes"),
    ("prompts:\n- 'it's", "3:7: prompts[0]", "put the text in quotes"),
    ("prompts:\n- @home", "3:3: prompts", "put the text in quotes"),
    ("prompts: [a, b", "2:15: prompts[1]", "a '[' is not closed"),
    ("prompts: [!new x]", "2:11: prompts[0]", "has the tag '!new'"),
]


IMAGES = [
    (
        "images: ['http://example.com/a']",
        "2:10: images[0]",
        "cannot be sent as the image (write a path, or an https:// URL)",
    ),
    (
        "images: ['file:///etc/passwd']",
        "2:10: images[0]",
        "cannot be sent as the image (write a path, or an https:// URL)",
    ),
    (
        "images: ['data:image/png;base64,AAAA']",
        "2:10: images[0]",
        "cannot be sent as the image (write a path, or an https:// URL)",
    ),
    ("images: ['https:///a']", "2:10: images[0]", "is not a URL"),
    ("images: ['https://[a']", "2:10: images[0]", "is not a URL"),
    ("images: ['https://me:word@example.com/a']", "2:10: images[0]", "a user or a password"),
    (
        "defaults: {image: '*.png'}",
        "2:19: defaults.image",
        "is a pattern (write one image; patterns belong under images)",
    ),
    ("jobs: [{id: x, prompt: P, end_image: 'a?'}]", "2:38: jobs[0].end_image", "is a pattern (write one image"),
]


NAMES = [
    ("prompts: {../x: P}", "2:11: prompts['../x']", "cannot be a name"),
    ("prompts: {'..': P}", "2:11: prompts['..']", "cannot be a name"),
    ("prompts: {'a\\b': P}", "2:11: prompts['a\\\\b']", "cannot be a name"),
    ("images: {/etc/x: 'https://h/a'}\nprompts: [P]", "2:10: images['/etc/x']", "cannot be a name"),
    ("jobs: [{id: ../../x, prompt: P}]", "2:13: jobs[0].id", "cannot be a name"),
    ("prompts: {\u200fa: P}", "2:11: prompts['\\u200fa']", "cannot be a name"),
    ("prompts: {a\u200bb: P}", "2:11: prompts['a\\u200bb']", "cannot be a name"),
    ("jobs: [{id: a\ufeffb, prompt: P}]", "2:13: jobs[0].id", "cannot be a name"),
    ("jobs: [{id: a\U000e0041, prompt: P}]", "2:13: jobs[0].id", "cannot be a name"),
    ('name: "a\u061cb"\nprompts: [P]', "2:7: name", "an invisible character"),
    ("defaults: {model: a\u200e}\nprompts: [P]", "2:19: defaults.model", "an invisible character"),
    ("defaults: {image: a\u2028.png}\nprompts: [P]", "2:19: defaults.image", "an invisible character"),
    ("prompts: {\u212a: P, k: Q}", "2:20: prompts.k", "has the name 'k'"),
    ("prompts: {\ufb01: P, FI: Q}", "2:21: prompts.FI", "has the name 'FI'"),
    ("prompts: {straße: P, STRASSE: Q}", "2:31: prompts.STRASSE", "has the name 'STRASSE'"),
    (
        "prompts: {p: P}\nimages: ['https://h/e%CC%81.png', 'https://h/%C3%89.jpg']",
        "3:35: images[1]",
        "has the name 'É'",
    ),
]


NUMBERS = [
    ("defaults: {variations: " + "9" * 18 + "}", "2:24: defaults.variations", "must be a whole number from 1 to 100"),
    ("defaults: {variations: " + "9" * 5000 + "}", "2:24: defaults.variations", "must be a whole number from 1 to 100"),
    ("limits: {in_flight: 0xffffffffffffffff}", "2:21: limits.in_flight", "must be a whole number from 1 to 1,000"),
    ("limits: {in_flight: 1e999}", "2:21: limits.in_flight", "not inf"),
    ("limits: {uploads: .nan}", "2:19: limits.uploads", "not nan"),
    ("limits: {downloads: -1}", "2:21: limits.downloads", "from 1 to 1,000, not -1"),
    ("limits: {submit: " + "9" * 40 + "/s}", "2:18: limits.submit", "cannot be read (write how many in what time"),
    ("limits: {poll: 0.000/s}", "2:16: limits.poll", "is not a rate"),
    ("budget: " + "9" * 40 + " credits", "2:9: budget", "cannot be read (write it with its unit: 500 credits)"),
    ("budget: \u0663 credits", "2:9: budget", "cannot be read (write it with its unit: 500 credits)"),
    ("quiet_window: 0.0000000001s", "2:15: quiet_window", "is not a whole number of milliseconds above 0"),
    ("version: 1", "2:1: version", "a second time, first on line 1"),
]


@pytest.mark.parametrize(("body", "start", "part"), PROMPTS)
def test_a_fault_is_told_with_its_place_and_what_is_allowed(tmp_path: Path, body: str, start: str, part: str) -> None:
    (line,) = faults(tmp_path, body)
    assert line.startswith(f"m.yaml:{start}")
    assert part in line


@pytest.mark.parametrize(("body", "start", "part"), [*VALUES, *IMAGES])
def test_a_faulty_value_is_told_beside_a_sound_job(tmp_path: Path, body: str, start: str, part: str) -> None:
    (line,) = faults(tmp_path, body if "jobs" in body else f"{body}\njobs: [{{id: sound, prompt: P}}]")
    assert line.startswith(f"m.yaml:{start}: ")
    assert part in line


@pytest.mark.parametrize(("body", "start", "part"), NAMES)
def test_harm_is_told_with_its_place(tmp_path: Path, body: str, start: str, part: str) -> None:
    told = faults(tmp_path, body)
    assert any(line.startswith(f"m.yaml:{start}: ") and part in line for line in told), told
    assert all(map(str.isprintable, told))


@pytest.mark.parametrize(("body", "start", "part"), NUMBERS)
def test_a_number_beyond_all_bounds_is_told_with_its_place(tmp_path: Path, body: str, start: str, part: str) -> None:
    (line,) = faults(tmp_path, f"{body}\nprompts: [P]")
    assert line.startswith(f"m.yaml:{start}: ")
    assert part in line


@pytest.mark.parametrize("version", ["2", "'1'", "1.0", "true", "null"])
def test_the_version_is_the_number_one(tmp_path: Path, version: str) -> None:
    (tmp_path / "m.yaml").write_text(f"version: {version}\nprompts: [P]")
    with pytest.raises(ManifestError, match=r"m.yaml:1:\d+: version: must be 1, without quotes, not "):
        load_manifest(tmp_path / "m.yaml")


def test_the_space_around_a_prompt_does_not_count(tmp_path: Path) -> None:
    body = "prompts:\n  p: |\n    One.\n    Two.\n\n"
    assert next(iter(load(tmp_path, body).jobs)).inputs.get_text("prompt") == "One.\nTwo."


@pytest.mark.parametrize(
    ("written", "seed"),
    [
        ("0", 0),
        ("-1", -1),
        ("0x1F", 31),
        ("9223372036854775807", 9_223_372_036_854_775_807),
        ("-9223372036854775808", -9_223_372_036_854_775_808),
    ],
)
def test_a_seed_is_any_integer_of_64_bits(tmp_path: Path, written: str, seed: int) -> None:
    (inputs,) = inputs_of(load(tmp_path, f"jobs: [{{prompt: P, seed: {written}}}]"))
    assert inputs.values == {"prompt": "P", "seed": seed}
