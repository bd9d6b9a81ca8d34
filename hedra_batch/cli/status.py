"""`status`: counts, and the jobs that are not ended. No network library."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from hedra_batch.cli.help import show_examples
from hedra_batch.cli.options import RunOptions, look_options, manifest_argument
from hedra_batch.errors import EXIT_DONE

if TYPE_CHECKING:
    from hedra_batch.ledger.budget import Spending
    from hedra_batch.ledger.reading import LedgerReader
    from hedra_batch.money import Money

#: Public states in the order in which they are counted, and those that are not ended.
STATES = ("done", "failed", "running", "held", "unknown", "new")
OPEN_STATES = ("running", "held", "unknown")
#: Open jobs that are named, and what is said of each.
OPEN_LIMIT = 50
#: Editions whose cost is told, the latest first.
EDITIONS_LIMIT = 10
COLUMNS = ("id", "edition", "state", "attempt", "generation_id", "submitted_at", "error")


@click.command(epilog=show_examples("hedra-batch status spring.yaml", "hedra-batch status spring.yaml --simulate"))
@manifest_argument
@look_options
def status(**flags: Any) -> int:
    """Show how many jobs are done, which are open, and what was spent.

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
        going = {
            True: f"a run is going ({folder.read_holder()})",
            False: "no run is going",
            None: "whether a run is going cannot be told",
        }[folder.is_locked()]
        counts = reader.count_states()
        say(f"{describe_path(folder.path)}: {going}")
        print(" ".join(f"{state}={counts[state]}" for state in STATES))
        sys.stdout.writelines(to_table(reader.open_jobs(OPEN_LIMIT), COLUMNS, find_width(sys.stdout)))
        sys.stdout.flush()
        for line in (*_write_spending(options, reader), *_write_hints(options, counts)):
            say(line)
    return EXIT_DONE


def _write_spending(options: RunOptions, reader: LedgerReader) -> Iterator[str]:
    """Say what was spent on each edition, in this month and in all, and what is left of each budget."""
    from hedra_batch.clock import CLOCK
    from hedra_batch.ledger.budget import read_spending
    from hedra_batch.manifest.heading import load_budgets
    from hedra_batch.money import CREDITS

    budgets, month, editions = load_budgets(options.manifest), CLOCK.now_text()[:7], reader.find_spending_editions()
    for edition in editions[:EDITIONS_LIMIT]:
        name = f"edition {edition}" if edition else "without an edition" if len(editions) > 1 else "edition"
        yield _write_sum(name, read_spending(reader, CREDITS, edition=edition), budgets.edition)
    if len(editions) > EDITIONS_LIMIT:
        yield f"… and {len(editions) - EDITIONS_LIMIT} older editions"
    if editions:
        yield _write_sum(f"month {month} (UTC)", read_spending(reader, CREDITS, month=month), budgets.month)
        yield _write_sum("total", read_spending(reader, CREDITS), budgets.total)


def _write_sum(name: str, spending: Spending, limit: Money | None) -> str:
    """Say it as `total: 70 of 2,000 credits spent, 1,930 left`."""
    spent = spending.spent
    unpriced = f", and {spending.unpriced} of unknown price" if spending.unpriced else ""
    if limit is None:
        return f"{name}: {spent} spent{unpriced}"
    return f"{name}: {spent.amount:,} of {limit} spent{unpriced}, {max(limit.amount - spent.amount, 0):,} left"


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
