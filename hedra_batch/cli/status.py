"""`status`: counts, and the jobs that are not ended. No network library."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import click

from hedra_batch.cli.help import show_examples
from hedra_batch.cli.options import RunOptions, look_options, manifest_argument
from hedra_batch.errors import EXIT_DONE

#: Public states in the order in which they are counted, and those that are not ended.
STATES = ("done", "failed", "running", "held", "unknown", "new")
OPEN_STATES = ("running", "held", "unknown")
#: Open jobs that are named, and what is said of each.
OPEN_LIMIT = 50
COLUMNS = ("id", "edition", "state", "attempt", "generation_id", "submitted_at", "error")


@click.command(epilog=show_examples("hedra-batch status spring.yaml", "hedra-batch status spring.yaml --simulate"))
@manifest_argument
@look_options
def status(**flags: Any) -> int:
    """Show how many jobs are done, and which are open.

    It works also while a run is going, and sends nothing. Open jobs are those that are running or held, and those whose
    outcome is unknown.
    """
    from hedra_batch.cli.workspace import describe_path, find_used_folder, follow_folder, write_absence
    from hedra_batch.ledger.opening import open_reader
    from hedra_batch.report.rows import to_table
    from hedra_batch.report.terminal import find_width, say

    options = RunOptions(**flags)
    folder = find_used_folder(options)
    options = follow_folder(options, folder, os.environ)
    with open_reader(folder.ledger) as reader:
        if reader is None:
            say(write_absence(options, folder))
            return EXIT_DONE
        going = f"a run is going ({folder.read_holder()})" if folder.is_locked() else "no run is going"
        counts = reader.count_states()
        say(f"{describe_path(folder.path)}: {going}")
        print(" ".join(f"{state}={counts[state]}" for state in STATES))
        sys.stdout.writelines(to_table(reader.open_jobs(OPEN_LIMIT), COLUMNS, find_width(sys.stdout)))
        sys.stdout.flush()
        for line in _write_hints(options, counts):
            say(line)
    return EXIT_DONE


def _write_hints(options: RunOptions, counts: Counter[str]) -> Iterator[str]:
    """Say where the jobs are that are not shown, and what helps those that a run leaves alone."""
    from hedra_batch.cli.advice import write_command

    if (others := sum(counts[state] for state in OPEN_STATES) - OPEN_LIMIT) > 0:
        yield f"… and {others} more open jobs; all of them:"
        yield f"    {write_command(options, 'results')}"
    if counts["failed"]:
        yield "Why jobs failed:"
        yield f"    {write_command(options, 'results')}"
    if counts["held"]:
        yield "Held jobs wait for your decision. What you can do, and what it costs:"
        yield f"    {write_command(options, 'resolve')}"
