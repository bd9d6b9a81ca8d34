"""What is wanted of a batch: which jobs, and what may be done with them. No network library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from hedra_batch.batch.matching import matches
from hedra_batch.clock import CLOCK
from hedra_batch.decide import Settlement
from hedra_batch.errors import NothingSelectedError
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.planning.plan import PlannedJob, Rules, judge_retry, judge_settled
from hedra_batch.planning.recognition import JobSource, Recognized
from hedra_batch.planning.result import find_overdue_instant, may_be_settled
from hedra_batch.planning.selection import FixedSelection, ManifestSelection, pair
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.state import ENDED_BADLY, HELD, SETTLEABLE, TO_SEND


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What a plan is to cover; left alone, every job of the manifest that is not made yet.

    The edition is that of the jobs, which a manifest is loaded for.
    """

    #: Patterns of the shell for ids; all jobs where there are none.
    ids: tuple[str, ...] = ()
    #: Only so many jobs, in the order of the manifest.
    first: int | None = None
    #: Whether jobs that were edited after they may have been paid for are bought anew.
    rebuys_changed: bool = False
    #: Whether what was bought for such jobs counts for them as they are now.
    keeps_changed: bool = False
    #: Patterns for the error codes of failed jobs, which alone are made anew; None to retry none.
    retried_codes: tuple[str, ...] | None = None
    #: What a person has decided about held and overdue jobs, which alone are processed; None where nothing is decided.
    settlement: Settlement | None = None

    @property
    def selects_all(self) -> bool:
        """Whether it is about every job of the manifest."""
        return not self.ids and self.first is None and self.retried_codes is None and self.settlement is None


def make_selection(
    jobs: JobSource, request: PlanRequest, rules: Rules, recognized: Recognized | None = None
) -> ManifestSelection | FixedSelection:
    if request.settlement is not None:
        settlement = request.settlement
        return FixedSelection(jobs, lambda reader: _choose_settled(jobs, request.ids, settlement, reader))
    if request.retried_codes is not None:
        codes = request.retried_codes
        return FixedSelection(jobs, lambda reader: _choose_retried(jobs, request, codes, rules, reader))
    rules = replace(rules, rebuys_changed=request.rebuys_changed, keeps_changed=request.keeps_changed)
    return ManifestSelection(jobs, rules, lambda job_id: matches(job_id, request.ids), request.first, recognized)


def find_nothing_selected(
    summary: PlanSummary, jobs: JobSource, request: PlanRequest, reader: LedgerReader | None
) -> NothingSelectedError | None:
    """Find what a request asks for that is not there; None where there is nothing wrong with it."""
    if summary.selected or (request.settlement is None and jobs.count_waiting(lambda each: matches(each, request.ids))):
        return None
    wanted = " or ".join(request.ids)
    if request.settlement is not None and request.ids:
        edition = f" in the edition {jobs.edition}" if jobs.edition else ""
        return NothingSelectedError(
            f"No held job has an id like {wanted}{edition}.", "To list the held jobs", "resolve"
        )
    if request.ids and not any(matches(job.id, request.ids) for job in jobs):
        return NothingSelectedError(f"No job has an id like {wanted}.", "To list all jobs", "plan")
    if request.retried_codes is None or reader is None:
        return None
    return _find_no_edition(jobs.edition, reader) or _find_no_code(jobs, request.retried_codes, reader)


def _find_no_edition(edition: str, reader: LedgerReader) -> NothingSelectedError | None:
    editions = reader.find_editions()
    if not edition or edition in editions:
        return None
    known = ", ".join(each or "(without a label)" for each in editions) or "none"
    message = f"Nothing was begun in the edition {edition}. Editions that there are: {known}."
    return NothingSelectedError(message, "To list what was begun", "results")


def _find_no_code(jobs: JobSource, codes: Sequence[str], reader: LedgerReader) -> NothingSelectedError | None:
    """Find out whether jobs failed, but with other codes than those that are asked for."""
    failed = (
        one for one in reader.find_in_states(ENDED_BADLY) if one.edition == jobs.edition and jobs.find(one.job_id)
    )
    counts = Counter(one.error_code or "unknown" for one in failed)
    wanted = [code.casefold() for code in codes]
    if not counts or any(matches(code.casefold(), wanted) for code in counts):
        return None
    known = ", ".join(f"{code} ({count})" for code, count in sorted(counts.items()))
    message = f"No job failed with an error like {' or '.join(codes)}. Errors that there are: {known}."
    return NothingSelectedError(message, "To list the failed jobs", "results")


def _choose_retried(
    jobs: JobSource, request: PlanRequest, codes: Sequence[str], rules: Rules, reader: LedgerReader | None
) -> Iterator[PlannedJob]:
    """Choose the failed jobs that ids and error codes select, and what an earlier retry began."""
    wanted = [code.casefold() for code in codes]
    matching = (job for job in jobs if matches(job.id, request.ids))
    judged = (
        judge_retry(job, latest, rules, lambda code: matches(code.casefold(), wanted))
        for job, latest in pair(matching, reader)
    )
    return islice(filter(None, judged), request.first)


def _choose_settled(
    jobs: JobSource, ids: Sequence[str], settlement: Settlement, reader: LedgerReader | None
) -> Iterator[PlannedJob]:
    """Choose the held and overdue jobs that a person has decided about.

    What may cost is decided for one edition; looking once more is for all of them, unless one is named.
    """
    states = {Settlement.RESEND: HELD, Settlement.RECHECK: SETTLEABLE - TO_SEND}.get(settlement, SETTLEABLE)
    overdue_before = find_overdue_instant(CLOCK)
    is_for_all = settlement is Settlement.RECHECK and not jobs.edition
    for latest in reader.find_in_states(states) if reader else ():
        if not may_be_settled(latest.state, latest.accepted_at, overdue_before):
            continue
        if matches(latest.job_id, ids) and (is_for_all or latest.edition == jobs.edition):
            job = jobs.find(latest.job_id) if latest.edition == jobs.edition else None
            yield judge_settled(job, latest)
