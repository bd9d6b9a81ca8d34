"""Jobs that were edited after they were paid for: they wait, everything else goes on, and a person can choose."""

from __future__ import annotations

import asyncio
import os
import pty
import shlex
import signal
import sqlite3
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import FAST_LIMITS, IMPATIENT, Desk, Finished, wait_until
from simulated import Clock
from test_faults import count_states, list_charged, list_history, open_desk, read_results
from test_main_job import count_charges, list_videos
from test_money import run_far

from hedra_batch.ledger.opening import open_reader
from hedra_batch.simulator.service import Simulator
from hedra_batch.state import State

PRICED = "defaults: {model: fal/grok-video-t2v, duration: 5s, resolution: 720p}"
#: What one of these costs by the simulator's list.
PRICE = 35
RUN = "hedra-batch run batch.yaml"
#: Instead of an answer.
STOP = "Ctrl-C"


def write_jobs(desk: Desk, **prompts: str) -> None:
    jobs = "".join(f"\n  - {{id: {name}, prompt: '{prompt}'}}" for name, prompt in prompts.items())
    desk.write_manifest(f"{PRICED}\njobs:{jobs}")


def count_credits(simulator: Simulator) -> int:
    return sum(record.credits for record in simulator.billing if record.kind == "charge")


def list_commands(finished: Finished) -> list[str]:
    return [line.strip() for line in finished.err.splitlines() if line.startswith("      hedra-batch ")]


async def paste(desk: Desk, command: str) -> Finished:
    program, *words = shlex.split(command)
    assert program == "hedra-batch"
    return await desk.call(*words)


async def leave(desk: Desk, count: int, state: State = State.ACCEPTED) -> None:
    """Run until so many have come to a state, and stop there: what is still being sent is not counted as unknown."""
    path = desk.folder / "batch.out" / "ledger.sqlite3"

    def count_left() -> int:
        with open_reader(path) as reader:
            if reader is None:
                return 0
        with closing(sqlite3.connect(path)) as connection:
            [(left,)] = connection.execute("SELECT count(*) FROM attempts WHERE state = ?", (state,))
            return int(left)

    running = asyncio.create_task(desk.run_here())
    await wait_until(lambda: path.parent.exists() and count_left() == count)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def make_edited(desk: Desk, *names: str) -> None:
    """Make some jobs, and edit all of them."""
    write_jobs(desk, **dict.fromkeys(names, "A calm sea"))
    assert await desk.run_here() == 0
    write_jobs(desk, **dict.fromkeys(names, "A wild sea"))


async def test_one_edited_job_waits_and_six_new_ones_and_two_that_run_go_on(tmp_path: Path) -> None:
    clock = Clock()
    async with open_desk(tmp_path, clock=clock) as (desk, simulator):
        write_jobs(desk, market="A calm sea", first="One", second="Two")
        await leave(desk, 3)
        clock.now += 1000.0
        new = {f"new{number}": "A scene" for number in range(6)}
        write_jobs(desk, market="A wild sea", first="One", second="Two", **new)
        running = asyncio.create_task(desk.call("run", "batch.yaml"))
        await wait_until(lambda: count_charges(simulator) == 9)
        clock.now += 1000.0
        finished = await running
    assert finished.last_line == "batch: done=9 failed=0 running=0 held=0 changed=1 exit=4 -> batch.out/videos"
    assert (len(list_videos(desk)), count_credits(simulator)) == (9, 9 * PRICE)


async def test_the_end_says_what_differs_and_what_each_choice_costs(desk: Desk, simulator: Simulator) -> None:
    await make_edited(desk, "sea", "lake")
    finished = await desk.call("run", "batch.yaml")
    *_, last = finished.err.partition(" exit=4 -> batch.out/videos\n")
    assert last.splitlines() == [
        "2 jobs were edited after they were paid for, or may have been, and wait for you to choose:",
        "  sea: prompt 'A calm sea' -> 'A wild sea'",
        "  lake: prompt 'A calm sea' -> 'A wild sea'",
        "  To go back, 0 credits: undo the edits in the manifest.",
        "  To have the videos as they are count for the edited jobs, 0 credits:",
        f"      {RUN} --id sea --id lake --keep-changed",
        "  To buy them anew, about 70 credits (35 each); the files that are here stay:",
        f"      {RUN} --id sea --id lake --rebuy-changed",
    ]
    assert (finished.code, count_charges(simulator)) == (4, 2)


