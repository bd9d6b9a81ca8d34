"""The name of a manifest is read without the rest of it, and is the one that a run would use."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_manifest_composer import LAUGHS

from hedra_batch.errors import ManifestError
from hedra_batch.manifest.heading import load_name
from hedra_batch.manifest.loading import load_manifest

JOBS = "prompts: [P]"


MANY_JOBS = "jobs:\n" + "".join(f"- {{id: job{number}, prompt: 'name: {number}'}}\n" for number in range(2_000))


#: More values than a manifest may have.


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "spring.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (f"version: 1\nname: May\n{JOBS}", "May"),
        (f"name: ' May sale '\nversion: 1\n{JOBS}", "May sale"),
        (f'"name": "M\\x61y"\nversion: 1\n{JOBS}', "May"),
        (f"version: 1\n'name': !!str 5\n{JOBS}", "5"),
        (f"version: 1\nname: '123'\n{JOBS}", "123"),
        (f"version: 1\nname: no\n{JOBS}", "no"),
        (f"version: 1\nname: >-\n  May\n  sale\n{JOBS}", "May sale"),
        (f"version: 1\nname: May\n  sale # soon\n{JOBS}", "May sale"),
        (f"version: 1\nname: e\u0301te\u0301\n{JOBS}", "été"),
        (f"{{version: 1, name: May, {JOBS}}}", "May"),
        (f"version: 1\n? name\n: May\n{JOBS}", "May"),
        (f"version: 1\nname: &n May\n{JOBS}", "May"),
        ("version: 1\nprompts: {p: &n May}\nname: *n\n", "May"),
        ("version: 1\nprompts: {name: P, p: 'name: x'}\n", "spring"),
        (f"version: 1\n<<: {{name: May}}\n{JOBS}", "May"),
        (f"version: 1\n<<: {{name: May}}\nname: June\n{JOBS}", "June"),
        (f"version: 1\n{MANY_JOBS}name: May\n", "May"),
        (f"version: 1\n{MANY_JOBS}", "spring"),
        ("version: 1\njobs:\n- &j {prompt: P}\n- {<<: *j, prompt: Q}\nname: May\n", "May"),
        (f"\ufeffversion: 1\r\nname: May\r\n{JOBS}\r\n", "May"),
        (f"%YAML 1.2\n---\nversion: 1\nname: May\n{JOBS}\n...\n", "May"),
    ],
)
def test_the_name_is_the_one_that_a_run_uses(tmp_path: Path, content: str, name: str) -> None:
    path = write(tmp_path, content)
    assert load_name(path) == load_manifest(path).name == name


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("name: 123", "spring"),
        ("name: ~", "spring"),
        ("name:", "spring"),
        ("name: [May]", "spring"),
        ("name: {name: May}", "spring"),
        ("name: a/b", "spring"),
        ("name: !!int 5", "5"),
        ("name: May\nname: June", "May"),
        ("name: ''\nname: June", "spring"),
        ("<<: May\nprompts: [P]", "spring"),
        ("? [a, b]\n: c\nname: May", "May"),
        ("- name: May", "spring"),
        ("name", "spring"),
        ("jobs: {name: May}", "spring"),
        ("api_key: sk-0123456789abcdef\nname: May", "May"),
    ],
)
def test_the_name_is_read_beside_faults_that_a_run_tells(tmp_path: Path, content: str, name: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ManifestError):
        load_manifest(path)
    assert load_name(path) == name


@pytest.mark.parametrize(
    "content",
    [
        "",
        "# nothing\n",
        "\tname: May",
        "name: May: sale",
        "name: 'May",
        "prompts: [P\nname: May",
        "prompts: *p\nname: May",
        f"{LAUGHS}name: May",
        f"a: {'[' * 20}{']' * 20}\nname: May",
        "%TAG ! tag:example.com,2026:\n---\nname: May",
        "prompts: [P]\n---\nname: May",
        "name: May".encode("utf-16"),
        b"name: M\xff",
        "name: M\x07y",
    ],
)
def test_what_keeps_the_name_from_being_read_is_told_as_a_run_tells_it(tmp_path: Path, content: str | bytes) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ManifestError) as told_by_a_run:
        load_manifest(path)
    with pytest.raises(ManifestError) as told:
        load_name(path)
    assert told.value.problems == told_by_a_run.value.problems


@pytest.mark.parametrize("rest", ["prompts: [P", "prompts: *p", LAUGHS, "---\nname: June"])
def test_nothing_that_follows_the_name_is_looked_at(tmp_path: Path, rest: str) -> None:
    path = write(tmp_path, f"name: May\nversion: 1\n{rest}")
    with pytest.raises(ManifestError):
        load_manifest(path)
    assert load_name(path) == "May"


@pytest.mark.parametrize(
    ("body", "name"),
    [("name: May\nbugdet: 5", "May"), ("prompts: 5", "spring"), ("name: ../x", "spring"), ("- a", "spring")],
)
def test_the_name_is_read_beside_faults(tmp_path: Path, body: str, name: str) -> None:
    (tmp_path / "spring.yaml").write_text(body)
    assert load_name(tmp_path / "spring.yaml") == name
