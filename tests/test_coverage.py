"""How much of a plan budgets, balance and disk cover, and what a code of a plan depends on."""

from __future__ import annotations

import pytest

from hedra_batch.inputs import FieldValues, Inputs, find_price_key
from hedra_batch.job import Job
from hedra_batch.ledger.budget import Account, BudgetKind, PriceRun, Spending
from hedra_batch.ledger.records import Charge, LatestAttempt
from hedra_batch.money import Money
from hedra_batch.planning.coverage import DiskRoom, expect_room, find_shortfalls, guess_size
from hedra_batch.planning.fingerprint import ALPHABET, CODE_LENGTH, Fingerprint
from hedra_batch.planning.plan import PlannedJob, Reason, Rules, Step, judge
from hedra_batch.planning.prices import Prices
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.state import State

ROOMY = DiskRoom(10**15, 0, [(1.0, 1000)])


def make_account(limit: int, spent: int = 0, unpriced: int = 0) -> Account:
    return Account(BudgetKind.EDITION, Money(limit), Spending(Money(spent), unpriced))


def describe(runs: list[PriceRun], *accounts: Account, balance: int | None = None, room: DiskRoom = ROOMY) -> list[str]:
    left = None if balance is None else Money(balance)
    return [shortfall.describe() for shortfall in find_shortfalls(runs, accounts, left, room)]


SIX: list[PriceRun] = [(Money(35), 6)]


@pytest.mark.parametrize(
    ("runs", "limit", "spent", "covered"),
    [
        (SIX, 105, 0, 3),
        (SIX, 139, 0, 3),
        (SIX, 140, 35, 3),
        (SIX, 0, 0, 0),
        (SIX, 10, 50, 0),
        ([(Money(70), 4), (Money(35), 2)], 105, 0, 2),
        ([(Money(70), 2), (Money(35), 4)], 40, 0, 1),
        ([(None, 2), (Money(35), 4)], 1000, 0, 4),
        ([(Money(1, "cents"), 6)], 1000, 0, 0),
    ],
)
def test_a_budget_covers_what_would_be_bought_in_its_order(
    runs: list[PriceRun], limit: int, spent: int, covered: int
) -> None:
    unpriced = " (not all prices are known)" if any(price is None for price, _ in runs) else ""
    assert describe(runs, make_account(limit, spent)) == [f"the budget covers {covered} of 6{unpriced}"]


def test_what_is_covered_exactly_is_no_shortfall() -> None:
    assert describe(SIX, make_account(210), balance=210) == []
    assert describe([(Money(0), 6)], make_account(0), balance=0) == []
    assert describe([(None, 6)], balance=5) == []


def test_the_narrowest_of_several_budgets_counts_and_an_unknown_price_before_closes_it() -> None:
    assert describe(SIX, make_account(1000), make_account(80, spent=40)) == ["the budget covers 1 of 6"]
    assert describe(SIX, make_account(1000, unpriced=1)) == ["the budget covers 0 of 6 (not all prices are known)"]


def test_what_is_not_priced_is_not_said_to_need_a_larger_budget() -> None:
    [unpriced] = find_shortfalls([(None, 2)], [make_account(1000)], None, ROOMY)
    [small] = find_shortfalls(SIX, [make_account(100)], None, ROOMY)
    assert "To buy them, give each job a model, a duration and a resolution" in str(unpriced.make_error())
    assert "To buy them, raise the budget" in str(small.make_error())


def test_the_balance_covers_the_first_until_one_is_too_dear_among_those_in_the_budget() -> None:
    assert describe(SIX, balance=80) == ["the balance covers 2 of 6"]
    assert describe([(Money(100), 1), (Money(5), 5)], balance=50) == ["the balance covers 0 of 6"]
    assert describe(SIX, make_account(70), balance=70) == ["the budget covers 2 of 6"]
    assert describe(SIX, make_account(105), balance=40) == ["the balance covers 1 of 6", "the budget covers 3 of 6"]


def test_the_disk_has_room_for_what_is_awaited_first() -> None:
    assert describe(SIX, room=DiskRoom(100, 40, [(25.0, 6)])) == ["the free disk space covers 2 of 6"]
    assert describe(SIX, room=DiskRoom(10, 40, [(25.0, 6)])) == ["the free disk space covers 0 of 6"]


