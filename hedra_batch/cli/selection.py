"""Which jobs a command is about: `--id`, `--first`, and for `retry` the failed ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from hedra_batch.cli.options import RunOptions
from hedra_batch.errors import UsageError
from hedra_batch.job import Job
from hedra_batch.ledger.rows import Standing
from hedra_batch.pipeline.plan import Plan, make_plan, make_retry_plan


def make_selected_plan(jobs: Sequence[Job], standings: Iterable[Standing], options: RunOptions) -> Plan:
    """Make the plan for the jobs that the options select. Raises UsageError when they select none."""
    chosen = [job for job in jobs if _matches(job.id, options.ids)][: options.first]
    plan = make_plan(
        chosen,
        _within(standings, jobs, chosen),
        is_selected=lambda job_id: _matches(job_id, options.ids),
        selects_others=options.first is None,
        rebuys_changed=options.rebuys_changed,
    )
    if options.ids and not plan.entries:
        raise _make_no_such_job(options)
    return plan


def make_selected_retry(
    jobs: Sequence[Job], standings: Iterable[Standing], options: RunOptions, codes: Sequence[str]
) -> Plan:
    """Plan a new attempt for the failed jobs that the options and the error codes select."""
    wanted = [code.casefold() for code in codes]
    matching = [job for job in jobs if _matches(job.id, options.ids)]
    if not matching:
        raise _make_no_such_job(options)
    plan = make_retry_plan(
        matching, standings, lambda standing: _matches((standing.error_code or "").casefold(), wanted)
    )
    return Plan(plan.entries[: options.first])


def _make_no_such_job(options: RunOptions) -> UsageError:
    return UsageError(f"No job has an id like {' or '.join(options.ids)}. `hedra-batch plan` lists them.")


def _within(standings: Iterable[Standing], jobs: Sequence[Job], chosen: Sequence[Job]) -> Iterable[Standing]:
    """Leave out the jobs of the manifest that are not selected, so that they do not pass for ones that left it."""
    if len(chosen) == len(jobs):
        return standings
    passed_over = {(job.edition, job.id) for job in jobs} - {(job.edition, job.id) for job in chosen}
    return (standing for standing in standings if standing.identity not in passed_over)


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns)
