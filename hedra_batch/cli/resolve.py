"""`resolve`: what is known of held and overdue jobs, and what a person decides about them."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from hedra_batch.cli.help import show_examples
from hedra_batch.cli.options import (
    QUIET_RUN,
    RunOptions,
    base_url_option,
    beginning_options,
    binding_options,
    budget_option,
    edition_option,
    folder_option,
    ids_option,
    manifest_argument,
    quiet_option,
    quiet_window_option,
    simulate_option,
    verbose_option,
)
from hedra_batch.errors import EXIT_DONE, EXIT_LOOK, UsageError
from hedra_batch.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hedra_batch.cli.execution import PreparedRun


@click.command(
    epilog=show_examples("hedra-batch resolve spring.yaml", "hedra-batch resolve spring.yaml --abandon --id market")
)
@manifest_argument
@click.option(
    "--recheck",
    is_flag=True,
    help="Look for them at the server once more, and download what is found: no cost, unless the server is found to "
    "recognise repeats; what waits for that (ids_unproven) is then sent again, at its price.",
)
@click.option(
    "--resend-same-id",
    "resend",
    is_flag=True,
    help="Send the same request under the same id once more, at its price; refused while the first may still arrive.",
)
@click.option(
    "--abandon", is_flag=True, help="Give them up, though they may have been charged; `retry` can buy them anew then."
)
@edition_option("Only jobs of this edition; to send again or give up a job with a label it is needed")
@ids_option
@folder_option
@budget_option
@base_url_option
@simulate_option("Settle jobs of a trial: its run folder is <name>.sim.")
@quiet_window_option
@binding_options
@beginning_options
@quiet_option(QUIET_RUN)
@verbose_option
def resolve(recheck: bool, resend: bool, abandon: bool, **flags: Any) -> int:
    """List the jobs that wait for your decision, or settle them.

    Without a decision it lists the jobs that are held or overdue, with what is known of each, what it may cost and what
    you can do; nothing is sent. With one, it settles the jobs that --id names.
    """
    from hedra_batch.cli.workspace import find_edition
    from hedra_batch.decide import Settlement

    decisions = {Settlement.RECHECK: recheck, Settlement.RESEND: resend, Settlement.ABANDON: abandon}
    chosen = [decision for decision, is_chosen in decisions.items() if is_chosen]
    if len(chosen) > 1:
        raise UsageError("Choose one of --recheck, --resend-same-id and --abandon at a time.")
    settlement = chosen[0] if chosen else None
    options = RunOptions(**flags, settlement=settlement)
    if settlement is None:
        return list_held(replace(options, edition=find_edition(options.edition)))
    if settlement is not Settlement.RECHECK and not options.ids:
        raise UsageError("Say which jobs you mean, as in --id market; --id '*' means all of them.")
    if settlement is Settlement.ABANDON:
        return abandon_jobs(options)
    from hedra_batch.cli.execution import execute

    return execute(options)


def list_held(options: RunOptions) -> int:
    from hedra_batch.batch.matching import matches
    from hedra_batch.cli.workspace import find_used_folder, follow_folder
    from hedra_batch.clock import CLOCK
    from hedra_batch.ledger.opening import open_reader
    from hedra_batch.planning.result import find_overdue_instant, may_be_settled
    from hedra_batch.report.held import write_choices, write_held
    from hedra_batch.report.terminal import fit, say

    listed, overdue_before = [], find_overdue_instant(CLOCK)
    folder = find_used_folder(options)
    options = follow_folder(options, folder, os.environ)
    with open_reader(folder.ledger) as reader:
        for row in reader.held() if reader else ():
            if not may_be_settled(State(row["state"]), row["accepted_at"], overdue_before):
                continue
            if matches(row["id"], options.ids) and options.edition in ("", row["edition"]):
                listed.append(row)
                sys.stdout.writelines(fit(line, sys.stdout) for line in write_held(row))
    sys.stdout.flush()
    if not listed:
        say("No job is held or overdue: there is nothing to decide.")
        return EXIT_DONE
    for line in write_choices(listed, lambda decision: _write_decision(options, listed, decision)):
        say(line)
    return EXIT_LOOK


def _write_decision(options: RunOptions, listed: list[dict[str, Any]], decision: str) -> str:
    """Write the command for a decision: about all that were listed where that is free, else about one of them."""
    from hedra_batch.cli.advice import name_jobs, write_command
    from hedra_batch.report.held import SEND

    if decision == SEND:
        return _write_run(options, [row for row in listed if row["state"] == State.RESEND_ORDERED])
    if decision == "--recheck":
        return write_command(options, "resolve", decision, *name_jobs(options.ids))
    named, edition = _name_one(listed)
    return write_command(options, "resolve", decision, "--id", named, edition=edition)


def _name_one(rows: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Name a job and its edition; where there are several, a person puts them in."""
    editions = {row["edition"] for row in rows}
    return rows[0]["id"] if len(rows) == 1 else "ID", editions.pop() if len(editions) == 1 else "LABEL"


def _write_run(options: RunOptions, ordered: Sequence[dict[str, Any]]) -> str:
    from hedra_batch.cli.advice import write_command

    named, edition = _name_one(ordered)
    return write_command(options, "run", "--id", named, edition=edition)


def abandon_jobs(options: RunOptions) -> int:
    from hedra_batch.cli.advice import pointing_to_what_there_is
    from hedra_batch.cli.execution import prepare
    from hedra_batch.cli.loop import run_on_loop
    from hedra_batch.run.settings import RunSettings

    os.umask(0o077)
    prepared = prepare(options, RunSettings(), os.environ)
    prepared.workspace.require_ledger()
    with pointing_to_what_there_is(options):
        return run_on_loop(_abandon, prepared)


async def _abandon(prepared: PreparedRun) -> int:
    from hedra_batch.batch.batch import open_batch
    from hedra_batch.report.terminal import say

    async with open_batch(prepared.workspace, prepared.manifest, prepared.settings) as batch:
        summary = await batch.plan(prepared.options.request)
        async for label in batch.abandon(summary):
            print(f"{label}: abandoned", flush=True)
    for line in _write_rebuying(prepared.options, [planned.job.id for planned in summary.sent if planned.job]):
        say(line)
    return EXIT_DONE


def _write_rebuying(options: RunOptions, ids: Sequence[str]) -> Iterator[str]:
    """Say how the jobs that were given up are bought anew, and no other failed job with them."""
    from hedra_batch.cli.advice import name_jobs, write_command
    from hedra_batch.job import NAMED_LIMIT
    from hedra_batch.ledger.events import GIVEN_UP

    if not ids:
        yield "They count as failed now. The manifest does not have them any more, so nothing buys them anew."
    elif len(ids) <= NAMED_LIMIT:
        yield "They count as failed now. To buy them anew, each at its price:"
        yield f"    {write_command(options, 'retry', *name_jobs(tuple(ids)))}"
    else:
        yield (
            f"They count as failed now. To buy these {len(ids)} anew, and what else was given up among the same ids, "
            "each at its price:"
        )
        yield f"    {write_command(options, 'retry', '--error', GIVEN_UP, *name_jobs(options.ids))}"
