"""`results`: what the ledger knows of each job, as a table or for a program. No network library."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from hedra_batch.cli.help import show_examples
from hedra_batch.cli.options import RunOptions, look_options, manifest_argument
from hedra_batch.errors import EXIT_DONE
from hedra_batch.state import State

if TYPE_CHECKING:
    from hedra_batch.ledger.reading import Results


@click.command(
    epilog=show_examples("hedra-batch results spring.yaml", "hedra-batch results spring.yaml --format csv > spring.csv")
)
@manifest_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "jsonl", "csv"]),
    help="For reading, for programs, or for a spreadsheet [default: table on a terminal, else jsonl].",
)
@click.option("--attempts", "has_all_attempts", is_flag=True, help="Every attempt, not only the latest of each job.")
@look_options
def results(form: str | None, has_all_attempts: bool, **flags: Any) -> int:
    """Show each job with its file, its cost and its error.

    It works also while a run is going, and sends nothing. A job stands here as soon as a run has begun it.
    """
    from hedra_batch.cli.workspace import find_used_folder, write_absence
    from hedra_batch.ledger.opening import open_reader
    from hedra_batch.ledger.records import RESULT_COLUMNS
    from hedra_batch.report.rows import to_csv, to_json_lines, to_table
    from hedra_batch.report.terminal import find_width, say

    forms: dict[str, Callable[[Results], Iterator[str]]] = {
        "table": partial(to_table, width=find_width(sys.stdout)),
        "jsonl": to_json_lines,
        "csv": partial(to_csv, columns=RESULT_COLUMNS),
    }
    chosen = form or ("table" if sys.stdout.isatty() else "jsonl")
    options = RunOptions(**flags)
    folder = find_used_folder(options)
    with open_reader(folder.ledger) as reader:
        if reader is None:
            say(write_absence(options, folder))
            return EXIT_DONE
        sys.stdout.writelines(forms[chosen](reader.results(has_all_attempts=has_all_attempts)))
        if not reader.has_any(State):
            say("The ledger has no job yet: no run has begun one.")
    return EXIT_DONE
