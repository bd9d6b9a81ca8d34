"""`verify`: whether the results are on disk as they were when they were done. No network library."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import click

from hedra_batch.cli.options import RunOptions, ids_option, manifest_argument, workspace_options
from hedra_batch.errors import EXIT_DONE, EXIT_UNFINISHED, DamagedFilesError


@click.command()
@manifest_argument
@ids_option
@workspace_options
def verify(**flags: Any) -> int:
    """Check every result against its hash; without network."""
    from hedra_batch.batch.verification import Condition, inspect_files
    from hedra_batch.cli.workspace import find_used_folder

    options = RunOptions(**flags)
    folder = find_used_folder(options)
    counts: Counter[Condition] = Counter()
    for file, condition in inspect_files(folder, options.ids):
        counts[condition] += 1
        if condition is not Condition.GOOD:
            print(f"{condition}: {file.label}: {folder.path / file.output}")
    print(f"{counts[Condition.GOOD]} of {counts.total()} results are good", file=sys.stderr)
    if counts[Condition.MISSING] or counts[Condition.DAMAGED]:
        raise DamagedFilesError(
            f"{counts[Condition.MISSING]} files are missing and {counts[Condition.DAMAGED]} damaged. "
            "`hedra-batch fetch` gets them again by their ids, at no cost."
        )
    if counts[Condition.LOST]:
        raise DamagedFilesError(
            f"The server has lost {counts[Condition.LOST]} results. `hedra-batch resolve` lists and settles them."
        )
    return EXIT_UNFINISHED if counts[Condition.READY] else EXIT_DONE
