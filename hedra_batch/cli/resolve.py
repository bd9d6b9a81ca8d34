"""`resolve`: what is known of held and overdue jobs, and what a person decides about them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from hedra_batch.cli.options import (
    EPILOG,
    RunOptions,
    base_url_option,
    binding_options,
    edition_option,
    folder_option,
    ids_option,
    loudness_options,
    manifest_argument,
    quiet_window_option,
    simulate_option,
)
from hedra_batch.errors import EXIT_DONE, EXIT_LOOK, UsageError

if TYPE_CHECKING:
    from hedra_batch.cli.execution import PreparedRun

HINT = """. Look into the account's history at the times above, then say one of:
  --recheck             look for them at the server once more; what is found is followed and fetched
  --resend-same-id      send the same request under the same id once more; refused while it may still arrive
  --abandon             give them up, as if they had failed; they may have been charged, and `retry` then buys anew"""


@click.command(epilog=EPILOG)
@manifest_argument
@click.option("--recheck", is_flag=True, help="Look for them at the server once more.")
@click.option("--resend-same-id", "resend", is_flag=True, help="Send the same request under the same id once more.")
@click.option("--abandon", is_flag=True, help="Give them up, though they may have been charged.")
@edition_option
@ids_option
@folder_option
@base_url_option
@simulate_option
@quiet_window_option
@binding_options
@loudness_options
def resolve(recheck: bool, resend: bool, abandon: bool, **flags: Any) -> int:
    """List the jobs that are held or overdue, with what is known of each, or settle those that --id selects."""
    from hedra_batch.decide import Settlement

    decisions = {Settlement.RECHECK: recheck, Settlement.RESEND: resend, Settlement.ABANDON: abandon}
    chosen = [decision for decision, is_chosen in decisions.items() if is_chosen]
    if len(chosen) > 1:
        raise UsageError("Decide one thing at a time: --recheck, --resend-same-id and --abandon exclude each other.")
    settlement = chosen[0] if chosen else None
    options = RunOptions(**flags, settlement=settlement)
    if settlement is None:
        return list_held(options)
    if settlement is not Settlement.RECHECK and not options.ids:
        raise UsageError("Name the jobs to settle with --id; --id '*' is all of them.")
    if settlement is Settlement.ABANDON:
        return abandon_jobs(options)
    from hedra_batch.cli.execution import execute

    return execute(options)


def list_held(options: RunOptions) -> int:
    from hedra_batch.batch.matching import matches
    from hedra_batch.cli.workspace import find_used_folder
    from hedra_batch.ledger.opening import open_reader
    from hedra_batch.report.held import write_held

    count = 0
    folder = find_used_folder(options)
    with open_reader(folder.ledger) as reader:
        for row in reader.held() if reader else ():
            if matches(row["id"], options.ids) and options.edition in ("", row["edition"]):
                count += 1
                sys.stdout.writelines(write_held(row))
    print(f"{count} held or overdue" + (HINT if count else ""), file=sys.stderr)
    return EXIT_LOOK if count else EXIT_DONE


def abandon_jobs(options: RunOptions) -> int:
    from hedra_batch.cli.execution import prepare
    from hedra_batch.cli.loop import run_on_loop
    from hedra_batch.run.settings import RunSettings

    os.umask(0o077)
    prepared = prepare(options, RunSettings(), os.environ)
    prepared.workspace.require_ledger()
    return run_on_loop(_abandon, prepared)


async def _abandon(prepared: PreparedRun) -> int:
    from hedra_batch.batch.batch import open_batch

    async with open_batch(prepared.workspace, prepared.manifest, prepared.settings) as batch:
        async for label in batch.abandon(await batch.plan(prepared.options.request)):
            print(f"{label}: abandoned")
    return EXIT_DONE
