"""`results`: what the ledger knows of each job, as a table or for a program. No network library."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from hedra_batch.cli.options import RunOptions, manifest_argument, workspace_options
from hedra_batch.errors import EXIT_DONE

if TYPE_CHECKING:
    from hedra_batch.ledger.reading import Results


@click.command()
@manifest_argument
@workspace_options
@click.option(
    "--format", "form", type=click.Choice(["table", "jsonl", "csv"]), help="[default: table on a terminal, else jsonl]"
)
@click.option("--attempts", "has_all_attempts", is_flag=True, help="Every attempt, not only the latest of each job.")
def results(form: str | None, has_all_attempts: bool, **flags: Any) -> int:
    """Print what the ledger knows of each job."""
    from hedra_batch.cli.workspace import describe_path, find_used_folder
    from hedra_batch.ledger.opening import open_reader
    from hedra_batch.ledger.records import RESULT_COLUMNS
    from hedra_batch.report.rows import to_csv, to_json_lines, to_table

    forms: dict[str, Callable[[Results], Iterator[str]]] = {
        "table": to_table,
        "jsonl": to_json_lines,
        "csv": partial(to_csv, columns=RESULT_COLUMNS),
    }
    chosen = form or ("table" if sys.stdout.isatty() else "jsonl")
    folder = find_used_folder(RunOptions(**flags))
    with open_reader(folder.ledger) as reader:
        if reader is None:
            print(f"{describe_path(folder.path)}: no run has been here yet.", file=sys.stderr)
        else:
            sys.stdout.writelines(forms[chosen](reader.results(has_all_attempts=has_all_attempts)))
    return EXIT_DONE
