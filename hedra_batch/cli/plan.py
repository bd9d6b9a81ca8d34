"""`plan`: what a run would do. No network library."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from hedra_batch.cli.help import show_examples
from hedra_batch.cli.options import (
    RunOptions,
    changed_options,
    edition_option,
    first_option,
    folder_option,
    ids_option,
    manifest_argument,
    simulate_option,
)
from hedra_batch.errors import EXIT_DONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hedra_batch.planning.plan import PlannedJob
    from hedra_batch.planning.summary import PlanSummary


@click.command(epilog=show_examples("hedra-batch plan spring.yaml", "hedra-batch plan spring.yaml --edition today"))
@manifest_argument
@edition_option("Plan a run of this edition")
@ids_option
@first_option("Only the first N jobs, in the order of the manifest.")
@changed_options(
    "Plan as for a run that keeps the videos of jobs which were edited after they were paid for.",
    "Plan as for a run that buys jobs anew which were edited after they were paid for.",
)
@folder_option
@simulate_option("Plan a trial: its run folder is <name>.sim.")
def plan(**flags: Any) -> int:
    """Show what a run would do with each job; sends nothing.

    A run buys what is new, follows what is running or unknown, and leaves the others alone. Prices need the network:
    `run` says them before it buys.
    """
    from hedra_batch.batch.request import make_selection, require_selected
    from hedra_batch.cli.workspace import check_folder, find_edition, find_folder
    from hedra_batch.inputs import Spellings
    from hedra_batch.ledger.opening import open_reader
    from hedra_batch.manifest.loading import load_manifest
    from hedra_batch.planning.plan import Rules
    from hedra_batch.planning.recognition import Recognition
    from hedra_batch.planning.summary import PlanSummary
    from hedra_batch.report.terminal import say

    options = RunOptions(**flags)
    options = replace(options, edition=find_edition(options.edition))
    manifest = load_manifest(options.manifest, edition=options.edition)
    folder = find_folder(options, manifest.name)
    check_folder(folder)
    with open_reader(folder.ledger) as reader:
        rules = Rules(attempts=manifest.attempts, lost_attempts=reader.read_lost_attempts() if reader else 0)
        summary = PlanSummary()
        jobs = manifest.jobs.with_spellings(Spellings(reader.read_models() if reader else {}))
        recognition = Recognition(jobs)
        if reader:
            recognition.look(reader)
        recognized = recognition.settle(reader) if reader else None
        planned_jobs = make_selection(jobs, options.request, rules, recognized).planned_jobs(reader)
        sys.stdout.writelines(_write_plan(planned_jobs, summary, manifest.jobs.edition))
    require_selected(summary, manifest.jobs, options.request)
    summary.note_twins(recognition.twins)
    for line in _write_outcome(options, summary):
        say(line)
    if manifest.budget is not None:
        say(f"Budget: {manifest.budget}")
    return EXIT_DONE


def _write_plan(planned_jobs: Iterable[PlannedJob], summary: PlanSummary, edition: str) -> Iterator[str]:
    for planned in planned_jobs:
        summary.add(planned)
        left = "left the manifest" if planned.identity[0] == edition else "of another edition"
        note = "" if planned.job else f"  ({left})"
        if planned.is_kept:
            note = "  (edited; its video is kept for it)"
        elif planned.is_beside:
            note = "  (bought for an earlier wording and still followed)"
        elif planned.formerly:
            note = f"  (renamed from {planned.formerly})"
        yield f"{planned.reason:8} {planned.label}{note}\n"


def _write_outcome(options: RunOptions, summary: PlanSummary) -> Iterator[str]:
    """Say what it comes to, and what a run leaves to a person."""
    from hedra_batch.cli.advice import select_edited, write_command
    from hedra_batch.planning.plan import Reason
    from hedra_batch.planning.quote import Quote

    yield ", ".join([Quote({None: summary.bought}).describe_count(), *summary.describe_rest()])
    yield from summary.describe_twins()
    if summary.edits.count:
        named = tuple(job.id for job, _ in summary.edits.first)
        edited = select_edited(options, summary.edits.count, named)
        yield "Jobs marked as changed were edited after they were paid for. They wait, and all else goes on."
        yield "To keep their videos for the edited jobs, 0 credits; undoing the edits costs nothing either:"
        yield f"    {write_command(options, 'run', *edited, '--keep-changed')}"
        yield "To buy them anew, each at its price; the files that are here stay:"
        yield f"    {write_command(options, 'run', *edited, '--rebuy-changed')}"
    if summary.reasons[Reason.FAILED]:
        yield from _write_retry(options, summary)
    if summary.reasons[Reason.HELD]:
        yield "Held jobs wait for your decision. What you can do, and what it costs:"
        yield f"    {write_command(options, 'resolve')}"


def _write_retry(options: RunOptions, summary: PlanSummary) -> Iterator[str]:
    """Say how failed jobs are made anew: those that were listed, or more where they are too many to name."""
    from hedra_batch.cli.advice import name_these, write_command
    from hedra_batch.planning.plan import Reason

    ids, count = [planned.identity[1] for planned in summary.first_failed], summary.reasons[Reason.FAILED]
    is_more = options.first is not None and count > len(ids)
    which = f"all failed jobs, not only these {count}," if is_more else "them"
    yield f"A run leaves failed jobs alone. To make {which} anew, each at its price:"
    yield f"    {write_command(options, 'retry', *name_these(options, ids, count))}"
