"""What people write first: single values in the place of lists, files of prompts, halves of characters, slips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from manifests import add_image, faults, ids, load

from hedra_batch.errors import InputFileError, ManifestError
from hedra_batch.manifest.loading import load_manifest


def test_one_pattern_and_one_text_are_lists_of_one(tmp_path: Path) -> None:
    add_image(tmp_path, "photos/a.png", 8)
    add_image(tmp_path, "photos/b.png", 9)
    listed = load(tmp_path, "images: ['photos/*.png']\nprompts: [A slow pan]")
    single = load(tmp_path, "images: photos/*.png\nprompts: A slow pan")
    assert ids(single) == ids(listed)
    assert [job.inputs.digest for job in single.jobs] == [job.inputs.digest for job in listed.jobs]


@pytest.mark.parametrize("name", ["lines.txt", "texts/lines", "a file.txt"])
def test_a_file_has_a_prompt_on_each_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes("\ufeffA slow pan\r\n\r\n  A storm over Köln  \n".encode())
    manifest = load(tmp_path, f"prompts: {name}")
    assert [job.inputs.values["prompt"] for job in manifest.jobs] == ["A slow pan", "A storm over Köln"]


@pytest.mark.parametrize("text", ["A cat and/or a dog", "Say it. txt is no word", "lines.txt is a name\nof a file"])
def test_a_text_is_no_file(tmp_path: Path, text: str) -> None:
    [job] = load(tmp_path, f"prompts: {json.dumps(text)}").jobs
    assert job.inputs.values["prompt"] == text


def test_a_file_of_prompts_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputFileError) as caught:
        load(tmp_path, "prompts: lines.txt")
    [line] = caught.value.problems
    assert line.endswith("spring.yaml:2:10: prompts: 'lines.txt' does not exist (paths begin at the manifest's folder)")


def test_a_fault_of_a_line_is_told_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("A pan\n\nUse {{x}}\nsk-0123456789abcdef01234\nA \u202e turn\n", "utf-8")
    told = faults(tmp_path, "prompts: lines.txt")
    assert [line.split(" ")[0] for line in told] == [
        "lines.txt:3:1:",
        "lines.txt:4:1:",
        "lines.txt:5:1:",
    ]
    assert "sk-0123456789abcdef01234" not in "".join(told)


@pytest.mark.parametrize("key", ["model", "duration", "variations"])
def test_a_field_of_jobs_at_the_top_is_told_where_it_belongs(tmp_path: Path, key: str) -> None:
    [line] = faults(tmp_path, f"{key}: x\nprompts: [A pan]")
    assert line == (
        f"m.yaml:2:1: {key}: belongs to jobs (write it under defaults for all of them: 'defaults: {{{key}: …}}')"
    )


@pytest.mark.parametrize("ratio", ["16:9", "auto", "2.39:1", "1:1.85", "21:9"])
@pytest.mark.parametrize("resolution", ["720p", "4K", "1K", "auto", "1440p (2K QHD)", "4k", "540P"])
def test_ratios_and_resolutions_are_taken_by_their_shape(tmp_path: Path, ratio: str, resolution: str) -> None:
    [job] = load(tmp_path, f"defaults: {{aspect_ratio: '{ratio}', resolution: {resolution}}}\nprompts: [A pan]").jobs
    assert (job.inputs.values["aspect_ratio"], job.inputs.values["resolution"]) == (ratio, resolution)


@pytest.mark.parametrize("ratio", ["0:1", "1:0.0", "16x9", "16/9", "wide", "1:2:3", "-1:1", "1e3:1"])
def test_what_has_not_the_shape_of_a_ratio_is_refused(tmp_path: Path, ratio: str) -> None:
    [line] = faults(tmp_path, f"defaults: {{aspect_ratio: '{ratio}'}}\nprompts: [A pan]")
    assert "is not a ratio of width to height" in line


def test_json_may_write_a_character_in_two_halves(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"version": 1, "prompts": {"a": "A 😀 and \\ud83d\\ude00 as it stands"}}), "utf-8")
    [job] = load_manifest(path).jobs
    assert job.inputs.values["prompt"] == "A 😀 and \\ud83d\\ude00 as it stands"


def test_half_a_character_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"version": 1, "prompts": {"a": "A \\ud83d face"}}', "utf-8")
    with pytest.raises(ManifestError):
        load_manifest(tmp_path / "m.json")


def test_a_pattern_that_leaves_out_nothing_is_warned_about(tmp_path: Path) -> None:
    manifest = load(tmp_path, "prompts: {pan: A pan, storm: A storm}\nexclude: ['*storm', '*--strom']")
    assert (ids(manifest), len(manifest.warnings)) == (["pan"], 1)
    assert manifest.warnings[0].endswith(
        "spring.yaml:3:21: exclude[1]: '*--strom' matches no job, so it leaves out nothing"
    )
