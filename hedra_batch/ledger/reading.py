"""Reading a ledger, from outside a run or between its commits, whatever its home; `ledger/opening` names the home.

What may be long comes page by page, each read anew, so that a slow reader keeps nobody from writing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from hedra_batch.inputs import FieldValues
from hedra_batch.ledger.records import (
    AttemptEnd,
    Charge,
    ClaimedFile,
    FileMove,
    Group,
    JobIdentity,
    LatestAttempt,
    ResultFile,
    ResultSum,
)
from hedra_batch.state import Liability, State


class Results(Protocol):
    """Rows of RESULT_COLUMNS; each iteration reads them anew, as they are then."""

    def __iter__(self) -> Iterator[dict[str, Any]]: ...


class LedgerReader(Protocol):
    """Answers questions about a ledger and never changes it. It outlives the transaction that it was made in."""

    def find_all(self, identities: Sequence[JobIdentity]) -> Iterator[LatestAttempt]:
        """Find how some jobs stand, in no order; those that the ledger does not know are left out."""

    def find_in_states(self, states: Iterable[State]) -> Iterator[LatestAttempt]:
        """Find the attempts in some states, in the order of recording, also those that no job stands by.

        All at once, so it should be states of few.
        """

    def find_keys(self, keys: Sequence[int]) -> Iterator[LatestAttempt]:
        """Find how some attempts stand, in no order."""

    def find_beside(self, identities: Sequence[JobIdentity]) -> Iterator[LatestAttempt]:
        """Find the attempts of some jobs that those do not stand by."""

    def find_paid(self, edition: str, digests: Sequence[str]) -> Iterator[LatestAttempt]:
        """Find what may be paid for and was written, sent or kept for some digests, in the order of recording."""

    def find_claimed(self, keys: Sequence[int]) -> Iterator[ClaimedFile]:
        """Find the file names of some attempts; those that have none are left out."""

    def find_owner(self, output: str) -> int | None:
        """Find the attempt that has a file name."""

    def find_moves(self) -> list[FileMove]:
        """Find the files that are being renamed."""

    def read_models(self) -> dict[str, str]:
        """Read the one name that each spelling of a model stands for, by the lists of models that were seen."""

    def find_editions(self) -> list[str]:
        """Find the editions of which any job was begun, in the order of their labels."""

    def has_any(self, states: Iterable[State]) -> bool:
        """Tell whether any attempt is in one of some states."""

    def count_states(self) -> Counter[str]:
        """Count the jobs in each public state, and what is open beside what they stand by."""

    def open_jobs(self, limit: int) -> list[dict[str, Any]]:
        """Read the attempts that are not ended, those that need a person first, then in the order of recording."""

    def results(self, *, has_all_attempts: bool) -> Results:
        """Return every job with its latest attempt, or every attempt, in the order of recording."""

    def held(self) -> Iterator[dict[str, Any]]:
        """Yield what is known of each attempt that a person can settle."""

    def files(self) -> Iterator[ResultFile]:
        """Yield every result that is here, ready to be fetched or lost, those of earlier attempts too."""

    def read_lost_attempts(self) -> int:
        """Read the highest number that an attempt may have in a ledger that was lost; 0 where none was."""

    def sum_credits(self, edition: str) -> dict[str, int | None]:
        """Sum what an edition has cost: as charged, as estimated where the charge is not known, and what may be more.

        `unpriced` counts the attempts of which neither is known.
        """

    def sum_spending(
        self, unit: str, liabilities: Sequence[Liability], *, edition: str | None = None, month: str | None = None
    ) -> tuple[int, int]:
        """Add up what an edition, a month or the whole batch owes in a unit, and count attempts of unknown price."""

    def find_spending_editions(self) -> list[str]:
        """Find the editions that may have cost something."""

    def read_charges(self) -> list[Charge]:
        """Read the highest charge of each kind of request that was charged more than its estimate once."""

    def average_sizes(self) -> dict[str | None, float]:
        """Read how large the videos of each model are on average, by the name that the manifest has for it."""

    def find_unrefunded(self, ended_before: str) -> list[tuple[int, str]]:
        """Find the failed attempts that ended before an instant and were not read again: each key and remote id."""

    def sum_results(self, group: Group) -> list[ResultSum]:
        """Add up what all attempts have cost, by one of their properties."""

    def read_last_sent_at(self) -> str | None:
        """Read when the last paid request was sent."""

    def read_last_entry_at(self) -> str | None:
        """Read when anything was written last; None where nothing was."""

    def read_ids(self, edition: str) -> set[str]:
        """Read the ids of all jobs that ever had an attempt, also those that it was bought under."""

    def find_numbers(self, edition: str, job_ids: Iterable[str]) -> set[tuple[str, int]]:
        """Find which numbers were used under some ids, each with its id."""

    def find_requests(self, keys: Sequence[str]) -> set[str]:
        """Find which of some request keys and remote ids an attempt has that was sent."""

    def read_month(self, key: int) -> str:
        """Read the month in which an attempt counts towards a budget."""

    def read_fields(self, key: int) -> FieldValues:
        """Read the canonical inputs that an attempt was made for."""

    def read_end(self, key: int) -> AttemptEnd:
        """Read why an attempt ended badly or is held, and what it cost."""
