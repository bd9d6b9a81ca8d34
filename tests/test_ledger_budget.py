"""What an edition may cost."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from test_ledger import apply, begin_send, lose, make_job, make_ready, opened, record, resend, reserve, send

from hedra_batch.decide import Reply, Verdict
from hedra_batch.errors import BudgetReachedError
from hedra_batch.job import Attempt
from hedra_batch.ledger import events
from hedra_batch.ledger.budget import Spending
from hedra_batch.ledger.events import Event
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.records import ListedRequest
from hedra_batch.money import Budgets, Money
from hedra_batch.state import State


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with opened(tmp_path) as ledger:
        yield ledger


@pytest.mark.parametrize("budgets", [Budgets(edition=Money(35)), Budgets(month=Money(35)), Budgets(total=Money(35))])
async def test_what_is_found_after_a_restore_counts_once_when_sent_again(tmp_path: Path, budgets: Budgets) -> None:
    job = make_job("sea")
    async with opened(tmp_path):
        pass
    async with opened(tmp_path, last_run=9, budgets=budgets) as ledger:
        await ledger.note_shown({ledger.keys.of_job(job, 1): ListedRequest()}, is_settled=False)
        [found] = await ledger.record([(job, 1)], lambda _: Money(30))
        due = await apply(ledger, found, events.plan_resend(b"{}"))
        sent = await apply(ledger, due, events.begin_send(due.state, State.RESENDING))
        assert (sent.state, sent.submitted_at is not None) == (State.RESENDING, True)


def refusal(attempt: Attempt) -> Event:
    return events.end_send(attempt.state, Reply.REFUSED, "invalid_argument", "No.")


async def test_the_budget_counts_what_is_reserved_and_what_may_be_charged(tmp_path: Path) -> None:
    async with opened(tmp_path, budgets=Budgets(Money(70))) as ledger:
        await lose(ledger)
        await reserve(ledger, make_job("second"))
        with pytest.raises(BudgetReachedError, match="budget of 70 credits is reached: 60 are spent or reserved"):
            await reserve(ledger, make_job("third"))


async def test_what_can_be_afforded_is_what_can_be_reserved(tmp_path: Path) -> None:
    async with opened(tmp_path, budgets=Budgets(Money(70))) as ledger:
        await send(ledger)
        await reserve(ledger, make_job("second"))
        assert [await ledger.can_afford("", Money(price)) for price in (10, 11)] == [True, False]
        assert await ledger.can_afford("june", Money(70))


async def test_without_a_budget_everything_can_be_afforded(ledger: Ledger) -> None:
    assert await ledger.can_afford("", Money(10**9))


async def test_a_price_in_another_unit_is_not_taken_for_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, budgets=Budgets(Money(70))) as ledger:
        attempt = await record(ledger)
        assert not await ledger.can_afford("", Money(1, "cents"))
        with pytest.raises(BudgetReachedError, match="its price is not known, and there is a budget"):
            await ledger.apply(attempt, events.reserve("key", b"{}", Money(1, "cents")))


async def test_amounts_of_two_units_are_not_added_up(ledger: Ledger) -> None:
    other = await record(ledger, make_job("other"))
    other = await apply(ledger, other, events.reserve("key", b"{}", Money(7, "cents")))
    await begin_send(ledger, other)
    await send(ledger)
    assert await ledger.read_spending("") == Spending(Money(30))
    assert await ledger.read_spending("", "cents") == Spending(Money(7, "cents"))


async def test_each_edition_has_the_budget_for_itself(tmp_path: Path) -> None:
    async with opened(tmp_path, budgets=Budgets(Money(30))) as ledger:
        await send(ledger)
        other = await send(ledger, make_job(edition="june"))
    assert other.state is State.SENDING


async def test_what_was_refused_costs_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, budgets=Budgets(Money(30))) as ledger:
        sending = await send(ledger)
        await apply(ledger, sending, refusal(sending))
        assert (await reserve(ledger, make_job("second"))).state is State.RESERVED


async def test_a_lost_request_is_not_sent_again_beyond_a_budget_that_was_lowered(tmp_path: Path) -> None:
    async with opened(tmp_path, budgets=Budgets(Money(30))) as ledger:
        unknown = await lose(ledger)
    async with opened(tmp_path, budgets=Budgets(Money(20))) as ledger:
        again = await apply(ledger, unknown, events.plan_resend(b"{}"))
        with pytest.raises(BudgetReachedError):
            await begin_send(ledger, again)


async def test_a_lost_request_that_is_sent_again_counts_once(tmp_path: Path) -> None:
    async with opened(tmp_path, budgets=Budgets(Money(30))) as ledger:
        assert (await resend(ledger)).state is State.RESENDING
        assert await ledger.read_spending("") == Spending(Money(30))


async def test_under_a_budget_an_unknown_price_is_not_taken_for_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, budgets=Budgets(Money(1000))) as ledger:
        attempt = await record(ledger)
        with pytest.raises(BudgetReachedError, match="its price is not known, and there is a budget"):
            await ledger.apply(attempt, events.reserve("key", b"{}", None))


async def test_under_a_budget_nothing_is_sent_beside_an_unknown_price(tmp_path: Path) -> None:
    async with opened(tmp_path) as ledger:
        attempt = await record(ledger, make_job("other"))
        await begin_send(ledger, await apply(ledger, attempt, events.reserve("key", b"{}", None)))
        assert await ledger.read_spending("") == Spending(Money(0), unpriced=1)
    async with opened(tmp_path, budgets=Budgets(Money(1000))) as ledger:
        with pytest.raises(BudgetReachedError, match="something was sent before whose price is not known"):
            await reserve(ledger)
        assert not await ledger.can_afford("", Money(1))


async def test_a_charge_that_is_reported_too_low_does_not_widen_the_budget(ledger: Ledger) -> None:
    await make_ready(ledger, charged=0)
    assert (await ledger.read_spending("")).spent == Money(30)


async def test_a_given_up_attempt_still_counts_as_spent(ledger: Ledger) -> None:
    held = await apply(ledger, await lose(ledger), events.hold(Verdict(State.HELD_UNKNOWN), "Look."))
    await apply(ledger, held, events.abandon(held.error))
    assert (await ledger.read_spending("")).spent == Money(30)


async def test_what_was_refused_costs_nothing_and_a_higher_charge_counts(ledger: Ledger) -> None:
    refused = await send(ledger)
    before = await ledger.read_spending("")
    await apply(ledger, refused, refusal(refused))
    await make_ready(ledger, make_job("second"), charged=45)
    assert (before, await ledger.read_spending("")) == (Spending(Money(30)), Spending(Money(45)))


async def test_where_a_state_does_something_else_to_a_budget_now_all_is_added_up_anew(tmp_path: Path) -> None:
    async with opened(tmp_path) as ledger:
        await lose(ledger)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as connection, connection:
        connection.execute("UPDATE states SET liability = 'none' WHERE state = 'UNKNOWN'")
        connection.execute("DELETE FROM spending")
    async with opened(tmp_path) as ledger:
        assert await ledger.read_spending("") == Spending(Money(30))