async def test_the_commands_that_are_printed_do_what_they_say(desk: Desk, simulator: Simulator) -> None:
    await make_edited(desk, "sea")
    [keep, rebuy] = list_commands(await desk.call("run", "batch.yaml"))
    before = count_credits(simulator)
    assert ((await paste(desk, rebuy)).code, count_credits(simulator) - before) == (0, PRICE)
    write_jobs(desk, sea="A third sea", new="Not asked about")
    asked = len(simulator.requests)
    assert ((await paste(desk, keep)).code, len(simulator.requests) - asked) == (0, 0)
    assert count_states(desk) == {"done": 1}


async def test_the_price_that_is_named_is_what_is_charged_for_jobs_of_several_prices(
    desk: Desk, simulator: Simulator
) -> None:
    await make_edited(desk, "sea", "lake")
    desk.write_manifest(
        f"{PRICED}\njobs: [{{id: sea, prompt: Wild, duration: 10s}}, {{id: lake, prompt: Wild, resolution: 540p}}]"
    )
    finished = await desk.call("run", "batch.yaml")
    before = count_credits(simulator)
    assert (await paste(desk, list_commands(finished)[-1])).code == 0
    charged = count_credits(simulator) - before
    assert f"  To buy them anew, about {charged} credits (" in finished.err


async def test_many_edited_jobs_are_named_in_part_and_all_of_them_selected(desk: Desk, simulator: Simulator) -> None:
    await make_edited(desk, *(f"job{number:02}" for number in range(12)))
    finished = await desk.call("run", "batch.yaml", "--id", "job*")
    assert ("  … and 2 more\n" in finished.err, finished.err.count("'A calm sea' -> ")) == (True, 10)
    [plan, keep, rebuy] = list_commands(finished)
    assert (await paste(desk, plan)).out.count("changed ") == 12
    assert "about 420 credits (35 each)" in finished.err
    assert ((await paste(desk, keep)).code, count_charges(simulator)) == (0, 12)
    assert rebuy == f"{RUN} --id 'job*' --rebuy-changed"


# Keeping


async def test_a_kept_video_counts_for_the_edit_for_ever_and_for_no_other(desk: Desk, simulator: Simulator) -> None:
    await make_edited(desk, "sea")
    assert (await desk.run_here(), await desk.run_here(keeps_changed=True), await desk.run_here()) == (4, 0, 0)
    write_jobs(desk, sea="A calm sea")
    assert await desk.run_here() == 0
    write_jobs(desk, sea="A wild sea")
    assert await desk.run_here() == 0
    write_jobs(desk, sea="A third sea")
    assert (await desk.run_here(), await desk.run_here(keeps_changed=True), await desk.run_here()) == (4, 0, 0)
    assert count_charges(simulator) == 1


async def test_what_was_kept_is_not_bought_anew(desk: Desk, simulator: Simulator) -> None:
    await make_edited(desk, "sea")
    await desk.run_here(keeps_changed=True)
    assert (await desk.run_here(rebuys_changed=True), count_charges(simulator)) == (0, 1)


async def test_some_are_kept_by_their_ids_and_the_others_bought(desk: Desk, simulator: Simulator) -> None:
    await make_edited(desk, "sea", "lake", "river")
    assert await desk.run_here(ids=("sea", "l*"), keeps_changed=True) == 0
    assert (await desk.run_here(), count_charges(simulator)) == (4, 3)
    assert (await desk.run_here(rebuys_changed=True), count_charges(simulator)) == (0, 4)
    assert list_videos(desk) == ["lake.mp4", "river.mp4", "river.take2.mp4", "sea.mp4"]


