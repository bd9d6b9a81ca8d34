"""One thread, one connection, many changes a commit."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from test_ledger import begin_send, make_job, open_ledger, opened, reserve

from hedra_batch.errors import LedgerError
from hedra_batch.ledger import events
from hedra_batch.ledger.backend import ConflictError, Tables
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.sqlite.statements import SqliteTables


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with opened(tmp_path) as ledger:
        yield ledger


async def execute(ledger: Ledger, statement: str) -> Any:
    def operation(tables: Tables) -> Any:
        assert isinstance(tables, SqliteTables)
        return tables.connection.execute(statement).fetchone()[0]

    return await ledger._backend.transact(operation)


async def test_after_an_error_of_the_file_nothing_more_is_written(ledger: Ledger) -> None:
    reserved = await reserve(ledger)
    with pytest.raises(LedgerError, match="could not be written"):
        await execute(ledger, "no SQL")
    with pytest.raises(LedgerError, match="Nothing more is sent"):
        await begin_send(ledger, reserved)


async def test_commits_are_durable_and_in_wal(ledger: Ledger) -> None:
    pragmas = (await execute(ledger, "PRAGMA synchronous"), await execute(ledger, "PRAGMA journal_mode"))
    assert pragmas == (2, "wal")


async def test_many_waiting_changes_share_their_commits(ledger: Ledger, tmp_path: Path) -> None:
    attempts = await ledger.record([(make_job(f"job-{number}"), 1) for number in range(200)])
    before = (tmp_path / "ledger.sqlite3-wal").stat().st_size
    reserving = (ledger.apply(attempt, events.reserve(f"key-{attempt.key}", b"{}", None)) for attempt in attempts)
    await asyncio.gather(*reserving)
    grown = (tmp_path / "ledger.sqlite3-wal").stat().st_size - before
    # A commit of its own writes at least three pages of 4 KiB for each change.
    assert grown < 200 * 3 * 4096


async def test_an_operation_that_refuses_after_a_change_takes_nothing_with_it_to_the_disk(tmp_path: Path) -> None:
    def change_and_refuse(tables: Tables) -> None:
        tables.update("info", {"key": "manifest"}, {"value": "other"})
        raise ConflictError("no")

    ledger = await open_ledger(tmp_path)
    with pytest.raises(LedgerError, match="refused after it had changed something"):
        await ledger._backend.transact(change_and_refuse)
    await ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as connection:
        assert connection.execute("SELECT value FROM info WHERE key = 'manifest'").fetchone() != ("other",)
