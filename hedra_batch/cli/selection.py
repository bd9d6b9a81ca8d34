"""Which jobs a command is about: `--id`, `--first`, and for `retry` the failed ones, for `resolve` the held ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from hedra_batch.cli.matching import matches
from hedra_batch.cli.options import RunOptions
from hedra_batch.errors import UsageError
from hedra_batch.job import SETTLEABLE, State
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.manifest.jobs import Jobs
from hedra_batch.pipeline.plan import Entry, Rules, Settlement, judge_retry, judge_settled
from hedra_batch.pipeline.scope import FixedScope, ManifestScope, Scope, pair
from hedra_batch.pipeline.survey import Survey


def make_scope(jobs: Jobs, options: RunOptions, rules: Rules) -> Scope:
    """Settle which jobs the options select."""
    if options.settlement is not None:
        settlement = options.settlement
        return FixedScope(lambda reader: _choose_settled(jobs, options, settlement, reader))
    if options.retried_codes is not None:
        codes = options.retried_codes
        return FixedScope(lambda reader: _choose_retried(jobs, options, codes, rules, reader))
    rules = replace(rules, rebuys_changed=options.rebuys_changed)
    return ManifestScope(jobs, rules, lambda job_id: matches(job_id, options.ids), options.first)


def require_selected(survey: Survey, jobs: Jobs, options: RunOptions) -> None:
    """Raise UsageError where the ids of the options select nothing."""
    if survey.selected or not options.ids:
        return
    wanted = " or ".join(options.ids)
    if options.settlement is not None:
        edition = f" in the edition {options.edition}" if options.edition else ""
        raise UsageError(f"No held job has an id like {wanted}{edition}. `hedra-batch resolve` lists them.")
    if options.retried_codes is None or not any(matches(job_id, options.ids) for job_id, _ in jobs.outputs()):
        raise UsageError(f"No job has an id like {wanted}. `hedra-batch plan` lists them.")


def _choose_retried(
    jobs: Jobs, options: RunOptions, codes: Sequence[str], rules: Rules, reader: LedgerReader | None
) -> Iterator[Entry]:
    """Choose the failed jobs that the options and the error codes select, and what an earlier retry began."""
    wanted = [code.casefold() for code in codes]
    matching = (job for job in jobs if matches(job.id, options.ids))
    judged = (
        judge_retry(job, standing, rules, lambda code: matches(code.casefold(), wanted))
        for job, standing in pair(matching, reader)
    )
    return islice(filter(None, judged), options.first)


def _choose_settled(
    jobs: Jobs, options: RunOptions, settlement: Settlement, reader: LedgerReader | None
) -> Iterator[Entry]:
    """Choose the held and overdue jobs that a person has decided about.

    What may cost is decided for one edition; looking once more is for all of them, unless one is named.
    """
    states = frozenset({State.HELD}) if settlement is Settlement.RESEND else SETTLEABLE
    is_for_all = settlement is Settlement.RECHECK and not options.edition
    for standing in reader.find_in_states(states) if reader else ():
        if matches(standing.job_id, options.ids) and (is_for_all or standing.edition == options.edition):
            job = jobs.find(standing.job_id) if standing.edition == jobs.edition else None
            yield judge_settled(job, standing)
