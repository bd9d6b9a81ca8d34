"""The commands that only look: plan, status, results, resolve without a decision, schema. No network library."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from hedra_batch.cli.matching import matches
from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.place import find_edition, find_folder, shown
from hedra_batch.errors import EXIT_DONE, EXIT_LOOK
from hedra_batch.folder import RunFolder
from hedra_batch.ledger.identity import Identity
from hedra_batch.ledger.opening import check_pair
from hedra_batch.ledger.reading import LedgerReader, open_reader
from hedra_batch.ledger.records import RESULT_COLUMNS
from hedra_batch.manifest.heading import load_name
from hedra_batch.planning.plan import PlannedJob, Rules
from hedra_batch.planning.quote import Quote
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.report.held import write_held
from hedra_batch.report.rows import to_csv, to_json_lines, to_table

_FORMS: dict[str, Callable[[Iterable[dict[str, Any]]], Iterator[str]]] = {
    "table": to_table,
    "jsonl": to_json_lines,
    "csv": partial(to_csv, columns=RESULT_COLUMNS),
}
#: Public states in the order in which `status` counts them.
STATES = ("done", "failed", "running", "held", "unknown", "new")
SETTLING_HINT = """. Look into the account's history at the times above, then say one of:
  --recheck             look for them at the server once more; what is found is followed and fetched
  --resend-same-id      send the same request under the same id once more; refused while it may still arrive
  --abandon             give them up, as if they had failed; they may have been charged, and `retry` then buys anew"""
#: Open jobs that `status` names.
OPEN_LIMIT = 50


def print_plan(options: RunOptions) -> int:
    """Print each job with its reason on stdout, the counts on stderr."""
    from hedra_batch.cli.selection import make_selection, require_selected
    from hedra_batch.manifest.loading import load_manifest

    manifest = load_manifest(options.manifest, edition=find_edition(options.edition))
    folder = find_folder(options.manifest, manifest.name, options.folder, is_simulated=options.is_simulated)
    check_pair(folder.ledger, Identity.load(folder.identity))
    with open_reader(folder.ledger) as reader:
        rules = Rules(attempts=manifest.attempts, lost_attempts=reader.read_lost_attempts() if reader else 0)
        summary = PlanSummary()
        planned_jobs = make_selection(manifest.jobs, options, rules).planned_jobs(reader)
        sys.stdout.writelines(_write_plan(planned_jobs, summary, find_edition(options.edition)))
    require_selected(summary, manifest.jobs, options)
    bought = Quote({None: summary.bought}).describe_count()
    print(", ".join([bought, *summary.describe_rest()]), file=sys.stderr)
    if manifest.budget_credits is not None:
        print(f"budget: {manifest.budget_credits} credits", file=sys.stderr)
    return 0


def _write_plan(planned_jobs: Iterable[PlannedJob], summary: PlanSummary, edition: str) -> Iterator[str]:
    for planned in planned_jobs:
        summary.add(planned)
        left = "left the manifest" if planned.identity[0] == edition else "of another edition"
        note = "" if planned.job else f"  ({left})"
        yield f"{planned.reason:8} {planned.label}{note}\n"


def print_status(options: RunOptions) -> int:
    """Print counts and the open jobs."""
    folder = find_used_folder(options)
    with open_reader(folder.ledger) as reader:
        if reader is None:
            print(f"{shown(folder.path)}: no run has been here yet.", file=sys.stderr)
            return 0
        going = f"a run is going ({folder.read_holder()})" if folder.is_locked() else "no run is going"
        counts = reader.count_states()
        print(f"{shown(folder.path)}: {going}", file=sys.stderr)
        print(" ".join(f"{state}={counts[state]}" for state in STATES))
        _print_open(reader)
    return 0


def _print_open(reader: LedgerReader) -> None:
    columns = ("id", "edition", "state", "attempt", "generation_id", "submitted_at", "error")
    sys.stdout.writelines(to_table(reader.open_jobs(OPEN_LIMIT), columns))


def print_results(options: RunOptions, form: str, *, has_all_attempts: bool) -> int:
    """Print the ledger's rows on stdout."""
    folder = find_used_folder(options)
    with open_reader(folder.ledger) as reader:
        if reader is None:
            print(f"{shown(folder.path)}: no run has been here yet.", file=sys.stderr)
            return 0
        rows = reader.results(has_all_attempts=has_all_attempts)
        sys.stdout.writelines(_FORMS[form](rows))
    return 0


def print_held(options: RunOptions) -> int:
    """Print what is known of each job that a person can settle, and how."""
    count = 0
    folder = find_used_folder(options)
    with open_reader(folder.ledger) as reader:
        for row in reader.held() if reader else ():
            if matches(row["id"], options.ids) and options.edition in ("", row["edition"]):
                count += 1
                sys.stdout.writelines(write_held(row))
    print(f"{count} held or overdue" + (SETTLING_HINT if count else ""), file=sys.stderr)
    return EXIT_LOOK if count else EXIT_DONE


def print_schema() -> int:
    """Print the JSON Schema of a manifest."""
    from hedra_batch.manifest.schema import manifest_schema

    print(json.dumps(manifest_schema(), indent=2))
    return 0


def find_used_folder(options: RunOptions) -> RunFolder:
    """Find the run folder of a manifest, whose jobs may have faults. Raises ConfigurationError for half of a pair."""
    name = load_name(options.manifest)
    folder = find_folder(options.manifest, name, options.folder, is_simulated=options.is_simulated)
    check_pair(folder.ledger, Identity.load(folder.identity))
    return folder
