"""What a person is advised: commands for the same batch, which work as they are and buy nothing by surprise."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from conftest import Desk

from hedra_batch.cli.advice import DECIDE, EDIT, FETCH, RETRY, Advice, advise, repeat_selection, write_command
from hedra_batch.cli.main import cli
from hedra_batch.cli.options import RunOptions
from hedra_batch.ledger.records import LatestAttempt
from hedra_batch.money import Money
from hedra_batch.state import State

TOLD = RunOptions(
    Path("my spring.yaml"),
    edition="june",
    ids=("hero--*", "sea"),
    first=3,
    folder=Path("here"),
    base_url="http://127.0.0.1:1/x",
    budget=Money(500),
)
WHERE = "--folder here --base-url http://127.0.0.1:1/x"


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("run", f"hedra-batch run 'my spring.yaml' {WHERE} --edition june --budget 500"),
        ("retry", f"hedra-batch retry 'my spring.yaml' {WHERE} --edition june --budget 500"),
        ("resolve", f"hedra-batch resolve 'my spring.yaml' {WHERE} --edition june"),
        ("fetch", f"hedra-batch fetch 'my spring.yaml' {WHERE}"),
        (
            "plan",
            f"hedra-batch plan 'my spring.yaml' {WHERE} --edition june --budget 500",
        ),
        ("status", "hedra-batch status 'my spring.yaml' --folder here"),
        ("results", "hedra-batch results 'my spring.yaml' --folder here"),
        ("verify", "hedra-batch verify 'my spring.yaml' --folder here"),
    ],
)
def test_a_command_is_for_the_same_batch_under_the_same_budget(name: str, command: str) -> None:
    assert write_command(TOLD, name) == command
    assert cli.commands[name].make_context(name, shlex.split(command)[2:])


def test_the_same_jobs_are_selected_again() -> None:
    assert repeat_selection(TOLD) == ["--id", "hero--*", "--id", "sea", "--first", "3"]


@pytest.mark.parametrize(
    ("state", "code", "advice"),
    [
        (State.HELD_UNPROVEN, "ids_unproven", DECIDE),
        (State.OVERDUE, "overdue", DECIDE),
        (State.READY, None, FETCH),
        (State.REFUSED, "moderation_failed", EDIT),
        (State.FAILED, "internal", RETRY),
        (State.ABANDONED, "abandoned", RETRY),
    ],
)
def test_what_is_paid_for_is_not_bought_anew_and_what_fails_again_is_edited(
    state: State, code: str | None, advice: Advice
) -> None:
    assert advise(LatestAttempt(1, "", "sea", 1, state, "digest", None, code)) == advice


async def test_a_refused_job_is_to_be_edited_and_then_made_alone(desk: Desk) -> None:
    priced = "defaults: {model: fal/grok-video-t2v, duration: 5s}"
    desk.write_manifest(f"{priced}\njobs:\n  - {{id: bad, prompt: Something forbidden}}\n  - {{id: good, prompt: P}}")
    finished = await desk.call("run", "batch.yaml", "--id", "bad", "--budget", "100")
    assert "  bad: Hedra's moderation refused the prompt or an image (moderation_failed): The prompt" in finished.err
    assert finished.err.endswith("\n      hedra-batch run batch.yaml --budget 100 --id bad\n")


async def test_failures_that_the_same_helps_share_a_command(desk: Desk) -> None:
    desk.write_manifest("jobs:\n  - {id: a, prompt: A doomed scene}\n  - {id: b, prompt: Another doomed}\nattempts: 1")
    finished = await desk.call("run", "batch.yaml")
    assert finished.err.count("To make these once more, each at its price:") == 1
    assert finished.err.endswith("\n      hedra-batch retry batch.yaml --id a --id b\n")


async def test_to_buy_edited_jobs_anew_the_same_jobs_are_selected(desk: Desk) -> None:
    desk.write_manifest("jobs:\n  - {id: sea, prompt: A calm sea}\n  - {id: new, prompt: Not yet}")
    await desk.run_here(ids=("sea",))
    desk.write_manifest("jobs:\n  - {id: sea, prompt: A wild sea}\n  - {id: new, prompt: Not yet}")
    finished = await desk.call("run", "batch.yaml", "--id", "s*")
    assert "You edited 1 job that is already paid for, or may be. Nothing was sent.\n" in finished.err
    assert "\n      hedra-batch run batch.yaml --id 's*' --rebuy-changed\n" in finished.err