async def test_the_first_of_the_edited_jobs_are_kept(desk: Desk) -> None:
    await make_edited(desk, "sea", "lake")
    assert (await desk.run_here(first=1, keeps_changed=True), await desk.run_here()) == (0, 4)
    assert "changed  lake  (prompt 'A calm sea' -> 'A wild sea')\n" in (await desk.call("plan", "batch.yaml")).out


async def test_new_jobs_are_bought_beside_what_is_kept(desk: Desk, simulator: Simulator) -> None:
    await make_edited(desk, "sea")
    write_jobs(desk, sea="A wild sea", new="Another")
    finished = await desk.call("run", "batch.yaml", "--keep-changed")
    assert "batch: 1 new video, about 35 credits (35 each), balance " in finished.err
    assert (", 1 done, 1 kept, 0 credits" in finished.err, finished.code, count_charges(simulator)) == (True, 0, 2)


async def test_a_video_that_is_kept_while_it_is_made_is_fetched_for_the_edit(tmp_path: Path) -> None:
    clock = Clock()
    async with open_desk(tmp_path, clock=clock) as (desk, simulator):
        write_jobs(desk, sea="A calm sea")
        await leave(desk, 1)
        clock.now += 1000.0
        write_jobs(desk, sea="A wild sea")
        assert (await desk.run_here(keeps_changed=True), list_videos(desk)) == (0, ["sea.mp4"])
        assert (await desk.run_here(), count_charges(simulator)) == (0, 1)


async def test_a_lost_request_that_is_kept_is_wanted_and_sent_again_as_it_was(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, proof="A scene")
    await desk.run_here()
    write_jobs(desk, proof="A scene", sea="A calm sea")
    simulator.plan_fault("lost-request")
    await leave(desk, 1, State.UNKNOWN)
    write_jobs(desk, proof="A scene", sea="A wild sea")
    assert (await desk.run_here(keeps_changed=True, quiet_window_seconds=0.1), count_charges(simulator)) == (0, 2)
    assert [row["prompt"] for row in read_results(desk) if row["id"] == "sea"] == ["A calm sea"]
    assert await desk.run_here() == 0


# In each state of what was sent


async def test_a_running_one_is_followed_and_fetched_and_a_later_run_can_buy_the_edit(tmp_path: Path) -> None:
    clock = Clock()
    async with open_desk(tmp_path, clock=clock) as (desk, simulator):
        write_jobs(desk, sea="A calm sea")
        await leave(desk, 1)
        write_jobs(desk, sea="A wild sea")
        stopped = await desk.call("run", "batch.yaml", "--max-runtime", "1s")
        assert "about 35 credits (35 each) (it is not ended yet: followed first, and bought by the run" in stopped.err
        clock.now += 1000.0
        assert (await desk.run_here(rebuys_changed=True), count_charges(simulator)) == (4, 1)
        assert list_videos(desk) == ["sea.mp4"]
        running = asyncio.create_task(desk.run_here(rebuys_changed=True))
        await wait_until(lambda: count_charges(simulator) == 2)
        clock.now += 1000.0
        assert (await running, list_videos(desk)) == (0, ["sea.mp4", "sea.take2.mp4"])


async def test_one_whose_answer_was_lost_is_found_and_fetched(tmp_path: Path) -> None:
    clock = Clock()
    async with open_desk(tmp_path, clock=clock, read_lag_seconds=100_000.0) as (desk, simulator):
        write_jobs(desk, sea="A calm sea")
        simulator.plan_fault("lost-answer")
        await leave(desk, 1, State.UNKNOWN)
        clock.now += 1000.0
        write_jobs(desk, sea="A wild sea")
        assert (await desk.run_here(), list_videos(desk), count_charges(simulator)) == (4, ["sea.mp4"], 1)


