"""What waits in a run, over a real ledger: room in the budget, and the proof that repeats are recognised, per kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from recorded import make_job, open_ledger, record, refuse_sent, send

from hedra_batch.decide import Deduplication
from hedra_batch.errors import BudgetReachedError
from hedra_batch.job import Attempt
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.money import Budgets, Money
from hedra_batch.planning.plan import PlannedJob, Rules, judge
from hedra_batch.run.parking import Parking, Wait
from hedra_batch.state import State

REASON = BudgetReachedError("The budget is reached.")
RULES = Rules()


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    opened = await open_ledger(tmp_path, budgets=Budgets(Money(50)))
    yield opened
    await opened.close()


def plan(job_id: str) -> PlannedJob:
    return judge(make_job(job_id), None, RULES)


async def take_ids(parking: Parking) -> list[str] | None:
    ready = await parking.take_ready()
    return None if ready is None else [parked.attempt.job_id for parked in ready]


async def park_too_dear(ledger: Ledger, parking: Parking, *prices: int) -> Attempt:
    """Send what takes 30 of the budget of 50, and park others that cost so much; returns what was sent."""
    sending = await send(ledger, make_job("first"))
    for number, price in enumerate(prices):
        job_id = f"dear{number}"
        parking.on_too_dear("", Money(price), REASON)
        parking.park(Wait.BUDGET, await record(ledger, make_job(job_id)), plan(job_id))
    return sending


async def test_where_nothing_waits_nothing_is_ready(ledger: Ledger) -> None:
    assert await take_ids(Parking(ledger)) is None


async def test_what_is_too_dear_waits_until_something_is_given_back(ledger: Ledger) -> None:
    parking = Parking(ledger)
    sending = await park_too_dear(ledger, parking, 40, 35)
    assert (await take_ids(parking), parking.budget_reason) == (None, REASON)
    await refuse_sent(ledger, sending)
    assert (await take_ids(parking), parking.budget_reason) == (["dear0", "dear1"], None)
    assert (await take_ids(parking), parking.was_budget_reached) == (None, True)


async def test_what_costs_more_than_was_given_back_goes_on_waiting(ledger: Ledger) -> None:
    parking = Parking(ledger)
    await refuse_sent(ledger, await park_too_dear(ledger, parking, 51, 60))
    assert (await take_ids(parking), parking.budget_reason) == (None, REASON)


async def test_what_has_no_row_yet_can_be_ready_alone(ledger: Ledger) -> None:
    parking = Parking(ledger)
    sending = await send(ledger, make_job("first"))
    parking.on_too_dear("", Money(40), REASON)
    await refuse_sent(ledger, sending)
    assert (await take_ids(parking), await take_ids(parking)) == ([], None)


async def test_what_has_no_price_is_never_affordable_by_what_is_given_back(ledger: Ledger) -> None:
    parking = Parking(ledger)
    sending = await send(ledger, make_job("first"))
    parking.on_too_dear("", None, REASON)
    parking.park(Wait.BUDGET, await record(ledger), plan("market"))
    await refuse_sent(ledger, sending)
    assert await take_ids(parking) is None


@pytest.mark.parametrize(
    ("refused", "price", "expected"),
    [
        ([], Money(1000), False),
        ([], None, False),
        ([Money(40)], Money(40), True),
        ([Money(40)], Money(39), False),
        ([Money(40), Money(30), Money(35)], Money(30), True),
        ([Money(40), Money(30), Money(35)], Money(29), False),
        ([Money(40)], None, True),
        ([None], Money(30), False),
        ([None], None, True),
    ],
)
async def test_what_costs_no_less_than_what_was_refused_is_not_even_tried(
    ledger: Ledger, refused: list[Money | None], price: Money | None, expected: bool
) -> None:
    parking = Parking(ledger)
    for each in refused:
        parking.on_too_dear("", each, REASON)
    assert parking.is_too_dear(price) is expected


async def park_unproven(ledger: Ledger, parking: Parking, kind: str) -> Attempt:
    attempt = await record(ledger, make_job(kind))
    held = replace(attempt, state=State.HELD_UNPROVEN, fields={**attempt.fields, "type": kind})
    parking.park(Wait.PROOF, held, plan(kind))
    return held


async def test_the_proof_for_one_kind_of_request_says_nothing_of_another(ledger: Ledger) -> None:
    parking = Parking(ledger)
    for kind in ("video", "image"):
        await park_unproven(ledger, parking, kind)
    assert await take_ids(parking) is None
    await ledger.record_deduplication("image", Deduplication.PROVEN)
    assert (await take_ids(parking), await take_ids(parking)) == (["image"], None)
    await ledger.record_deduplication("video", Deduplication.PROVEN)
    assert (await take_ids(parking), await take_ids(parking)) == (["video"], None)


async def test_what_comes_when_the_proof_is_already_here_is_ready_once(ledger: Ledger) -> None:
    parking = Parking(ledger)
    await ledger.record_deduplication("video", Deduplication.PROVEN)
    held = await park_unproven(ledger, parking, "video")
    assert await take_ids(parking) == ["video"]
    parking.park(Wait.PROOF, held, plan("video"))
    assert await take_ids(parking) is None


async def test_a_server_that_recognises_nothing_lets_what_waits_for_the_proof_wait(ledger: Ledger) -> None:
    parking = Parking(ledger)
    await park_unproven(ledger, parking, "video")
    await ledger.record_deduplication("video", Deduplication.NONE)
    assert await take_ids(parking) is None


@pytest.mark.parametrize("wait", [Wait.PERSON, Wait.NEXT_RUN])
async def test_what_nothing_in_this_run_can_help_is_left_to_the_ledger(ledger: Ledger, wait: Wait) -> None:
    parking = Parking(ledger)
    parking.park(wait, await record(ledger), plan("market"))
    await ledger.record_deduplication("video", Deduplication.PROVEN)
    assert await take_ids(parking) is None


async def test_a_proof_that_comes_does_not_open_the_budget(ledger: Ledger) -> None:
    parking = Parking(ledger)
    await park_too_dear(ledger, parking, 40)
    await park_unproven(ledger, parking, "video")
    await ledger.record_deduplication("video", Deduplication.PROVEN)
    assert (await take_ids(parking), parking.budget_reason) == (["video"], REASON)


async def test_a_refusal_without_a_price_does_not_make_another_edition_count(ledger: Ledger) -> None:
    parking = Parking(ledger)
    sending = await park_too_dear(ledger, parking, 40)
    parking.on_too_dear("other", None, REASON)
    await refuse_sent(ledger, sending)
    assert await take_ids(parking) == ["dear0"]
