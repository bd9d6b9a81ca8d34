"""Which jobs a command is about: `--id`, `--first`, and for `retry` the failed ones, for `resolve` the held ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from hedra_batch.cli.matching import matches
from hedra_batch.cli.options import RunOptions
from hedra_batch.decide import Settlement
from hedra_batch.errors import UsageError
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.manifest.jobs import Jobs
from hedra_batch.planning.plan import PlannedJob, Rules, judge_retry, judge_settled
from hedra_batch.planning.selection import FixedSelection, ManifestSelection, Selection, pair
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.state import HELD, SETTLEABLE


def make_selection(jobs: Jobs, options: RunOptions, rules: Rules) -> Selection:
    """Settle which jobs the options select."""
    if options.settlement is not None:
        settlement = options.settlement
        return FixedSelection(lambda reader: _choose_settled(jobs, options, settlement, reader))
    if options.retried_codes is not None:
        codes = options.retried_codes
        return FixedSelection(lambda reader: _choose_retried(jobs, options, codes, rules, reader))
    rules = replace(rules, rebuys_changed=options.rebuys_changed)
    return ManifestSelection(jobs, rules, lambda job_id: matches(job_id, options.ids), options.first)


def require_selected(summary: PlanSummary, jobs: Jobs, options: RunOptions) -> None:
    """Raise UsageError where the ids of the options select nothing."""
    if summary.selected or not options.ids:
        return
    wanted = " or ".join(options.ids)
    if options.settlement is not None:
        edition = f" in the edition {options.edition}" if options.edition else ""
        raise UsageError(f"No held job has an id like {wanted}{edition}. `hedra-batch resolve` lists them.")
    if options.retried_codes is None or not any(matches(job_id, options.ids) for job_id, _ in jobs.outputs()):
        raise UsageError(f"No job has an id like {wanted}. `hedra-batch plan` lists them.")


def _choose_retried(
    jobs: Jobs, options: RunOptions, codes: Sequence[str], rules: Rules, reader: LedgerReader | None
) -> Iterator[PlannedJob]:
    """Choose the failed jobs that the options and the error codes select, and what an earlier retry began."""
    wanted = [code.casefold() for code in codes]
    matching = (job for job in jobs if matches(job.id, options.ids))
    judged = (
        judge_retry(job, latest, rules, lambda code: matches(code.casefold(), wanted))
        for job, latest in pair(matching, reader)
    )
    return islice(filter(None, judged), options.first)


def _choose_settled(
    jobs: Jobs, options: RunOptions, settlement: Settlement, reader: LedgerReader | None
) -> Iterator[PlannedJob]:
    """Choose the held and overdue jobs that a person has decided about.

    What may cost is decided for one edition; looking once more is for all of them, unless one is named.
    """
    states = HELD if settlement is Settlement.RESEND else SETTLEABLE
    is_for_all = settlement is Settlement.RECHECK and not options.edition
    for latest in reader.find_in_states(states) if reader else ():
        if matches(latest.job_id, options.ids) and (is_for_all or latest.edition == options.edition):
            job = jobs.find(latest.job_id) if latest.edition == jobs.edition else None
            yield judge_settled(job, latest)
