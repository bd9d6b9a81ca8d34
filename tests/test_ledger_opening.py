"""Opening a ledger: it is made, found to be the right one, or begun anew after a loss."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from test_ledger import BINDING, make_job, open_ledger, opened, record, use_ledger

from hedra_batch.decide import is_surely_unsent
from hedra_batch.errors import ConfigurationError
from hedra_batch.ledger.budget import Spending
from hedra_batch.ledger.identity import Identity
from hedra_batch.money import Money
from hedra_batch.state import State


async def test_an_emptied_ledger_is_refused(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    (tmp_path / "ledger.sqlite3").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="ledger is empty"):
        await open_ledger(tmp_path)


async def test_an_older_copy_of_the_ledger_is_refused(tmp_path: Path) -> None:
    await (await open_ledger(tmp_path)).close()
    old = (tmp_path / "ledger.sqlite3").read_bytes()
    await (await open_ledger(tmp_path)).close()
    (tmp_path / "ledger.sqlite3").write_bytes(old)
    with pytest.raises(ConfigurationError, match="older copy"):
        await open_ledger(tmp_path)


async def test_a_lost_ledger_is_begun_anew_with_every_job_unknown(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    (tmp_path / "ledger.sqlite3").unlink()
    async with opened(tmp_path) as ledger:
        [attempt] = await ledger.record([(make_job(), 1)], lambda _: Money(30))
        later = await record(ledger, number=2)
        assert (attempt.state, attempt.request_key) == (State.UNKNOWN, ledger.keys.of_attempt(attempt))
        assert attempt == await ledger.attempt(attempt.key)
        assert (later.state, is_surely_unsent(later.state)) == (State.NEW, True)
        assert await ledger.read_spending("") == Spending(Money(30))


async def test_the_loss_of_a_ledger_is_remembered_by_the_next(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    (tmp_path / "ledger.sqlite3").unlink()
    first = await open_ledger(tmp_path)
    await first.close()
    second = await open_ledger(tmp_path)
    await second.close()
    assert second.loss == first.loss is not None


async def test_a_ledger_that_was_never_used_is_simply_made_again(tmp_path: Path) -> None:
    await (await open_ledger(tmp_path)).close()
    (tmp_path / "ledger.sqlite3").unlink()
    ledger = await open_ledger(tmp_path)
    await ledger.close()
    assert ledger.loss is None


async def test_a_damaged_page_is_noticed_at_the_opening(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    content = bytearray((tmp_path / "ledger.sqlite3").read_bytes())
    for place in range(4096 * 3, len(content), 4096):
        content[place : place + 16] = bytes(16)
    (tmp_path / "ledger.sqlite3").write_bytes(content)
    with pytest.raises(ConfigurationError, match="damaged"):
        await open_ledger(tmp_path)


async def test_a_pair_that_ends_before_the_last_known_run_was_put_back(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    ledger = await open_ledger(tmp_path, last_run=5)
    await ledger.close()
    assert ledger.restore
    assert not ledger.restore.is_settled


async def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    Identity.create(BINDING, tmp_path, "2026-01-01T00:00:00.000Z").save(tmp_path / "identity.json")
    (tmp_path / "ledger.sqlite3").write_bytes(b"This is a shopping list, not a database." * 100)
    with pytest.raises(ConfigurationError, match="damaged, or not a ledger"):
        await open_ledger(tmp_path)


async def test_a_ledger_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    await (await open_ledger(tmp_path)).close()
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="newer version"):
        await open_ledger(tmp_path)
