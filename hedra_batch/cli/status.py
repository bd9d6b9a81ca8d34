"""`status`: counts, and the jobs that are not ended. No network library."""

from __future__ import annotations

import sys
from typing import Any

import click

from hedra_batch.cli.options import RunOptions, manifest_argument, workspace_options
from hedra_batch.errors import EXIT_DONE

#: Public states in the order in which they are counted.
STATES = ("done", "failed", "running", "held", "unknown", "new")
#: Open jobs that are named, and what is said of each.
OPEN_LIMIT = 50
COLUMNS = ("id", "edition", "state", "attempt", "generation_id", "submitted_at", "error")


@click.command()
@manifest_argument
@workspace_options
def status(**flags: Any) -> int:
    """Print counts and the jobs that are not ended, also while a run is going."""
    from hedra_batch.cli.workspace import describe_path, find_used_folder
    from hedra_batch.ledger.opening import open_reader
    from hedra_batch.report.rows import to_table

    folder = find_used_folder(RunOptions(**flags))
    with open_reader(folder.ledger) as reader:
        if reader is None:
            print(f"{describe_path(folder.path)}: no run has been here yet.", file=sys.stderr)
            return EXIT_DONE
        going = f"a run is going ({folder.read_holder()})" if folder.is_locked() else "no run is going"
        counts = reader.count_states()
        print(f"{describe_path(folder.path)}: {going}", file=sys.stderr)
        print(" ".join(f"{state}={counts[state]}" for state in STATES))
        sys.stdout.writelines(to_table(reader.open_jobs(OPEN_LIMIT), COLUMNS))
    return EXIT_DONE