async def test_one_whose_request_was_lost_is_looked_for_and_not_sent_again(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, proof="A scene")
    await desk.run_here()
    write_jobs(desk, proof="A scene", sea="A calm sea")
    simulator.plan_fault("lost-request")
    await leave(desk, 1, State.UNKNOWN)
    write_jobs(desk, proof="A scene", sea="A wild sea", new="Another")
    assert await desk.run_here(quiet_window_seconds=0.1) == 4
    assert (count_states(desk), count_charges(simulator)) == ({"done": 2, "held": 1}, 2)
    write_jobs(desk, proof="A scene", sea="A calm sea", new="Another")
    resent = await desk.call("resolve", "batch.yaml", "--resend-same-id", "--id", "sea", "--quiet-window", "100ms")
    assert (resent.code, count_charges(simulator)) == (0, 3)


@pytest.mark.parametrize("word", ["forbidden", "doomed"])
async def test_an_edit_after_one_that_failed_and_was_undone_waits_for_a_word(
    desk: Desk, simulator: Simulator, word: str
) -> None:
    write_jobs(desk, sea="A calm sea")
    await desk.run_here()
    write_jobs(desk, sea=f"A {word} sea")
    assert await desk.run_here(rebuys_changed=True) == 1
    write_jobs(desk, sea="A calm sea")
    assert await desk.run_here() == 0
    charged = count_charges(simulator)
    write_jobs(desk, sea="A wild sea")
    assert (await desk.run_here(), count_charges(simulator) - charged) == (4, 0)


async def test_after_an_undone_edit_it_is_the_first_video_that_is_kept_for_another(
    desk: Desk, simulator: Simulator
) -> None:
    write_jobs(desk, sea="A calm sea")
    await desk.run_here()
    write_jobs(desk, sea="A green sea")
    await desk.run_here(rebuys_changed=True)
    write_jobs(desk, sea="A calm sea")
    await desk.run_here()
    write_jobs(desk, sea="A blue sea")
    told = await desk.call("plan", "batch.yaml", "--offline")
    assert "prompt 'A calm sea' -> 'A blue sea'" in " ".join(told.out.split())
    assert await desk.run_here(keeps_changed=True) == 0
    [row] = [each for each in read_results(desk) if each["id"] == "sea"]
    assert (row["attempt"], row["output"], count_charges(simulator)) == (1, "videos/sea.mp4", 2)


async def test_one_that_is_held_since_it_was_edited_is_sent_again_once_the_edit_is_undone(
    desk: Desk, simulator: Simulator
) -> None:
    write_jobs(desk, proof="A scene", sea="A calm sea")
    await desk.run_here(ids=("proof",))
    simulator.plan_fault("lost-request")
    await leave(desk, 1, State.UNKNOWN)
    write_jobs(desk, proof="A scene", sea="A wild sea")
    assert (await desk.run_here(quiet_window_seconds=0.1), count_states(desk)) == (4, {"done": 1, "held": 1})
    write_jobs(desk, proof="A scene", sea="A calm sea")
    assert (await desk.run_here(quiet_window_seconds=0.1), count_charges(simulator)) == (0, 2)
    assert [name for name in list_history(desk, "sea") if name in ("HELD_UNKNOWN", "RESENDING")] == [
        "HELD_UNKNOWN",
        "RESENDING",
    ]


async def test_a_held_one_waits_and_all_else_goes_on(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, sea="A calm sea")
    simulator.plan_fault("lost-request")
    assert await desk.run_here(quiet_window_seconds=0.1) == 4
    write_jobs(desk, sea="A wild sea", new="Another")
    assert (await desk.run_here(quiet_window_seconds=0.1), count_charges(simulator)) == (4, 1)
    assert (list_videos(desk), list_history(desk, "sea")[-1]) == (["new.mp4"], "HELD_UNKNOWN")


async def test_one_that_was_not_fetched_yet_is_fetched(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, sea="A calm sea")
    simulator.plan_fault("cut-download")
    assert await desk.run_here(replace(IMPATIENT, download_tries=1)) == 3
    assert list_history(desk, "sea")[-1] == "READY"
    write_jobs(desk, sea="A wild sea")
    assert (await desk.run_here(), list_videos(desk), count_charges(simulator)) == (4, ["sea.mp4"], 1)


