"""`results`: what the ledger knows of each job, as a table or for a program. No network library."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from hedra_batch.cli.help import show_examples
from hedra_batch.cli.options import RunOptions, look_options
from hedra_batch.errors import EXIT_DONE, UsageError
from hedra_batch.ledger.records import Group
from hedra_batch.state import State

#: The columns of a summary after the first, which says what the row is about.
SUM_COLUMNS = ("videos", "charged", "refunded", "net")


@click.command(
    epilog=show_examples("hedra-batch results spring.yaml", "hedra-batch results spring.yaml --format csv > spring.csv")
)
@click.argument("manifests", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="MANIFEST...")
@click.option(
    "--summary", "is_summary", is_flag=True, help="What all attempts have cost; several manifests can be given."
)
@click.option(
    "--by",
    type=click.Choice([group.value for group in Group if group]),
    help="With --summary: add up by one of these.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "jsonl", "csv"]),
    help="For reading, for programs, or for a spreadsheet [default: table on a terminal, else jsonl].",
)
@click.option("--attempts", "has_all_attempts", is_flag=True, help="Every attempt, not only the latest of each job.")
@look_options
def results(
    manifests: tuple[Path, ...],
    is_summary: bool,
    by: str | None,
    form: str | None,
    has_all_attempts: bool,
    **flags: Any,
) -> int:
    """Show each job with its file, its cost and its error.

    It works also while a run is going, and sends nothing. A job stands here as soon as a run has begun it.
    """
    chosen = form or ("table" if sys.stdout.isatty() else "jsonl")
    if is_summary:
        return _summarize([RunOptions(each, **flags) for each in manifests], Group(by or ""), form or "table")
    if by or len(manifests) > 1:
        raise UsageError("--by and several manifests go with --summary only.")
    return _list_jobs(RunOptions(manifests[0], **flags), chosen, has_all_attempts=has_all_attempts)


def _list_jobs(options: RunOptions, form: str, *, has_all_attempts: bool) -> int:
    from hedra_batch.cli.workspace import find_used_folder, write_absence
    from hedra_batch.ledger.opening import open_reader
    from hedra_batch.ledger.records import RESULT_COLUMNS
    from hedra_batch.report.rows import TABLE_COLUMNS
    from hedra_batch.report.terminal import say

    folder = find_used_folder(options)
    with open_reader(folder.ledger) as reader:
        if reader is None:
            say(write_absence(options, folder))
            return EXIT_DONE
        rows = reader.results(has_all_attempts=has_all_attempts)
        sys.stdout.writelines(_write(rows, form, TABLE_COLUMNS if form == "table" else RESULT_COLUMNS))
        if not reader.has_any(State):
            say("The ledger has no job yet: no run has begun one.")
    return EXIT_DONE


def _summarize(all_options: Sequence[RunOptions], group: Group, form: str) -> int:
    """Add up what the attempts of one or several manifests have cost, each manifest by itself where nothing is said.

    One run folder counts once, however many manifests or spellings of one lead to it.
    """
    from hedra_batch.cli.workspace import find_used_folder, write_absence
    from hedra_batch.ledger.opening import open_reader
    from hedra_batch.report.costs import Costs
    from hedra_batch.report.terminal import say

    costs = Costs()
    seen: set[str] = set()
    for options in all_options:
        folder = find_used_folder(options)
        if (place := os.path.realpath(folder.path)) in seen:
            continue
        seen.add(place)
        with open_reader(folder.ledger) as reader:
            if reader is None:
                say(write_absence(options, folder))
                continue
            for name, *sums in reader.sum_results(group):
                costs.add(name if group else str(options.manifest), *sums)
    column = group or "manifest"
    sys.stdout.writelines(_write(costs.make_rows(column, has_total=form == "table"), form, (column, *SUM_COLUMNS)))
    sys.stdout.flush()
    if costs.untold:
        say(
            f"For {costs.untold} Hedra has not said what it charged, or not yet; by estimate {costs.untold_estimated} "
            "credits, which are not in the sums."
        )
    return EXIT_DONE


def _write(rows: Iterable[dict[str, Any]], form: str, columns: Sequence[str]) -> Iterator[str]:
    from hedra_batch.report.rows import to_csv, to_json_lines, to_table
    from hedra_batch.report.terminal import find_width

    if form == "table":
        return to_table(rows, columns, find_width(sys.stdout))
    return to_csv(rows, columns) if form == "csv" else to_json_lines(rows)
