"""What a run may cost: prices, balance, budget, and the word of a person."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from contextlib import suppress

import pytest
from conftest import Desk, wait_until
from test_faults import count_states, list_charged, open_desk
from test_loop import HAS_UVLOOP

from hedra_batch.cli.execution import UNCONFIRMED_LIMIT
from hedra_batch.money import Money
from hedra_batch.simulator.service import Simulator

PRICED = "defaults: {model: fal/grok-video-t2v, duration: 5s, resolution: 720p}"


def write_jobs(desk: Desk, count: int, rest: str = PRICED) -> None:
    jobs = "\n".join(f"  - {{id: job-{number}, prompt: Scene {number}}}" for number in range(count))
    desk.write_manifest(f"{rest}\njobs:\n{jobs}")


async def test_the_line_before_the_first_post_says_price_and_balance(desk: Desk) -> None:
    write_jobs(desk, 2)
    finished = await desk.call("run", "batch.yaml")
    assert "batch: 2 new videos, about 70 credits (35 each), balance 10,000\n" in finished.err


async def test_a_balance_that_cannot_be_read_stops_nothing(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 1)
    simulator.plan_fault("5xx-before", route="GET /billing/credits")
    finished = await desk.call("run", "batch.yaml")
    assert (finished.code, "balance unknown" in finished.err) == (0, True)


async def test_the_budget_ends_submitting_with_6_and_what_was_bought_is_fetched(
    desk: Desk, simulator: Simulator
) -> None:
    write_jobs(desk, 4, f"{PRICED}\nbudget: 100 credits")
    finished = await desk.call("run", "batch.yaml")
    assert (finished.code, len(list_charged(simulator))) == (6, 2)
    assert finished.err.count("The budget of 100 credits is reached: 70 are spent or reserved") == 1
    assert finished.last_line.startswith("batch: done=2 failed=0 running=0 held=0 new=2 exit=6")


async def test_what_a_budget_has_no_credits_for_is_not_even_recorded(desk: Desk, simulator: Simulator) -> None:
    prompts = ", ".join(f"p{number}: Scene {number}" for number in range(12))
    defaults = "defaults: {model: fal/grok-video-t2v, duration: 5s, variations: 100}"
    desk.write_manifest(f"{defaults}\nprompts: {{{prompts}}}\nbudget: 100 credits")
    assert await desk.run_here() == 6
    summary = json.loads((desk.folder / "batch.out" / "summary.json").read_text("utf-8"))
    assert (len(list_charged(simulator)), summary["counts"]["new"]) == (2, 1198)
    assert count_states(desk)["new"] < 600


async def test_what_waited_for_credits_is_bought_as_the_manifest_has_it_now(desk: Desk, simulator: Simulator) -> None:
    scenes = [f"  - {{id: job-{number}, prompt: Scene {number}}}" for number in range(1, 30)]
    jobs = "\n".join(["  - {id: job-0, prompt: A forbidden scene}", *scenes])
    desk.write_manifest(f"{PRICED}\njobs:\n{jobs}")
    assert await desk.run_here(budget=Money(30)) == 6
    desk.write_manifest(f"{PRICED}\njobs:\n{jobs.replace('Scene', 'Edited')}")
    assert await desk.run_here(budget=Money(35)) == 6
    assert [record.prompt.split()[0] for record in simulator.billing] == ["Edited"]


async def test_the_flag_goes_over_the_manifest_and_counts_earlier_runs(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 4, f"{PRICED}\nbudget: 100 credits")
    await desk.run_here()
    assert (await desk.run_here(budget=Money(139)), len(list_charged(simulator))) == (6, 3)
    assert (await desk.run_here(budget=Money(140)), len(list_charged(simulator))) == (0, 4)


async def test_with_the_budget_used_up_exactly_the_run_is_simply_done(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 2, f"{PRICED}\nbudget: 70 credits")
    assert (await desk.run_here(), len(list_charged(simulator))) == (0, 2)


async def test_another_edition_has_the_whole_budget(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 2, f"{PRICED}\nbudget: 70 credits")
    await desk.run_here()
    assert (await desk.run_here(edition="june"), len(list_charged(simulator))) == (0, 4)


async def test_under_a_budget_nothing_of_unknown_price_is_bought(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 2, "budget: 500 credits")
    finished = await desk.call("run", "batch.yaml")
    assert (finished.code, len(list_charged(simulator))) == (6, 0)
    assert "is not sent: its price is not known, and there is a budget" in finished.err


async def test_the_charge_of_a_refused_job_is_free_for_another(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(
        f"{PRICED}\nbudget: 35 credits\njobs:\n"
        "  - {id: bad, prompt: Something forbidden}\n  - {id: good, prompt: A scene}"
    )
    assert (await desk.run_here(in_flight=1), count_states(desk)) == (1, {"failed": 1, "done": 1})
    assert len(list_charged(simulator)) == 1


async def test_out_of_credits_ends_submitting_and_follows_what_runs(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with open_desk(tmp_path_factory.mktemp("poor"), credits=80) as (desk, simulator):
        write_jobs(desk, 4)
        code = await desk.run_here(in_flight=1)
        assert (code, count_states(desk)["done"], len(list_charged(simulator))) == (5, 2, 2)


#: Runs `batch.yaml` as if its API were not on this machine.
FAR_RUN = """
import dataclasses, os, pathlib, sys
from hedra_batch.cli import execution, loop, main, options
from hedra_batch.run.settings import RunSettings

