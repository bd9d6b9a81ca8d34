"""Which jobs a command is about: they are held against the ledger page by page, and never all at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import islice
from typing import Protocol

from hedra_batch.job import OPEN, Job, State
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.ledger.rows import JobIdentity, Standing
from hedra_batch.ledger.store import Ledger
from hedra_batch.pipeline.plan import Entry, Rules, judge, judge_left
from hedra_batch.pipeline.survey import Survey

#: Jobs that are looked up together.
PAGE_JOBS = 500
#: What is followed though the manifest does not have it is in one of these.
_FOLLOWED = OPEN | {State.HELD, State.RESERVED}

#: A job of the manifest, if it has it, and how it stands, if the ledger knows it.
Pair = tuple[Job | None, Standing | None]


class JobSource(Protocol):
    """The jobs of a manifest, for one edition."""

    @property
    def edition(self) -> str:
        """The edition of all of them."""

    def __iter__(self) -> Iterator[Job]: ...

    def find(self, job_id: str) -> Job | None:
        """Find one by its id."""


class Scope(Protocol):
    """The jobs that a command is about."""

    def entries(self, reader: LedgerReader | None) -> Iterator[Entry]:
        """Yield what is to be done with each, as the ledger says it at the moment when it is come to."""

    def review(self, reader: LedgerReader | None) -> Iterator[Pair]:
        """Yield how the same jobs stand now, whatever was done since their entries were first asked for."""

    def find_job(self, job_id: str) -> Job | None:
        """Find a selected job that the manifest asks for."""


class ManifestScope:
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

    def entries(self, reader: LedgerReader | None) -> Iterator[Entry]:
        """Yield each selected job, then what the manifest does not have and is followed all the same."""
        for job, standing in pair(self._selected(), reader):
            yield judge(job, standing, self._rules)
        if self._first is not None or reader is None:
            return
        for standing in reader.find_in_states(_FOLLOWED):
            is_left = standing.edition != self._jobs.edition or self._jobs.find(standing.job_id) is None
            entry = judge_left(standing) if is_left and self._is_selected(standing.job_id) else None
            if entry:
                self._left.add(standing.identity)
                yield entry

    def review(self, reader: LedgerReader | None) -> Iterator[Pair]:
        """Yield the same jobs as they stand now; those that the manifest does not have, as they were found first."""
        yield from pair(self._selected(), reader)
        if reader:
            yield from ((None, standing) for standing in reader.find_all(sorted(self._left)))

    def find_job(self, job_id: str) -> Job | None:
        """Find a selected job that the manifest asks for."""
        is_selected = job_id in self._first_ids if self._first is not None else self._is_selected(job_id)
        return self._jobs.find(job_id) if is_selected else None

    def _selected(self) -> Iterator[Job]:
        return islice((job for job in self._jobs if self._is_selected(job.id)), self._first)


class FixedScope:
    """Jobs that were chosen by how they stood at first: what becomes of them changes nothing in the choice."""

    def __init__(self, choose: Callable[[LedgerReader | None], Iterable[Entry]]) -> None:
        self._choose = choose
        self._chosen: list[Entry] | None = None
        self._jobs: dict[str, Job] = {}

    def entries(self, reader: LedgerReader | None) -> Iterator[Entry]:
        """Yield what was chosen at first."""
        if self._chosen is None:
            self._chosen = list(self._choose(reader))
            self._jobs = {entry.job.id: entry.job for entry in self._chosen if entry.job}
        return iter(self._chosen)

    def review(self, reader: LedgerReader | None) -> Iterator[Pair]:
        """Yield the chosen jobs as they stand now."""
        jobs = {entry.identity: entry.job for entry in self._chosen or ()}
        if reader:
            for standing in reader.find_all(list(jobs)):
                yield jobs.pop(standing.identity), standing
        yield from ((job, None) for job in jobs.values())

    def find_job(self, job_id: str) -> Job | None:
        """Find a chosen job that the manifest asks for."""
        return self._jobs.get(job_id)


def pair(jobs: Iterable[Job], reader: LedgerReader | None) -> Iterator[tuple[Job, Standing | None]]:
    """Yield each job with how it stands, looked up in pages."""
    remaining = iter(jobs)
    while page := list(islice(remaining, PAGE_JOBS)):
        found = reader.find_all([(job.edition, job.id) for job in page]) if reader else ()
        standings = {standing.identity: standing for standing in found}
        yield from ((job, standings.get((job.edition, job.id))) for job in page)


async def page_through(scope: Scope, ledger: Ledger) -> AsyncIterator[list[Entry]]:
    """Yield the entries in pages, each judged in the ledger's thread when it is asked for."""
    entries: Iterator[Entry] | None = None

    def read_page(reader: LedgerReader) -> list[Entry]:
        nonlocal entries
        entries = entries or scope.entries(reader)
        return list(islice(entries, PAGE_JOBS))

    while page := await ledger.look(read_page):
        yield page


async def take_survey(scope: Scope, ledger: Ledger) -> Survey:
    """Add up what a scope comes to."""
    survey = Survey()
    async for page in page_through(scope, ledger):
        for entry in page:
            survey.note(entry)
    return survey
