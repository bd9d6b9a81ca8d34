"""`verify`: whether the results are on disk as they were when they were done. No network library."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum

from hedra_batch.cli.inspecting import find_used_folder
from hedra_batch.cli.matching import matches
from hedra_batch.cli.options import RunOptions
from hedra_batch.durable import hash_file
from hedra_batch.errors import EXIT_DONE, EXIT_UNFINISHED, DamagedFilesError, LedgerError
from hedra_batch.folder import RunFolder
from hedra_batch.job import State
from hedra_batch.ledger.reading import ResultFile, open_reader


class Condition(StrEnum):
    """How a result is on disk."""

    GOOD = "good"
    #: The server has it, and no run has fetched it yet.
    READY = "not fetched"
    MISSING = "missing"
    #: Its bytes are not those that were verified.
    DAMAGED = "damaged"


def verify(options: RunOptions) -> int:
    """Check every result against its hash, without network. Raises DamagedFilesError when some are not as they were."""
    folder = find_used_folder(options)
    counts: Counter[Condition] = Counter()
    for file, condition in inspect_files(folder, options):
        counts[condition] += 1
        if condition is not Condition.GOOD:
            print(f"{condition}: {file.label}: {folder.path / file.output}")
    print(f"{counts[Condition.GOOD]} of {counts.total()} results are good", file=sys.stderr)
    if counts[Condition.MISSING] or counts[Condition.DAMAGED]:
        raise DamagedFilesError(
            f"{counts[Condition.MISSING]} files are missing and {counts[Condition.DAMAGED]} damaged. "
            "`hedra-batch fetch` gets them again by their ids, at no cost."
        )
    return EXIT_UNFINISHED if counts[Condition.READY] else EXIT_DONE


def inspect_files(folder: RunFolder, options: RunOptions) -> Iterator[tuple[ResultFile, Condition]]:
    """Yield every selected result with how it is on disk. Raises LedgerError for a file that cannot be read."""
    with open_reader(folder.ledger) as reader:
        for file in reader.files() if reader else ():
            if matches(file.job_id, options.ids):
                yield file, _find_condition(folder, file)


def _find_condition(folder: RunFolder, file: ResultFile) -> Condition:
    path = folder.path / file.output
    if file.state is State.READY:
        return Condition.READY
    try:
        return Condition.GOOD if hash_file(path) == file.sha256 else Condition.DAMAGED
    except FileNotFoundError:
        return Condition.MISSING
    except IsADirectoryError:
        return Condition.DAMAGED
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror or error}.") from error
