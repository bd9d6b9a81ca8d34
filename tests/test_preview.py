"""`plan` with prices, its code, and the run that buys exactly that or nothing."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import IMPATIENT, Desk, wait_until
from scripted import serve
from test_faults import list_charged, open_desk
from test_ledger import accept, apply, opened
from test_money import PRICED, write_jobs

from hedra_batch.ledger import events
from hedra_batch.simulator.service import Simulator


def find_code(said: str) -> str:
    return str(re.findall(r"^code: (\w+)", said, re.MULTILINE)[0])


def list_files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


async def test_a_plan_says_prices_balance_time_sum_and_a_code_and_writes_nothing(desk: Desk) -> None:
    write_jobs(desk, 12)
    before = list_files(desk.folder)
    planned = await desk.call("plan", "batch.yaml")
    assert planned.out.splitlines()[0] == "new      job-0  35 credits"
    assert "12 new videos, about 420 credits (35 each), balance 10,000\n" in planned.err
    assert "the balance covers all 12\n" in planned.err
    assert re.search(r"^It takes about .* at this pace \(100/s, 8 at once\)\.$", planned.err, re.MULTILINE)
    assert "to buy: 12 videos, about 420 of 10,000 credits\n" in planned.err
    assert planned.err.endswith(f"    hedra-batch run batch.yaml --plan {find_code(planned.err)}\n")
    assert (planned.code, list_files(desk.folder)) == (0, before)


async def test_run_buys_exactly_the_plan_with_its_code_unasked(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 12)
    code = find_code((await desk.call("plan", "batch.yaml")).err)
    assert (await desk.call("run", "batch.yaml", "--plan", code.lower())).code == 0
    assert len(list_charged(simulator)) == 12


@pytest.mark.parametrize(
    "rest",
    [
        "jobs:\n  - {id: job-0, prompt: Another scene}\n  - {id: job-1, prompt: Scene 1}",
        "jobs:\n  - {id: job-0, prompt: Scene 0}\n  - {id: other, prompt: Scene 1}",
        "jobs:\n  - {id: job-0, prompt: Scene 0}",
        "jobs:\n  - {id: job-0, prompt: Scene 0}\n  - {id: job-1, prompt: Scene 1}\n  - {id: more, prompt: Scene 2}",
        "jobs:\n  - {id: job-0, prompt: Scene 0}\n  - {id: job-1, prompt: Scene 1, duration: 10s}",
    ],
)
async def test_after_an_edit_a_plan_is_another_one(desk: Desk, simulator: Simulator, rest: str) -> None:
    write_jobs(desk, 2)
    code = find_code((await desk.call("plan", "batch.yaml")).err)
    desk.write_manifest(f"{PRICED}\n{rest}")
    run = await desk.call("run", "batch.yaml", "--plan", code)
    assert (run.code, simulator.billing) == (78, [])
    assert f"the plan is no longer the one with the code {code}. A run would buy " in run.err
    assert "\n    hedra-batch plan batch.yaml\n" in run.err


async def test_after_a_run_of_a_part_the_plan_is_another_one(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 3)
    code = find_code((await desk.call("plan", "batch.yaml")).err)
    await desk.call("run", "batch.yaml", "--first", "1")
    assert (await desk.call("run", "batch.yaml", "--plan", code)).code == 78
    assert len(list_charged(simulator)) == 1


async def test_a_plan_that_is_bought_can_be_run_again_to_fetch_the_rest(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 3)
    code = find_code((await desk.call("plan", "batch.yaml")).err)
    simulator.plan_fault("cut-download")
    assert await desk.run_here(replace(IMPATIENT, download_tries=1), plan_code=code) == 3
    again = await desk.call("run", "batch.yaml", "--plan", code)
    assert (again.code, "done=3" in again.last_line, len(list_charged(simulator))) == (0, True, 3)


async def test_the_rest_of_a_plan_is_bought_with_the_code_that_is_advised(tmp_path: Path) -> None:
    async with open_desk(tmp_path, credits=80) as (desk, simulator):
        write_jobs(desk, 3)
        code = find_code((await desk.call("plan", "batch.yaml", "--first", "2")).err)
        assert (await desk.call("run", "batch.yaml", "--first", "2", "--plan", code)).code == 0
        other = await desk.call("run", "batch.yaml", "--plan", code)
        assert (other.code, "\n    hedra-batch plan batch.yaml\n" in other.err) == (78, True)
        assert len(list_charged(simulator)) == 2


async def test_another_plan_is_shown_with_the_choice_for_edited_jobs(desk: Desk) -> None:
    write_jobs(desk, 2)
    await desk.call("run", "batch.yaml")
    desk.write_manifest(f"{PRICED}\njobs:\n  - {{id: job-0, prompt: Other}}\n  - {{id: job-1, prompt: Scene 1}}")
    run = await desk.call("run", "batch.yaml", "--rebuy-changed", "--plan", "22222222")
    assert (run.code, "\n    hedra-batch plan batch.yaml --rebuy-changed\n" in run.err) == (78, True)


async def test_a_balance_that_covers_less_than_the_budget_lets_through_is_not_said_to_cover_all(tmp_path: Path) -> None:
    async with open_desk(tmp_path, credits=40) as (desk, _):
        write_jobs(desk, 3, f"{PRICED}\nbudget: 40 credits")
        planned = await desk.call("plan", "batch.yaml")
        assert ("the budget covers 1 of 3\n" in planned.err, "the balance covers" in planned.err) == (True, False)
        write_jobs(desk, 3, "")
        assert "the balance covers" not in (await desk.call("plan", "batch.yaml")).err


async def test_after_a_change_of_price_the_plan_is_another_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with open_desk(tmp_path_factory.mktemp("dear"), charge_factor=3.0) as (desk, simulator):
        write_jobs(desk, 2)
        code = find_code((await desk.call("plan", "batch.yaml")).err)
        desk.write_manifest(f"{PRICED}\njobs: [{{id: trial, prompt: A trial}}]")
        await desk.call("run", "batch.yaml")
        write_jobs(desk, 2)
        run = await desk.call("run", "batch.yaml", "--plan", code)
        assert (run.code, len(list_charged(simulator))) == (78, 1)
        assert "about 210 credits (105 each)" in run.err


async def test_what_was_charged_more_than_the_plan_has_ends_buying(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with open_desk(tmp_path_factory.mktemp("dear"), charge_factor=3.0) as (desk, simulator):
        write_jobs(desk, 4)
        planned = await desk.call("plan", "batch.yaml")
        run = await desk.call("run", "batch.yaml", "--plan", find_code(planned.err), "--in-flight", "1")
        assert (run.code, len(list_charged(simulator))) == (78, 1)
        assert "job-0: 105 credits were charged, and the plan has 35." in run.err
        assert run.err.endswith("\n      hedra-batch plan batch.yaml\n")


async def test_a_plan_that_is_not_covered_is_not_bought_in_part(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 4, f"{PRICED}\nbudget: 100 credits")
    planned = await desk.call("plan", "batch.yaml")
    assert "budget 100 credits (0 spent)\n" in planned.err
    assert "the budget covers 2 of 4\n" in planned.err
    run = await desk.call("run", "batch.yaml", "--plan", find_code(planned.err))
    assert (run.code, simulator.billing) == (6, [])


async def test_a_plan_that_is_bought_is_followed_by_no_attempt_of_its_own(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(f"{PRICED}\njobs: [{{id: flaky, prompt: A flaky scene}}]")
    code = find_code((await desk.call("plan", "batch.yaml")).err)
    await desk.call("run", "batch.yaml", "--plan", code)
    assert len(list_charged(simulator)) == 1
    again = await desk.call("plan", "batch.yaml")
    assert "new      flaky  35 credits  (attempt 2)\n" in again.out


async def test_a_code_without_prices_is_for_the_same_jobs(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 2)
    planned = await desk.call("plan", "batch.yaml", "--offline")
    assert "No prices: --offline.\n" in planned.err
    assert "to buy: 2 videos, prices not known\n" in planned.err
    assert (await desk.call("run", "batch.yaml", "--plan", find_code(planned.err))).code == 0
    assert len(list_charged(simulator)) == 2


async def test_the_plan_of_a_trial_can_be_run(desk: Desk) -> None:
    write_jobs(desk, 1)
    code = find_code((await desk.call("plan", "batch.yaml", "--simulate")).err)
    assert (await desk.call("run", "batch.yaml", "--simulate", "--plan", "WRONG")).code == 78
    assert (await desk.call("run", "batch.yaml", "--simulate", "--plan", code)).code == 0


async def test_without_a_key_or_an_answer_a_plan_says_in_one_line_why_there_are_no_prices(desk: Desk) -> None:
    write_jobs(desk, 1)
    keyless = await desk.call("plan", "batch.yaml", HEDRA_API_KEY="")
    refused = await desk.call("plan", "batch.yaml", HEDRA_API_KEY="wrong")
    dead = await desk.call("plan", "batch.yaml", "--base-url", "http://127.0.0.1:1")
    foreign = await desk.call("plan", "batch.yaml", "--base-url", "http://example.org")
    for planned, why in [
        (keyless, "There is no API key."),
        (refused, "key"),
        (dead, "No connection to "),
        (foreign, "https"),
    ]:
        assert (planned.code, planned.out) == (0, "new      job-0\n")
        [line] = [line for line in planned.err.splitlines() if line.startswith("No prices: ")]
        assert why in line


async def test_an_address_that_never_answers_is_given_up_after_a_few_seconds(desk: Desk) -> None:
    write_jobs(desk, 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        planned = await desk.call("plan", "batch.yaml", "--base-url", address)
    assert "No prices: The API did not answer within 5 s. --offline asks nothing.\n" in planned.err
    assert planned.code == 0


async def test_an_api_that_tells_no_prices_or_no_balance_is_no_obstacle(desk: Desk) -> None:
    write_jobs(desk, 2)
    model = {"slug": "fal/grok-video-t2v", "name": "Grok", "pricing": {"credits_per_second": "7"}}
    async with serve(models=lambda _: [model]) as poor:
        planned = await desk.call("plan", "batch.yaml", "--base-url", poor.url)
    assert "to buy: 2 videos, about 70 credits, balance unknown\n" in planned.err
    async with serve(models=lambda _: [], balance=lambda _: {"remaining": "9"}) as empty:
        planned = await desk.call("plan", "batch.yaml", "--base-url", empty.url)
    assert "to buy: 2 videos, price unknown, balance 9 credits\n" in planned.err


async def test_a_model_that_there_is_not_is_told_by_the_plan_already(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: a, prompt: P, model: Nonsense}]")
    planned = await desk.call("plan", "batch.yaml")
    assert (planned.code, "the API has no model called 'Nonsense'" in planned.err) == (65, True)


async def test_a_plan_is_made_while_a_run_is_going(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(f"{PRICED}\nbudget: 70 credits\njobs:\n  - {{id: first, prompt: An endless scene}}")
    run = await desk.start("run", "batch.yaml")
    await wait_until(lambda: len(simulator.billing) == 1)
    desk.write_manifest(
        f"{PRICED}\nbudget: 70 credits\njobs:\n  - {{id: first, prompt: An endless scene}}\n"
        "  - {id: second, prompt: Scene 2}\n  - {id: third, prompt: Scene 3}"
    )
    planned = await desk.call("plan", "batch.yaml", "--exit-code")
    run.terminate()
    await run.communicate()
    assert "new      second  35 credits\n" in planned.out
    assert (planned.code, "the budget covers 1 of 2\n" in planned.err) == (3, True)


async def test_a_plan_says_what_changed(desk: Desk) -> None:
    write_jobs(desk, 1)
    await desk.call("run", "batch.yaml")
    desk.write_manifest(f"{PRICED}\njobs: [{{id: job-0, prompt: Scene 1}}]")
    planned = await desk.call("plan", "batch.yaml")
    assert planned.out == "changed  job-0  (prompt 'Scene 0' -> 'Scene 1')\n"


async def test_what_waits_for_a_person_is_told_by_the_exit_code_of_a_plan_before_what_is_bought(desk: Desk) -> None:
    desk.write("spring.yaml", "version: 1\njobs:\n  - {id: market, prompt: A storm}\n  - {id: new, prompt: New}")
    (desk.folder / "spring.out").mkdir()
    async with opened(desk.folder / "spring.out") as ledger:
        accepted = await accept(ledger)
    assert (await desk.call("plan", "spring.yaml", "--offline", "--exit-code")).code == 3
    async with opened(desk.folder / "spring.out") as ledger:
        await apply(ledger, accepted, events.mark_overdue("It takes long."))
        await ledger._update(accepted.key, accepted_at="2026-01-01T00:00:00.000Z")
    assert (await desk.call("plan", "spring.yaml", "--offline", "--exit-code")).code == 4


async def test_the_exit_code_of_a_plan_says_what_there_is_to_do(desk: Desk) -> None:
    write_jobs(desk, 1)
    assert (await desk.call("plan", "batch.yaml", "--exit-code")).code == 3
    await desk.call("run", "batch.yaml")
    done = await desk.call("plan", "batch.yaml", "--exit-code")
    assert (done.code, done.err.splitlines()[-1]) == (0, "to buy: nothing")
    desk.write_manifest(f"{PRICED}\njobs:\n  - {{id: job-0, prompt: Other}}\n  - {{id: new, prompt: New}}")
    assert (await desk.call("plan", "batch.yaml", "--exit-code")).code == 4
    assert (await desk.call("plan", "batch.yaml", "--exit-code", "--rebuy-changed")).code == 3
    assert (await desk.call("plan", "batch.yaml")).code == 0


@pytest.mark.parametrize("code", ["", "  "])
async def test_an_empty_code_buys_nothing(desk: Desk, simulator: Simulator, code: str) -> None:
    write_jobs(desk, 2)
    refused = await desk.call("run", "batch.yaml", "--plan", code)
    assert (refused.code, "this one is empty" in refused.err, list_charged(simulator)) == (2, True, [])


async def test_where_the_budget_covers_nothing_somebody_must_look_and_there_is_no_code(desk: Desk) -> None:
    write_jobs(desk, 2)
    planned = await desk.call("plan", "batch.yaml", "--exit-code", "--budget", "10")
    assert (planned.code, "the budget covers 0 of 2" in planned.err, "code:" in planned.err) == (4, True, False)


async def test_what_may_be_sent_again_is_told_with_what_it_may_cost(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 1)
    simulator.plan_fault("lost-request")
    await desk.run_here(quiet_window_seconds=60.0, max_runtime_seconds=0.5)
    planned = await desk.call("plan", "batch.yaml", "--exit-code")
    words = " ".join(planned.err.split())
    assert (planned.code, "1 unknown" in words, "to buy: nothing" in words) == (3, True, True)
    assert "1 video of unknown outcome: sent again if the server has none of them, up to 35 credits" in words


@pytest.mark.parametrize(
    ("key", "key_file", "networks"), [("a key with spaces", "", ""), ("", "no-file", ""), ("sk-x", "", "no-network")]
)
async def test_plan_says_what_a_run_would_stop_for(desk: Desk, key: str, key_file: str, networks: str) -> None:
    write_jobs(desk, 2)
    planned = await desk.call(
        *("plan", "batch.yaml", "--exit-code"),
        HEDRA_API_KEY=key,
        HEDRA_API_KEY_FILE=key_file,
        HEDRA_MEDIA_NETWORKS=networks,
    )
    assert (planned.code, "A run refuses this now: " in planned.err, "code: " in planned.err) == (4, True, False)


async def test_plan_says_that_the_key_is_refused(tmp_path: Path) -> None:
    async with serve(models=lambda _: 401, balance=lambda _: 401) as service:
        desk = Desk(tmp_path, service.url)
        write_jobs(desk, 2)
        planned = await desk.call("plan", "batch.yaml", "--exit-code")
    assert (planned.code, "A run refuses this now: the API does not take the key." in planned.err) == (4, True)


async def test_a_plan_without_a_key_says_what_there_is_to_buy(desk: Desk) -> None:
    write_jobs(desk, 2)
    assert (await desk.call("plan", "batch.yaml", "--exit-code", HEDRA_API_KEY="")).code == 3
