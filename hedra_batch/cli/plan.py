"""`plan`: what a run would do. No network library."""

from __future__ import annotations

import os
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
    from collections.abc import Iterable, Iterator, Mapping

    from hedra_batch.cli.advice import Advice, Failures
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
    from hedra_batch.batch.request import find_nothing_selected, make_selection
    from hedra_batch.cli.advice import pointing_to_what_there_is
    from hedra_batch.cli.workspace import check_folder, find_edition, find_folder, follow_folder
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
    options = follow_folder(options, folder, os.environ)
    failures: dict[Advice, Failures] = {}
    with pointing_to_what_there_is(options), open_reader(folder.ledger) as reader:
        rules = Rules(attempts=manifest.attempts, lost_attempts=reader.read_lost_attempts() if reader else 0)
        summary = PlanSummary()
        jobs = manifest.jobs.with_spellings(Spellings(reader.read_models() if reader else {}))
        recognition = Recognition(jobs)
        if reader:
            recognition.look(reader)
        recognized = recognition.settle(reader) if reader else None
        planned_jobs = make_selection(jobs, options.request, rules, recognized).planned_jobs(reader)
        sys.stdout.writelines(_write_plan(planned_jobs, summary, failures, manifest.jobs.edition))
        if error := find_nothing_selected(summary, manifest.jobs, options.request, reader):
            raise error
    summary.note_twins(recognition.twins)
    for line in _write_outcome(options, summary, failures):
        say(line)
    if manifest.budget is not None:
        say(f"Budget: {manifest.budget}")
    return EXIT_DONE


def _write_plan(
    planned_jobs: Iterable[PlannedJob], summary: PlanSummary, failures: dict[Advice, Failures], edition: str
) -> Iterator[str]:
    from hedra_batch.cli.advice import Failures, advise
    from hedra_batch.planning.plan import Reason

    for planned in planned_jobs:
        summary.add(planned)
        if planned.reason is Reason.FAILED and planned.latest:
            failures.setdefault(advise(planned.latest), Failures()).add(planned.latest)
        left = "left the manifest" if planned.identity[0] == edition else "of another edition"
        note = "" if planned.job else f"  ({left})"
        if planned.is_kept:
            note = "  (edited; its video is kept for it)"
        elif planned.is_beside:
            note = "  (bought for an earlier wording and still followed)"
        elif planned.formerly:
            note = f"  (renamed from {planned.formerly})"
        yield f"{planned.reason:8} {planned.label}{note}\n"


def _write_outcome(options: RunOptions, summary: PlanSummary, failures: Mapping[Advice, Failures]) -> Iterator[str]:
    """Say what it comes to, and what a run leaves to a person."""
    from hedra_batch.cli.advice import select_edited, write_command, write_failures
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
    if failures:
        yield "A run leaves failed jobs alone."
        yield from write_failures(options, failures)
    if summary.reasons[Reason.HELD]:
        yield "Held jobs wait for your decision. What you can do, and what it costs:"
        yield f"    {write_command(options, 'resolve')}"
