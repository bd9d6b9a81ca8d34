"""How many generations are in flight at once, and who waits for room."""

from __future__ import annotations

import asyncio
import logging

import pytest

from hedra_batch.errors import SubmittingClosedError
from hedra_batch.run.pacing.concurrency import ConcurrencyLimit


async def enter(limit: ConcurrencyLimit, key: int) -> None:
    await limit.wait()
    limit.take(key)


async def test_no_more_enter_than_there_is_room_for() -> None:
    limit = ConcurrencyLimit(2)
    await enter(limit, 1)
    await enter(limit, 2)
    third = asyncio.create_task(enter(limit, 3))
    await asyncio.sleep(0)
    assert not third.done()
    await limit.leave(1)
    await third


async def test_what_is_in_flight_already_takes_its_places_without_asking() -> None:
    limit = ConcurrencyLimit(1)
    limit.take(1)
    limit.take(2)
    third = asyncio.create_task(enter(limit, 3))
    await limit.leave(1)
    await asyncio.sleep(0)
    assert not third.done()
    await limit.leave(2)
    await third


async def test_closing_sends_away_those_who_wait_and_those_who_come() -> None:
    limit = ConcurrencyLimit(1)
    await enter(limit, 1)
    waiting = asyncio.create_task(enter(limit, 2))
    await asyncio.sleep(0)
    await limit.close()
    with pytest.raises(SubmittingClosedError):
        await waiting
    with pytest.raises(SubmittingClosedError):
        await enter(limit, 3)


def fill(limit: ConcurrencyLimit) -> list[int]:
    """Take all the room there is."""
    keys: list[int] = []
    while not limit.is_on:
        keys.append(len(keys))
        limit.take(keys[-1])
    return keys


@pytest.mark.parametrize(("refused", "left"), [(1, 7), (5, 3), (7, 1), (8, 1)])
async def test_each_refusal_to_run_more_at_once_takes_one_off(refused: int, left: int) -> None:
    limit = ConcurrencyLimit(8)
    keys = fill(limit)
    others = [await limit.shrink(key) for key in keys[:refused]]
    assert others == [key < 7 for key in keys[:refused]]
    for key in keys:
        await limit.leave(key)
    assert len(fill(limit)) == left


async def test_a_refusal_while_nothing_of_ours_runs_takes_nothing_off() -> None:
    limit = ConcurrencyLimit(8)
    limit.take(1)
    assert (await limit.shrink(1), len(fill(limit))) == (False, 8)


async def test_what_was_refused_to_run_at_once_waits_for_an_end() -> None:
    limit = ConcurrencyLimit(8)
    limit.take(1)
    limit.take(2)
    await limit.shrink(2)
    waiting = asyncio.create_task(enter(limit, 2))
    await asyncio.sleep(0)
    assert not waiting.done()
    await limit.leave(1)
    await waiting


async def test_from_time_to_time_one_more_at_once_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    limit = ConcurrencyLimit(7)
    await limit.shrink(fill(limit)[0])
    await limit.shrink(1)
    caplog.clear()
    with caplog.at_level(logging.INFO, "hedra_batch.run.pacing.concurrency"):
        for _ in range(20):
            await limit.on_accepted()
    assert [line.split(": ")[0] for line in caplog.messages] == [
        f"{more} generations at once are tried now" for more in (6, 7)
    ]
    assert fill(limit) == [0, 1]


async def test_a_refusal_to_run_more_at_once_is_told_and_the_row_of_the_accepted_begins_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limit = ConcurrencyLimit(4)
    keys = fill(limit)
    with caplog.at_level(logging.INFO, "hedra_batch.run.pacing.concurrency"):
        for key in keys[:2]:
            await limit.shrink(key)
            for _ in range(4):
                await limit.on_accepted()
    told = "the API runs no more than {} generations at once now: the next is submitted when one ends"
    assert caplog.messages == [told.format(3), told.format(2)]
