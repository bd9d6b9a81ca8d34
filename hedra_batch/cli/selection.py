"""Which jobs a command is about: `--id`, `--first`, and for `retry` the failed ones, for `resolve` the held ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from hedra_batch.cli.options import RunOptions
from hedra_batch.errors import UsageError
from hedra_batch.job import SETTLEABLE, Job, State
from hedra_batch.ledger.rows import Standing
from hedra_batch.pipeline.plan import Plan, Rules, Settlement, make_plan, make_retry_plan, make_settling_plan


def make_selected_plan(jobs: Sequence[Job], standings: Iterable[Standing], options: RunOptions, rules: Rules) -> Plan:
    """Make the plan for the jobs that the options select. Raises UsageError when they select none."""
    if options.settlement is not None:
        return _make_settling(jobs, standings, options, options.settlement)
    if options.retried_codes is not None:
        return _make_retry(jobs, standings, options, options.retried_codes, rules)
    chosen = [job for job in jobs if matches(job.id, options.ids)][: options.first]
    plan = make_plan(
        chosen,
        _within(standings, jobs, chosen),
        replace(rules, rebuys_changed=options.rebuys_changed),
        is_selected=lambda job_id: matches(job_id, options.ids),
        selects_others=options.first is None,
    )
    if options.ids and not plan.entries:
        raise _make_no_such_job(options)
    return plan


def _make_retry(
    jobs: Sequence[Job], standings: Iterable[Standing], options: RunOptions, codes: Sequence[str], rules: Rules
) -> Plan:
    """Plan a new attempt for the failed jobs that the options and the error codes select."""
    wanted = [code.casefold() for code in codes]
    matching = [job for job in jobs if matches(job.id, options.ids)]
    if not matching:
        raise _make_no_such_job(options)
    plan = make_retry_plan(
        matching, standings, rules, lambda standing: matches((standing.error_code or "").casefold(), wanted)
    )
    return Plan(plan.entries[: options.first])


def _make_settling(
    jobs: Sequence[Job], standings: Iterable[Standing], options: RunOptions, settlement: Settlement
) -> Plan:
    """Plan what a person decided for the held and overdue jobs that are selected.

    What may cost is decided for one edition; looking once more is for all of them, unless one is named.
    """
    states = frozenset({State.HELD}) if settlement is Settlement.RESEND else SETTLEABLE
    is_for_all = settlement is Settlement.RECHECK and not options.edition

    def is_selected(standing: Standing) -> bool:
        return matches(standing.job_id, options.ids) and (is_for_all or standing.edition == options.edition)

    plan = make_settling_plan(jobs, standings, states, is_selected)
    if options.ids and not plan.entries:
        edition = f" in the edition {options.edition}" if options.edition else ""
        wanted = " or ".join(options.ids)
        raise UsageError(f"No held job has an id like {wanted}{edition}. `hedra-batch resolve` lists them.")
    return plan


def _make_no_such_job(options: RunOptions) -> UsageError:
    return UsageError(f"No job has an id like {' or '.join(options.ids)}. `hedra-batch plan` lists them.")


def _within(standings: Iterable[Standing], jobs: Sequence[Job], chosen: Sequence[Job]) -> Iterable[Standing]:
    """Leave out the jobs of the manifest that are not selected, so that they do not pass for ones that left it."""
    if len(chosen) == len(jobs):
        return standings
    passed_over = {(job.edition, job.id) for job in jobs} - {(job.edition, job.id) for job in chosen}
    return (standing for standing in standings if standing.identity not in passed_over)


def matches(text: str, patterns: Sequence[str]) -> bool:
    """Tell whether a text is like one of the patterns, or there are none."""
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns)
