"""`verify`: whether the results are on disk as they were when they were done. No network library."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import Any

import click

from hedra_batch.cli.help import show_examples
from hedra_batch.cli.options import RunOptions, ids_option, look_options, manifest_argument
from hedra_batch.errors import EXIT_DONE, EXIT_UNFINISHED, DamagedFilesError


@click.command(epilog=show_examples("hedra-batch verify spring.yaml", "hedra-batch verify spring.yaml --id 'hero--*'"))
@manifest_argument
@ids_option
@look_options
def verify(**flags: Any) -> int:
    """Check that every finished video is still here and undamaged.

    Each file is held against the hash that was taken when it was downloaded. Nothing is sent and nothing is changed;
    `fetch` downloads again what is missing or damaged, at no cost.
    """
    from hedra_batch.batch.verification import Condition, inspect_files, require_known
    from hedra_batch.cli.advice import name_jobs, pointing_to_what_there_is, write_command
    from hedra_batch.cli.workspace import find_used_folder, follow_folder, write_absence
    from hedra_batch.report.terminal import say

    options = RunOptions(**flags)
    folder = find_used_folder(options)
    if not folder.ledger.exists():
        say(write_absence(options, folder))
        return EXIT_DONE
    options = follow_folder(options, folder, os.environ)
    with pointing_to_what_there_is(options):
        require_known(folder, options.ids)
    counts: Counter[Condition] = Counter()
    for file, condition in inspect_files(folder, options.ids):
        counts[condition] += 1
        if condition is not Condition.GOOD:
            print(f"{condition}: {file.label}: {folder.path / file.output}")
    sys.stdout.flush()
    say(f"{counts[Condition.GOOD]} of {counts.total()} finished videos are here and undamaged.")
    fetch_command = write_command(options, "fetch", *name_jobs(options.ids))
    if counts[Condition.MISSING] or counts[Condition.DAMAGED]:
        raise DamagedFilesError(
            f"Missing: {counts[Condition.MISSING]}, damaged: {counts[Condition.DAMAGED]}. "
            f"To download them again, at no cost:\n    {fetch_command}"
        )
    if counts[Condition.LOST]:
        raise DamagedFilesError(
            f"Lost at the server: {counts[Condition.LOST]}. What you can do, and what it costs:\n"
            f"    {write_command(options, 'resolve')}"
        )
    if counts[Condition.READY]:
        say(f"Not downloaded yet: {counts[Condition.READY]}. To download them, at no cost:\n    {fetch_command}")
        return EXIT_UNFINISHED
    return EXIT_DONE