async def test_one_that_fails_while_it_is_followed_is_not_bought_as_something_else_by_itself(tmp_path: Path) -> None:
    clock = Clock()
    async with open_desk(tmp_path, clock=clock) as (desk, simulator):
        write_jobs(desk, sea="A doomed sea")
        await leave(desk, 1)
        clock.now += 1000.0
        write_jobs(desk, sea="A wild sea")
        finished = await desk.call("run", "batch.yaml")
        assert (finished.code, " new=1 exit=3 " in finished.err, count_charges(simulator)) == (3, True, 1)
        running = asyncio.create_task(desk.run_here())
        await wait_until(lambda: count_charges(simulator) == 2)
        clock.now += 1000.0
        assert (await running, list_videos(desk)) == (0, ["sea.mp4"])


async def test_an_edit_before_anything_was_sent_or_after_a_refusal_is_new_work(
    desk: Desk, simulator: Simulator
) -> None:
    write_jobs(desk, sea="A forbidden sea", lake="A calm lake")
    await desk.run_here(ids=("sea",))
    write_jobs(desk, sea="A wild sea", lake="A wild lake")
    assert (await desk.run_here(), len(list_charged(simulator))) == (0, 2)


async def test_a_field_more_and_a_field_less_are_edits(desk: Desk) -> None:
    write_jobs(desk, sea="A calm sea", lake="A calm lake")
    await desk.run_here()
    body = (
        f"version: 1\n{FAST_LIMITS}\njobs:\n  - {{id: sea, prompt: A calm sea, model: fal/grok-video-t2v, duration: 5s"
    )
    lake = "model: fal/grok-video-t2v, duration: 5s, resolution: 720p, negative_prompt: boats"
    desk.write("batch.yaml", f"{body}}}\n  - {{id: lake, prompt: A calm lake, {lake}}}")
    finished = await desk.call("run", "batch.yaml")
    assert "  sea: resolution '720p' -> (none)\n  lake: negative_prompt (none) -> 'boats'\n" in finished.err


async def test_an_image_with_another_content_is_an_edit_and_nothing_is_uploaded(
    desk: Desk, simulator: Simulator
) -> None:
    desk.add_image("hero.png", 1)
    desk.write_manifest("jobs: [{id: hero, image: hero.png, prompt: P}]")
    await desk.run_here()
    desk.add_image("hero.png", 2)
    before = len(simulator.requests)
    finished = await desk.call("run", "batch.yaml")
    assert ("  hero: image has other content\n" in finished.err, finished.code) == (True, 4)
    assert {request.method for request in simulator.requests[before:]} == {"GET"}


async def test_a_word_near_the_end_of_a_long_prompt_is_shown(desk: Desk) -> None:
    words = "A walk along the harbour at dusk " * 60
    write_jobs(desk, sea=f"{words}with calm waves and a lamp")
    await desk.run_here()
    write_jobs(desk, sea=f"{words}with wild waves and a lamp")
    said = (await desk.call("run", "batch.yaml")).err
    shown = "'…A walk along the harbour at dusk with {} waves and a lamp'"
    assert f"  sea: prompt {shown.format('calm')} -> {shown.format('wild')}\n" in said


async def test_without_an_answer_about_prices_edited_jobs_are_named_all_the_same(
    desk: Desk, simulator: Simulator
) -> None:
    await make_edited(desk, "sea")
    simulator.plan_fault("5xx-before", 1000, "GET /models")
    finished = await desk.call("run", "batch.yaml")
    assert (finished.code, "To buy them anew, price unknown; the files that are here stay:" in finished.err) == (
        4,
        True,
    )


# What else waits for a person


