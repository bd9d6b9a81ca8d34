"""What a person is advised: commands for the same batch, which work as they are and buy nothing by surprise."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from conftest import Desk, Finished, wait_until
from test_faults import list_charged, open_desk, read_results

from hedra_batch.cli.advice import DECIDE, EDIT, FETCH, RETRY, TAKEN, Advice, advise, repeat_selection, write_command
from hedra_batch.cli.main import cli
from hedra_batch.cli.options import RunOptions
from hedra_batch.ledger.records import LatestAttempt
from hedra_batch.money import Money
from hedra_batch.simulator.service import Simulator
from hedra_batch.state import State
from hedra_batch.units import Rate, parse_duration_ms, spell_duration

TOLD = RunOptions(
    Path("my spring.yaml"),
    edition="june",
    ids=("hero--*", "sea"),
    first=3,
    folder=Path("here"),
    base_url="http://127.0.0.1:1/x",
    budget=Money(500),
    quiet_window_seconds=90.0,
    submit=Rate(2.5, 60),
    in_flight=2,
    is_whole=True,
)
WHERE = "--folder here --base-url http://127.0.0.1:1/x"
#: A person decides about whatever fails or is lost.
NO_MORE = "attempts: 1\non_unknown: hold"
HOW = "--edition june --budget 500 --quiet-window 90s"
BUYING = "--edition june --budget 500 --all-or-nothing --quiet-window 90s --submit 2.5/min --in-flight 2"


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("run", f"hedra-batch run 'my spring.yaml' {WHERE} {BUYING}"),
        ("retry", f"hedra-batch retry 'my spring.yaml' {WHERE} {BUYING}"),
        ("resolve", f"hedra-batch resolve 'my spring.yaml' {WHERE} {HOW}"),
        ("fetch", f"hedra-batch fetch 'my spring.yaml' {WHERE}"),
        (
            "plan",
            f"hedra-batch plan 'my spring.yaml' {WHERE} --edition june --budget 500",
        ),
        ("results", "hedra-batch results 'my spring.yaml' --folder here"),
    ],
)
def test_a_command_is_for_the_same_batch_under_the_same_limits(name: str, command: str) -> None:
    assert write_command(TOLD, name) == command
    assert cli.commands[name].make_context(name, shlex.split(command)[2:])


@pytest.mark.parametrize("name", TAKEN)
def test_a_command_is_given_every_limit_that_it_takes(name: str) -> None:
    options = {flag for option in cli.commands[name].params for flag in option.opts}
    assert set(TAKEN[name]) == options & set(TAKEN["run"])


@pytest.mark.parametrize("seconds", [0.001, 0.1, 1.5, 10.0, 600.0, 86400.0])
def test_a_time_is_written_so_that_it_is_read_again_as_it_was(seconds: float) -> None:
    assert parse_duration_ms(spell_duration(seconds)) == round(seconds * 1000)


def test_a_manifest_that_begins_with_a_dash_is_no_flag() -> None:
    command = write_command(RunOptions(Path("-x.yaml")), "plan")
    assert cli.commands["plan"].make_context("plan", shlex.split(command)[2:]).params["manifest"] == Path("-x.yaml")


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


async def test_what_is_said_of_edited_jobs_is_for_these_alone(desk: Desk) -> None:
    desk.write_manifest("jobs:\n  - {id: sea, prompt: A calm sea}\n  - {id: new, prompt: Not yet}")
    await desk.run_here(ids=("sea",))
    desk.write_manifest("jobs:\n  - {id: sea, prompt: A wild sea}\n  - {id: new, prompt: Not yet}")
    finished = await desk.call("run", "batch.yaml", "--id", "*")
    assert "1 job was edited after it was paid for, or may have been, and waits for you to choose:\n" in finished.err
    assert finished.err.endswith("\n      hedra-batch run batch.yaml --id sea --rebuy-changed\n")
    await desk.call("run", "batch.yaml", "--id", "sea", "--rebuy-changed")
    assert read_attempts(desk) == {"sea": 2, "new": 1}


async def test_too_many_edited_jobs_are_said_to_be_bought_with_what_is_new(desk: Desk) -> None:
    jobs = "\n".join(f"  - {{id: sea-{number}, prompt: A calm sea {number}}}" for number in range(11))
    desk.write_manifest(f"jobs:\n{jobs}")
    await desk.run_here(in_flight=11)
    desk.write_manifest(f"jobs:\n{jobs}".replace("calm", "wild"))
    finished = await desk.call("run", "batch.yaml", "--id", "s*")
    assert "(and what is new among the same ids is made); the files that are here stay:\n" in finished.err
    assert "\n      hedra-batch run batch.yaml --id 's*' --rebuy-changed\n" in finished.err


def read_advised(finished: Finished, name: str) -> list[str]:
    """The words of the one command of a name that is advised, to be given as they are."""
    [command] = {line.strip() for line in finished.err.splitlines() if line.strip().startswith(f"hedra-batch {name} ")}
    return shlex.split(command)[1:]


def read_attempts(desk: Desk) -> dict[str, int]:
    return {row["id"]: row["attempt"] for row in read_results(desk)}


async def test_to_buy_anew_what_was_given_up_buys_no_other_failed_job(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(f"{NO_MORE}\njobs:\n  - {{id: sea, prompt: A sea}}\n  - {{id: sea-2, prompt: A doomed sea}}")
    await desk.run_here(ids=("sea-2",))
    simulator.plan_fault("lost-request")
    await desk.run_here(ids=("sea",), quiet_window_seconds=0.1)
    given_up = await desk.call("resolve", "batch.yaml", "--abandon", "--id", "sea*")
    assert given_up.err.endswith("each at its price:\n    hedra-batch retry batch.yaml --id sea\n")
    retried = await desk.call(*read_advised(given_up, "retry"))
    assert (retried.code, read_attempts(desk)) == (0, {"sea": 2, "sea-2": 1})


async def test_many_that_were_given_up_are_bought_anew_without_what_failed(desk: Desk, simulator: Simulator) -> None:
    jobs = "\n".join(f"  - {{id: sea-{number}, prompt: Sea {number}}}" for number in range(11))
    desk.write_manifest(f"{NO_MORE}\njobs:\n  - {{id: sea, prompt: A doomed sea}}\n{jobs}")
    await desk.run_here(ids=("sea",))
    simulator.plan_fault("lost-request", times=11)
    await desk.run_here(ids=("sea-*",), quiet_window_seconds=0.1, in_flight=11)
    given_up = await desk.call("resolve", "batch.yaml", "--abandon", "--id", "sea*")
    assert " To buy these 11 anew, " in given_up.err
    assert read_advised(given_up, "retry") == ["retry", "batch.yaml", "--error", "abandoned", "--id", "sea*"]
    await desk.call(*read_advised(given_up, "retry"))
    assert read_attempts(desk) == {"sea": 1, **{f"sea-{number}": 2 for number in range(11)}}


async def begin_retry(desk: Desk) -> Finished:
    """Leave a retry whose new attempt is at the server, beside a job that was never bought."""
    desk.write_manifest("attempts: 1\njobs:\n  - {id: a, prompt: A doomed scene}\n  - {id: later, prompt: Not yet}")
    await desk.run_here(ids=("a",))
    desk.write_manifest("attempts: 1\njobs:\n  - {id: a, prompt: An endless scene}\n  - {id: later, prompt: Not yet}")
    return await desk.call("retry", "batch.yaml", "--first", "1", "--max-runtime", "1500ms", "--quiet-window", "90s")


async def test_after_a_retry_a_run_goes_on_with_what_it_began_and_buys_nothing(
    desk: Desk, simulator: Simulator
) -> None:
    retried = await begin_retry(desk)
    assert "1 video is still at the server: the last lines say how to go on.\n" in retried.err
    assert retried.err.endswith(
        "\n  Not finished yet. To go on:\n      hedra-batch run batch.yaml --quiet-window 90s --id a\n"
    )
    went_on = await desk.call(*read_advised(retried, "run"), "--max-runtime", "1500ms")
    assert (went_on.last_line.split(" exit=")[0], len(list_charged(simulator))) == (
        "batch: done=0 failed=0 running=1 held=0",
        2,
    )


async def test_an_edited_job_of_a_retry_is_named_since_first_counts_other_jobs_in_a_run(desk: Desk) -> None:
    await begin_retry(desk)
    desk.write_manifest("jobs:\n  - {id: new, prompt: First now}\n  - {id: a, prompt: Another endless scene}")
    waiting = await desk.call("retry", "batch.yaml", "--first", "1", "--max-runtime", "1500ms")
    assert (waiting.code, "--first" in waiting.err) == (4, False)
    assert "\n      hedra-batch run batch.yaml --id a --rebuy-changed\n" in waiting.err


async def test_a_decision_that_is_not_finished_goes_on_by_a_run_of_its_jobs(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs:\n  - {id: slow, prompt: An endless scene}\n  - {id: later, prompt: Not yet}")
    simulator.plan_fault("lost-request")
    await desk.run_here(ids=("slow",), quiet_window_seconds=0.1)
    words = ("--resend-same-id", "--id", "slow", "--quiet-window", "10ms")
    process = await desk.start("resolve", "batch.yaml", *words)
    await wait_until(lambda: bool(list_charged(simulator)))
    process.terminate()
    _, err = await process.communicate()
    assert err.decode().endswith(" To go on:\n      hedra-batch run batch.yaml --quiet-window 10ms --id slow\n")


async def test_the_failed_jobs_that_a_plan_shows_are_named_since_first_counts_other_jobs_in_a_retry(
    desk: Desk,
) -> None:
    desk.write_manifest(
        "attempts: 1\njobs:\n  - {id: a, prompt: P}\n"
        + "\n".join(f"  - {{id: {name}, prompt: A doomed scene {name}}}" for name in "bc")
    )
    await desk.run_here()
    planned = await desk.call("plan", "batch.yaml", "--first", "2")
    assert read_advised(planned, "retry") == ["retry", "batch.yaml", "--id", "b"]
    await desk.call(*read_advised(planned, "retry"))
    assert read_attempts(desk) == {"a": 1, "b": 2, "c": 1}


async def test_too_many_failed_jobs_to_be_named_are_said_to_be_more_than_a_plan_shows(desk: Desk) -> None:
    jobs = "\n".join(f"  - {{id: bad-{number}, prompt: A doomed scene {number}}}" for number in range(12))
    desk.write_manifest(f"attempts: 1\njobs:\n{jobs}")
    await desk.run_here(in_flight=12)
    planned = await desk.call("plan", "batch.yaml", "--first", "11", "--id", "bad-*")
    assert "To make all jobs that failed alike, not only these 11, once more, each at its price:\n" in planned.err
    assert read_advised(planned, "retry") == ["retry", "batch.yaml", "--error", "internal", "--id", "bad-*"]


async def test_a_plan_has_those_edited_that_fail_again_and_retries_the_others(desk: Desk) -> None:
    desk.write_manifest(
        "attempts: 1\njobs:\n  - {id: bad, prompt: Something forbidden}\n  - {id: sea, prompt: A doomed sea}"
    )
    await desk.run_here()
    planned = await desk.call("plan", "batch.yaml")
    assert "As they are, these fail again. Change them alone, under overrides in the manifest" in planned.err
    assert read_advised(planned, "run") == ["run", "batch.yaml", "--id", "bad"]
    assert read_advised(planned, "retry") == ["retry", "batch.yaml", "--id", "sea"]
    await desk.call(*read_advised(planned, "retry"))
    assert read_attempts(desk) == {"bad": 1, "sea": 2}


async def test_many_that_fail_again_are_not_retried_with_the_others(desk: Desk) -> None:
    bad = "\n".join(f"  - {{id: bad-{number}, prompt: Something forbidden {number}}}" for number in range(11))
    doomed = "\n".join(f"  - {{id: sea-{number}, prompt: A doomed sea {number}}}" for number in range(11))
    desk.write_manifest(f"attempts: 1\njobs:\n{bad}\n{doomed}")
    await desk.run_here(in_flight=22)
    planned = await desk.call("plan", "batch.yaml")
    assert "11 of them fail again as they are, so change them under overrides in the manifest." in planned.err
    await desk.call(*read_advised(planned, "retry"), "--yes")
    attempts = read_attempts(desk)
    assert {attempts[f"bad-{number}"] for number in range(11)} == {1}
    assert {attempts[f"sea-{number}"] for number in range(11)} == {2}


PRICED = "attempts: 1\ndefaults: {model: fal/grok-video-t2v, duration: 5s}"


async def fail_two(desk: Desk) -> None:
    """Leave two jobs of 35 credits that have failed and were charged."""
    desk.write_manifest(f"{PRICED}\njobs:\n  - {{id: a, prompt: A doomed sea}}\n  - {{id: b, prompt: Doomed too}}")
    await desk.run_here()


async def test_a_retry_for_which_the_budget_has_no_room_leaves_the_jobs_failed(desk: Desk) -> None:
    await fail_two(desk)
    retried = await desk.call("retry", "batch.yaml", "--budget", "80")
    assert (retried.code, read_attempts(desk)) == (6, {"a": 1, "b": 1})
    assert "batch: done=0 failed=2 running=0 held=0 exit=6 " in retried.err
    assert "To make these once more, each at its price, with a larger budget:\n" in retried.err
    assert read_advised(retried, "retry") == ["retry", "batch.yaml", "--budget", "140", "--id", "a", "--id", "b"]


async def test_the_budget_that_is_advised_suffices_for_what_it_is_advised_for(desk: Desk) -> None:
    await fail_two(desk)
    retried = await desk.call("retry", "batch.yaml", "--budget", "80")
    again = await desk.call(*read_advised(retried, "retry"))
    assert (again.code, read_attempts(desk)) == (1, {"a": 2, "b": 2})


async def test_a_retry_makes_as_many_as_the_budget_has_room_for_and_leaves_the_others_failed(desk: Desk) -> None:
    await fail_two(desk)
    retried = await desk.call("retry", "batch.yaml", "--budget", "105")
    assert (retried.code, read_attempts(desk)) == (6, {"a": 2, "b": 1})


async def test_a_retry_under_a_budget_gives_back_what_a_refusal_leaves(desk: Desk) -> None:
    await fail_two(desk)
    edited = "jobs:\n  - {id: a, prompt: Something forbidden}\n  - {id: b, prompt: A sea}"
    desk.write_manifest(f"{PRICED}\n{edited}")
    retried = await desk.call("retry", "batch.yaml", "--budget", "105")
    assert (retried.code, read_attempts(desk)) == (1, {"a": 2, "b": 2})


async def test_a_failed_job_is_advised_with_the_budget_that_it_needs_before_that_is_reached(desk: Desk) -> None:
    desk.write_manifest(f"{PRICED}\njobs: [{{id: a, prompt: A doomed sea}}]")
    finished = await desk.call("run", "batch.yaml", "--budget", "40")
    assert read_advised(finished, "retry") == ["retry", "batch.yaml", "--budget", "70", "--id", "a"]
    await desk.call(*read_advised(finished, "retry"))
    assert read_attempts(desk) == {"a": 2}


@pytest.mark.parametrize(("heading", "words"), [("", ("--budget", "40")), ("budget: 40 credits\n", ())])
async def test_a_run_that_reached_its_budget_goes_on_with_the_one_that_it_needs(
    desk: Desk, heading: str, words: tuple[str, ...]
) -> None:
    jobs = "\n".join(f"  - {{id: sea-{number}, prompt: Sea {number}}}" for number in range(3))
    desk.write_manifest(f"{heading}{PRICED}\njobs:\n{jobs}")
    finished = await desk.call("run", "batch.yaml", *words)
    assert finished.err.endswith("\n  With a larger budget:\n      hedra-batch run batch.yaml --budget 105\n")
    went_on = await desk.call(*read_advised(finished, "run"))
    assert (went_on.code, "done=3" in went_on.last_line) == (0, True)


async def test_the_budget_that_is_advised_suffices_by_what_was_really_charged(tmp_path: Path) -> None:
    async with open_desk(tmp_path, charge_factor=1.33) as (desk, simulator):
        jobs = "\n".join(f"  - {{id: sea-{number}, prompt: Sea {number}}}" for number in range(7))
        desk.write_manifest(f"budget: 200 credits\n{PRICED}\njobs:\n{jobs}")
        finished = await desk.call("run", "batch.yaml", "--in-flight", "1")
        went_on = await desk.call(*read_advised(finished, "run"))
        assert (finished.code, went_on.code, len(list_charged(simulator))) == (6, 0, 7)


async def test_what_was_bought_wholly_or_not_at_all_goes_on_so_with_the_budget_that_it_needs(desk: Desk) -> None:
    desk.write_manifest(f"{PRICED}\njobs:\n  - {{id: a, prompt: A sea}}\n  - {{id: b, prompt: A hill}}")
    finished = await desk.call("run", "batch.yaml", "--budget", "40", "--all-or-nothing")
    assert finished.err.endswith("\n      hedra-batch run batch.yaml --budget 70 --all-or-nothing\n")
    assert (await desk.call(*read_advised(finished, "run"))).code == 0


@pytest.mark.parametrize("scope", ["month", "total"])
async def test_a_budget_of_the_manifest_that_is_reached_is_to_be_raised_there(desk: Desk, scope: str) -> None:
    jobs = "jobs:\n  - {id: a, prompt: A sea}\n  - {id: b, prompt: A hill}"
    desk.write_manifest(f"{PRICED}\nbudget: {{{scope}: 40 credits}}\n{jobs}")
    finished = await desk.call("run", "batch.yaml")
    name = {"month": "budget of 40 credits a month", "total": "total budget of 40 credits"}[scope]
    assert finished.err.endswith(
        f"\n  With a larger budget (raise the {name} in the manifest):\n      hedra-batch run batch.yaml\n"
    )
    desk.write_manifest(f"{PRICED}\nbudget: {{{scope}: 70 credits}}\n{jobs}")
    assert (await desk.call(*read_advised(finished, "run"))).code == 0


async def test_where_a_price_is_not_known_no_larger_budget_is_advised(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: sea, prompt: A sea}]")
    finished = await desk.call("run", "batch.yaml", "--budget", "40")
    assert finished.err.endswith(
        "\n  Once all prices are known (give each job a model, a duration and a resolution, or take the budget away):"
        "\n      hedra-batch run batch.yaml --budget 40\n"
    )


async def test_a_failure_is_said_to_have_cost_nothing_or_what_was_charged(desk: Desk) -> None:
    desk.write_manifest(f"{PRICED}\njobs:\n  - {{id: a, prompt: A doomed sea}}\n  - {{id: b, prompt: Forbidden}}")
    finished = await desk.call("run", "batch.yaml", "--simulate")
    assert "(internal): The model failed. 35 simulated credits were charged.\n" in finished.err
    assert "content moderation. Nothing was charged.\n" in finished.err


async def test_a_trial_says_that_only_the_simulator_lacks_a_model(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: sea, prompt: A sea, model: real/new-model}]")
    finished = await desk.call("run", "batch.yaml", "--simulate")
    said = (
        "real/new-model was not found. Only the simulated API lacks it, which has none but these: fal/grok-video-t2v, "
    )
    assert said in finished.err
    assert "simulated/clip-1. Nothing was charged.\n" in finished.err


async def test_a_trial_says_it_of_a_name_too(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: sea, prompt: A sea, model: New Model}]")
    finished = await desk.call("run", "batch.yaml", "--simulate")
    assert (finished.code, "Only the simulated API lacks it" in finished.err) == (65, True)


@pytest.mark.parametrize(
    ("words", "said", "listing"),
    [
        (("fetch", "--id", "zz"), "No job that was begun has an id like zz.", "results"),
        (("verify", "--id", "zz"), "No job that was begun has an id like zz.", "results"),
        (("run", "--id", "zz"), "No job has an id like zz.", "plan"),
        (("plan", "--id", "zz"), "No job has an id like zz.", "plan"),
        (("retry", "--id", "zz"), "No job has an id like zz.", "plan"),
        (("resolve", "--recheck", "--id", "zz"), "No held job has an id like zz.", "resolve"),
        (("resolve", "--abandon", "--id", "zz"), "No held job has an id like zz.", "resolve"),
        (("retry", "--error", "nosuch"), "an error like nosuch. Errors that there are: internal (2).", "results"),
        (("retry", "--edition", "foo"), "edition foo. Editions that there are: (without a label).", "results"),
    ],
)
async def test_what_selects_nothing_ends_with_2_and_says_what_there_is(
    desk: Desk, words: tuple[str, ...], said: str, listing: str
) -> None:
    await fail_two(desk)
    finished = await desk.call(words[0], "batch.yaml", *words[1:])
    assert (finished.code, said in finished.err) == (2, True)
    assert shlex.split(finished.err.splitlines()[-1])[:3] == ["hedra-batch", listing, "batch.yaml"]
    assert (await desk.call(*read_advised(finished, listing))).code == 0


@pytest.mark.parametrize("words", [(), ("--error", "nosuch"), ("--id", "sea")])
async def test_a_retry_ends_with_0_where_nothing_has_failed(desk: Desk, words: tuple[str, ...]) -> None:
    desk.write_manifest("jobs: [{id: sea, prompt: A sea}]")
    await desk.run_here()
    assert (await desk.call("retry", "batch.yaml", *words)).code == 0


async def test_what_is_advised_for_the_folder_of_a_trial_is_for_the_trial(desk: Desk) -> None:
    desk.write_manifest("attempts: 1\njobs: [{id: sea, prompt: A doomed sea}]")
    await desk.call("run", "batch.yaml", "--simulate")
    planned = await desk.call("plan", "batch.yaml", "--folder", "batch.sim")
    advised = ["retry", "batch.yaml", "--folder", "batch.sim", "--simulate", "--id", "sea"]
    assert read_advised(planned, "retry") == advised
    assert (await desk.call(*advised)).code == 1


async def test_what_is_advised_for_the_folder_of_another_api_names_its_address(
    desk: Desk, simulator: Simulator
) -> None:
    await fail_two(desk)
    planned = await desk.call("plan", "batch.yaml", HEDRA_BASE_URL="https://api.example.org/x")
    assert read_advised(planned, "retry")[:4] == ["retry", "batch.yaml", "--base-url", simulator.url]
    await desk.call(*read_advised(planned, "retry"), HEDRA_BASE_URL="https://api.example.org/x")
    assert read_attempts(desk) == {"a": 2, "b": 2}
