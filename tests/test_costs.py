"""What budgets, balance and disk do not cover, what was charged above the estimate, and what was given back."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Desk, wait_until
from test_faults import count_states, list_charged, open_desk, read_results
from test_ledger import apply, make_job, make_ready, opened, reserve, send
from test_money import PRICED, run_far, write_jobs

from hedra_batch.api.protocol import Reading
from hedra_batch.api.v2.answers import Model, read_balance, read_generation, read_models
from hedra_batch.api.v2.pricing import Catalogue
from hedra_batch.clock import Clock, from_text
from hedra_batch.errors import BudgetReachedError
from hedra_batch.ledger import events
from hedra_batch.ledger.records import Group
from hedra_batch.money import Budgets, Money
from hedra_batch.simulator.service import Simulator
from hedra_batch.state import State


class Hours(Clock):
    """A wall clock that a test moves on."""

    def __init__(self, text: str) -> None:
        self._now = from_text(text)

    def now(self) -> datetime:
        return self._now

    def pass_hours(self, hours: float) -> None:
        self._now += timedelta(hours=hours)


def change_ledger(desk: Desk, command: str) -> None:
    with closing(sqlite3.connect(desk.folder / "batch.out" / "ledger.sqlite3")) as connection, connection:
        connection.execute(command)


# What covers less than all


async def test_a_further_attempt_that_the_budget_does_not_cover_is_not_begun(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(f"{PRICED}\nattempts: 2\nbudget: 50 credits\njobs: [{{id: fog, prompt: A flaky fog}}]")
    finished = await desk.call("run", "batch.yaml")
    assert (finished.code, len(list_charged(simulator)), "attempt 2 begins" in finished.err) == (6, 1, False)
    [row] = read_results(desk)
    assert (row["state"], row["attempt"], row["credits_charged"]) == ("failed", 1, 35)
    assert (await desk.call("run", "batch.yaml", "--budget", "70")).code == 0


async def test_before_the_first_post_a_run_says_what_the_budget_covers_and_buys_that(
    desk: Desk, simulator: Simulator
) -> None:
    write_jobs(desk, 6, f"{PRICED}\nbudget: 110 credits")
    finished = await desk.call("run", "batch.yaml")
    assert finished.err.count("batch: the budget covers 3 of 6\n") == 1
    assert finished.err.index("covers 3 of 6") < finished.err.index("The budget of 110 credits is reached")
    assert (finished.code, len(list_charged(simulator))) == (6, 3)


@pytest.mark.parametrize(("answer", "code", "bought"), [("y", 6, 3), ("n", 3, 0), ("", 3, 0)])
async def test_a_terminal_is_asked_where_the_budget_does_not_cover_all(
    desk: Desk, simulator: Simulator, answer: str, code: int, bought: int
) -> None:
    write_jobs(desk, 6, f"{PRICED}\nbudget: 110 credits")
    ended, said = await run_far(desk, answer=answer)
    assert "balance 10,000, though the budget covers 3 of 6? [y/N]" in " ".join(said.split())
    assert (ended, len(list_charged(simulator))) == (code, bought)


async def test_a_yes_on_the_line_is_not_asked_again(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 6, f"{PRICED}\nbudget: 110 credits")
    code, said = await run_far(desk, "--yes", answer="n")
    assert (code, "[y/N]" in said, len(list_charged(simulator))) == (6, False, 3)


async def test_all_or_nothing_buys_nothing_where_the_budget_covers_a_part(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 6, f"{PRICED}\nbudget: 110 credits")
    finished = await desk.call("run", "batch.yaml", "--all-or-nothing")
    assert (finished.code, simulator.billing) == (6, [])
    assert "The budget covers 3 of 6 new videos, and it was to be all or nothing, so none was bought." in finished.err
    assert (await desk.call("run", "batch.yaml", "--all-or-nothing", "--budget", "210")).code == 0
    assert len(list_charged(simulator)) == 6


async def buy_one_and_die(desk: Desk, simulator: Simulator) -> None:
    """Leave one of two jobs bought, and not fetched."""
    write_jobs(desk, 2)
    run = await desk.start("run", "batch.yaml", "--first", "1")
    await wait_until(lambda: len(simulator.billing) == 1)
    run.kill()
    await run.communicate()


async def test_all_or_nothing_follows_what_was_bought_before(desk: Desk, simulator: Simulator) -> None:
    await buy_one_and_die(desk, simulator)
    write_jobs(desk, 3, f"{PRICED}\nbudget: 50 credits")
    assert await desk.run_here(is_whole=True, quiet_window_seconds=0.1) == 6
    assert (count_states(desk), len(list_charged(simulator))) == ({"done": 1}, 1)


async def test_another_plan_follows_what_was_bought_before(desk: Desk, simulator: Simulator) -> None:
    await buy_one_and_die(desk, simulator)
    assert await desk.run_here(plan_code="22222222", quiet_window_seconds=0.1) == 78
    assert (count_states(desk), len(list_charged(simulator))) == ({"done": 1}, 1)


async def test_a_budget_of_0_covers_nothing_and_is_a_budget(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 2, f"{PRICED}\nbudget: 0 credits")
    finished = await desk.call("run", "batch.yaml")
    assert "batch: the budget covers 0 of 2\n" in finished.err
    assert (finished.code, simulator.billing) == (6, [])
    assert (await desk.call("run", "batch.yaml", "--budget", "0")).code == 6


async def test_what_the_balance_covers_is_said_and_all_or_nothing_ends_with_5(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with open_desk(tmp_path_factory.mktemp("poor"), credits=80) as (desk, simulator):
        write_jobs(desk, 4)
        whole = await desk.call("run", "batch.yaml", "--all-or-nothing")
        assert (whole.code, simulator.billing) == (5, [])
        finished = await desk.call("run", "batch.yaml")
        assert "batch: the balance covers 2 of 4\n" in finished.err
        assert (finished.code, len(list_charged(simulator))) == (5, 2)


async def test_the_wallet_of_the_api_is_the_balance(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with open_desk(tmp_path_factory.mktemp("wallet"), credits=40, has_api_wallet=True) as (desk, _):
        write_jobs(desk, 2)
        finished = await desk.call("run", "batch.yaml", "--all-or-nothing")
        assert (finished.code, "balance 40" in finished.err) == (5, True)


async def test_a_disk_without_room_is_told_before_anything_is_bought(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 1)
    await desk.call("run", "batch.yaml")
    change_ledger(desk, f"UPDATE attempts SET bytes = {10**16}")
    write_jobs(desk, 3)
    whole = await desk.call("run", "batch.yaml", "--all-or-nothing")
    assert (whole.code, len(list_charged(simulator))) == (74, 1)
    finished = await desk.call("run", "batch.yaml")
    assert "batch: the free disk space covers 0 of 2\n" in finished.err
    assert (finished.code, len(list_charged(simulator))) == (0, 3)


@pytest.mark.parametrize(("answer", "code", "bought"), [("n", 3, 1), ("y", 0, 3)])
async def test_a_terminal_is_asked_where_the_disk_has_no_room(
    desk: Desk, simulator: Simulator, answer: str, code: int, bought: int
) -> None:
    write_jobs(desk, 1)
    await desk.call("run", "batch.yaml")
    change_ledger(desk, f"UPDATE attempts SET bytes = {10**16}")
    write_jobs(desk, 3)
    ended, said = await run_far(desk, answer=answer)
    assert "though the free disk space covers 0 of 2? [y/N]" in " ".join(said.split())
    assert (ended, len(list_charged(simulator))) == (code, bought)


# Budgets of a month and in all


@pytest.mark.parametrize(
    ("budget", "bought"),
    [("{month: 100 credits}", 2), ("{total: 100 credits}", 2), ("{edition: 35 credits, month: 1000 credits}", 2)],
)
async def test_a_month_and_all_editions_together_have_budgets_too(
    desk: Desk, simulator: Simulator, budget: str, bought: int
) -> None:
    write_jobs(desk, 1, f"{PRICED}\nbudget: {budget}")
    await desk.call("run", "batch.yaml")
    write_jobs(desk, 2, f"{PRICED}\nbudget: {budget}")
    finished = await desk.call("run", "batch.yaml", "--edition", "june")
    assert (finished.code, len(list_charged(simulator))) == (6, bought)


async def test_the_flag_is_the_budget_of_an_edition_and_leaves_the_others(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 4, f"{PRICED}\nbudget: {{edition: 35 credits, total: 80 credits}}")
    finished = await desk.call("run", "batch.yaml", "--budget", "1000")
    assert (finished.code, len(list_charged(simulator))) == (6, 2)
    assert "The total budget of 80 credits is reached: 70 are spent or reserved, and " in finished.err


async def test_status_shows_all_budgets_with_what_is_spent_and_left(desk: Desk) -> None:
    write_jobs(desk, 1, f"{PRICED}\nbudget: {{edition: 500 credits, month: 800 credits, total: 2000 credits}}")
    await desk.call("run", "batch.yaml")
    await desk.call("run", "batch.yaml", "--edition", "june")
    said = (await desk.call("status", "batch.yaml")).err
    assert "edition june: 35 of 500 credits spent, 465 left\n" in said
    assert "without an edition: 35 of 500 credits spent, 465 left\n" in said
    assert "(UTC): 70 of 800 credits spent, 730 left\ntotal: 70 of 2,000 credits spent, 1,930 left\n" in said


async def test_a_new_month_has_its_whole_budget_and_the_total_stays(tmp_path: Path) -> None:
    clock = Hours("2026-11-30T23:00:00Z")
    async with opened(tmp_path, budgets=Budgets(month=Money(35), total=Money(70)), clock=clock) as ledger:
        await send(ledger, make_job("first"))
        with pytest.raises(BudgetReachedError, match=r"budget of 35 credits a month is reached: 30 .* in 2026-11"):
            await reserve(ledger, make_job("second"))
        clock.pass_hours(1)
        await send(ledger, make_job("third"))
        clock.pass_hours(24 * 31)
        with pytest.raises(BudgetReachedError, match="total budget of 70 credits is reached: 60"):
            await reserve(ledger, make_job("fourth"))


async def test_what_is_reserved_in_one_month_and_sent_in_the_next_counts_there(tmp_path: Path) -> None:
    clock = Hours("2026-11-30T23:00:00Z")
    async with opened(tmp_path, budgets=Budgets(month=Money(35)), clock=clock) as ledger:
        reserved = await reserve(ledger, make_job("first"))
        clock.pass_hours(1)
        await send(ledger, make_job("second"))
        with pytest.raises(BudgetReachedError, match="a month is reached"):
            await ledger.apply(reserved, events.begin_send(reserved.state, State.SENDING))


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("{week: 5 credits}", "has an unknown key: 'week' (allowed: edition, month, total)"),
        ("{month: 5}", "month: is the number 5, without a unit (write it with its unit: 500 credits)"),
        ("{month: }", "month: has no value"),
        ("{}", "is empty"),
        ("[5 credits]", "without a unit"),
    ],
)
async def test_what_is_no_budget_is_told_with_its_place(desk: Desk, budget: str, words: str) -> None:
    desk.write_manifest(f"budget: {budget}\njobs: [{{id: a, prompt: P}}]")
    planned = await desk.call("plan", "batch.yaml", "--offline")
    assert (planned.code, "batch.yaml:3:9: budget" in planned.err, words in planned.err) == (65, True, True)


# What is really charged


async def test_charges_above_the_estimate_are_told_once_and_the_budget_is_kept_by_them(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with open_desk(tmp_path_factory.mktemp("dear"), charge_factor=3.0) as (desk, simulator):
        write_jobs(desk, 6, f"{PRICED}\nbudget: 350 credits\n")
        finished = await desk.call("run", "batch.yaml", "--in-flight", "1")
        assert finished.err.count("105 credits were charged, and 35 were expected.") == 1
        assert (finished.code, len(list_charged(simulator))) == (6, 3)
        again = await desk.call("run", "batch.yaml", "--budget", "420")
        assert "3 new videos, about 315 credits (105 each)" in again.err
        assert "the budget covers 1 of 3\n" in again.err
        assert ("were expected" in again.err, len(list_charged(simulator))) == (False, 4)


async def test_what_was_reserved_at_a_lower_price_is_sent_at_what_it_costs_by_now(tmp_path: Path) -> None:
    async with opened(tmp_path, budgets=Budgets(Money(100))) as ledger:
        reserved = await reserve(ledger, make_job("second"))
        await make_ready(ledger, make_job("first"), charged=60)
        with pytest.raises(BudgetReachedError, match="would cost 60 more"):
            await ledger.apply(reserved, events.begin_send(reserved.state, State.SENDING, Money(60)))
        sent = await apply(ledger, reserved, events.begin_send(reserved.state, State.SENDING, Money(40)))
        assert (sent.estimated, (await ledger.read_spending("")).spent) == (Money(40), Money(100))


async def test_only_charges_above_the_estimate_are_learnt_from_each_kind_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as ledger:
        for job_id, charged in (("a", 60), ("b", 45), ("c", 10)):
            await make_ready(ledger, make_job(job_id), charged=charged)
        assert [charge.charged for charge in await ledger.look(lambda reader: reader.read_charges())] == [Money(60)]


# Refunds and sums


async def fail(desk: Desk) -> None:
    desk.write_manifest(
        f"{PRICED}\njobs:\n  - {{id: good, prompt: A scene}}\n  - {{id: bad, prompt: A likeness of somebody}}"
    )
    assert (await desk.call("run", "batch.yaml")).code == 1


def list_reads(simulator: Simulator) -> int:
    return sum(request.path.endswith("/generations") and request.method == "GET" for request in simulator.requests)


async def test_a_failed_one_is_read_once_more_a_day_later_and_a_lower_cost_is_a_refund(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with open_desk(tmp_path_factory.mktemp("refund"), refund_seconds=0.001) as (desk, simulator):
        await fail(desk)
        change_ledger(desk, "UPDATE attempts SET charged = 35")
        before = list_reads(simulator)
        await desk.call("run", "batch.yaml")
        assert list_reads(simulator) == before
        change_ledger(desk, "UPDATE attempts SET finished_at = '2026-01-01T00:00:00.000Z'")
        for _ in range(2):
            assert (await desk.call("run", "batch.yaml")).code == 1
        assert list_reads(simulator) == before + 1
        rows = [json.loads(line) for line in (await desk.call("results", "batch.yaml", "--attempts")).out.splitlines()]
        told = {row["id"]: (row["credits_charged"], row["credits_refunded"]) for row in rows}
        assert told == {"good": (35, None), "bad": (35, 35)}


async def test_refunds_make_no_room_in_a_budget_and_no_charge_is_raised_by_a_later_read(tmp_path: Path) -> None:
    async with opened(tmp_path) as ledger:
        first = await make_ready(ledger, make_job("first"), charged=30)
        other = await make_ready(ledger, make_job("other"), charged=30)
        await ledger.record_refunds({first.key: Money(0), other.key: Money(99)})
        assert (await ledger.read_spending("")).spent == Money(60)
        [row] = await ledger.look(lambda reader: reader.sum_results(Group.NONE))
        assert (row.charged, row.refunded) == (60, 30)


async def test_an_api_whose_list_is_broken_is_asked_for_refunds_by_the_next_run(
    desk: Desk, simulator: Simulator
) -> None:
    await fail(desk)
    change_ledger(desk, "UPDATE attempts SET finished_at = '2026-01-01T00:00:00.000Z'")
    simulator.plan_fault("5xx-before", route="GET /generations")
    before = list_reads(simulator)
    for _ in range(3):
        assert (await desk.call("run", "batch.yaml")).code == 1
    assert list_reads(simulator) == before + 2


async def test_a_summary_adds_up_what_all_attempts_of_several_manifests_have_cost(desk: Desk) -> None:
    await fail(desk)
    desk.write_manifest(f"{PRICED}\nprompts: {{calm: A sea}}", name="other.yaml")
    await desk.call("run", "other.yaml")
    change_ledger(desk, "UPDATE attempts SET charged = 35, refunded = CASE job_id WHEN 'bad' THEN 35 END")
    words = ("results", "batch.yaml", "other.yaml", "--summary")
    table = (await desk.call(*words)).out.splitlines()
    assert [line.split() for line in table] == [
        ["MANIFEST", "VIDEOS", "CHARGED", "REFUNDED", "NET"],
        ["batch.yaml", "1", "70", "35", "35"],
        ["other.yaml", "1", "35", "0", "35"],
        ["total", "2", "105", "35", "70"],
    ]
    lines = (await desk.call(*words, "--by", "state", "--format", "jsonl")).out.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"state": "done", "videos": 2, "charged": 70, "refunded": 0, "net": 70},
        {"state": "failed", "videos": 0, "charged": 35, "refunded": 35, "net": 0},
    ]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("prompt", ["calm", "storm"]),
        ("image", ["red", "(none)"]),
        ("model", ["fal/grok-video-t2v", "fal/grok-video-i2v"]),
        ("edition", ["(none)", "june"]),
        ("state", ["done"]),
    ],
)
async def test_a_summary_is_by_what_is_asked_for(desk: Desk, by: str, names: list[str]) -> None:
    desk.add_image("red.png")
    defaults = "defaults: {duration: 5s, resolution: 720p, model: fal/grok-video-i2v}"
    desk.write_manifest(f"{defaults}\nprompts: {{storm: A storm}}\nimages: {{red: red.png}}")
    await desk.call("run", "batch.yaml")
    desk.write_manifest(f"{PRICED}\nprompts: {{calm: A sea}}")
    await desk.call("run", "batch.yaml", "--edition", "june")
    summed = await desk.call("results", "batch.yaml", "--summary", "--by", by, "--format", "csv")
    head, *rows = [line.split(",") for line in summed.out.splitlines()]
    assert (head, sorted(row[0] for row in rows)) == ([by, "videos", "charged", "refunded", "net"], sorted(names))
    assert sum(int(row[1]) for row in rows) == 2


async def test_what_hedra_has_not_told_is_no_part_of_the_sums_and_is_said(desk: Desk) -> None:
    write_jobs(desk, 2)
    await desk.call("run", "batch.yaml")
    change_ledger(desk, "UPDATE attempts SET charged = NULL WHERE job_id = 'job-0'")
    summed = await desk.call("results", "batch.yaml", "--summary")
    assert "For 1 Hedra has not said what it charged, or not yet; by estimate 35 credits" in summed.err
    assert summed.out.splitlines()[1].split() == ["batch.yaml", "2", "35", "0", "35"]


async def test_one_run_folder_counts_once_however_it_is_named(desk: Desk) -> None:
    write_jobs(desk, 1, PRICED)
    await desk.call("run", "batch.yaml")
    once = await desk.call("results", "batch.yaml", "--summary")
    twice = await desk.call("results", "batch.yaml", f"{desk.folder}/batch.yaml", "--summary")
    assert (once.code, twice.out) == (0, once.out)


async def test_several_manifests_and_groups_are_for_sums_only(desk: Desk) -> None:
    for words in (["a.yaml", "b.yaml"], ["a.yaml", "--by", "model"]):
        finished = await desk.call("results", *words)
        assert (finished.code, "go with --summary only" in finished.err) == (2, True)


# Numbers of the API


@pytest.mark.parametrize("number", [35, 35.0, "35", "35.0", " 35 ", 34.2, "34.01"])
def test_a_charge_may_be_written_in_any_way_and_is_rounded_up(number: object) -> None:
    assert charge(number).charged == Money(35)


@pytest.mark.parametrize("number", [None, True, "many", "", -1, "-1", float("nan"), float("inf"), "1e99", 10**15, [35]])
def test_what_is_no_sum_is_not_taken_for_one(number: object) -> None:
    assert charge(number).charged is None


def charge(number: object) -> Reading:
    return read_generation({"id": "a", "status": "complete", "credit_cost": number})


def test_every_other_number_may_be_a_text_too() -> None:
    reading = read_generation({"id": "a", "status": "processing", "progress": "0.5", "eta_sec": "90.0"})
    assert (reading.progress, reading.eta_seconds) == (0.5, 90.0)
    [model] = read_models([{"slug": "a/b", "name": "A", "eta_ms": "2000"}])
    assert model.eta_seconds == 2.0


NO_WALLET = {"used": 1, "allocated": 9, "available": 8}


@pytest.mark.parametrize(
    ("answer", "balance"),
    [
        ({"remaining": 9120}, 9120),
        ({"remaining": "9120.9"}, 9120),
        ({"remaining": 9120, "workspace_credit_pool": None}, 9120),
        ({"remaining": 9120, "workspace_credit_pool": {}}, 9120),
        ({"remaining": 9120, "workspace_credit_pool": {"a": NO_WALLET}}, None),
        ({"remaining": 9120, "workspace_credit_pool": {"a": {**NO_WALLET, "api_credits": 0}}}, 0),
        ({"remaining": 1, "workspace_credit_pool": {"a": {"api_credits": 70.0}, "b": {"api_credits": "30"}}}, 100),
        ({"remaining": 1, "workspace_credit_pool": {"a": {"api_credits": 70}, "b": NO_WALLET}}, 70),
        ({"remaining": 1, "workspace_credit_pool": {"a": {"api_usd_micros": 1_500_000}}}, 210),
        ({"remaining": 1, "workspace_credit_pool": {"a": {"api_usd_micros": 10**6, "api_credits": 500}}}, 140),
        ({"remaining": 1, "workspace_credit_pool": {"a": {"api_credits": "lots"}, "b": {"api_credits": 5}}}, None),
        ({"remaining": 9120, "workspace_credit_pool": "?"}, None),
        ({}, None),
    ],
)
def test_the_balance_is_what_pays_for_the_api_or_unknown(answer: dict[str, Any], balance: int | None) -> None:
    assert read_balance(answer) == (None if balance is None else Money(balance))


def price(pricing: dict[str, Any] | None, details: dict[str, Any] | None, duration_ms: int | None = 5000) -> int | None:
    model = Model("a/b", None, "A", pricing, details)
    fields: dict[str, str | int] = {"model": "a/b", **({"duration_ms": duration_ms} if duration_ms else {})}
    estimate = Catalogue([model]).estimate(fields)
    return estimate.amount if estimate else None


@pytest.mark.parametrize(
    ("details", "duration_ms", "amount"),
    [
        ({"credit_cost": 7, "unit_scale": 1, "billing_unit": "second"}, 5000, 35),
        ({"credit_cost": "7", "unit_scale": 1.0, "billing_unit": "Seconds"}, 5000, 35),
        ({"credit_cost": 7, "unit_scale": 2, "billing_unit": "second"}, 5000, 18),
        ({"credit_cost": 60, "unit_scale": 1, "billing_unit": "minute"}, 5000, 5),
        ({"credit_cost": 12, "unit_scale": 1, "billing_unit": "generation"}, None, 12),
        ({"credit_cost": 7, "unit_scale": 1, "billing_unit": "second"}, None, None),
        ({"credit_cost": 7, "unit_scale": 1, "billing_unit": "character"}, 5000, None),
        ({"credit_cost": 7, "unit_scale": 0, "billing_unit": "second"}, 5000, None),
        ({"billing_unit": "second"}, 5000, None),
        ({}, 5000, None),
    ],
)
def test_where_there_is_no_pricing_the_details_tell_the_price(
    details: dict[str, Any], duration_ms: int | None, amount: int | None
) -> None:
    assert price(None, details, duration_ms) == amount


def test_pricing_goes_before_the_details() -> None:
    assert price({"credits_per_second": 7.0}, {"credit_cost": 1, "unit_scale": 1, "billing_unit": "second"}) == 35


@pytest.mark.parametrize(
    ("factors", "amount"),
    [({"true": 2.0}, 70), ({"True": 2.0, "false": 0.5}, 70), ({"false": 0.5}, 35), ({"on": "1.5"}, 53), ({}, 35)],
)
def test_audio_that_is_not_chosen_is_on(factors: dict[str, Any], amount: int) -> None:
    assert price({"credits_per_second": 7, "modifiers": {"generate_audio": factors}}, None) == amount


# What is advised


async def test_a_plan_that_is_covered_in_part_has_the_line_that_buys_what_is(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 4, f"{PRICED}\nbudget: 100 credits")
    planned = await desk.call("plan", "batch.yaml")
    assert "To buy as much as is covered:\n    hedra-batch run batch.yaml\n" in planned.err
    assert "To buy exactly this, or nothing, once all of it is covered:\n" in planned.err
    assert ((await desk.call("run", "batch.yaml")).code, len(list_charged(simulator))) == (6, 2)


async def test_what_is_advised_for_edited_jobs_has_the_budget_that_they_need(desk: Desk, simulator: Simulator) -> None:
    write_jobs(desk, 1, PRICED)
    await desk.call("run", "batch.yaml")
    desk.write_manifest(f"{PRICED}\njobs:\n  - {{id: job-0, prompt: Another scene}}")
    refused = await desk.call("run", "batch.yaml", "--budget", "50")
    assert "To buy them anew, about 35 credits (35 each), with a larger budget; the files that are here stay:" in (
        " ".join(refused.err.split())
    )
    [line] = [line.split() for line in refused.err.splitlines() if line.endswith("--rebuy-changed")]
    assert ((await desk.call(*line[1:])).code, len(list_charged(simulator))) == (0, 2)