async def test_videos_that_need_consent_wait_and_what_runs_is_fetched(tmp_path: Path) -> None:
    clock = Clock()
    async with open_desk(tmp_path, clock=clock) as (desk, simulator):
        write_jobs(desk, sea="A calm sea", gone="Gone soon")
        await leave(desk, 2)
        clock.now += 1000.0
        write_jobs(desk, sea="A wild sea", **{f"new{number}": "A scene" for number in range(11)})
        code, said = await run_far(desk)
        assert (code, "11 new videos need your consent" in said, count_charges(simulator)) == (78, True, 2)
        assert (list_videos(desk), count_states(desk)) == (["gone.mp4", "sea.mp4"], {"done": 2})


async def test_a_model_that_nobody_knows_waits_and_what_runs_is_fetched(tmp_path: Path) -> None:
    clock = Clock()
    async with open_desk(tmp_path, clock=clock) as (desk, simulator):
        write_jobs(desk, sea="A calm sea")
        await leave(desk, 1)
        clock.now += 1000.0
        desk.write_manifest(f"{PRICED}\njobs: [{{id: sea, prompt: A calm sea}}, {{id: x, prompt: P, model: Nothing}}]")
        finished = await desk.call("run", "batch.yaml")
        assert (finished.code, "no model called 'Nothing'" in finished.err, count_charges(simulator)) == (65, True, 1)
        assert list_videos(desk) == ["sea.mp4"]


async def test_while_something_must_be_mended_a_lost_request_is_looked_for_and_not_sent(
    desk: Desk, simulator: Simulator
) -> None:
    write_jobs(desk, proof="A scene")
    await desk.run_here()
    write_jobs(desk, proof="A scene", sea="A calm sea")
    simulator.plan_fault("lost-request")
    await leave(desk, 1, State.UNKNOWN)
    desk.write_manifest(f"{PRICED}\njobs: [{{id: sea, prompt: A calm sea}}, {{id: x, prompt: P, model: Nothing}}]")
    assert await desk.run_here(quiet_window_seconds=0.1) == 65
    assert (count_states(desk)["unknown"], count_charges(simulator)) == (1, 1)
    write_jobs(desk, proof="A scene", sea="A calm sea")
    assert (await desk.run_here(quiet_window_seconds=0.1), count_charges(simulator)) == (0, 2)


async def test_a_further_attempt_waits_too(tmp_path: Path) -> None:
    clock = Clock()
    async with open_desk(tmp_path, clock=clock) as (desk, simulator):
        write_jobs(desk, sea="A flaky sea")
        await leave(desk, 1)
        clock.now += 1000.0
        desk.write_manifest(f"{PRICED}\njobs: [{{id: sea, prompt: A flaky sea}}, {{id: x, prompt: P, model: Nothing}}]")
        assert (await desk.run_here(), count_charges(simulator)) == (65, 1)
        write_jobs(desk, sea="A flaky sea")
        running = asyncio.create_task(desk.run_here())
        await wait_until(lambda: count_charges(simulator) == 2)
        clock.now += 1000.0
        assert (await running, list_videos(desk)) == (0, ["sea.mp4"])


# The flags, and `plan`


@pytest.mark.parametrize("command", ["run", "plan"])
async def test_to_keep_and_to_buy_exclude_each_other(desk: Desk, command: str) -> None:
    await make_edited(desk, "sea")
    refused = await desk.call(command, "batch.yaml", "--keep-changed", "--rebuy-changed")
    assert (refused.code, "exclude each other" in refused.err) == (2, True)


async def test_plan_shows_what_would_be_kept_and_keeps_nothing(desk: Desk) -> None:
    await make_edited(desk, "sea")
    plain = await desk.call("plan", "batch.yaml")
    assert (plain.out, list_commands(plain)) == ("changed  sea  (prompt 'A calm sea' -> 'A wild sea')\n", [])
    assert f"\n    {RUN} --id sea --keep-changed\n" in plain.err
    assert f"\n    {RUN} --id sea --rebuy-changed\n" in plain.err
    kept = await desk.call("plan", "batch.yaml", "--keep-changed")
    assert (kept.out, "1 kept, 0 credits" in kept.err) == ("done     sea  (edited; its video is kept for it)\n", True)
    assert (await desk.call("plan", "batch.yaml")).out == plain.out


