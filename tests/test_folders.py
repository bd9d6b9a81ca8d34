"""Where a run folder is found and begun: nothing is bought again because a manifest was renamed or a disk is away.

Each test counts what the simulated service has charged.
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Desk
from test_faults import list_charged

from hedra_batch.simulator.service import Simulator


def list_jobs(*ids: str) -> str:
    return "jobs:\n" + "\n".join(f"  - {{id: {each}, prompt: Scene {each}}}" for each in ids)


FOUR = list_jobs("a", "b", "c", "d")


def list_entries(desk: Desk) -> list[Path]:
    return sorted((desk.folder / ".state" / "hedra-batch" / "batches").glob("*"))


async def begin(desk: Desk, body: str = FOUR, name: str = "batch.yaml") -> None:
    desk.write_manifest(body, name=name)
    assert (await desk.call("run", name)).code == 0


# The manifest was renamed


async def test_a_renamed_manifest_buys_nothing_and_is_told_its_name(desk: Desk, simulator: Simulator) -> None:
    await begin(desk)
    (desk.folder / "batch.yaml").rename(desk.folder / "other.yaml")
    refused = await desk.call("run", "other.yaml")
    assert (refused.code, len(list_charged(simulator))) == (78, 4)
    assert "4 of 4 videos that are asked for are already in" in refused.err
    assert "write 'name: \"batch\"' into the manifest" in refused.err
    assert "--new-folder" in refused.err
    assert not (desk.folder / "other.out").exists()
    desk.write_manifest(f"name: batch\n{FOUR}", name="other.yaml")
    assert ((await desk.call("run", "other.yaml")).code, len(list_charged(simulator))) == (0, 4)


async def test_plan_says_what_a_run_refuses_and_gives_no_code_for_it(desk: Desk) -> None:
    await begin(desk)
    (desk.folder / "batch.yaml").rename(desk.folder / "other.yaml")
    planned = await desk.call("plan", "other.yaml", "--exit-code")
    words = " ".join(planned.err.split())
    assert (planned.code, "--plan" in words) == (4, False)
    assert f"are already in {desk.folder / 'batch.out'}." in words


async def test_a_new_folder_is_begun_when_a_person_says_so_and_used_without_saying_it_again(
    desk: Desk, simulator: Simulator
) -> None:
    await begin(desk)
    (desk.folder / "batch.yaml").rename(desk.folder / "other.yaml")
    for flags in (("--new-folder",), ("--new-folder",), ()):
        assert (await desk.call("run", "other.yaml", *flags)).code == 0
        assert len(list_charged(simulator)) == 8


async def test_a_renamed_manifest_with_new_jobs_is_noticed_as_long_as_half_is_the_same(
    desk: Desk, simulator: Simulator
) -> None:
    await begin(desk)
    desk.write_manifest(list_jobs("a", "b", "c", "d", *"efgh"), name="other.yaml")
    assert ((await desk.call("run", "other.yaml")).code, len(list_charged(simulator))) == (78, 4)


async def test_what_is_selected_counts_by_itself(desk: Desk, simulator: Simulator) -> None:
    await begin(desk, list_jobs("a"))
    desk.write_manifest(list_jobs("a", *"bcdefgh"), name="other.yaml")
    assert ((await desk.call("run", "other.yaml", "--id", "a")).code, len(list_charged(simulator))) == (78, 1)
    assert ((await desk.call("run", "other.yaml", "--first", "2")).code, len(list_charged(simulator))) == (78, 1)


async def test_fewer_equal_videos_are_told_in_a_line_and_the_run_goes_on(desk: Desk, simulator: Simulator) -> None:
    await begin(desk, list_jobs("a"))
    desk.write_manifest(list_jobs("a", "x", "y"), name="other.yaml")
    finished = await desk.call("run", "other.yaml")
    assert (finished.code, len(list_charged(simulator))) == (0, 4)
    assert finished.err.count("1 of 3 videos that are asked for are already in") == 1


async def test_other_work_beside_it_is_not_spoken_of(desk: Desk, simulator: Simulator) -> None:
    await begin(desk)
    desk.write_manifest("jobs: [{id: a, prompt: Something else}]", name="other.yaml")
    finished = await desk.call("run", "other.yaml")
    assert (finished.code, "already in" in finished.err, len(list_charged(simulator))) == (0, False, 5)


async def test_another_edition_of_another_manifest_is_other_work(desk: Desk, simulator: Simulator) -> None:
    await begin(desk)
    desk.write_manifest(FOUR, name="other.yaml")
    assert ((await desk.call("run", "other.yaml", "--edition", "june")).code, len(list_charged(simulator))) == (0, 8)


async def test_a_renamed_manifest_is_known_by_its_file_whatever_it_asks_for_now(
    desk: Desk, simulator: Simulator
) -> None:
    await begin(desk)
    (desk.folder / "batch.yaml").rename(desk.folder / "other.yaml")
    refused = await desk.call("run", "other.yaml", "--edition", "june")
    assert (refused.code, len(list_charged(simulator))) == (78, 4)
    assert "other.yaml was run before, into " in refused.err
    assert "To go on there, write 'name: \"batch\"' into the manifest, since that was its name." in refused.err
    elsewhere = await desk.call("run", "other.yaml", "--edition", "june", "--folder", "new")
    assert f"To go on there, add --folder {desk.folder / 'batch.out'}." in elsewhere.err
    assert (await desk.call("run", "other.yaml", "--edition", "june", "--new-folder")).code == 0


async def test_a_model_that_is_spelled_otherwise_is_the_same_beside_it_too(desk: Desk, simulator: Simulator) -> None:
    await begin(desk, f"defaults: {{model: fal/grok-video-t2v}}\n{FOUR}")
    desk.write_manifest(f"defaults: {{model: Grok Video T2V}}\n{FOUR}", name="other.yaml")
    assert ((await desk.call("run", "other.yaml")).code, len(list_charged(simulator))) == (78, 4)


async def test_what_is_there_under_other_ids_is_told_in_a_line(desk: Desk, simulator: Simulator) -> None:
    await begin(desk)
    desk.write_manifest("jobs:\n  - {id: x, prompt: Scene a}\n  - {id: y, prompt: Else}", name="other.yaml")
    finished = await desk.call("run", "other.yaml")
    assert (finished.code, len(list_charged(simulator))) == (0, 6)
    assert finished.err.count("1 of 2 videos that are asked for are already, under other ids, in") == 1


async def test_the_folder_itself_is_named_before_its_copies(desk: Desk) -> None:
    await begin(desk)
    for name in ("abk", "zbk"):
        shutil.copytree(desk.folder / "batch.out", desk.folder / name)
    desk.write_manifest(FOUR, name="other.yaml")
    refused = await desk.call("run", "other.yaml")
    assert (refused.code, f"are already in {desk.folder / 'batch.out'}. Nothing was sent." in refused.err) == (78, True)


async def test_a_folder_that_is_away_is_named_before_its_copies(desk: Desk, simulator: Simulator) -> None:
    await begin(desk)
    shutil.copytree(desk.folder / "batch.out", desk.folder / "backup")
    (desk.folder / "batch.out").rename(desk.folder.parent / "unmounted")
    refused = await desk.call("run", "batch.yaml")
    assert (refused.code, f"{desk.folder / 'batch.out'}, which is not there now" in refused.err) == (78, True)
    (desk.folder.parent / "unmounted").rename(desk.folder / "batch.out")
    assert ((await desk.call("run", "batch.yaml")).code, len(list_charged(simulator))) == (0, 4)


async def test_where_only_the_ledger_is_gone_the_folder_is_not_said_to_be(desk: Desk, simulator: Simulator) -> None:
    await begin(desk)
    for path in desk.folder.glob("batch.out/ledger.sqlite3*"):
        path.unlink()
    (desk.folder / "batch.yaml").rename(desk.folder / "other.yaml")
    refused = await desk.call("run", "other.yaml")
    assert (refused.code, "batch.out, whose ledger.sqlite3 is gone: a run into it asks" in refused.err) == (78, True)
    desk.write_manifest(f"name: batch\n{FOUR}", name="other.yaml")
    line = ("run", "other.yaml", "--quiet-window", "100ms")
    assert ((await desk.call(*line)).code, len(list_charged(simulator))) == (0, 4)


async def test_a_backup_from_before_the_first_purchase_is_gone_on_with_under_another_name(
    desk: Desk, simulator: Simulator
) -> None:
    desk.write_manifest(FOUR)
    assert (await desk.call("run", "batch.yaml", "--plan", "22222222")).code == 78
    shutil.copytree(desk.folder / "batch.out", desk.folder / "backup")
    assert (await desk.call("run", "batch.yaml")).code == 0
    shutil.rmtree(desk.folder / "batch.out")
    (desk.folder / "backup").rename(desk.folder / "renamed")
    line = ("run", "batch.yaml", "--quiet-window", "100ms", "--folder", "renamed", "--moved")
    assert ((await desk.call(*line)).code, len(list_charged(simulator))) == (0, 4)


async def test_what_failed_is_not_paid_work(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: bad, prompt: Something forbidden}]")
    assert (await desk.call("run", "batch.yaml")).code == 1
    (desk.folder / "batch.yaml").rename(desk.folder / "other.yaml")
    assert (await desk.call("run", "other.yaml")).code == 1
    assert list_charged(simulator) == []


async def test_another_account_is_told_and_not_refused(desk: Desk, simulator: Simulator) -> None:
    await begin(desk)
    desk.write_manifest(FOUR, name="other.yaml")
    finished = await desk.call("run", "other.yaml", HEDRA_API_KEY="the-key-of-somebody-else")
    assert (finished.code, "(under another API key)" in finished.err, len(list_charged(simulator))) == (0, True, 8)


async def test_a_manifest_that_is_renamed_while_the_key_is_replaced_buys_nothing(
    desk: Desk, simulator: Simulator
) -> None:
    await begin(desk)
    (desk.folder / "batch.yaml").rename(desk.folder / "other.yaml")
    refused = await desk.call("run", "other.yaml", HEDRA_API_KEY="the-new-key")
    assert (refused.code, "add --same-account too" in refused.err, len(list_charged(simulator))) == (78, True, 4)
    desk.write_manifest(f"name: batch\n{FOUR}", name="other.yaml")
    finished = await desk.call("run", "other.yaml", "--same-account", HEDRA_API_KEY="the-new-key")
    assert (finished.code, len(list_charged(simulator))) == (0, 4)


async def test_a_folder_that_has_another_name_is_remembered_under_a_new_key_too(
    desk: Desk, simulator: Simulator
) -> None:
    await begin(desk)
    (desk.folder / "batch.out").rename(desk.folder / "spring")
    assert (await desk.call("run", "batch.yaml", "--folder", "spring")).code == 0
    refused = await desk.call("run", "batch.yaml", HEDRA_API_KEY="the-new-key")
    assert (refused.code, len(list_charged(simulator))) == (78, 4)
    elsewhere = await desk.call("run", "batch.yaml", "--folder", "mine", HEDRA_API_KEY="the-key-of-somebody-else")
    assert (elsewhere.code, len(list_charged(simulator))) == (0, 8)


async def test_a_key_that_is_said_to_be_of_the_same_account_is_so_beside_it_too(
    desk: Desk, simulator: Simulator
) -> None:
    await begin(desk)
    desk.write_manifest(FOUR, name="other.yaml")
    refused = await desk.call("run", "other.yaml", "--same-account", HEDRA_API_KEY="the-new-key")
    assert (refused.code, len(list_charged(simulator))) == (78, 4)


async def test_a_retry_that_finds_nothing_begins_no_folder_for_the_next_run(desk: Desk, simulator: Simulator) -> None:
    await begin(desk)
    (desk.folder / "batch.yaml").rename(desk.folder / "other.yaml")
    for command in (("retry",), ("resolve", "--recheck"), ("run",)):
        assert (await desk.call(command[0], "other.yaml", *command[1:])).code == 78
    assert len(list_charged(simulator)) == 4


# Links


async def test_through_a_link_the_folder_beside_its_target_is_used(desk: Desk, simulator: Simulator) -> None:
    await begin(desk)
    (desk.folder / "elsewhere").mkdir()
    (desk.folder / "elsewhere" / "batch.yaml").symlink_to(desk.folder / "batch.yaml")
    assert ((await desk.call("run", "elsewhere/batch.yaml")).code, len(list_charged(simulator))) == (0, 4)
    assert not (desk.folder / "elsewhere" / "batch.out").exists()


async def test_a_link_may_have_another_name_and_lead_to_another_link(desk: Desk, simulator: Simulator) -> None:
    await begin(desk)
    (desk.folder / "second.yaml").symlink_to("batch.yaml")
    (desk.folder / "today.yaml").symlink_to("second.yaml")
    finished = await desk.call("run", "today.yaml")
    assert (finished.code, "batch: no new videos, 4 done" in finished.err, len(list_charged(simulator))) == (0, True, 4)
    assert [
        row for row in (await desk.call("results", "today.yaml", "--format", "csv")).out.splitlines() if "done" in row
    ]


async def test_what_is_begun_through_a_link_stands_beside_its_target(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(FOUR, name="real/batch.yaml")
    (desk.folder / "batch.yaml").symlink_to("real/batch.yaml")
    assert (await desk.call("run", "batch.yaml")).code == 0
    assert ((await desk.call("run", "real/batch.yaml")).code, len(list_charged(simulator))) == (0, 4)
    assert [(desk.folder / each / "batch.out").exists() for each in ("", "real")] == [False, True]


async def test_a_folder_beside_the_path_as_typed_goes_first(desk: Desk, simulator: Simulator) -> None:
    await begin(desk)
    (desk.folder / "real").mkdir()
    (desk.folder / "batch.yaml").rename(desk.folder / "real" / "batch.yaml")
    (desk.folder / "batch.yaml").symlink_to("real/batch.yaml")
    assert ((await desk.call("run", "batch.yaml")).code, len(list_charged(simulator))) == (0, 4)


# Another folder, and disks


async def test_another_folder_for_the_same_videos_is_refused(desk: Desk, simulator: Simulator) -> None:
    await begin(desk)
    (desk.folder / "far" / "away").mkdir(parents=True)
    refused = await desk.call("run", "batch.yaml", "--folder", "far/away/batch.out")
    assert (refused.code, len(list_charged(simulator))) == (78, 4)
    assert f"add --folder {desk.folder / 'batch.out'}" in refused.err


async def test_a_folder_elsewhere_is_remembered_when_the_option_is_forgotten(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(FOUR, name="here/batch.yaml")
    (desk.folder / "disk").mkdir()
    assert (await desk.call("run", "here/batch.yaml", "--folder", "disk/batch.out")).code == 0
    refused = await desk.call("run", "here/batch.yaml")
    assert (refused.code, str(desk.folder / "disk" / "batch.out") in refused.err, len(list_charged(simulator))) == (
        78,
        True,
        4,
    )


@pytest.mark.parametrize("is_mount_point_there", [True, False])
async def test_on_a_disk_that_is_not_mounted_nothing_is_begun(
    desk: Desk, simulator: Simulator, is_mount_point_there: bool
) -> None:
    desk.write_manifest(FOUR)
    (desk.folder / "disk").mkdir()
    line = ("run", "batch.yaml", "--folder", "disk/batch.out")
    assert (await desk.call(*line)).code == 0
    (desk.folder / "disk").rename(desk.folder / "unplugged")
    if is_mount_point_there:
        (desk.folder / "disk").mkdir()
    refused = await desk.call(*line)
    assert (refused.code, "which is not there now" in refused.err) == (78, True)
    assert list(desk.folder.glob("disk/*")) == []
    assert len(list_charged(simulator)) == 4
    shutil.rmtree(desk.folder / "disk", ignore_errors=True)
    (desk.folder / "unplugged").rename(desk.folder / "disk")
    assert ((await desk.call(*line)).code, len(list_charged(simulator))) == (0, 4)


async def test_a_manifest_that_was_renamed_while_its_disk_was_away_is_known_by_its_file(
    desk: Desk, simulator: Simulator
) -> None:
    desk.write_manifest(FOUR)
    (desk.folder / "disk").mkdir()
    assert (await desk.call("run", "batch.yaml", "--folder", "disk/batch.out")).code == 0
    (desk.folder / "disk").rename(desk.folder / "unplugged")
    (desk.folder / "batch.yaml").rename(desk.folder / "other.yaml")
    refused = await desk.call("run", "other.yaml")
    assert (refused.code, "Write 'name: \"batch\"' into the manifest" in refused.err) == (78, True)
    assert len(list_charged(simulator)) == 4


async def test_the_parents_of_a_run_folder_are_never_made(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(FOUR)
    refused = await desk.call("run", "batch.yaml", "--folder", "disk/videos/batch.out")
    assert (refused.code, f"the folder {desk.folder / 'disk'} is not there" in refused.err) == (73, True)
    assert ((desk.folder / "disk").exists(), list_charged(simulator)) == (False, [])


async def test_a_link_in_the_place_of_a_run_folder_that_leads_nowhere_is_told(desk: Desk) -> None:
    desk.write_manifest(FOUR)
    (desk.folder / "batch.out").symlink_to("/no-such-disk/batch.out")
    refused = await desk.call("run", "batch.yaml")
    assert (refused.code, "a link to /no-such-disk/batch.out, which is not there" in refused.err) == (73, True)


async def test_with_existing_folder_none_is_begun(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(FOUR)
    refused = await desk.call("run", "batch.yaml", "--existing-folder")
    assert (refused.code, "begins none" in refused.err, list_charged(simulator)) == (78, True, [])
    assert not (desk.folder / "batch.out").exists()
    for flags in ((), ("--existing-folder",)):
        assert ((await desk.call("run", "batch.yaml", *flags)).code, len(list_charged(simulator))) == (0, 4)


async def test_both_options_together_are_a_mistake(desk: Desk) -> None:
    desk.write_manifest(FOUR)
    assert (await desk.call("run", "batch.yaml", "--existing-folder", "--new-folder")).code == 2


# What is remembered


async def test_a_folder_that_was_deleted_is_not_bought_anew_in_silence(desk: Desk, simulator: Simulator) -> None:
    await begin(desk)
    shutil.rmtree(desk.folder / "batch.out")
    assert ((await desk.call("run", "batch.yaml")).code, len(list_charged(simulator))) == (78, 4)
    assert ((await desk.call("run", "batch.yaml", "--new-folder")).code, len(list_charged(simulator))) == (0, 8)


async def test_what_is_remembered_says_nothing_of_what_was_asked_for(desk: Desk) -> None:
    await begin(desk)
    [entry] = list_entries(desk)
    known = json.loads(entry.read_text())
    assert (known["folder"], known["run_counter"]) == (str(desk.folder / "batch.out"), 1)
    assert not [word for word in ("Scene", "key-of-the-tests", desk.base_url) if word in entry.read_text()]
    assert entry.stat().st_mode & 0o077 == 0


async def test_a_trial_is_not_remembered(desk: Desk) -> None:
    desk.write_manifest(FOUR)
    assert (await desk.call("run", "batch.yaml", "--simulate")).code == 0
    assert list_entries(desk) == []
    shutil.rmtree(desk.folder / "batch.sim")
    assert (await desk.call("run", "batch.yaml", "--simulate")).code == 0


async def test_a_run_that_paid_for_nothing_is_not_remembered(desk: Desk) -> None:
    desk.write_manifest(FOUR)
    assert (await desk.call("run", "batch.yaml", HEDRA_BASE_URL=f"{desk.base_url}/nowhere")).code == 78
    assert list_entries(desk) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 2}', b'{"format": 1}', b"\xff\xfe", b"[" * 9000])
async def test_a_damaged_memory_is_no_reason_to_fail(desk: Desk, simulator: Simulator, content: bytes) -> None:
    await begin(desk)
    for entry in list_entries(desk):
        entry.write_bytes(content)
    assert ((await desk.call("run", "batch.yaml")).code, len(list_charged(simulator))) == (0, 4)


async def test_a_state_folder_that_cannot_be_written_is_no_reason_to_fail(desk: Desk, simulator: Simulator) -> None:
    desk.write(".state", "a file in its place")
    await begin(desk)
    assert len(list_charged(simulator)) == 4


@pytest.mark.parametrize(("state", "home"), [("", ""), ("state", "x")])
async def test_without_a_home_nothing_is_remembered(desk: Desk, state: str, home: str) -> None:
    desk.write_manifest(FOUR)
    assert (await desk.call("run", "batch.yaml", XDG_STATE_HOME=state, HOME=home)).code == 0
    assert [path.name for path in desk.folder.iterdir() if path.is_dir()] == ["batch.out"]


# The question


async def answer_on_terminal(desk: Desk, answer: str, *words: str) -> tuple[int, str]:
    """Run the command on a terminal at which somebody gives an answer."""
    near, far = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hedra_batch", *words),
        cwd=desk.folder,
        env={**os.environ, **desk.environment, "TERM": "dumb"},
        stdin=far,
        stdout=far,
        stderr=far,
    )
    os.close(far)
    said = ""
    while "[y/N]" not in said:
        said += (await asyncio.to_thread(os.read, near, 4096)).decode()
    os.write(near, f"{answer}\n".encode())
    with suppress(OSError):
        while more := await asyncio.to_thread(os.read, near, 4096):
            said += more.decode()
    os.close(near)
    return await process.wait(), said


@pytest.mark.parametrize(("answer", "code", "charged"), [("n", 3, 1), ("", 3, 1), ("y", 0, 4)])
async def test_on_a_terminal_it_is_asked_whether_to_begin_where_some_are_equal(
    desk: Desk, simulator: Simulator, answer: str, code: int, charged: int
) -> None:
    await begin(desk, list_jobs("a"))
    desk.write_manifest(list_jobs("a", "x", "y"), name="other.yaml")
    ended, said = await answer_on_terminal(desk, answer, "run", "other.yaml")
    assert (ended, len(list_charged(simulator)), "1 of 3 videos" in said) == (code, charged, True)
    assert (desk.folder / "other.out").exists() is (code == 0)


async def test_a_key_that_the_api_refuses_does_not_keep_the_right_one_out(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: a, prompt: A scene}]")
    assert (await desk.call("run", "batch.yaml")).code == 0
    # Nothing is asked of the API where there is nothing to do, and so nothing is known of the key.
    assert (await desk.call("run", "batch.yaml", "--same-account", HEDRA_API_KEY="mistyped-key")).code == 0
    assert (await desk.call("run", "batch.yaml")).code == 0
    desk.write_manifest("jobs: [{id: a, prompt: A scene}, {id: b, prompt: Another}]")
    assert (await desk.call("run", "batch.yaml", "--same-account", HEDRA_API_KEY="wrong")).code == 77
    assert ((await desk.call("run", "batch.yaml")).code, len(list_charged(simulator))) == (0, 2)
