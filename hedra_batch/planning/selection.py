"""Which jobs a command is about: they are held against the ledger page by page, and never all at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import islice
from typing import Protocol

from hedra_batch.job import Job
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.ledger.records import JobIdentity, LatestAttempt
from hedra_batch.planning.fingerprint import Fingerprint
from hedra_batch.planning.plan import FOLLOWED, PlannedJob, Rules, judge, judge_left
from hedra_batch.planning.summary import PlanSummary

#: Jobs that are looked up together.
PAGE_JOBS = 500

#: A job of the manifest, if it has it, and how it stands, if the ledger knows it.
Pair = tuple[Job | None, LatestAttempt | None]


class JobSource(Protocol):
    """The jobs of a manifest, for one edition."""

    @property
    def edition(self) -> str:
        """The edition of all of them."""

    def __iter__(self) -> Iterator[Job]: ...

    def find(self, job_id: str) -> Job | None:
        """Find one by its id."""


class Selection(Protocol):
    """The jobs that a command is about."""

    def planned_jobs(self, reader: LedgerReader | None) -> Iterator[PlannedJob]:
        """Yield what is to be done with each, as the ledger says it at the moment when it is come to."""

    def review(self, reader: LedgerReader | None) -> Iterator[Pair]:
        """Yield how the same jobs stand now, whatever was done since their entries were first asked for."""

    def find_job(self, job_id: str) -> Job | None:
        """Find a selected job that the manifest asks for."""


class ManifestSelection:
    """What the manifest asks for, as far as it is selected, and what was sent for jobs that it does not have."""

    def __init__(
        self, jobs: JobSource, rules: Rules, is_selected: Callable[[str], bool], first: int | None = None
    ) -> None:
        self._jobs = jobs
        self._rules = rules
        self._is_selected = is_selected
        #: Only so many jobs, and nothing that the manifest does not have.
        self._first = first
        self._first_ids = {job.id for job in self._selected()} if first is not None else frozenset[str]()
        self._left: set[JobIdentity] = set()

    def planned_jobs(self, reader: LedgerReader | None) -> Iterator[PlannedJob]:
        """Yield each selected job, then what the manifest does not have and is followed all the same."""
        for job, latest in pair(self._selected(), reader):
            yield judge(job, latest, self._rules)
        if self._first is not None or reader is None:
            return
        for latest in reader.find_in_states(FOLLOWED):
            is_left = latest.edition != self._jobs.edition or self._jobs.find(latest.job_id) is None
            planned = judge_left(latest) if is_left and self._is_selected(latest.job_id) else None
            if planned:
                self._left.add(latest.identity)
                yield planned

    def review(self, reader: LedgerReader | None) -> Iterator[Pair]:
        """Yield the same jobs as they stand now; those that the manifest does not have, as they were found first."""
        yield from pair(self._selected(), reader)
        if reader:
            yield from ((None, latest) for latest in reader.find_all(sorted(self._left)))

    def find_job(self, job_id: str) -> Job | None:
        is_selected = job_id in self._first_ids if self._first is not None else self._is_selected(job_id)
        return self._jobs.find(job_id) if is_selected else None

    def _selected(self) -> Iterator[Job]:
        return islice((job for job in self._jobs if self._is_selected(job.id)), self._first)


class FixedSelection:
    """Jobs that were chosen by how they stood at first: what becomes of them changes nothing in the choice."""

    def __init__(self, choose: Callable[[LedgerReader | None], Iterable[PlannedJob]]) -> None:
        self._choose = choose
        self._chosen: list[PlannedJob] | None = None
        self._jobs: dict[str, Job] = {}

    def planned_jobs(self, reader: LedgerReader | None) -> Iterator[PlannedJob]:
        if self._chosen is None:
            self._chosen = list(self._choose(reader))
            self._jobs = {planned.job.id: planned.job for planned in self._chosen if planned.job}
        return iter(self._chosen)

    def review(self, reader: LedgerReader | None) -> Iterator[Pair]:
        jobs = {planned.identity: planned.job for planned in self._chosen or ()}
        if reader:
            for latest in reader.find_all(list(jobs)):
                yield jobs.pop(latest.identity), latest
        yield from ((job, None) for job in jobs.values())

    def find_job(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)


def pair(jobs: Iterable[Job], reader: LedgerReader | None) -> Iterator[tuple[Job, LatestAttempt | None]]:
    """Yield each job with how it stands, looked up in pages."""
    remaining = iter(jobs)
    while page := list(islice(remaining, PAGE_JOBS)):
        found = reader.find_all([(job.edition, job.id) for job in page]) if reader else ()
        latest_attempts = {latest.identity: latest for latest in found}
        yield from ((job, latest_attempts.get((job.edition, job.id))) for job in page)


async def page_through(selection: Selection, ledger: Ledger) -> AsyncIterator[list[PlannedJob]]:
    """Yield the entries in pages, each judged in the ledger's thread when it is asked for."""
    planned_jobs: Iterator[PlannedJob] | None = None

    def read_page(reader: LedgerReader) -> list[PlannedJob]:
        nonlocal planned_jobs
        planned_jobs = planned_jobs or selection.planned_jobs(reader)
        return list(islice(planned_jobs, PAGE_JOBS))

    while page := await ledger.look(read_page):
        yield page


async def summarize(selection: Selection, ledger: Ledger, fingerprint: Fingerprint | None = None) -> PlanSummary:
    """Add up what a scope comes to."""
    summary = PlanSummary(fingerprint=fingerprint)
    async for page in page_through(selection, ledger):
        for planned in page:
            summary.add(planned)
    return summary