def run():
    told = options.RunOptions(pathlib.Path("batch.yaml"), is_confirmed="--yes" in sys.argv)
    near = execution.prepare(told, RunSettings(), os.environ)
    far = dataclasses.replace(near.workspace, is_local=False)
    return loop.run_on_loop(execution.run_batch, dataclasses.replace(near, workspace=far))

sys.exit(main.guard(run))
"""


async def start_far(
    desk: Desk, *words: str, stream: int, output: int, **environment: str
) -> asyncio.subprocess.Process:
    settings = {"HEDRA_API_KEY": "key-of-the-tests", "HEDRA_BASE_URL": desk.base_url, "TERM": "dumb"}
    environment = {**os.environ, **settings, **environment}
    command = (sys.executable, "-c", FAR_RUN, *words)
    return await asyncio.create_subprocess_exec(*command, cwd=desk.folder, env=environment, stdin=stream, stderr=output)


async def run_far(desk: Desk, *words: str, answer: str | None = None) -> tuple[int, str]:
    """Run with nobody there, or on a terminal at which somebody gives an answer."""
    near, far = pty.openpty()
    stream = asyncio.subprocess.DEVNULL if answer is None else far
    output = asyncio.subprocess.PIPE if answer is None else far
    process = await start_far(desk, *words, stream=stream, output=output)
    os.close(far)
    if answer is not None:
        os.write(near, f"{answer}\n".encode())
    said = (await process.stderr.read()).decode() if process.stderr else await asyncio.to_thread(read_terminal, near)
    code = await process.wait()
    os.close(near)
    return code, said


def read_terminal(near: int) -> str:
    said = b""
    # The terminal reports an error once the last process has left it.
    with suppress(OSError):
        while chunk := os.read(near, 4096):
            said += chunk
    return said.decode()


async def test_what_still_fits_is_bought_though_dearer_jobs_stand_before_it(desk: Desk, simulator: Simulator) -> None:
    dear = "\n".join(f"  - {{id: dear-{number}, prompt: Scene {number}, duration: 10s}}" for number in range(20))
    desk.write_manifest(f"{PRICED}\nbudget: 40 credits\njobs:\n{dear}\n  - {{id: cheap, prompt: A scene}}")
    assert (await desk.run_here(), len(list_charged(simulator))) == (6, 1)


async def test_an_account_that_runs_dry_is_told_before_the_budget(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with open_desk(tmp_path_factory.mktemp("poor"), credits=40) as (desk, simulator):
        write_jobs(desk, 4, f"{PRICED}\nbudget: 105 credits")
        assert (await desk.run_here(in_flight=1), len(list_charged(simulator))) == (5, 1)


async def test_a_further_attempt_of_a_job_that_is_only_followed_has_its_price(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(f"{PRICED}\nbudget: 70 credits\njobs: [{{id: flaky, prompt: A flaky scene}}]")
    interrupted = await desk.start("run", "batch.yaml")
    await wait_until(lambda: len(simulator.billing) >= 1)
    interrupted.kill()
    await interrupted.communicate()
    assert (await desk.run_here(quiet_window_seconds=30.0), len(list_charged(simulator))) == (0, 2)


async def test_a_generation_that_ends_for_want_of_credits_closes_submitting_too(
    desk: Desk, simulator: Simulator
) -> None:
    desk.write_manifest("jobs:\n  - {id: first, prompt: An overdrawn scene}\n  - {id: second, prompt: A scene}")
    assert (await desk.run_here(in_flight=1), len(list_charged(simulator))) == (5, 1)
    assert (await desk.run_here(), count_states(desk)) == (1, {"failed": 1, "done": 1})


async def test_many_new_videos_without_a_bound_are_not_bought_by_a_machine(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, UNCONFIRMED_LIMIT + 1)
    code, said = await run_far(desk)
    assert (code, list_charged(simulator)) == (78, [])
    assert "11 new videos need your consent: add a line such as 'budget: 500 credits' to the manifest, " in said


async def test_a_stop_at_the_question_buys_nothing_and_says_so(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, UNCONFIRMED_LIMIT + 1)
    near, far = pty.openpty()
    process = await start_far(desk, stream=far, output=far)
    os.close(far)
    said = ""
    while "[y/N]" not in said:
        said += (await asyncio.to_thread(os.read, near, 4096)).decode()
    process.send_signal(signal.SIGINT)
    said = await asyncio.to_thread(read_terminal, near)
    os.close(near)
    assert (await process.wait(), list_charged(simulator)) == (130, [])
    assert "Nothing was bought." in said.splitlines()


@pytest.mark.parametrize(
    ("count", "rest", "words"),
    [
        (UNCONFIRMED_LIMIT, PRICED, []),
        (UNCONFIRMED_LIMIT + 1, PRICED, ["--yes"]),
        (UNCONFIRMED_LIMIT + 1, f"{PRICED}\nbudget: 1000 credits", []),
    ],
)
async def test_a_few_videos_a_word_or_a_budget_are_enough(
    desk: Desk, simulator: Simulator, count: int, rest: str, words: list[str]
) -> None:
    write_jobs(desk, count, rest)
    assert ((await run_far(desk, *words))[0], len(list_charged(simulator))) == (0, count)


@pytest.mark.parametrize(("answer", "code", "bought"), [("y", 0, 11), ("n", 3, 0), ("", 3, 0)])
async def test_on_a_terminal_a_person_is_asked(
    desk: Desk, simulator: Simulator, answer: str, code: int, bought: int
) -> None:
    write_jobs(desk, UNCONFIRMED_LIMIT + 1)
    ended, said = await run_far(desk, answer=answer)
    assert "Buy 11 new videos, about 385 credits (35 each), balance 10,000? [y/N]" in said
    assert (ended, len(list_charged(simulator))) == (code, bought)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_after_the_question_the_terminal_blocks_as_before(desk: Desk, loop: str) -> None:
    if loop == "uvloop" and not HAS_UVLOOP:
        pytest.skip("uvloop is not installed: it comes with the extra `fast`")
    write_jobs(desk, UNCONFIRMED_LIMIT + 1)
    near, far = pty.openpty()
    process = await start_far(desk, stream=far, output=far, HEDRA_EVENT_LOOP=loop)
    os.write(near, b"n\n")
    # It is one terminal for all that have it open, so what the command leaves there the shell finds.
    assert (await process.wait(), os.get_blocking(far)) == (3, True)
    os.close(near)
    os.close(far)
