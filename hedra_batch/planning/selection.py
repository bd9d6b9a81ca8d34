"""Which jobs a command is about: they are held against the ledger page by page, and never all at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Protocol

from hedra_batch.job import Job
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.ledger.records import LatestAttempt
from hedra_batch.planning.fingerprint import Fingerprint
from hedra_batch.planning.plan import PlannedJob, Rules, judge, judge_beside, judge_left
from hedra_batch.planning.recognition import PAGE_JOBS, JobSource, Recognition, Recognized
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.state import FOLLOWED

#: A job of the manifest, if it has it, and how it stands, if the ledger knows it.
Pair = tuple[Job | None, LatestAttempt | None]


class Selection(Protocol):
    """The jobs that a command is about."""

    def planned_jobs(self, reader: LedgerReader | None) -> Iterator[PlannedJob]:
        """Yield what is to be done with each, as the ledger says it at the moment when it is come to."""

    def review(self, reader: LedgerReader | None) -> Iterator[Pair]:
        """Yield how the same jobs stand now, whatever was done since their entries were first asked for."""

    def find_job(self, job_id: str) -> Job | None:
        """Find a selected job that the manifest asks for."""

    def find_any(self, job_id: str) -> Job | None:
        """Find a job that the manifest asks for, whether it is selected or not."""

    def count_waiting(self) -> Mapping[str, int]:
        """Count the selected jobs that cannot be made now."""


class ManifestSelection:
    """What the manifest asks for, as far as it is selected, and what was sent for jobs that it does not have."""

    def __init__(
        self,
        jobs: JobSource,
        rules: Rules,
        is_selected: Callable[[str], bool],
        first: int | None = None,
        recognized: Recognized | None = None,
    ) -> None:
        self._jobs = jobs
        self._recognized = Recognized() if recognized is None else recognized
        self._moved = {moved.attempt_key for moved, _ in self._recognized.moves}
        self._rules = rules
        self._is_selected = is_selected
        #: Only so many jobs, and nothing that the manifest does not have.
        self._first = first
        self._first_ids = {job.id for job in self._selected()} if first is not None else frozenset[str]()
        #: Attempts of jobs that the manifest does not have, and those that their job does not stand by.
        self._left: set[int] = set()

    def planned_jobs(self, reader: LedgerReader | None) -> Iterator[PlannedJob]:
        """Yield each selected job, then what the manifest does not have and is followed all the same."""
        yield from self._judge_all(pair(self._selected(), reader))
        if self._first is None and reader is not None:
            yield from self._plan_left(reader)

    def watch(self, recognition: Recognition, reader: LedgerReader) -> Iterator[PlannedJob]:
        """Yield the same, while every job that is come to is looked at for what it can take over."""
        yield from self._judge_all(recognition.pair(self._selected(), reader))
        yield from self._plan_left(reader)

    def _judge_all(self, pairs: Iterable[tuple[Job, LatestAttempt | None]]) -> Iterator[PlannedJob]:
        known = self._recognized
        for job, own in pairs:
            planned = judge(job, known.standings.get(job.identity, own) if known.standings else own, self._rules)
            formerly = known.formerly.get(job.identity) if known.formerly else None
            yield replace(planned, formerly=formerly) if formerly else planned

    def _plan_left(self, reader: LedgerReader) -> Iterator[PlannedJob]:
        for latest in reader.find_in_states(FOLLOWED):
            is_looked_at = self._is_selected(latest.job_id) and latest.attempt_key not in self._moved
            if is_looked_at and (planned := self._judge_other(latest)):
                self._left.add(latest.attempt_key)
                yield planned

    def _judge_other(self, latest: LatestAttempt) -> PlannedJob | None:
        """Plan to follow what no job of the manifest stands by; None for what one does stand by."""
        if latest.edition == self._jobs.edition and self._jobs.is_waiting(latest.job_id):
            left = judge_left(latest)
            return left and replace(left, is_waiting=True)
        if latest.edition != self._jobs.edition or self._jobs.find(latest.job_id) is None:
            return judge_left(latest)
        own = latest if latest.latest else None
        standing = self._recognized.standings.get(latest.identity, own)
        is_standing = standing is not None and standing.attempt_key == latest.attempt_key
        return None if is_standing else judge_beside(latest)

    def review(self, reader: LedgerReader | None) -> Iterator[Pair]:
        """Yield the same jobs as they stand now; those that the manifest does not have, as they were found first."""
        yield from pair(self._selected(), reader)
        if reader:
            yield from ((None, latest) for latest in reader.find_keys(sorted(self._left)))

    def find_job(self, job_id: str) -> Job | None:
        is_selected = job_id in self._first_ids if self._first is not None else self._is_selected(job_id)
        return self._jobs.find(job_id) if is_selected else None

    def find_any(self, job_id: str) -> Job | None:
        return self._jobs.find(job_id)

    def count_waiting(self) -> Mapping[str, int]:
        return self._jobs.count_waiting(self._is_selected) if self._first is None else {}

    def _selected(self) -> Iterator[Job]:
        return islice((job for job in self._jobs if self._is_selected(job.id)), self._first)


class FixedSelection:
    """Jobs that were chosen by how they stood at first: what becomes of them changes nothing in the choice."""

    def __init__(self, source: JobSource, choose: Callable[[LedgerReader | None], Iterable[PlannedJob]]) -> None:
        self._source = source
        self._choose = choose
        self._chosen: list[PlannedJob] | None = None
        self._jobs: dict[str, Job] = {}

    def planned_jobs(self, reader: LedgerReader | None) -> Iterator[PlannedJob]:
        if self._chosen is None:
            self._chosen = list(self._choose(reader))
            self._jobs = {planned.job.id: planned.job for planned in self._chosen if planned.job}
        return iter(self._chosen)

    def review(self, reader: LedgerReader | None) -> Iterator[Pair]:
        chosen = self._chosen or ()
        jobs = {planned.identity: planned.job for planned in chosen if not planned.is_beside}
        if reader:
            beside = [planned.latest.attempt_key for planned in chosen if planned.is_beside and planned.latest]
            yield from ((None, latest) for latest in reader.find_keys(beside))
            for latest in reader.find_all(list(jobs)):
                yield jobs.pop(latest.identity), latest
        yield from ((job, None) for job in jobs.values())

    def find_job(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def find_any(self, job_id: str) -> Job | None:
        return self._source.find(job_id)

    def count_waiting(self) -> Mapping[str, int]:
        """Count none: they were chosen by how they stand in the ledger."""
        return {}


def pair(jobs: Iterable[Job], reader: LedgerReader | None) -> Iterator[tuple[Job, LatestAttempt | None]]:
    """Yield each job with how it stands, looked up in pages."""
    remaining = iter(jobs)
    while page := list(islice(remaining, PAGE_JOBS)):
        found = reader.find_all([job.identity for job in page]) if reader else ()
        latest_attempts = {latest.identity: latest for latest in found}
        yield from ((job, latest_attempts.get(job.identity)) for job in page)


async def page_through(
    selection: Selection, ledger: Ledger, recognition: Recognition | None = None
) -> AsyncIterator[list[PlannedJob]]:
    """Yield the entries in pages, each judged in the ledger's thread when it is asked for.

    With a recognition, which takes the whole manifest, all jobs are looked at by it too.
    """
    planned_jobs: Iterator[PlannedJob] | None = None

    def read_page(reader: LedgerReader) -> list[PlannedJob]:
        nonlocal planned_jobs
        if planned_jobs is None:
            if recognition and isinstance(selection, ManifestSelection):
                planned_jobs = selection.watch(recognition, reader)
            else:
                planned_jobs = selection.planned_jobs(reader)
        return list(islice(planned_jobs, PAGE_JOBS))

    while page := await ledger.look(read_page):
        yield page


async def summarize(
    selection: Selection,
    ledger: Ledger,
    recognition: Recognition | None = None,
    fingerprint: Fingerprint | None = None,
) -> PlanSummary:
    """Add up a selection."""
    summary = PlanSummary(fingerprint=fingerprint)
    async for page in page_through(selection, ledger, recognition):
        for planned in page:
            summary.add(planned)
    return summary
