"""`plan`: what a run would do. No network library."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from hedra_batch.cli.options import (
    RunOptions,
    edition_option,
    first_option,
    ids_option,
    manifest_argument,
    workspace_options,
)
from hedra_batch.errors import EXIT_DONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hedra_batch.planning.plan import PlannedJob
    from hedra_batch.planning.summary import PlanSummary


@click.command()
@manifest_argument
@edition_option
@ids_option
@workspace_options
@first_option
@click.option("--rebuy-changed", "rebuys_changed", is_flag=True, help="As for run.")
def plan(**flags: Any) -> int:
    """Print what a run would do, each job with its reason; without network."""
    from hedra_batch.batch.request import make_selection, require_selected
    from hedra_batch.cli.workspace import check_folder, find_edition, find_folder
    from hedra_batch.ledger.opening import open_reader
    from hedra_batch.manifest.loading import load_manifest
    from hedra_batch.planning.plan import Rules
    from hedra_batch.planning.quote import Quote
    from hedra_batch.planning.summary import PlanSummary

    options = RunOptions(**flags)
    manifest = load_manifest(options.manifest, edition=find_edition(options.edition))
    folder = find_folder(options, manifest.name)
    check_folder(folder)
    with open_reader(folder.ledger) as reader:
        rules = Rules(attempts=manifest.attempts, lost_attempts=reader.read_lost_attempts() if reader else 0)
        summary = PlanSummary()
        planned_jobs = make_selection(manifest.jobs, options.request, rules).planned_jobs(reader)
        sys.stdout.writelines(_write_plan(planned_jobs, summary, manifest.jobs.edition))
    require_selected(summary, manifest.jobs, options.request)
    bought = Quote({None: summary.bought}).describe_count()
    print(", ".join([bought, *summary.describe_rest()]), file=sys.stderr)
    if manifest.budget is not None:
        print(f"budget: {manifest.budget}", file=sys.stderr)
    return EXIT_DONE


def _write_plan(planned_jobs: Iterable[PlannedJob], summary: PlanSummary, edition: str) -> Iterator[str]:
    for planned in planned_jobs:
        summary.add(planned)
        left = "left the manifest" if planned.identity[0] == edition else "of another edition"
        note = "" if planned.job else f"  ({left})"
        yield f"{planned.reason:8} {planned.label}{note}\n"
