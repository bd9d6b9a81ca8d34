"""What the ledger asks of the place where its rows are kept: a few primitives. SQLite's are in `sqlite/`.

Another home for the ledger writes these, and the questions of `LedgerReader`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

from hedra_batch.errors import LedgerError
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.state import State

T = TypeVar("T")

Table = Literal["info", "runs", "attempts", "uploads", "deduplication", "models"]
#: What rows must have: a value, one of several, None for nothing, and True for a column that is 1.
Condition = Mapping[str, object]
Changes = Mapping[str, object]
#: Counters, and by how much they change.
Adds = Mapping[str, int]


class ConflictError(LedgerError):
    """A row was not in the state that the change starts from; the other changes of the commit stand."""


class TakenError(ConflictError):
    """Another attempt has what this one should get: the server's id, or the name of a file."""


class Tables(Protocol):
    """The rows, inside one transaction; each change is checked against the rules of the schema at once."""

    def insert(self, table: Table, values: Changes) -> int:
        """Add a row, and return its key."""

    def update(self, table: Table, condition: Condition, changes: Changes, adds: Adds | None = None) -> int:
        """Change the rows that meet a condition, and return how many there were."""

    def compare_and_set(
        self, key: int, state: State, changes: Changes, adds: Adds, shown: Sequence[str]
    ) -> tuple[Any, ...] | None:
        """Change an attempt that is in a state, and return some of its columns; None when it is not in that state.

        Raises TakenError and ConflictError, and then has changed nothing.
        """

    def find(self, table: Table, columns: Sequence[str], condition: Condition) -> list[tuple[Any, ...]]:
        """Read columns of the rows that meet a condition, in the order of the first of them."""

    def reader(self) -> LedgerReader:
        """Return what answers questions about these rows."""


class Backend(Protocol):
    """The rows of one batch, with one writer."""

    async def transact(self, operation: Callable[[Tables], T]) -> T:
        """Run one operation; its effects are on disk when this returns. What waits together shares one commit.

        An operation refuses (by an error of this program) before it changes anything. Raises LedgerError when the
        effects may not be on disk. A cancelled caller does not cancel the operation.
        """

    async def close(self) -> None:
        """Write what waits, then close."""
