"""Run folders that were put back from a backup, copied or moved: the bill is what it would have been without that."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from aiohttp import web
from conftest import IMPATIENT, Desk
from recorded import make_job, open_ledger
from scripted import make_item, make_list, open_scripted
from test_faults import count_states, list_charged, open_desk, read_results, run
from test_recovery import lose_ledger
from test_run_recovery import Asked

from hedra_batch.money import Money
from hedra_batch.planning.plan import Rules
from hedra_batch.planning.selection import ManifestSelection
from hedra_batch.run.recorder import Recorder
from hedra_batch.run.recovery import Recovery
from hedra_batch.run.restoration import Restoration
from hedra_batch.simulator.service import Simulator


def write_jobs(desk: Desk, *ids: str, more: str = "") -> None:
    jobs = "\n".join(f"  - {{id: {each}, prompt: Scene {each}}}" for each in ids)
    desk.write_manifest(f"{more}\njobs:\n{jobs}")


def write_scenes(desk: Desk, **prompts: str) -> None:
    desk.write_manifest(
        "jobs:" + "".join(f"\n  - {{id: {each}, prompt: {prompt}}}" for each, prompt in prompts.items())
    )


def back_up(desk: Desk) -> Path:
    backup = desk.folder / "backup.tar"
    with tarfile.open(backup, "w") as archive:
        archive.add(desk.folder / "batch.out", "batch.out")
    return backup


def put_back(desk: Desk) -> None:
    """As after a crash of the disk: a new folder with the old content."""
    # Beside the old one, so that none of it can get a number that is free again.
    with tarfile.open(desk.folder / "backup.tar") as archive:
        archive.extractall(desk.folder / "extracted", filter="data")
    shutil.rmtree(desk.folder / "batch.out")
    (desk.folder / "extracted" / "batch.out").rename(desk.folder / "batch.out")


def list_asked(simulator: Simulator, asked_before: int) -> list[str]:
    return [f"{each.method} {each.path}" for each in simulator.requests[asked_before:]]


async def test_after_a_backup_was_put_back_what_was_bought_since_is_not_bought_again(
    desk: Desk, simulator: Simulator
) -> None:
    write_jobs(desk, "a", "b")
    await run(desk)
    back_up(desk)
    write_jobs(desk, *"abcdefg")
    await run(desk)
    put_back(desk)
    assert await run(desk, window_seconds=1.0) == 0
    assert (len(list_charged(simulator)), count_states(desk)) == (7, {"done": 7})
    assert len(list((desk.folder / "batch.out" / "videos").glob("*.mp4"))) == 7


PRICED_JOB = "model: fal/grok-video-t2v, duration: 5s, resolution: 720p, aspect_ratio: '9:16'"


async def buy_one_variation_late(desk: Desk, jobs: str) -> None:
    """Buy a variation after the backup; once it is put back, a command that plans nothing notes that."""
    desk.write_manifest("attempts: 1\njobs:\n  - {id: flaky, prompt: Fog flaky, " + PRICED_JOB + "}")
    await run(desk)
    back_up(desk)
    desk.write_manifest(f"attempts: 1\n{jobs}")
    await run(desk, "hero.v2")
    put_back(desk)
    assert await desk.fetch_here() == 0


async def test_once_the_window_is_over_the_other_variations_of_what_is_found_are_bought_at_once(
    desk: Desk, simulator: Simulator
) -> None:
    jobs = "jobs:\n  - {id: hero, prompt: Scene hero, variations: 3}"
    await buy_one_variation_late(desk, jobs)
    desk.write_manifest(jobs)
    assert (await run(desk, window_seconds=0.001), count_states(desk)) == (0, {"done": 3, "failed": 1})
    assert len(list_charged(simulator)) == 4


async def test_the_room_of_a_budget_for_what_is_found_is_given_to_others(desk: Desk, simulator: Simulator) -> None:
    jobs = f"jobs:\n  - {{id: hero, prompt: Scene hero, variations: 3, {PRICED_JOB}}}"
    await buy_one_variation_late(desk, jobs)
    desk.write_manifest(f"attempts: 3\nbudget: 122 credits\n{jobs}\n  - {{id: flaky, prompt: Fog flaky, {PRICED_JOB}}}")
    assert await run(desk, window_seconds=0.001) == 6
    assert (len(list_charged(simulator)), sum(row["credits_charged"] or 0 for row in read_results(desk))) == (3, 105)


async def test_it_is_asked_by_pages_and_not_by_jobs(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, "a")
    await run(desk)
    back_up(desk)
    ids = [f"job-{number}" for number in range(30)]
    write_jobs(desk, "a", *ids)
    await run(desk)
    put_back(desk)
    before = len(simulator.requests)
    assert await run(desk, window_seconds=0.5) == 0
    asked = list_asked(simulator, before)
    assert len(list_charged(simulator)) == 31
    assert [line for line in asked if line.startswith("POST")] == []
    assert len([line for line in asked if "/media" not in line]) < 20


async def test_what_is_missing_is_bought_only_after_the_quiet_window(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, "a")
    await run(desk)
    back_up(desk)
    write_jobs(desk, "a", "b")
    await run(desk)
    put_back(desk)
    write_jobs(desk, "a", "b", "new")
    assert await desk.run_here(quiet_window_seconds=3600.0, max_runtime_seconds=1.0) == 3
    # What the server shows is here meanwhile.
    assert (len(list_charged(simulator)), count_states(desk)["done"]) == (2, 2)
    assert (await run(desk, window_seconds=0.1), len(list_charged(simulator))) == (0, 3)


async def test_what_arrives_late_is_found_by_the_second_look(tmp_path: Path) -> None:
    async with open_desk(tmp_path, arrival_delay_seconds=600.0) as (desk, simulator):
        write_jobs(desk, "a")
        await run(desk)
        back_up(desk)
        write_jobs(desk, "a", "late")
        simulator.plan_fault("lost-answer")
        await desk.run_here(quiet_window_seconds=60.0, max_runtime_seconds=0.1)
        put_back(desk)
        assert await run(desk, window_seconds=2.0) == 0
        assert (len(list_charged(simulator)), count_states(desk)) == (2, {"done": 2})


async def test_further_attempts_are_found_under_their_numbers(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("attempts: 1\njobs: [{id: flaky, prompt: A flaky scene}]")
    assert await run(desk) == 1
    back_up(desk)
    assert await desk.run_here(retried_codes=("*",)) == 0
    put_back(desk)
    assert (await run(desk, window_seconds=0.5), count_states(desk)) == (0, {"done": 1})
    assert await run(desk) == 0
    assert ([row["attempt"] for row in read_results(desk)], len(list_charged(simulator))) == ([2], 2)


async def test_a_retry_that_arrives_late_is_not_made_twice(tmp_path: Path) -> None:
    async with open_desk(tmp_path, arrival_delay_seconds=600.0) as (desk, simulator):
        desk.write_manifest("attempts: 1\njobs: [{id: flaky, prompt: A flaky scene}]")
        assert await run(desk) == 1
        back_up(desk)
        simulator.plan_fault("lost-answer")
        await desk.run_here(retried_codes=("*",), quiet_window_seconds=60.0, max_runtime_seconds=0.1)
        put_back(desk)
        await desk.run_here(retried_codes=("*",), quiet_window_seconds=2.0)
        assert (await run(desk), count_states(desk), len(list_charged(simulator))) == (0, {"done": 1}, 2)


async def test_an_attempt_that_was_followed_up_since_gets_all_its_rows(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: first, prompt: Scene one}]")
    await run(desk)
    back_up(desk)
    desk.write_manifest("jobs: [{id: first, prompt: Scene one}, {id: flaky, prompt: A flaky scene}]")
    assert await run(desk) == 0
    put_back(desk)
    assert (await run(desk, window_seconds=0.5), len(list_charged(simulator))) == (0, 3)
    results = await desk.call("results", "batch.yaml", "--attempts", "--format", "jsonl")
    rows = [json.loads(line) for line in results.out.splitlines()]
    assert [(row["id"], row["attempt"], row["state"]) for row in rows] == [
        ("first", 1, "done"),
        ("flaky", 1, "failed"),
        ("flaky", 2, "done"),
    ]


async def test_an_attempt_that_ran_when_the_backup_was_made_is_followed_up_under_a_number_of_its_own(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path, speed=200.0) as (desk, simulator):
        desk.write_manifest("jobs: [{id: flaky, prompt: A flaky scene}]")
        await desk.run_here(max_runtime_seconds=0.3)
        assert count_states(desk) == {"running": 1}
        back_up(desk)
        assert await run(desk) == 0
        put_back(desk)
        code = await run(desk, window_seconds=0.5)
        assert (len(list_charged(simulator)), len(set(list_charged(simulator)))) == (2, 2)
        assert code == 0 or await run(desk, window_seconds=0.5) == 0
        assert count_states(desk) == {"done": 1}


async def test_what_waited_for_the_budget_when_the_backup_was_made_is_found(desk: Desk, simulator: Simulator) -> None:
    priced = "defaults: {model: fal/grok-video-t2v, duration: 5s, resolution: 720p}"
    write_jobs(desk, "a", "b", more=f"{priced}\nbudget: 40 credits")
    assert await run(desk) == 6
    back_up(desk)
    write_jobs(desk, "a", "b", more=f"{priced}\nbudget: 400 credits")
    assert await run(desk) == 0
    put_back(desk)
    assert (await run(desk, window_seconds=0.5), len(list_charged(simulator)), count_states(desk)) == (
        0,
        2,
        {"done": 2},
    )


async def test_a_bought_edit_is_recognised(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: One scene}]")
    await run(desk)
    back_up(desk)
    desk.write_manifest("jobs: [{id: scene, prompt: Another scene}]")
    assert await desk.run_here(rebuys_changed=True) == 0
    put_back(desk)
    assert (await run(desk, window_seconds=0.5), len(list_charged(simulator))) == (0, 2)


async def test_what_the_manifest_asks_for_again_only_later_is_recognised_then(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, "a")
    await run(desk)
    back_up(desk)
    write_jobs(desk, "a", "b")
    await run(desk)
    assert await desk.run_here(edition="june") == 0
    put_back(desk)
    write_jobs(desk, "a")
    assert await run(desk, window_seconds=0.1) == 0
    write_jobs(desk, "a", "b")
    assert await run(desk) == 0
    assert await desk.run_here(edition="june") == 0
    assert len(list_charged(simulator)) == 4


async def test_what_was_bought_and_renamed_since_is_found_by_the_name_that_the_server_has(
    desk: Desk, simulator: Simulator
) -> None:
    write_scenes(desk, a="A sea")
    await run(desk)
    back_up(desk)
    write_scenes(desk, a="A sea", added="A lake")
    await run(desk)
    write_scenes(desk, a="A sea", renamed="A lake")
    assert await run(desk) == 0
    put_back(desk)
    assert (await run(desk, window_seconds=0.1), len(list_charged(simulator))) == (0, 2)
    assert {(row["id"], row["formerly"]) for row in read_results(desk)} == {("a", None), ("renamed", "added")}
    assert (await run(desk), len(list_charged(simulator)), count_states(desk)) == (0, 2, {"done": 2})


async def test_jobs_that_were_bought_and_swapped_since_are_found_under_the_ids_of_each_other(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path, echoes_ids=False) as (desk, simulator):
        write_scenes(desk, a="A sea")
        await run(desk)
        back_up(desk)
        write_scenes(desk, a="A sea", b="A lake", c="A storm")
        await run(desk)
        write_scenes(desk, a="A lake", b="A storm", c="A sea")
        assert await run(desk) == 0
        put_back(desk)
        assert (await run(desk, window_seconds=0.1), len(list_charged(simulator))) == (0, 3)
        assert {row["id"]: row["prompt"] for row in read_results(desk)} == {"a": "A lake", "b": "A storm", "c": "A sea"}


async def test_what_comes_back_only_later_under_another_name_is_found_then(desk: Desk, simulator: Simulator) -> None:
    write_scenes(desk, a="A sea")
    await run(desk)
    back_up(desk)
    write_scenes(desk, a="A sea", c="A lake")
    await run(desk)
    put_back(desk)
    write_scenes(desk, a="A sea", new="A storm")
    assert await run(desk, window_seconds=0.1) == 0
    write_scenes(desk, a="A sea", new="A storm", cc="A lake")
    before = len(simulator.requests)
    assert (await run(desk), len(list_charged(simulator))) == (0, 3)
    assert [line for line in list_asked(simulator, before) if line.startswith("POST")] == []


async def test_a_number_that_was_used_in_the_lost_time_is_not_used_again(desk: Desk, simulator: Simulator) -> None:
    write_scenes(desk, b="A wild sea")
    await run(desk)
    back_up(desk)
    write_scenes(desk, b="A mild sea")
    await desk.run_here(rebuys_changed=True)
    put_back(desk)
    write_scenes(desk, b="A red sea")
    await desk.run_here(rebuys_changed=True, quiet_window_seconds=0.1)
    write_scenes(desk, b="A mild sea")
    assert (await desk.run_here(rebuys_changed=True), len(list_charged(simulator))) == (0, 3)
    assert [row["prompt"] for row in read_results(desk)] == ["A mild sea"]


@pytest.mark.parametrize("was_lost", [False, True])
async def test_a_renamed_one_that_arrives_late_is_not_bought_beside_it(tmp_path: Path, was_lost: bool) -> None:
    async with open_desk(tmp_path, arrival_delay_seconds=1500.0) as (desk, simulator):
        write_scenes(desk, a="A sea")
        await run(desk)
        if was_lost:
            lose_ledger(desk)
            await run(desk)
        back_up(desk)
        write_scenes(desk, a="A sea", late="A lake")
        simulator.plan_fault("lost-answer")
        await desk.run_here(quiet_window_seconds=60.0, max_runtime_seconds=0.5)
        write_scenes(desk, a="A sea", renamed="A lake")
        put_back(desk)
        await run(desk, window_seconds=3.0)
        assert (await run(desk, window_seconds=3.0), len(list_charged(simulator))) == (0, 2)
        assert ([charge.prompt for charge in simulator.billing], count_states(desk)) == (
            ["A sea", "A lake"],
            {"done": 2},
        )


async def test_a_backup_from_before_anything_was_sent_is_noticed(desk: Desk, simulator: Simulator) -> None:
    write_scenes(desk, a="A sea")
    assert await desk.run_here(budget=Money(1)) == 6
    back_up(desk)
    assert await run(desk) == 0
    put_back(desk)
    assert (await run(desk, window_seconds=0.1), len(list_charged(simulator)), count_states(desk)) == (
        0,
        1,
        {"done": 1},
    )


async def test_what_was_about_to_be_sent_when_the_backup_was_made_is_found_for_another_job(
    desk: Desk, simulator: Simulator
) -> None:
    write_scenes(desk, a="A sea", b="A lake")
    assert await desk.run_here(budget=Money(1)) == 6
    back_up(desk)
    assert await run(desk) == 0
    write_scenes(desk, a="A lake", b="A storm")
    put_back(desk)
    assert await run(desk, window_seconds=0.1) == 0
    assert sorted(record.prompt for record in simulator.billing) == ["A lake", "A sea", "A storm"]


async def test_after_it_was_asked_once_nothing_is_asked_again(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, "a")
    await run(desk)
    back_up(desk)
    put_back(desk)
    write_jobs(desk, "a", "b")
    assert await run(desk, window_seconds=0.1) == 0
    before = len(simulator.requests)
    assert await run(desk) == 0
    assert list_asked(simulator, before) == []


@pytest.mark.parametrize("status", [403, 404, 422, 500])
async def test_where_the_list_cannot_be_read_each_is_asked_for_by_itself(tmp_path: Path, status: int) -> None:
    def answer_status(request: web.Request) -> object:
        return make_item(request.match_info["id"]) if request.match_info["id"] == bought else 404

    first, second, third = (make_job(each, f"Scene {each}") for each in "abc")
    ledger = await open_ledger(tmp_path)
    bought = ledger.keys.of_job(second, 1)
    await ledger.close()
    async with open_scripted(status=answer_status, list=lambda _: status) as (api, service):
        ledger = await open_ledger(tmp_path, last_run=9)
        restoration = Restoration(ledger, api, api.estimate, IMPATIENT, Recovery(ledger, api, api.estimate))
        await restoration.look(ManifestSelection(Asked([first, second, third]), Rules(), lambda _: True))
        found = await ledger.look(lambda reader: list(reader.find_all([("", each) for each in "abc"])))
        assert ([latest.job_id for latest in found], service.counts["status"] >= 3) == (["b"], True)
        await ledger.close()


async def test_an_attempt_that_is_found_late_is_not_followed_by_one_beside_the_next(tmp_path: Path) -> None:
    job = make_job("flaky", "A scene")
    async with open_scripted(status=lambda _: 404, list=lambda _: make_list()) as (api, _):
        ledger = await open_ledger(tmp_path)
        recovery = Recovery(ledger, api, api.estimate)
        recorder = Recorder(ledger, api.estimate, Restoration(ledger, api, api.estimate, IMPATIENT, recovery))
        [first] = await ledger.record([(job, 1)])
        assert (following := await recorder.record_next(first, job))
        assert (following.number, await recorder.record_next(first, job)) == (2, None)
        await ledger.close()


async def test_a_list_without_our_ids_shows_them_by_its_echo(tmp_path: Path) -> None:
    async with open_desk(tmp_path, honours_ids=False) as (desk, simulator):
        write_jobs(desk, "a")
        await run(desk)
        back_up(desk)
        write_jobs(desk, "a", "b", "c")
        await run(desk)
        put_back(desk)
        assert (await run(desk, window_seconds=0.5), len(list_charged(simulator))) == (0, 3)


async def test_a_restore_is_written_down_before_anything_else_and_outlives_a_kill(
    desk: Desk, simulator: Simulator
) -> None:
    write_jobs(desk, "a")
    await run(desk)
    back_up(desk)
    write_jobs(desk, "a", "b")
    await run(desk)
    put_back(desk)
    # A command that does not get as far as to ask.
    assert await desk.fetch_here() == 0
    assert (await run(desk, window_seconds=0.1), len(list_charged(simulator))) == (0, 2)


async def test_files_that_were_put_back_into_the_folder_are_noticed_too(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, "a")
    await run(desk)
    shutil.copytree(desk.folder / "batch.out", desk.folder / "backup")
    write_jobs(desk, "a", "b")
    await run(desk)
    for name in ("ledger.sqlite3", "identity.json"):
        shutil.copy(desk.folder / "backup" / name, desk.folder / "batch.out" / name)
    assert (await run(desk, window_seconds=0.1), len(list_charged(simulator))) == (0, 2)


async def test_every_file_that_was_put_back_in_place_is_noticed_by_what_is_remembered(
    desk: Desk, simulator: Simulator
) -> None:
    write_jobs(desk, "a")
    line = ("run", "batch.yaml", "--quiet-window", "100ms")
    assert (await desk.call(*line)).code == 0
    shutil.copytree(desk.folder / "batch.out", desk.folder / "backup")
    write_jobs(desk, "a", "b")
    assert (await desk.call(*line)).code == 0
    shutil.copytree(desk.folder / "backup", desk.folder / "batch.out", dirs_exist_ok=True)
    # All is found at once, so nothing waits for the end of the window.
    finished = await desk.call("run", "batch.yaml", "--quiet-window", "60s")
    assert (finished.code, "was put back from a backup, or moved" in finished.err) == (0, True)
    assert len(list_charged(simulator)) == 2


async def test_plan_says_that_the_server_is_asked_first(desk: Desk) -> None:
    write_scenes(desk, a="A sea")
    await run(desk)
    back_up(desk)
    assert "put back from a backup" not in (await desk.call("plan", "batch.yaml")).err
    put_back(desk)
    planned = await desk.call("plan", "batch.yaml")
    assert "put back from a backup, or moved. A run asks the server first what was bought.\n" in planned.err


async def test_half_a_restore_is_refused(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, "a")
    await run(desk)
    back_up(desk)
    write_jobs(desk, "a", "b")
    await run(desk)
    identity = (desk.folder / "batch.out" / "identity.json").read_bytes()
    put_back(desk)
    (desk.folder / "batch.out" / "identity.json").write_bytes(identity)
    refused = await desk.call("run", "batch.yaml")
    assert (refused.code, "it is an older copy" in refused.err, len(list_charged(simulator))) == (78, True, 2)


async def test_a_ledger_that_is_lost_with_the_folder_put_back_is_asked_for_as_ever(
    desk: Desk, simulator: Simulator
) -> None:
    write_jobs(desk, "a", "b")
    await run(desk)
    back_up(desk)
    put_back(desk)
    lose_ledger(desk)
    assert (await run(desk, window_seconds=0.5), len(list_charged(simulator))) == (0, 2)


# Copies and moves


async def test_a_backup_from_before_anything_was_sent_is_noticed_in_another_place_too(tmp_path: Path) -> None:
    async with open_desk(tmp_path, honours_ids=False) as (desk, simulator):
        write_scenes(desk, a="A sea")
        assert await desk.run_here(budget=Money(1)) == 6
        shutil.copytree(desk.folder / "batch.out", desk.folder / "disk" / "batch.out")
        assert await run(desk) == 0
        shutil.rmtree(desk.folder / "batch.out")
        folder = desk.folder / "disk" / "batch.out"
        assert await desk.run_here(folder=folder, is_moved=True, quiet_window_seconds=0.1) == 0
        assert (len(list_charged(simulator)), len(list(folder.rglob("*.mp4")))) == (1, 1)


async def test_a_copied_folder_is_refused_and_the_first_goes_on(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, "a")
    await run(desk)
    shutil.copytree(desk.folder / "batch.out", desk.folder / "copy")
    write_jobs(desk, "a", "b")
    for flags in ((), ("--moved",)):
        refused = await desk.call("run", "batch.yaml", "--folder", "copy", *flags)
        assert (refused.code, f"{desk.folder / 'batch.out'} holds the same batch" in refused.err) == (78, True)
    assert ((await desk.call("run", "batch.yaml")).code, len(list_charged(simulator))) == (0, 2)


async def test_of_two_copies_only_the_one_that_ran_last_goes_on(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, "a")
    await run(desk)
    shutil.copytree(desk.folder / "batch.out", desk.folder / "copy")
    (desk.folder / "batch.out").rename(desk.folder / "away")
    write_jobs(desk, "a", "b")
    moved = ("run", "batch.yaml", "--quiet-window", "0.1s", "--folder", "copy", "--moved")
    assert (await desk.call(*moved)).code == 0
    (desk.folder / "away").rename(desk.folder / "batch.out")
    refused = await desk.call("run", "batch.yaml")
    assert (refused.code, f"{desk.folder / 'copy'} holds the same batch" in refused.err) == (78, True)
    assert ((await desk.call("run", "batch.yaml", "--folder", "copy")).code, len(list_charged(simulator))) == (0, 2)


async def test_a_folder_that_was_renamed_is_a_copy_once_another_stands_in_its_place(
    desk: Desk, simulator: Simulator
) -> None:
    write_jobs(desk, "a")
    await run(desk)
    (desk.folder / "batch.out").rename(desk.folder / "renamed")
    shutil.copytree(desk.folder / "renamed", desk.folder / "batch.out")
    write_jobs(desk, "a", "b")
    assert await run(desk, window_seconds=0.1) == 0
    refused = await desk.call("run", "batch.yaml", "--folder", "renamed")
    assert (refused.code, len(list_charged(simulator))) == (78, 2)


async def test_a_moved_folder_is_used_once_that_is_said_and_the_server_is_asked(
    desk: Desk, simulator: Simulator
) -> None:
    write_jobs(desk, "a")
    await run(desk)
    shutil.copytree(desk.folder / "batch.out", desk.folder / "moved")
    write_jobs(desk, "a", "b")
    await run(desk)
    shutil.rmtree(desk.folder / "batch.out")
    line = ("run", "batch.yaml", "--folder", "moved", "--quiet-window", "100ms")
    refused = await desk.call(*line)
    assert (refused.code, "add --moved once" in refused.err) == (78, True)
    assert ((await desk.call(*line, "--moved")).code, len(list_charged(simulator))) == (0, 2)
    assert ((await desk.call(*line)).code, len(list_charged(simulator))) == (0, 2)


async def test_a_folder_that_was_renamed_goes_on_in_silence(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, "a")
    await run(desk)
    (desk.folder / "batch.out").rename(desk.folder / "renamed")
    write_jobs(desk, "a", "b")
    finished = await desk.call("run", "batch.yaml", "--folder", "renamed")
    assert (finished.code, "put back" in finished.err, len(list_charged(simulator))) == (0, False, 2)


@pytest.mark.parametrize("is_path_kept", [True, False])
async def test_a_container_sees_another_machine_each_time_and_needs_no_flag(desk: Desk, is_path_kept: bool) -> None:
    write_jobs(desk, "a")
    await run(desk)
    path = desk.folder / "batch.out" / "identity.json"
    noted = (
        json.loads(path.read_text()) | {"machine": "another"} | ({} if is_path_kept else {"path": "/data/batch.out"})
    )
    path.write_text(json.dumps(noted))
    assert await run(desk) == 0
    assert json.loads(path.read_text())["machine"] != "another"


async def test_a_folder_on_another_machine_at_the_same_path_was_moved(desk: Desk) -> None:
    write_jobs(desk, "a")
    await run(desk)
    path = desk.folder / "batch.out" / "identity.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"machine": "another", "place": "7"}))
    refused = await desk.call("run", "batch.yaml")
    assert (refused.code, "add --moved once" in refused.err) == (78, True)


async def test_pages_are_read_to_the_end_and_a_page_that_fails_is_tried_again() -> None:
    failures = iter([503])
    pages = iter([make_list(make_item("one"), make_item("two")), make_list(make_item("three")), make_list()])
    async with open_scripted(list=lambda _: next(failures, None) or next(pages)) as (api, service):
        listed = [reading.remote_id async for reading in api.list_since("2026-01-02T00:00:00.000Z")]
    assert listed == ["one", "two", "three"]
    assert [query.get("offset") for query in service.queries] == ["0", "0", "2", "3"]
    assert service.queries[0]["created_after"] == "2026-01-01T00:00:00.000Z"
