"""Renamed, renumbered, swapped and undone: what was paid for is recognised, its file follows, and the bill stays."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from conftest import Desk
from test_faults import count_states, list_charged, open_desk, read_results, run
from test_recovery import list_files, lose_ledger

from hedra_batch.decide import Settlement
from hedra_batch.simulator.service import Simulator


def write_jobs(desk: Desk, prompts: Mapping[str, str], more: str = "") -> None:
    desk.write_manifest(
        "jobs:\n" + "\n".join(f"  - {{id: {one}, prompt: {text}}}" for one, text in prompts.items()) + more
    )


def write_photos(desk: Desk, photos: Mapping[str, int], prompts: Sequence[str] = ("turn",)) -> None:
    """Have exactly these photos in a folder, each of one shade, and a job for each and each prompt."""
    for old in (desk.folder / "photos").glob("*.png"):
        old.unlink()
    for name, shade in photos.items():
        desk.add_image(f"photos/{name}.png", shade)
    listed = ", ".join(f"{name}: The thing does a {name}" for name in prompts)
    desk.write_manifest(f"images: [photos/*.png]\nprompts: {{{listed}}}")


def read_files(desk: Desk) -> dict[str, bytes]:
    folder = desk.folder / "batch.out" / "videos"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def list_formerly(desk: Desk) -> dict[str, str | None]:
    return {row["id"]: row["formerly"] for row in read_results(desk)}


async def test_a_renamed_photo_is_not_bought_again_and_its_video_has_the_new_name(
    desk: Desk, simulator: Simulator
) -> None:
    write_photos(desk, {"chair": 1, "lamp": 2})
    assert await run(desk) == 0
    before = read_files(desk)
    write_photos(desk, {"stool": 1, "lamp": 2})
    planned = await desk.call("plan", "batch.yaml")
    assert "done     stool--turn  (renamed from chair--turn)" in planned.out
    told = await desk.call("run", "batch.yaml")
    assert (told.code, "no new videos, 2 done, 1 renamed, 0 credits" in told.err) == (0, True)
    assert read_files(desk) == {
        "stool--turn.mp4": before["chair--turn.mp4"],
        "lamp--turn.mp4": before["lamp--turn.mp4"],
    }
    assert list_formerly(desk) == {"stool--turn": "chair--turn", "lamp--turn": None}
    assert (len(list_charged(simulator)), (await desk.call("verify", "batch.yaml")).code) == (2, 0)
    again = await desk.call("run", "batch.yaml")
    assert "renamed" not in again.err


async def test_a_renamed_prompt_and_a_renamed_job_are_not_bought_again(desk: Desk, simulator: Simulator) -> None:
    write_photos(desk, {"chair": 1})
    assert await run(desk) == 0
    desk.write_manifest("images: [photos/*.png]\nprompts: {spin: The thing does a turn}")
    assert await run(desk) == 0
    assert list_files(desk) == ["chair--spin.mp4"]
    desk.write_manifest("jobs: [{id: seat, image: photos/chair.png, prompt: The thing does a turn}]")
    assert (await run(desk), len(list_charged(simulator)), list_files(desk)) == (0, 1, ["seat.mp4"])


async def test_pictures_that_are_renumbered_keep_their_videos(desk: Desk, simulator: Simulator) -> None:
    write_photos(desk, {f"{number:02}": number for number in range(1, 20)})
    assert await run(desk) == 0
    before = read_files(desk)
    # One is put in between as the fifth.
    write_photos(desk, {f"{number:02}": 99 if number == 5 else number - (number > 5) for number in range(1, 21)})
    assert await run(desk) == 0
    after = read_files(desk)
    assert len(list_charged(simulator)) == 20
    assert sorted(after) == [f"{number:02}--turn.mp4" for number in range(1, 21)]
    for number in range(6, 21):
        assert after[f"{number:02}--turn.mp4"] == before[f"{number - 1:02}--turn.mp4"]


async def test_two_files_that_are_swapped_swap_their_videos(desk: Desk, simulator: Simulator) -> None:
    write_photos(desk, {"chair": 1, "lamp": 2})
    assert await run(desk) == 0
    before = read_files(desk)
    write_photos(desk, {"chair": 2, "lamp": 1})
    assert await run(desk) == 0
    chair, lamp = "chair--turn.mp4", "lamp--turn.mp4"
    assert read_files(desk) == {chair: before[lamp], lamp: before[chair]}
    assert len(list_charged(simulator)) == 2


@pytest.mark.parametrize("names", [("chair", "stool", "chair"), ("a", "b", "c"), ("a", "b", "c", "a")])
async def test_a_chain_of_names_is_one_purchase(desk: Desk, simulator: Simulator, names: tuple[str, ...]) -> None:
    for name in names:
        write_jobs(desk, {name: "A storm"})
        assert await run(desk) == 0
    assert (len(list_charged(simulator)), list_files(desk)) == (1, [f"{names[-1]}.mp4"])
    assert list_formerly(desk) == {names[-1]: None if names[-1] == names[0] else names[0]}


async def test_what_is_renamed_and_edited_at_once_is_new(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, {"chair": "A storm"})
    await run(desk)
    write_jobs(desk, {"stool": "A calm"})
    assert (await run(desk), len(list_charged(simulator)), list_files(desk)) == (0, 2, ["chair.mp4", "stool.mp4"])


async def test_an_excluded_job_no_longer_asks_for_its_video(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, {"chair": "A storm"})
    await run(desk)
    write_jobs(desk, {"chair": "A storm", "stool": "A storm"}, "\nexclude: [chair]")
    assert (await run(desk), len(list_charged(simulator)), list_files(desk)) == (0, 1, ["stool.mp4"])


@pytest.mark.parametrize("options", [{"ids": ("stool",)}, {"first": 1}])
async def test_a_selection_takes_nothing_from_the_jobs_that_it_leaves_out(
    desk: Desk, simulator: Simulator, options: dict[str, Any]
) -> None:
    write_jobs(desk, {"chair": "A storm"})
    await run(desk)
    write_jobs(desk, {"stool": "A storm", "chair": "A storm"})
    assert await desk.run_here(**options) == 0
    assert (len(list_charged(simulator)), list_files(desk)) == (2, ["chair.mp4", "stool.mp4"])


async def test_what_a_selection_leaves_out_is_recognised_too(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, {"chair": "A storm", "lamp": "A calm"})
    await run(desk)
    write_jobs(desk, {"stool": "A storm", "lamp": "A calm"})
    assert await run(desk, "lamp") == 0
    assert (len(list_charged(simulator)), list_files(desk)) == (2, ["lamp.mp4", "stool.mp4"])


async def test_variations_are_taken_over_in_their_order(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: chair, prompt: A storm, variations: 3}]")
    await run(desk)
    before = read_files(desk)
    desk.write_manifest("jobs: [{id: stool, prompt: A storm, variations: 4}]")
    assert (await run(desk), len(list_charged(simulator))) == (0, 4)
    after = read_files(desk)
    assert [after[f"stool{end}.mp4"] == before[f"chair{end}.mp4"] for end in ("", ".v2", ".v3")] == [True] * 3


async def test_what_is_bought_for_another_edition_stays_there(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, {"chair": "A storm"})
    await desk.run_here(edition="spring")
    write_jobs(desk, {"stool": "A storm"})
    assert (await run(desk), len(list_charged(simulator))) == (0, 2)
    assert sorted(read_files(desk)) == ["spring/chair.mp4", "stool.mp4"]


async def test_two_jobs_that_ask_for_the_same_stay_two_and_are_pointed_out(desk: Desk, simulator: Simulator) -> None:
    write_photos(desk, {"chair": 1, "chair-copy": 1})
    told = await desk.call("run", "batch.yaml")
    assert "2 jobs ask for the same: chair-copy--turn and chair--turn (a copied photo?)" in told.err
    assert (told.code, len(list_charged(simulator))) == (0, 2)


async def test_a_copy_of_what_is_paid_for_is_pointed_out_and_variations_are_not(
    desk: Desk, simulator: Simulator
) -> None:
    desk.write_manifest("jobs: [{id: chair, prompt: A storm, variations: 2}]")
    assert "ask for the same" not in (await desk.call("run", "batch.yaml")).err
    desk.write_manifest("jobs: [{id: chair, prompt: A storm, variations: 3}, {id: copy, prompt: A storm}]")
    told = await desk.call("run", "batch.yaml")
    assert "2 jobs ask for the same: chair and copy (a copied photo?)" in told.err
    assert (told.code, len(list_charged(simulator))) == (0, 4)


async def test_an_old_id_that_a_new_job_has_gets_a_number_of_its_own(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, {"chair": "A storm"})
    await run(desk)
    write_jobs(desk, {"stool": "A storm"})
    await run(desk)
    write_jobs(desk, {"stool": "A storm", "chair": "A storm"})
    assert await run(desk) == 0
    assert (len(list_charged(simulator)), len(set(list_charged(simulator)))) == (2, 2)
    assert {row["id"]: row["attempt"] for row in read_results(desk)} == {"stool": 1, "chair": 2}


async def test_a_photo_that_cannot_be_read_loses_nothing(desk: Desk, simulator: Simulator) -> None:
    write_photos(desk, {"chair": 1})
    await run(desk)
    desk.add_image("photos/stool.png", 1)
    photo = desk.folder / "photos" / "chair.png"
    content = photo.read_bytes()
    photo.write_bytes(b"not a picture")
    os.utime(photo, (0, 0))
    # Its job still asks for what was bought for it, so the copy has a video of its own.
    ended = await desk.call("run", "batch.yaml")
    both = ["chair--turn.mp4", "stool--turn.mp4"]
    assert (ended.code, list_files(desk), len(list_charged(simulator))) == (66, both, 2)
    photo.write_bytes(content)
    assert ((await desk.call("run", "batch.yaml")).code, len(list_charged(simulator))) == (0, 2)


async def test_what_runs_is_followed_under_its_new_name(tmp_path: Path) -> None:
    async with open_desk(tmp_path, speed=40.0) as (desk, simulator):
        write_jobs(desk, {"chair": "A storm"})
        await desk.run_here(max_runtime_seconds=0.5)
        assert count_states(desk) == {"running": 1}
        write_jobs(desk, {"stool": "A storm"})
        assert (await run(desk), list_files(desk), len(list_charged(simulator))) == (0, ["stool.mp4"], 1)


async def test_what_is_unknown_is_found_under_its_new_name(tmp_path: Path) -> None:
    async with open_desk(tmp_path, arrival_delay_seconds=500.0) as (desk, simulator):
        write_jobs(desk, {"chair": "A storm"})
        simulator.plan_fault("lost-answer")
        await desk.run_here(quiet_window_seconds=60.0, max_runtime_seconds=0.2)
        write_jobs(desk, {"stool": "A storm"})
        assert await run(desk, window_seconds=30.0) == 0
        assert (list_files(desk), len(list_charged(simulator))) == (["stool.mp4"], 1)


async def test_what_is_held_is_settled_under_its_new_name(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, {"chair": "A storm"})
    simulator.plan_fault("lost-request")
    assert await run(desk) == 4
    write_jobs(desk, {"stool": "A storm"})
    await desk.run_here(settlement=Settlement.RESEND, ids=("stool",), quiet_window_seconds=0.1)
    assert (list_files(desk), len(list_charged(simulator))) == (["stool.mp4"], 1)


@pytest.mark.parametrize("text", ["Something forbidden", "A doomed scene"])
async def test_what_failed_is_not_taken_over(desk: Desk, text: str) -> None:
    write_jobs(desk, {"chair": text})
    await run(desk)
    write_jobs(desk, {"stool": text})
    await run(desk)
    assert {row["id"]: row["state"] for row in read_results(desk)} == {"chair": "failed", "stool": "failed"}


async def test_an_edit_that_is_undone_is_done_again_without_a_purchase(desk: Desk, simulator: Simulator) -> None:
    for text in ("A storm", "A calm", "A storm", "A calm"):
        write_jobs(desk, {"scene": text})
        assert await desk.run_here(rebuys_changed=True) == 0
    write_jobs(desk, {"scene": "A storm"})
    assert (await run(desk), len(list_charged(simulator))) == (0, 2)
    [row] = read_results(desk)
    assert (row["attempt"], row["prompt"]) == (1, "A storm")
    write_jobs(desk, {"scene": "A frost"})
    assert (await desk.run_here(rebuys_changed=True), read_results(desk)[0]["attempt"]) == (0, 3)


async def test_what_was_bought_for_an_edit_that_is_undone_is_fetched_all_the_same(tmp_path: Path) -> None:
    async with open_desk(tmp_path, speed=100.0) as (desk, simulator):
        write_jobs(desk, {"scene": "A storm"})
        assert await run(desk) == 0
        write_jobs(desk, {"scene": "A calm"})
        await desk.run_here(rebuys_changed=True, max_runtime_seconds=0.4)
        write_jobs(desk, {"scene": "A storm"})
        planned = await desk.call("plan", "batch.yaml")
        assert "running  scene  (bought for an earlier wording and still followed)" in planned.out
        assert (await run(desk), list_files(desk)) == (0, ["scene.mp4", "scene.take2.mp4"])
        assert [(row["attempt"], row["state"]) for row in read_results(desk)] == [(1, "done")]
        assert len(list_charged(simulator)) == 2


async def test_an_edit_that_failed_and_is_undone_costs_nothing(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, {"scene": "A storm"})
    await run(desk)
    write_jobs(desk, {"scene": "A doomed scene"})
    assert await desk.run_here(rebuys_changed=True) == 1
    charged = len(list_charged(simulator))
    write_jobs(desk, {"scene": "A storm"})
    assert (await run(desk), len(list_charged(simulator))) == (0, charged)


SPELLINGS = ["fal/grok-video-t2v", "Grok Video T2V", "grok video t2v", "id"]


async def write_spelled(desk: Desk, spelling: str, job_id: str = "scene") -> None:
    written = spelling if spelling != "id" else await read_model_id(desk)
    desk.write_manifest(f"jobs: [{{id: {job_id}, prompt: A storm, model: {written}, duration: 5s, resolution: 720p}}]")


async def read_model_id(desk: Desk) -> str:
    async with (
        aiohttp.ClientSession(headers={"X-API-Key": "key-of-the-tests"}) as session,
        session.get(f"{desk.base_url}/models") as answer,
    ):
        content = await answer.json()
    models = content if isinstance(content, list) else content["data"]
    return str(next(each["id"] for each in models if each["slug"] == "fal/grok-video-t2v"))


@pytest.mark.parametrize("first", SPELLINGS)
@pytest.mark.parametrize("second", SPELLINGS)
async def test_the_same_model_spelled_otherwise_is_the_same(
    desk: Desk, simulator: Simulator, first: str, second: str
) -> None:
    await write_spelled(desk, first)
    assert await run(desk) == 0
    await write_spelled(desk, second)
    assert (await run(desk), len(list_charged(simulator))) == (0, 1)
    await write_spelled(desk, first, "renamed")
    assert (await run(desk), len(list_charged(simulator))) == (0, 1)


@pytest.mark.parametrize(("first", "second"), [("fal/grok-video-t2v", "id"), ("Grok Video T2V", "fal/grok-video-t2v")])
async def test_after_a_loss_a_model_spelled_otherwise_is_found(
    desk: Desk, simulator: Simulator, first: str, second: str
) -> None:
    await write_spelled(desk, first)
    await run(desk)
    lose_ledger(desk)
    await write_spelled(desk, second)
    assert (await run(desk), len(list_charged(simulator))) == (0, 1)
    await write_spelled(desk, first)
    assert (await run(desk), len(list_charged(simulator))) == (0, 1)


@pytest.mark.parametrize("names", [("chair", "stool"), ("a", "b", "c"), ("a", "b", "a")])
async def test_a_ledger_that_is_lost_after_a_rename_is_made_again(
    desk: Desk, simulator: Simulator, names: tuple[str, ...]
) -> None:
    for name in names:
        write_jobs(desk, {name: "A storm"})
        await run(desk)
    lose_ledger(desk)
    assert (await run(desk), len(list_charged(simulator)), count_states(desk)) == (0, 1, {"done": 1})
    assert list_formerly(desk) == {names[-1]: None if names[-1] == names[0] else names[0]}


async def test_after_a_loss_an_old_id_that_a_new_job_has_is_not_taken_for_the_renamed_one(
    desk: Desk, simulator: Simulator
) -> None:
    write_jobs(desk, {"chair": "A storm"})
    await run(desk)
    write_jobs(desk, {"stool": "A storm"})
    await run(desk)
    write_jobs(desk, {"chair": "A storm", "stool": "A storm"})
    await run(desk)
    lose_ledger(desk)
    assert (await run(desk), len(list_charged(simulator)), count_states(desk)) == (0, 2, {"done": 2})


async def test_after_a_loss_a_job_that_is_renamed_only_then_is_found_by_the_name_that_the_server_has(
    desk: Desk, simulator: Simulator
) -> None:
    write_jobs(desk, {"chair": "A storm", "lamp": "A calm"})
    await run(desk)
    lose_ledger(desk)
    write_jobs(desk, {"stool": "A storm", "lamp": "A calm"})
    assert (await run(desk), len(list_charged(simulator)), count_states(desk)) == (0, 2, {"done": 2})


async def test_after_a_loss_swapped_jobs_are_found(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, {"chair": "A storm", "lamp": "A calm"})
    await run(desk)
    write_jobs(desk, {"chair": "A calm", "lamp": "A storm"})
    await run(desk)
    lose_ledger(desk)
    assert (await run(desk), len(list_charged(simulator)), count_states(desk)) == (0, 2, {"done": 2})


async def test_a_file_that_is_elsewhere_stays_and_somebody_elses_is_not_overwritten(desk: Desk) -> None:
    write_jobs(desk, {"chair": "A storm", "lamp": "A calm"})
    await run(desk)
    videos = desk.folder / "batch.out" / "videos"
    (videos / "chair.mp4").rename(desk.folder / "mine.mp4")
    (videos / "table.mp4").write_bytes(b"somebody else's")
    write_jobs(desk, {"stool": "A storm", "table": "A calm"})
    assert (await run(desk), list_files(desk)) == (0, ["table.mp4", "table.take2.mp4"])
    assert (videos / "table.mp4").read_bytes() == b"somebody else's"
    assert {row["id"]: row["output"] for row in read_results(desk)} == {
        "stool": "videos/chair.mp4",
        "table": "videos/table.take2.mp4",
    }


async def test_with_one_output_for_all_names_nothing_moves(desk: Desk, simulator: Simulator) -> None:
    write_photos(desk, {"chair": 1})
    text = (desk.folder / "batch.yaml").read_text()
    (desk.folder / "batch.yaml").write_text(text + "\noutput: 'videos/{image}.mp4'")
    await run(desk)
    desk.write_manifest("images: [photos/*.png]\nprompts: {spin: The thing does a turn}\noutput: 'videos/{image}.mp4'")
    before = (desk.folder / "batch.out" / "videos" / "chair.mp4").stat()
    assert (await run(desk), len(list_charged(simulator)), list_files(desk)) == (0, 1, ["chair.mp4"])
    after = (desk.folder / "batch.out" / "videos" / "chair.mp4").stat()
    assert (before.st_ino, before.st_ctime_ns) == (after.st_ino, after.st_ctime_ns)


async def test_a_link_in_the_way_of_a_new_name_stops_the_run(desk: Desk) -> None:
    write_jobs(desk, {"chair": "A storm"})
    await run(desk)
    videos = desk.folder / "batch.out" / "videos"
    (desk.folder / "outside").mkdir()
    (videos / "old").symlink_to(desk.folder / "outside")
    desk.write_manifest("jobs: [{id: stool, prompt: A storm}]\noutput: 'videos/old/{id}.mp4'")
    refused = await desk.call("run", "batch.yaml")
    assert (refused.code != 0, "is a symbolic link" in refused.err, (videos / "chair.mp4").exists()) == (
        True,
        True,
        True,
    )


@pytest.mark.parametrize("is_recovered_first", [False, True])
async def test_after_a_loss_a_job_may_get_the_id_that_another_one_had(
    desk: Desk, simulator: Simulator, is_recovered_first: bool
) -> None:
    write_jobs(desk, {"chair": "A storm"})
    await run(desk)
    lose_ledger(desk)
    if is_recovered_first:
        assert await run(desk) == 0
    write_jobs(desk, {"chair": "A fog", "stool": "A storm"})
    assert (await run(desk), len(list_charged(simulator)), count_states(desk)) == (0, 2, {"done": 2})
