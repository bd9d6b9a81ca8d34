"""Two manifests with one name in one place: the second is refused, and one that was moved or linked is the first."""

from __future__ import annotations

import json
import shutil

import pytest
from conftest import Desk
from test_faults import list_charged

from hedra_batch.simulator.service import Simulator

FIRST = "name: shared\njobs: [{id: a, prompt: Scene a}]"
SECOND = "name: shared\njobs: [{id: b, prompt: Scene b}]"


@pytest.fixture
async def begun(desk: Desk) -> Desk:
    desk.write_manifest(FIRST, name="first.yaml")
    assert (await desk.call("run", "first.yaml")).code == 0
    return desk


async def test_a_second_manifest_with_the_name_of_the_first_is_refused(begun: Desk, simulator: Simulator) -> None:
    begun.write_manifest(SECOND, name="second.yaml")
    for command in (("run",), ("retry",), ("fetch",)):
        refused = await begun.call(*command, "second.yaml")
        assert (refused.code, "Two manifests have the name 'shared'" in refused.err) == (78, True)
    assert ((await begun.call("run", "first.yaml")).code, len(list_charged(simulator))) == (0, 1)


async def test_under_another_name_all_of_the_second_is_bought_as_its_refusal_says(
    begun: Desk, simulator: Simulator
) -> None:
    begun.write_manifest(FIRST, name="second.yaml")
    refused = await begun.call("run", "second.yaml")
    assert "'name: \"shared-2\"', and add --new-folder" in " ".join(refused.err.split())
    begun.write_manifest(FIRST.replace("shared", "shared-2"), name="second.yaml")
    assert (await begun.call("run", "second.yaml")).code == 78
    assert ((await begun.call("run", "second.yaml", "--new-folder")).code, len(list_charged(simulator))) == (0, 2)


async def test_of_a_copied_project_the_first_manifest_is_named_and_plan_says_what_a_run_does(
    begun: Desk, simulator: Simulator
) -> None:
    begun.write_manifest(FIRST, name="copy/first.yaml")
    shutil.copytree(begun.folder / "shared.out", begun.folder / "copy" / "shared.out")
    first = begun.folder / "first.yaml"
    for command in (("run",), ("plan", "--exit-code")):
        refused = await begun.call(*command, "copy/first.yaml")
        assert f"Go on with the manifest {first}." in refused.err
        assert refused.code == (78 if command == ("run",) else 4)
    assert ((await begun.call("run", str(first))).code, len(list_charged(simulator))) == (0, 1)


async def test_plan_says_that_a_run_refuses_another_key(begun: Desk) -> None:
    planned = await begun.call("plan", "first.yaml", "--exit-code", HEDRA_API_KEY="another-key-of-the-tests")
    assert (planned.code, "A run refuses this now: This run folder was last used with" in planned.err) == (4, True)


async def test_in_a_folder_that_is_named_it_is_the_same(begun: Desk, simulator: Simulator) -> None:
    begun.write_manifest(SECOND, name="far/second.yaml")
    refused = await begun.call("run", "far/second.yaml", "--folder", "shared.out")
    assert (refused.code, len(list_charged(simulator))) == (78, 1)


async def test_a_manifest_that_was_renamed_is_the_first(begun: Desk, simulator: Simulator) -> None:
    (begun.folder / "first.yaml").rename(begun.folder / "second.yaml")
    assert ((await begun.call("run", "second.yaml")).code, len(list_charged(simulator))) == (0, 1)
    begun.write_manifest(SECOND, name="first.yaml")
    assert ((await begun.call("run", "first.yaml")).code, len(list_charged(simulator))) == (78, 1)


async def test_an_editor_that_writes_another_file_in_its_place_changes_nothing(
    begun: Desk, simulator: Simulator
) -> None:
    begun.write_manifest(f"{FIRST[:-1]}, {{id: c, prompt: Scene c}}]", name="first.yaml.new")
    (begun.folder / "first.yaml.new").replace(begun.folder / "first.yaml")
    assert ((await begun.call("run", "first.yaml")).code, len(list_charged(simulator))) == (0, 2)


async def test_once_the_first_is_gone_another_may_take_its_place(begun: Desk, simulator: Simulator) -> None:
    (begun.folder / "first.yaml").unlink()
    begun.write_manifest(SECOND, name="second.yaml")
    assert ((await begun.call("run", "second.yaml")).code, len(list_charged(simulator))) == (0, 2)


async def test_a_link_to_the_first_and_a_hard_link_are_the_same_file(begun: Desk, simulator: Simulator) -> None:
    (begun.folder / "soft.yaml").symlink_to("first.yaml")
    (begun.folder / "hard.yaml").hardlink_to(begun.folder / "first.yaml")
    for name in ("soft.yaml", "hard.yaml", "first.yaml"):
        assert ((await begun.call("run", name)).code, len(list_charged(simulator))) == (0, 1)


async def test_a_folder_of_an_older_version_notes_its_manifest_in_silence(begun: Desk, simulator: Simulator) -> None:
    path = begun.folder / "shared.out" / "identity.json"
    content = json.loads(path.read_text())
    for name in ("manifest_file", "machine", "path", "ledger_inode"):
        assert content.pop(name)
    path.write_text(json.dumps(content))
    assert (await begun.call("run", "first.yaml")).code == 0
    begun.write_manifest(SECOND, name="second.yaml")
    assert ((await begun.call("run", "second.yaml")).code, len(list_charged(simulator))) == (78, 1)


async def test_a_project_that_is_moved_as_a_whole_is_no_second_one(begun: Desk, simulator: Simulator) -> None:
    (begun.folder / "project").mkdir()
    for name in ("first.yaml", "shared.out"):
        (begun.folder / name).rename(begun.folder / "project" / name)
    begun.write_manifest(SECOND, name="first.yaml")
    assert ((await begun.call("run", "project/first.yaml")).code, len(list_charged(simulator))) == (0, 1)
