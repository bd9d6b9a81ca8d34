"""One thread, one connection, many changes a commit: how the ledger is written without stalling the event loop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hedra_batch.errors import HedraBatchError, LedgerError
from hedra_batch.ledger.backend import Tables
from hedra_batch.ledger.sqlite.statements import SqliteTables

T = TypeVar("T")

#: Operations that one commit carries at most: bounds the time until the first of them is answered.
GROUP_SIZE = 500
#: From one commit of several operations to the next: a commit costs more than what it carries, and nobody who makes
#: videos notices so short a wait. After a commit of one the next begins at once.
GATHER_SECONDS = 0.02


@dataclass(slots=True)
class _Pending:
    operation: Callable[[Tables], Any]
    answer: asyncio.Future[Any]
    result: Any = None
    refusal: HedraBatchError | None = None


def open_connection(path: Path) -> sqlite3.Connection:
    """Open the writing connection: WAL, and a commit that returns is on the disk (synchronous=FULL)."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        # SQLite only says so: in its other modes a power cut could take back the last commit.
        connection.close()
        raise sqlite3.OperationalError(f"this disk cannot hold its journal: mode {mode!r}")
    connection.execute("PRAGMA synchronous=FULL")
    # Only macOS knows this one: its fsync alone leaves data in the drive's cache.
    connection.execute("PRAGMA fullfsync=ON")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


class SqliteBackend:
    """Runs operations on the connection in its own thread; all that wait together share one durable commit.

    After any error of SQLite nothing more is written: a commit that failed may still be on disk, and only
    reading it anew can tell.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._tables = SqliteTables(connection)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._pending: list[_Pending] = []
        self._flushing: asyncio.Task[None] | None = None
        self._broken: LedgerError | None = None
        #: Until when operations are gathered for the next commit.
        self._gather_until = 0.0

    async def transact(self, operation: Callable[[Tables], T]) -> T:
        if self._broken:
            raise self._broken
        pending = _Pending(operation, asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush(), name="ledger")
        result: T = await pending.answer
        return result

    async def close(self) -> None:
        if self._flushing is not None:
            await self._flushing
        await asyncio.get_running_loop().run_in_executor(self._executor, self._connection.close)
        self._executor.shutdown()

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._pending:
            await asyncio.sleep(self._gather_until - loop.time())
            group, self._pending = self._pending[:GROUP_SIZE], self._pending[GROUP_SIZE:]
            self._gather_until = loop.time() + GATHER_SECONDS if len(group) > 1 else 0.0
            try:
                await loop.run_in_executor(self._executor, self._commit, group)
            except Exception as error:  # noqa: BLE001 - whatever it was, every caller must learn that it may not be on disk
                self._fail(group, error)
            else:
                _answer(group)
        self._flushing = None

    def _commit(self, group: list[_Pending]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for pending in group:
                self._apply(pending)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _apply(self, pending: _Pending) -> None:
        """Run one of a group. It refuses before it changes anything, so that the others need no savepoints."""
        changes = self._connection.total_changes
        try:
            pending.result = pending.operation(self._tables)
        except HedraBatchError as refusal:
            if self._connection.total_changes != changes:
                raise sqlite3.InternalError("an operation was refused after it had changed something") from refusal
            pending.refusal = refusal

    def _fail(self, group: list[_Pending], error: Exception) -> None:
        self._broken = LedgerError(
            f"The ledger could not be written ({error}). Nothing more is sent. Make room, or repair the disk: the "
            "next run goes on with what the ledger has."
        )
        self._broken.__cause__ = error
        waiting, self._pending = group + self._pending, []
        for pending in waiting:
            if not pending.answer.done():
                pending.answer.set_exception(self._broken)


def _answer(group: list[_Pending]) -> None:
    for pending in group:
        if pending.answer.done():
            continue
        if pending.refusal:
            pending.answer.set_exception(pending.refusal)
        else:
            pending.answer.set_result(pending.result)