def test_a_video_is_expected_as_large_as_those_of_its_model_else_of_any_else_by_its_length() -> None:
    key = find_price_key({"model": "a/b", "duration_ms": 5000})
    known: list[dict[str | None, float]] = [{"a/b": 7.0, "x": 9.0}, {"x": 9.0}, {}]
    sizes = [guess_size(key, each) for each in known]
    assert sizes == [7.0, 9.0, 5_000_000]
    assert guess_size((), {}) == 10_000_000


def test_what_is_at_the_server_needs_room_too() -> None:
    job = make_job()
    sent = PlannedJob(Reason.RUNNING, Step.PROCESS, job, None)
    room = expect_room(PlanSummary(sent=[sent]), {None: 3.0}, 100)
    assert (room.awaited_bytes, room.runs) == (3.0, [])


def make_job(job_id: str = "market", prompt: str = "A storm", edition: str = "") -> Job:
    return Job(job_id, edition, Inputs(prompt, model="a/b"), "v.mp4")


def add(fingerprint: Fingerprint, planned: PlannedJob) -> None:
    assert planned.job
    fingerprint.add(planned, planned.job.inputs.digest, find_price_key(planned.job.inputs.fields))


def write_code(*jobs: Job, price: int | None = 35) -> str:
    fingerprint = Fingerprint()
    for job in jobs:
        add(fingerprint, judge(job, None, Rules()))
    return fingerprint.write_code(lambda _: None if price is None else Money(price))


def test_a_code_is_short_and_the_same_in_any_order() -> None:
    first, second = make_job(), make_job("sea")
    assert write_code(first, second) == write_code(second, first)
    assert len(write_code(first)) == CODE_LENGTH
    assert set(write_code(first)) <= set(ALPHABET)


@pytest.mark.parametrize(
    "other",
    [[], [make_job("sea")], [make_job(prompt="A calm")], [make_job(edition="june")], [make_job(), make_job("sea")]],
)
def test_a_code_changes_with_anything_that_is_bought(other: list[Job]) -> None:
    assert write_code(*other) != write_code(make_job())


def test_a_code_changes_with_the_price_and_the_attempt() -> None:
    assert len({write_code(make_job(), price=price) for price in (35, 36, None)}) == 3
    failed = LatestAttempt(7, "", "market", 1, State.FAILED, make_job().inputs.digest, None, "internal")
    again = Fingerprint()
    add(again, judge(make_job(), failed, Rules()))
    assert again.write_code(lambda _: Money(35)) != write_code(make_job())


def list_price(fields: FieldValues) -> Money | None:
    return Money(int(fields["duration_ms"]) // 1000 * 7) if "duration_ms" in fields else None


FIVE: FieldValues = {"model": "a/b", "duration_ms": 5000}
TEN: FieldValues = {"model": "a/b", "duration_ms": 10_000}


@pytest.mark.parametrize(
    ("charged", "fields", "estimate"),
    [
        (105, FIVE, 105),
        (105, TEN, 210),
        (36, TEN, 72),
        (20, FIVE, 35),
        (105, {**FIVE, "model": "x/y"}, 35),
        (105, {**FIVE, "resolution": "540p"}, 35),
        (105, {"model": "a/b"}, None),
    ],
)
def test_what_is_to_come_is_estimated_by_what_its_kind_was_charged(
    charged: int, fields: FieldValues, estimate: int | None
) -> None:
    prices = Prices(list_price, [Charge(FIVE, Money(charged))])
    assert prices.estimate(fields) == (None if estimate is None else Money(estimate))


def test_the_highest_multiple_counts_and_a_list_that_has_become_right_is_believed_unless_it_says_0() -> None:
    prices = Prices(list_price)
    for charged in (70, 105, 35):
        prices.learn(FIVE, Money(charged))
    assert prices.estimate(TEN) == Money(210)
    assert Prices(lambda _: Money(105), [Charge(FIVE, Money(105))]).estimate(FIVE) == Money(105)
    assert Prices(lambda _: Money(0), [Charge(FIVE, Money(105))]).estimate(TEN) == Money(105)
    assert Prices(list_price, [Charge(FIVE, Money(105, "cents"))]).estimate(FIVE) == Money(35)


@pytest.mark.parametrize(("balance", "said"), [(0, ["the balance covers 0 of 2"]), (1, [])])
def test_an_empty_balance_covers_nothing_whose_price_is_unknown(balance: int, said: list[str]) -> None:
    assert describe([(None, 2)], balance=balance) == said
