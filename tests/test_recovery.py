"""Results found again: a ledger that was lost, files that were deleted or damaged, folders that were copied."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import IMPATIENT, Desk
from test_faults import TWO_JOBS, count_states, list_charged, open_desk, read_results, run

from hedra_batch.simulator.service import Simulator


def list_files(desk: Desk) -> list[str]:
    return sorted(path.name for path in (desk.folder / "batch.out" / "videos").iterdir())


def lose_ledger(desk: Desk) -> None:
    for path in (desk.folder / "batch.out").glob("ledger.sqlite3*"):
        path.unlink()


async def test_a_lost_ledger_is_made_again_from_the_server_and_nothing_is_paid_twice(
    desk: Desk, simulator: Simulator
) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk)
    lose_ledger(desk)
    assert (await run(desk, window_seconds=3600.0), count_states(desk)) == (0, {"done": 2})
    assert (len(list_charged(simulator)), list_files(desk)) == (2, ["first.mp4", "second.mp4"])


async def test_after_a_loss_nothing_is_sent_before_the_server_was_asked(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk, "first")
    lose_ledger(desk)
    asked = len(simulator.requests)
    assert (await run(desk), len(list_charged(simulator))) == (0, 2)
    later = [(request.method, request.generation_id) for request in simulator.requests[asked:]]
    posted = next(index for index, (_, generation_id) in enumerate(later) if generation_id)
    assert [method for method, _ in later[:posted]].count("GET") > 2


async def test_after_a_loss_what_is_found_is_fetched_before_what_is_not_may_be_sent(
    desk: Desk, simulator: Simulator
) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk, "first")
    lose_ledger(desk)
    asked = len(simulator.requests)
    assert await run(desk, window_seconds=2.0) == 0
    later = [(each.method, each.path.rsplit("/", 1)[-1]) for each in simulator.requests[asked:]]
    fetched = next(index for index, (_, last) in enumerate(later) if last.endswith(".mp4"))
    assert fetched < later.index(("POST", "generations"))


async def test_after_a_loss_every_attempt_is_found_and_a_new_one_has_a_new_number(
    desk: Desk, simulator: Simulator
) -> None:
    desk.write_manifest("jobs: [{id: flaky, prompt: A flaky scene}, {id: doomed, prompt: A doomed scene}]")
    assert (await run(desk), len(list_charged(simulator))) == (1, 4)
    lose_ledger(desk)
    assert (await run(desk, window_seconds=1.0), count_states(desk)) == (1, {"done": 1, "failed": 1})
    assert [row["attempt"] for row in read_results(desk)] == [2, 2]
    await desk.run_here(retried_codes=("*",), quiet_window_seconds=1.0)
    assert (len(list_charged(simulator)), len(set(list_charged(simulator)))) == (5, 5)


async def test_what_was_sent_when_the_ledger_was_lost_is_found_when_it_arrives(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with open_desk(tmp_path_factory.mktemp("late"), arrival_delay_seconds=300.0) as (desk, simulator):
        desk.write_manifest(TWO_JOBS)
        simulator.plan_fault("lost-answer")
        await run(desk, "first", window_seconds=0.01)
        lose_ledger(desk)
        code = await run(desk, window_seconds=3.0)
    assert (code, len(list_charged(simulator))) == (0, 2)


async def test_after_a_loss_what_nothing_proves_is_held(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: bad, prompt: Something forbidden}]")
    await run(desk)
    lose_ledger(desk)
    assert (await run(desk), count_states(desk)) == (4, {"held": 1})


async def test_after_a_loss_the_results_of_a_server_with_ids_of_its_own_are_found_by_their_echo(
    tmp_path: Path,
) -> None:
    async with open_desk(tmp_path, honours_ids=False) as (desk, simulator):
        desk.write_manifest(TWO_JOBS)
        await run(desk)
        lose_ledger(desk)
        assert (await run(desk), count_states(desk), len(list_charged(simulator))) == (0, {"done": 2}, 2)


async def test_a_restored_older_ledger_is_refused_with_nothing_sent(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk, "first")
    ledger = desk.folder / "batch.out" / "ledger.sqlite3"
    shutil.copy(ledger, desk.folder / "backup")
    await run(desk)
    shutil.copy(desk.folder / "backup", ledger)
    refused = await desk.call("run", "batch.yaml")
    assert (refused.code, "it is an older copy" in refused.err, len(list_charged(simulator))) == (78, True, 2)


async def test_verify_names_what_is_missing_and_what_is_damaged(desk: Desk) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk)
    videos = desk.folder / "batch.out" / "videos"
    (videos / "first.mp4").unlink()
    (videos / "second.mp4").write_bytes(b"not a video")
    found = await desk.call("verify", "batch.yaml")
    assert (found.code, "hedra-batch fetch" in found.err) == (4, True)
    assert found.out.splitlines() == [
        f"missing: first: {Path('batch.out/videos/first.mp4')}",
        f"damaged: second: {Path('batch.out/videos/second.mp4')}",
    ]


async def test_verify_is_silent_about_what_is_good(desk: Desk) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk)
    found = await desk.call("verify", "batch.yaml")
    assert (found.code, found.out, found.err) == (0, "", "2 of 2 finished videos are here and undamaged.\n")


async def test_fetch_gets_missing_and_damaged_files_again_and_keeps_what_it_replaces(
    desk: Desk, simulator: Simulator
) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk)
    videos = desk.folder / "batch.out" / "videos"
    (videos / "first.mp4").unlink()
    (videos / "second.mp4").write_bytes(b"not a video")
    fetched = await desk.call("fetch", "batch.yaml")
    assert (fetched.code, (await desk.call("verify", "batch.yaml")).code) == (0, 0)
    assert (videos / "second.mp4.old").read_bytes() == b"not a video"
    assert len(list_charged(simulator)) == 2


async def test_fetch_needs_no_job_of_the_manifest_any_more(desk: Desk) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk)
    shutil.rmtree(desk.folder / "batch.out" / "videos")
    desk.write_manifest("jobs: [{id: 7, promt: with faults}]")
    fetched = await desk.call("fetch", "batch.yaml")
    assert (fetched.code, list_files(desk)) == (0, ["first.mp4", "second.mp4"])


async def test_fetch_takes_ids(desk: Desk) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk)
    shutil.rmtree(desk.folder / "batch.out" / "videos")
    fetched = await desk.call("fetch", "batch.yaml", "--id", "sec*")
    assert (fetched.code, list_files(desk)) == (0, ["second.mp4"])


async def test_fetch_gets_what_a_run_could_not(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(TWO_JOBS)
    simulator.plan_fault("cut-download")
    assert await desk.run_here(replace(IMPATIENT, download_tries=1), ids=("first",)) == 3
    unfetched = await desk.call("verify", "batch.yaml")
    assert (unfetched.code, unfetched.out.startswith("not fetched: first")) == (3, True)
    assert (await desk.fetch_here(), list_files(desk)) == (0, ["first.mp4"])


@pytest.mark.parametrize("tries", [1, 3])
async def test_a_download_is_said_to_be_tried_again_only_where_it_is(
    desk: Desk, simulator: Simulator, tries: int
) -> None:
    desk.write_manifest(TWO_JOBS)
    simulator.plan_fault("cut-download", times=10)
    assert await desk.run_here(replace(IMPATIENT, download_tries=tries), ids=("first",)) == 3
    log = max((desk.folder / "batch.out" / "logs").iterdir()).read_text()
    assert log.count("It is fetched again.") == tries - 1


async def test_after_the_last_try_of_a_download_nothing_is_waited_for(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(TWO_JOBS)
    simulator.plan_fault("cut-download")
    settings = replace(IMPATIENT, download_tries=1, first_pause_seconds=3600.0, longest_pause_seconds=3600.0)
    assert await desk.run_here(settings, ids=("first",)) == 3


async def test_what_cannot_be_fetched_now_is_3(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk, "first")
    shutil.rmtree(desk.folder / "batch.out" / "videos")
    simulator.plan_fault("missing-link", times=3)
    assert await desk.fetch_here(replace(IMPATIENT, download_tries=1)) == 3


async def test_fetch_without_a_ledger_says_so(desk: Desk) -> None:
    desk.write_manifest(TWO_JOBS)
    refused = await desk.call("fetch", "batch.yaml")
    assert (refused.code, "has no ledger" in refused.err) == (78, True)


async def test_after_a_loss_a_final_failure_stays_one(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: flaky, prompt: A flaky scene}, {id: likeness, prompt: A likeness of somebody}]")
    assert (await run(desk), len(list_charged(simulator))) == (1, 3)
    lose_ledger(desk)
    assert (await run(desk), count_states(desk), len(list_charged(simulator))) == (1, {"done": 1, "failed": 1}, 3)
    assert (await run(desk), len(list_charged(simulator))) == (1, 3)


async def test_a_later_attempt_that_was_under_way_when_the_ledger_was_lost_is_found_when_it_arrives(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with open_desk(tmp_path_factory.mktemp("late"), arrival_delay_seconds=500.0) as (desk, simulator):
        desk.write_manifest("jobs: [{id: scene, prompt: One scene}]")
        await run(desk)
        desk.write_manifest("jobs: [{id: scene, prompt: Another scene}]")
        simulator.plan_fault("lost-answer")
        await desk.run_here(rebuys_changed=True, quiet_window_seconds=60.0, max_runtime_seconds=0.2)
        lose_ledger(desk)
        assert (await run(desk, window_seconds=2.0), len(list_charged(simulator))) == (0, 2)


async def test_verify_sees_that_the_ledger_is_lost(desk: Desk) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk, "first")
    lose_ledger(desk)
    found = await desk.call("verify", "batch.yaml")
    assert (found.code, "has been used before, but its ledger.sqlite3 is gone" in found.err) == (78, True)


async def test_a_folder_in_the_place_of_a_result_keeps_no_other_from_being_fetched(desk: Desk) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk)
    videos = desk.folder / "batch.out" / "videos"
    for name in ("first.mp4", "second.mp4"):
        (videos / name).unlink()
    (videos / "first.mp4").mkdir()
    assert (await desk.fetch_here(), list_files(desk)) == (0, ["first.mp4", "first.mp4.old", "second.mp4"])
