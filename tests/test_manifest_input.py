"""A manifest from the standard input, and what people write in the place of one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from conftest import Desk
from manifests import PNG, add_file
from test_faults import list_charged

from hedra_batch.errors import InputFileError
from hedra_batch.manifest.loading import load_manifest
from hedra_batch.simulator.service import Simulator

LINES = "version: 1\njobs: [{id: a, prompt: Scene a, image: photos/a.png}]\n"


async def call_with_input(desk: Desk, text: str, *words: str) -> tuple[int, str]:
    process = await desk.spawn(words, {}, stdin=asyncio.subprocess.PIPE)
    _, err = await process.communicate(text.encode())
    return process.returncode or 0, err.decode()


async def test_a_manifest_comes_from_the_standard_input(desk: Desk, simulator: Simulator) -> None:
    add_file(desk.folder, "photos/a.png")
    for _ in range(2):
        code, err = await call_with_input(desk, LINES, "run", "-", "--folder", "june")
        assert (code, "stdin: done=1" in err, len(list_charged(simulator))) == (0, True, 1)
    assert (desk.folder / "june" / "videos" / "a.mp4").exists()
    code, err = await call_with_input(desk, LINES, "plan", "-", "--folder", "june", "--exit-code")
    assert (code, "to buy: nothing" in err) == (0, True)


async def test_without_a_folder_it_is_refused_and_faults_name_it(desk: Desk, simulator: Simulator) -> None:
    code, err = await call_with_input(desk, LINES, "run", "-")
    assert (code, "so name its run folder with --folder" in err) == (2, True)
    code, err = await call_with_input(desk, "version: 2\n", "run", "-", "--folder", "june")
    assert (code, "<stdin>:1:10: version: must be 1" in err) == (65, True)
    assert simulator.billing == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("people.csv", "people.csv: is a table and no manifest (write a manifest with a job for each row: "),
        (
            "a.jpg",
            "a.jpg: is a picture and no manifest (write a manifest with the lines 'version: 1', 'images: a.jpg' ",
        ),
        ("photos", "photos: is a folder (write a manifest beside it, with a line such as 'images: photos/*.jpg')"),
        ("project", "project: is a folder (write a manifest in it, such as "),
        ("spring.out", "spring.out: is a run folder (write the manifest that was run into it; "),
    ],
)
def test_what_is_no_manifest_is_answered_with_what_to_write(tmp_path: Path, name: str, told: str) -> None:
    for each in ("people.csv", "a.jpg", "photos/a.jpg", "project/b.yaml", "spring.out/identity.json"):
        add_file(tmp_path, each, PNG)
    with pytest.raises(InputFileError) as caught:
        load_manifest(tmp_path / name)
    [line] = caught.value.problems
    assert line.removeprefix(f"{tmp_path}/").startswith(told)