async def test_a_retry_follows_what_an_edited_job_began_and_says_how_to_go_on(tmp_path: Path) -> None:
    clock = Clock()
    async with open_desk(tmp_path, clock=clock) as (desk, simulator):
        write_jobs(desk, sea="A likeness of a sea")
        running = asyncio.create_task(desk.run_here())
        await wait_until(lambda: count_charges(simulator) == 1)
        clock.now += 1000.0
        assert await running == 1
        write_jobs(desk, sea="A calm sea")
        await leave(desk, 1)
        clock.now += 1000.0
        write_jobs(desk, sea="A wild sea")
        retried = await desk.call("retry", "batch.yaml")
        assert (retried.code, count_charges(simulator), list_videos(desk)) == (4, 2, ["sea.mp4"])
        assert list_commands(retried)[0] == f"{RUN} --id sea --keep-changed"


# The question


async def answer(desk: Desk, *answers: str, words: tuple[str, ...] = ()) -> Finished:
    """Run on a terminal, and type an answer at each question."""
    screen, terminal = pty.openpty()
    process = await desk.spawn(("run", "batch.yaml", *words), {"TERM": "dumb"}, stdin=terminal, stderr=terminal)
    os.close(terminal)
    shown, typed = b"", list(answers)
    with suppress(OSError):
        while part := await asyncio.to_thread(os.read, screen, 4096):
            shown += part
            if typed and shown.endswith(b"] "):
                text = typed.pop(0)
                os.write(screen, text.encode()) if text != STOP else process.send_signal(signal.SIGINT)
    await process.communicate()
    os.close(screen)
    return Finished(process.returncode or 0, "", shown.decode().replace("\r\n", "\n"))


@pytest.mark.parametrize(
    ("typed", "code", "bought"),
    [("k\n", 0, 1), ("Keep\n", 0, 1), ("b\n", 0, 3), ("w\n", 4, 1), ("\n", 4, 1), ("\x04", 4, 1), ("yes\n", 4, 1)],
    ids=["k", "keep", "b", "w", "empty", "end of input", "another word"],
)
async def test_on_a_terminal_a_run_asks_once_for_all_edited_jobs(
    desk: Desk, simulator: Simulator, typed: str, code: int, bought: int
) -> None:
    await make_edited(desk, "sea", "lake")
    write_jobs(desk, sea="A wild sea", lake="A wild lake", new="Another")
    finished = await answer(desk, typed)
    assert "  b  buy 2 anew, about 70 credits (35 each); the files that are here stay\n" in finished.err
    assert finished.err.count("Keep, buy or wait? [k/b/W] ") == 1
    assert (finished.code, count_charges(simulator) - 2) == (code, bought)
    assert await desk.run_here() == code


async def test_a_stop_at_the_question_buys_and_keeps_nothing(desk: Desk, simulator: Simulator) -> None:
    await make_edited(desk, "sea")
    write_jobs(desk, sea="A wild sea", new="Another")
    finished = await answer(desk, STOP)
    assert (finished.code, "\nNothing was bought.\n" in finished.err, count_charges(simulator)) == (130, True, 1)


async def test_what_is_bought_anew_counts_towards_the_question_about_many(desk: Desk, simulator: Simulator) -> None:
    await make_edited(desk, *(f"job{number:02}" for number in range(12)))
    code, said = await run_far(desk, answer="b\nn")
    assert (code, "Buy 12 new videos, about 420 credits" in said, count_charges(simulator)) == (3, True, 12)


@pytest.mark.parametrize("flag", ["--keep-changed", "--rebuy-changed"])
async def test_a_choice_that_was_made_is_not_asked_for(desk: Desk, flag: str) -> None:
    await make_edited(desk, "sea")
    finished = await answer(desk, words=(flag,))
    assert (finished.code, "[k/b/W]" in finished.err) == (0, False)


async def test_without_edited_jobs_nothing_is_asked(desk: Desk) -> None:
    write_jobs(desk, sea="A calm sea")
    assert "[k/b/W]" not in (await answer(desk)).err
