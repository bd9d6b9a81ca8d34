"""`resolve`, and jobs that do not end: what a person is told, and what a decision does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conftest import IMPATIENT, Desk
from test_faults import TWO_JOBS, count_states, list_charged, list_history, open_desk, run

from hedra_batch.decide import Settlement
from hedra_batch.simulator.service import Simulator

#: A generation is overdue at the first reading.
HASTY = replace(IMPATIENT, overdue_seconds=0.0, overdue_factor=0.0, overdue_poll_seconds=0.05)
#: One job that never ends among two that do.
WITH_ENDLESS = f"{TWO_JOBS}\n  - {{id: slow, prompt: An endless scene}}"


async def hold_first(desk: Desk, simulator: Simulator) -> None:
    """Lose the request of the first job on a server of which nothing shows that it uses our ids."""
    desk.write_manifest(TWO_JOBS)
    simulator.plan_fault("lost-request")
    assert await run(desk, "first") == 4


async def test_resolve_lists_what_is_known_of_a_held_job(desk: Desk, simulator: Simulator) -> None:
    await hold_first(desk, simulator)
    listed = await desk.call("resolve", "batch.yaml")
    [posted] = [request.generation_id for request in simulator.requests if request.generation_id]
    assert listed.code == 4
    assert listed.out.startswith("first: held, attempt 1\n    prompt   One scene\n")
    assert f"    id       {posted}\n    sent     20" in listed.out
    assert "; not found at the server, last at 20" in listed.out
    assert "    cost     unknown, if it was accepted" in listed.out


async def test_resolve_says_what_it_may_cost_where_the_price_is_known(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(f"{TWO_JOBS}\ndefaults: {{model: fal/grok-video-t2v, duration: 5s}}")
    simulator.plan_fault("lost-request")
    await run(desk, "first")
    assert "    cost     35 credits, if it was accepted" in (await desk.call("resolve", "batch.yaml")).out


async def test_resolve_says_what_each_choice_costs_and_its_command(desk: Desk, simulator: Simulator) -> None:
    await hold_first(desk, simulator)
    lines = (await desk.call("resolve", "batch.yaml")).err.splitlines()
    assert lines[0].startswith("1 job waits for your decision.")
    assert [line for line in lines if line.startswith("    ")] == [
        "    hedra-batch resolve batch.yaml --recheck",
        "    hedra-batch resolve batch.yaml --resend-same-id --id first",
        "    hedra-batch resolve batch.yaml --abandon --id first",
    ]


async def test_what_was_accepted_is_not_offered_to_be_sent_again(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: slow, prompt: An endless scene}]")
    await desk.run_here(HASTY)
    said = (await desk.call("resolve", "batch.yaml")).err
    assert ("--resend-same-id" in said, "--abandon --id slow" in said) == (False, True)


async def test_jobs_of_several_editions_are_settled_with_their_label(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: slow, prompt: An endless scene}]")
    await desk.run_here(HASTY)
    await desk.run_here(HASTY, edition="today")
    said = (await desk.call("resolve", "batch.yaml")).err
    assert "    hedra-batch resolve batch.yaml --edition LABEL --abandon --id ID\n" in said
    listed = await desk.call("resolve", "batch.yaml", "--edition", "today")
    assert (listed.out.count("overdue, attempt 1"), " --edition 2" in listed.err) == (1, True)


async def test_nothing_held_is_said_so(desk: Desk) -> None:
    desk.write_manifest(TWO_JOBS)
    listed = await desk.call("resolve", "batch.yaml")
    assert (listed.code, listed.out, listed.err) == (0, "", "No job is held or overdue: there is nothing to decide.\n")


async def test_recheck_finds_what_arrived_late_and_fetches_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with open_desk(tmp_path_factory.mktemp("late"), arrival_delay_seconds=600.0) as (desk, simulator):
        desk.write_manifest(TWO_JOBS)
        simulator.plan_fault("lost-answer")
        assert (await run(desk, "first", window_seconds=0.05), list_charged(simulator)) == (4, [])
        code = None
        while code != 0:
            code = await desk.run_here(settlement=Settlement.RECHECK)
        assert (count_states(desk), len(list_charged(simulator))) == ({"done": 1}, 1)


async def test_a_person_can_have_the_same_request_sent_again(desk: Desk, simulator: Simulator) -> None:
    await hold_first(desk, simulator)
    code = await desk.run_here(settlement=Settlement.RESEND, ids=("first",), quiet_window_seconds=0.01)
    posted = [request.generation_id for request in simulator.requests if request.generation_id]
    assert (code, len(posted), len(set(posted)), len(list_charged(simulator))) == (0, 2, 1, 1)


async def test_the_same_request_is_not_sent_again_while_it_may_still_arrive(desk: Desk, simulator: Simulator) -> None:
    await hold_first(desk, simulator)
    code = await desk.run_here(settlement=Settlement.RESEND, ids=("first",), quiet_window_seconds=3600.0)
    assert (code, len([request for request in simulator.requests if request.generation_id])) == (4, 1)
    log = max((desk.folder / "batch.out" / "logs").iterdir()).read_text()
    assert "first: Not sent again yet: it may still arrive. Try again in 60 min." in log


async def test_a_request_is_sent_again_though_its_job_left_the_manifest(desk: Desk, simulator: Simulator) -> None:
    await hold_first(desk, simulator)
    desk.write_manifest("jobs: [{id: other, prompt: Another scene}]")
    code = await desk.run_here(settlement=Settlement.RESEND, ids=("first",), quiet_window_seconds=0.01)
    assert (code, count_states(desk), len(list_charged(simulator))) == (0, {"done": 1}, 1)


async def test_what_was_given_up_is_bought_anew_by_retry_only(desk: Desk, simulator: Simulator) -> None:
    await hold_first(desk, simulator)
    given_up = await desk.call("resolve", "batch.yaml", "--abandon", "--id", "first")
    assert (given_up.code, given_up.out) == (0, "first: abandoned\n")
    assert (await run(desk, "first"), len(list_charged(simulator))) == (1, 0)
    assert (await desk.run_here(retried_codes=("*",)), len(list_charged(simulator))) == (0, 1)
    assert list_history(desk, "first")[:5] == ["NEW", "RESERVED", "SENDING", "UNKNOWN", "HELD_UNPROVEN"]


async def test_a_job_that_was_given_up_and_edited_is_not_bought_in_silence(desk: Desk, simulator: Simulator) -> None:
    await hold_first(desk, simulator)
    await desk.call("resolve", "batch.yaml", "--abandon", "--id", "first")
    desk.write_manifest("jobs: [{id: first, prompt: Edited}]")
    assert (await run(desk), len(list_charged(simulator))) == (4, 0)
    assert (await desk.run_here(rebuys_changed=True), len(list_charged(simulator))) == (0, 1)


async def test_a_decision_is_for_one_edition(desk: Desk, simulator: Simulator) -> None:
    await hold_first(desk, simulator)
    simulator.plan_fault("lost-request")
    await desk.run_here(edition="june", ids=("first",), quiet_window_seconds=0.1)
    given_up = await desk.call("resolve", "batch.yaml", "--abandon", "--id", "first", "--edition", "june")
    assert (given_up.out, count_states(desk)) == ("first (june): abandoned\n", {"held": 1, "failed": 1})


async def test_settling_buys_nothing_but_what_was_said(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: first, prompt: A doomed scene}]")
    simulator.plan_fault("lost-request")
    await run(desk, "first")
    code = await desk.run_here(settlement=Settlement.RESEND, ids=("first",), quiet_window_seconds=0.01)
    assert (code, count_states(desk), len(list_charged(simulator))) == (1, {"failed": 1}, 1)


async def test_an_order_outlasts_a_server_that_is_busy(desk: Desk, simulator: Simulator) -> None:
    await hold_first(desk, simulator)
    simulator.plan_fault("429")
    code = await desk.run_here(settlement=Settlement.RESEND, ids=("first",), quiet_window_seconds=0.01)
    assert (code, len(list_charged(simulator))) == (0, 1)


async def test_an_order_that_waits_for_room_in_the_budget_can_be_given_up(desk: Desk, simulator: Simulator) -> None:
    await hold_first(desk, simulator)
    desk.write_manifest(f"budget: 1 credit\n{TWO_JOBS}")
    code = await desk.run_here(settlement=Settlement.RESEND, ids=("first",), quiet_window_seconds=0.01)
    assert (code, list_history(desk, "first")[-1]) == (6, "RESEND_ORDERED")
    given_up = await desk.call("resolve", "batch.yaml", "--abandon", "--id", "first")
    assert (given_up.code, given_up.out, list_charged(simulator)) == (0, "first: abandoned\n", [])


async def order_without_room(desk: Desk, simulator: Simulator) -> None:
    await hold_first(desk, simulator)
    words = ("--resend-same-id", "--id", "first", "--budget", "1", "--quiet-window", "10ms")
    assert (await desk.call("resolve", "batch.yaml", *words)).code == 6
    assert (list_history(desk, "first")[-1], list_charged(simulator)) == ("RESEND_ORDERED", [])


async def test_an_order_that_waits_is_not_to_be_looked_for_and_the_next_run_sends_it(
    desk: Desk, simulator: Simulator
) -> None:
    await order_without_room(desk, simulator)
    listed = await desk.call("resolve", "batch.yaml")
    assert "the next run sends it, at its price.\n    hedra-batch run batch.yaml --id first\n" in listed.err
    assert ("--recheck" in listed.err, "--abandon --id first" in listed.err) == (False, True)
    sent = await desk.call("run", "batch.yaml", "--id", "first")
    assert (sent.code, len(list_charged(simulator)), count_states(desk)) == (0, 1, {"done": 1})


async def test_what_is_listed_beside_an_order_can_be_looked_for(desk: Desk, simulator: Simulator) -> None:
    await order_without_room(desk, simulator)
    simulator.plan_fault("lost-request")
    await run(desk, "second")
    listed = await desk.call("resolve", "batch.yaml")
    assert "    hedra-batch resolve batch.yaml --recheck\n" in listed.err
    assert "    hedra-batch run batch.yaml --id first\n" in listed.err


async def test_the_lost_request_of_another_edition_is_sent_again_when_the_manifest_still_asks_for_it(
    desk: Desk, simulator: Simulator
) -> None:
    desk.write_manifest(TWO_JOBS)
    await desk.run_here(edition="monday", ids=("second",))
    simulator.plan_fault("lost-request")
    await desk.run_here(edition="monday", quiet_window_seconds=60.0, max_runtime_seconds=0.5)
    assert (await desk.run_here(edition="tuesday", quiet_window_seconds=0.1), len(list_charged(simulator))) == (0, 4)


async def test_one_thing_is_decided_at_a_time(desk: Desk, simulator: Simulator) -> None:
    await hold_first(desk, simulator)
    refused = await desk.call("resolve", "batch.yaml", "--resend-same-id", "--abandon", "--id", "first")
    assert (refused.code, "Choose one of --recheck, " in refused.err, count_states(desk)) == (2, True, {"held": 1})


@pytest.mark.parametrize("decision", ["--abandon", "--resend-same-id"])
async def test_a_decision_that_may_cost_names_its_jobs(desk: Desk, simulator: Simulator, decision: str) -> None:
    await hold_first(desk, simulator)
    refused = await desk.call("resolve", "batch.yaml", decision)
    unknown = await desk.call("resolve", "batch.yaml", decision, "--id", "nobody")
    assert (refused.code, "--id '*' means all of them" in refused.err) == (2, True)
    assert (unknown.code, "No held job has an id like nobody" in unknown.err) == (2, True)


async def test_a_run_whose_only_open_jobs_are_stuck_ends(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(WITH_ENDLESS)
    assert (await desk.run_here(replace(HASTY, overdue_seconds=0.3)), count_states(desk)["running"]) == (3, 1)
    assert (await desk.run_here(HASTY), len(list_charged(simulator))) == (3, 3)
    assert list_history(desk, "slow") == ["NEW", "RESERVED", "SENDING", "ACCEPTED", "OVERDUE"]


async def test_stuck_jobs_keep_no_slots(desk: Desk, simulator: Simulator) -> None:
    jobs = "\n".join(f"  - {{id: slow-{number}, prompt: Endless scene {number}}}" for number in range(10))
    desk.write_manifest(f"jobs:\n{jobs}\n  - {{id: good, prompt: A scene}}")
    code = await desk.run_here(replace(HASTY, overdue_seconds=0.3), in_flight=1)
    assert (code, count_states(desk), len(list_charged(simulator))) == (3, {"running": 10, "done": 1}, 11)


async def test_a_stuck_job_that_ends_after_all_is_fetched(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with open_desk(tmp_path_factory.mktemp("slow"), generation_seconds=600.0) as (desk, simulator):
        desk.write_manifest("jobs: [{id: scene, prompt: One scene}]")
        assert await desk.run_here(HASTY) == 3
        code = 3
        while code == 3:
            code = await desk.run_here(HASTY)
        assert (code, count_states(desk), len(list_charged(simulator))) == (0, {"done": 1}, 1)


async def test_a_stuck_job_can_be_given_up(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: slow, prompt: An endless scene}]")
    await desk.run_here(HASTY)
    listed = await desk.call("resolve", "batch.yaml")
    assert (listed.code, "slow: overdue, attempt 1" in listed.out, "still running" in listed.out) == (4, True, True)
    await desk.call("resolve", "batch.yaml", "--abandon", "--id", "slow")
    assert count_states(desk) == {"failed": 1}


async def test_an_order_that_is_refused_ends_though_the_server_is_known_to_use_our_ids(
    desk: Desk, simulator: Simulator
) -> None:
    await hold_first(desk, simulator)
    assert await run(desk, "second") == 0
    code = await desk.run_here(settlement=Settlement.RESEND, ids=("first",), quiet_window_seconds=3600.0)
    assert (code, len(list_charged(simulator))) == (4, 1)
