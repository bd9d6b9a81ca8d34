"""Whether the results are on disk as they were when they were done. No network library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

from hedra_batch.batch.matching import matches
from hedra_batch.durable import hash_file
from hedra_batch.errors import LedgerError, NothingSelectedError
from hedra_batch.folder import RunFolder
from hedra_batch.ledger.opening import open_reader
from hedra_batch.ledger.records import ResultFile
from hedra_batch.state import State


class Condition(StrEnum):
    """How a result is on disk."""

    GOOD = "good"
    #: The server has it, and no run has fetched it yet.
    READY = "not fetched"
    #: The server has lost it before it was fetched.
    LOST = "lost"
    MISSING = "missing"
    #: Its bytes are not those that were verified.
    DAMAGED = "damaged"


def require_known(folder: RunFolder, ids: Sequence[str]) -> None:
    """Raise NothingSelectedError where the ledger has jobs, but none with such an id."""
    with open_reader(folder.ledger) as reader:
        known = [row["id"] for row in reader.results(has_all_attempts=False)] if reader and ids else []
    if known and not any(matches(job_id, ids) for job_id in known):
        message = f"No job that was begun has an id like {' or '.join(ids)}."
        raise NothingSelectedError(message, "To list those that were", "results")


def inspect_files(folder: RunFolder, ids: Sequence[str] = ()) -> Iterator[tuple[ResultFile, Condition]]:
    """Yield every selected result with how it is on disk. Raises LedgerError for a file that cannot be read."""
    with open_reader(folder.ledger) as reader:
        for file in reader.files() if reader else ():
            if matches(file.job_id, ids):
                yield file, _find_condition(folder, file)


def list_unfetched(folder: RunFolder, ids: Sequence[str] = ()) -> list[ResultFile]:
    """List the selected results that are not on disk as they should be. Raises LedgerError."""
    return [file for file, condition in inspect_files(folder, ids) if condition is not Condition.GOOD]


def _find_condition(folder: RunFolder, file: ResultFile) -> Condition:
    path = folder.path / file.output
    if file.state is State.READY:
        return Condition.READY
    if file.state is State.HELD_LOST:
        return Condition.LOST
    try:
        return Condition.GOOD if hash_file(path) == file.sha256 else Condition.DAMAGED
    except FileNotFoundError:
        return Condition.MISSING
    except IsADirectoryError:
        return Condition.DAMAGED
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror or error}. Check its permissions.") from error
