"""Results that the service has completed and lost: held after a day, looked for by each run, given up by a person."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from conftest import IMPATIENT, Desk, wait_until
from test_faults import count_states, list_charged, list_history, read_results

from hedra_batch.clock import Clock
from hedra_batch.decide import Settlement
from hedra_batch.run.settings import RunSettings
from hedra_batch.simulator.service import Simulator


class LaterClock(Clock):
    """The wall clock some hours later."""

    def __init__(self, hours: float) -> None:
        self._ahead = timedelta(hours=hours)

    def now(self) -> datetime:
        return super().now() + self._ahead


def after(hours: float) -> RunSettings:
    """One try of a download, so that a cut one leaves its result at the server, some hours later."""
    return replace(IMPATIENT, download_tries=1, clock=LaterClock(hours))


async def run_after(hours: float, desk: Desk) -> str:
    """Run some hours later; returns the state that the job is in then."""
    # What is still to be done is a person's matter once it was accepted a day ago.
    assert await desk.run_here(after(hours)) == (3 if hours < 24 else 4)
    return list_history(desk, "scene")[-1]


async def lose_ready(desk: Desk, simulator: Simulator) -> str:
    """Leave a result at the server, which then loses it; returns its id."""
    desk.write_manifest("jobs: [{id: scene, prompt: One scene}]")
    simulator.plan_fault("cut-download")
    assert await run_after(0, desk) == "READY"
    [generation_id] = list_charged(simulator)
    simulator.lose_result(generation_id)
    return generation_id


async def hold_lost(desk: Desk, simulator: Simulator) -> str:
    generation_id = await lose_ready(desk, simulator)
    assert (await run_after(1, desk), await run_after(26, desk)) == ("READY", "HELD_LOST")
    return generation_id


def count_looks(simulator: Simulator, generation_id: str) -> int:
    return sum(each.path.endswith(f"/{generation_id}/status") for each in simulator.requests)


async def test_a_result_that_is_denied_for_less_than_a_day_stays_ready(desk: Desk, simulator: Simulator) -> None:
    await lose_ready(desk, simulator)
    # Counted from the first denial, whenever the result was made.
    assert [await run_after(hours, desk) for hours in (30, 31, 53)] == ["READY"] * 3
    assert count_states(desk) == {"running": 1}


async def test_a_result_that_is_denied_for_a_day_is_held_as_lost(desk: Desk, simulator: Simulator) -> None:
    await hold_lost(desk, simulator)
    [row] = read_results(desk)
    assert (row["state"], row["error_code"], len(list_charged(simulator))) == ("held", "result_lost", 1)


async def test_a_denial_counts_from_the_last_time_that_the_result_was_there(desk: Desk, simulator: Simulator) -> None:
    generation_id = await lose_ready(desk, simulator)
    assert await run_after(1, desk) == "READY"
    simulator.find_result_again(generation_id)
    simulator.plan_fault("cut-download")
    assert await run_after(13, desk) == "READY"
    simulator.lose_result(generation_id)
    assert [await run_after(hours, desk) for hours in (26, 49, 51)] == ["READY", "READY", "HELD_LOST"]


async def test_each_later_run_looks_once_more_and_buys_nothing(desk: Desk, simulator: Simulator) -> None:
    generation_id = await hold_lost(desk, simulator)
    for _ in range(3):
        looks = count_looks(simulator, generation_id)
        assert (await desk.run_here(), count_states(desk)) == (4, {"held": 1})
        assert count_looks(simulator, generation_id) == looks + 1
    assert len(list_charged(simulator)) == 1


@pytest.mark.parametrize("settlement", [None, Settlement.RECHECK])
async def test_what_is_back_is_fetched(desk: Desk, simulator: Simulator, settlement: Settlement | None) -> None:
    simulator.find_result_again(await hold_lost(desk, simulator))
    assert (await desk.run_here(settlement=settlement), count_states(desk)) == (0, {"done": 1})
    assert (list_history(desk, "scene")[-3:], len(list_charged(simulator))) == (["HELD_LOST", "READY", "DONE"], 1)
    assert (desk.folder / "batch.out" / "videos" / "scene.mp4").exists()


async def test_what_is_back_and_lost_again_has_a_day_again(desk: Desk, simulator: Simulator) -> None:
    generation_id = await hold_lost(desk, simulator)
    simulator.find_result_again(generation_id)
    simulator.plan_fault("cut-download")
    assert await run_after(50, desk) == "READY"
    simulator.lose_result(generation_id)
    assert [await run_after(hours, desk) for hours in (51, 74, 76)] == ["READY", "READY", "HELD_LOST"]


async def test_resolve_says_that_a_result_is_lost(desk: Desk, simulator: Simulator) -> None:
    generation_id = await hold_lost(desk, simulator)
    listed = await desk.call("resolve", "batch.yaml")
    assert (listed.code, listed.out.startswith("scene: held, attempt 1\n")) == (4, True)
    assert f"    id       {generation_id}\n" in listed.out
    reason = "It was made and paid for, but the server has denied its result for a day. The server no longer knows it ("
    assert f"    why      {reason}" in listed.out
    assert "    cost     unknown\n" in listed.out
    assert "still running" not in listed.out


async def test_what_cannot_be_fetched_for_a_day_can_be_given_up(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: One scene}, {id: fresh, prompt: Another}]")
    for hours, name in ((-25, "scene"), (-1, "fresh")):
        simulator.plan_fault("cut-download")
        assert await desk.run_here(after(hours), ids=(name,)) == 3
    listed = await desk.call("resolve", "batch.yaml")
    assert (listed.code, "scene: not fetched, attempt 1\n" in listed.out, "fresh" in listed.out) == (4, True, False)
    assert "    why      None" not in listed.out
    assert (await desk.call("resolve", "batch.yaml", "--abandon", "--id", "*")).out == "scene: abandoned\n"
    assert (await desk.run_here(), count_states(desk)) == (1, {"failed": 1, "done": 1})
    assert len(list_charged(simulator)) == 2


async def test_a_lost_result_is_named_by_verify_and_by_fetch(desk: Desk, simulator: Simulator) -> None:
    await hold_lost(desk, simulator)
    verified = await desk.call("verify", "batch.yaml")
    assert (verified.code, verified.out.startswith("lost: scene: ")) == (4, True)
    fetched = await desk.call("fetch", "batch.yaml")
    assert (fetched.code, "hedra-batch resolve batch.yaml" in fetched.err) == (4, True)


async def test_fetch_names_a_command_that_works_for_another_folder(desk: Desk, simulator: Simulator) -> None:
    await hold_lost(desk, simulator)
    (desk.folder / "batch.out").rename(desk.folder / "elsewhere")
    fetched = await desk.call("fetch", "batch.yaml", "--folder", "elsewhere")
    [advised] = [line for line in fetched.err.splitlines() if line.startswith("    hedra-batch ")]
    words = shlex.split(advised)[1:]
    assert (await desk.call(*words)).out.startswith("scene: held, attempt 1\n")


async def test_fetch_gets_what_is_back(desk: Desk, simulator: Simulator) -> None:
    simulator.find_result_again(await hold_lost(desk, simulator))
    fetched = await desk.call("fetch", "batch.yaml")
    assert (fetched.code, fetched.err.splitlines()[-1]) == (0, "batch: 1 video downloaded.")
    assert count_states(desk) == {"done": 1}


async def test_fetch_is_quiet_unless_a_person_must_look(desk: Desk, simulator: Simulator) -> None:
    generation_id = await hold_lost(desk, simulator)
    assert "1 video lost at the server." in (await desk.call("fetch", "batch.yaml", "-q")).err
    simulator.find_result_again(generation_id)
    assert (await desk.call("fetch", "batch.yaml", "-q")).err == ""


async def test_fetch_says_that_there_is_nothing_to_download(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: A scene}]")
    await desk.run_here()
    fetched = await desk.call("fetch", "batch.yaml")
    assert (fetched.code, fetched.err.splitlines()[-1]) == (0, "batch: nothing to download.")


async def test_what_was_paid_for_and_lost_is_not_sent_again_under_its_key(desk: Desk, simulator: Simulator) -> None:
    await hold_lost(desk, simulator)
    code = await desk.run_here(settlement=Settlement.RESEND, ids=("scene",), quiet_window_seconds=0.01)
    assert (code, count_states(desk), len(list_charged(simulator))) == (4, {"held": 1}, 1)


async def test_what_is_given_up_is_bought_anew_by_retry(desk: Desk, simulator: Simulator) -> None:
    await hold_lost(desk, simulator)
    given_up = await desk.call("resolve", "batch.yaml", "--abandon", "--id", "scene")
    assert (given_up.code, given_up.out) == (0, "scene: abandoned\n")
    assert (await desk.run_here(), len(list_charged(simulator))) == (1, 1)
    retried = await desk.call("retry", "batch.yaml", "--error", "abandoned")
    assert (retried.code, count_states(desk), len(set(list_charged(simulator)))) == (0, {"done": 1}, 2)


async def test_a_single_denial_is_asked_about_again_in_the_same_run(desk: Desk, simulator: Simulator) -> None:
    generation_id = await lose_ready(desk, simulator)
    looks = count_looks(simulator, generation_id)
    running = asyncio.create_task(desk.run_here(replace(IMPATIENT, first_pause_seconds=0.2)))
    await wait_until(lambda: count_looks(simulator, generation_id) > looks)
    simulator.find_result_again(generation_id)
    assert await running == 0
