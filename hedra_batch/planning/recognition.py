"""Which paid work counts for which job, worked out for a whole manifest and never for a part of it.

A job that has nothing of its own for what it asks for takes over paid work whose job does not ask for that any more: a
renamed photo, prompt or job is not bought again. Nothing is changed here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from hedra_batch.job import Job
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.ledger.records import JobIdentity, LatestAttempt, Reassignment
from hedra_batch.planning.plan import counts_for, find_standing, is_paid_for
from hedra_batch.state import PAID, State

#: Jobs that are looked up together.
PAGE_JOBS = 500
#: Pairs that ask for the same and are named.
TWINS_LIMIT = 3


class JobSource(Protocol):
    """The jobs of a manifest, for one edition."""

    @property
    def edition(self) -> str:
        """The edition of all of them."""

    def __iter__(self) -> Iterator[Job]: ...

    def find(self, job_id: str) -> Job | None:
        """Find one by its id."""

    def is_waiting(self, job_id: str) -> bool:
        """Tell whether there is one that cannot be made now: what was bought for it stays with it."""

    def count_waiting(self, is_selected: Callable[[str], bool]) -> Mapping[str, int]:
        """Count those that cannot be made now."""


@dataclass(frozen=True, slots=True)
class Recognized:
    """What the ledger does not say yet, or has just been told."""

    #: Attempts, each with the job that takes it over.
    moves: Sequence[tuple[LatestAttempt, Job]] = ()
    #: What jobs stand by, where that is another attempt than the ledger has it.
    standings: Mapping[JobIdentity, LatestAttempt | None] = field(default_factory=dict)
    #: By the job that took over something, the one that it counted for until then.
    formerly: Mapping[JobIdentity, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.moves or self.standings)

    @property
    def reassignment(self) -> Reassignment:
        keys = {identity: latest and latest.attempt_key for identity, latest in self.standings.items()}
        return Reassignment(self.moves, keys)

    def committed(self) -> Recognized:
        """Return what is left to be told once the ledger has it."""
        return Recognized(formerly=self.formerly)


class Recognition:
    """Looks at every job of a manifest, page by page, and remembers only what has to change."""

    def __init__(self, jobs: JobSource) -> None:
        self._jobs = jobs
        #: Paid work that no job asks for under its id, by each digest that it bears.
        self._released: defaultdict[str, list[LatestAttempt]] = defaultdict(list)
        self._known: set[int] = set()
        #: What was looked up for the page before: variations have the same digest.
        self._asked: frozenset[str] = frozenset()
        self._unserved: list[tuple[Job, Sequence[LatestAttempt]]] = []
        self._standings: dict[JobIdentity, LatestAttempt | None] = {}
        self._is_empty: bool | None = None
        #: Ids of jobs that are not made yet, each with one that asks for the same and may be paid for.
        self.twins: dict[str, str] = {}

    def pair(self, jobs: Iterable[Job], reader: LedgerReader | None) -> Iterator[tuple[Job, LatestAttempt | None]]:
        """Yield each job with what it stands by of its own."""
        remaining = iter(jobs)
        while page := list(islice(remaining, PAGE_JOBS)):
            standings = self._find_standings(page, reader) if reader else {}
            if reader and not self._has_nothing(reader):
                self._seek([job for job in page if not is_paid_for(job, standings.get(job.identity))], reader)
            yield from ((job, standings.get(job.identity)) for job in page)

    def look(self, reader: LedgerReader) -> None:
        """Look at all jobs."""
        for _ in self.pair(self._jobs, reader):
            pass

    def settle(self, reader: LedgerReader) -> Recognized:
        """Decide what moves, once all jobs were looked at."""
        moves = self._assign()
        standings = self._standings | self._settle_standings(moves, reader)
        formerly = {job.identity: moved.job_id for moved, job in moves}
        return Recognized(moves, standings, formerly)

    def _has_nothing(self, reader: LedgerReader) -> bool:
        if self._is_empty is None:
            self._is_empty = not reader.has_any(PAID)
        return self._is_empty

    def _find_standings(self, page: Sequence[Job], reader: LedgerReader) -> dict[JobIdentity, LatestAttempt]:
        standings = {latest.identity: latest for latest in reader.find_all([job.identity for job in page])}
        unsettled = {
            job.identity: job
            for job in page
            if (latest := standings.get(job.identity)) and not (latest.state is State.DONE and counts_for(job, latest))
        }
        for identity, others in _group(reader.find_beside(list(unsettled))).items():
            before = standings[identity]
            standing = find_standing(unsettled[identity], [before, *others])
            if standing and standing.attempt_key != before.attempt_key:
                standings[identity] = self._standings[identity] = standing
        return standings

    def _seek(self, unserved: Sequence[Job], reader: LedgerReader) -> None:
        """Find for each what it could take over."""
        asked = [(job, job.sent_digests) for job in unserved]
        digests = frozenset[str]().union(*(own for _, own in asked))
        by_digest = defaultdict[str, list[Job]](list)
        for job, own in asked:
            for digest in own:
                by_digest[digest].append(job)
        for (_, job_id), attempts in _group(
            reader.find_paid(self._jobs.edition, sorted(digests - self._asked))
        ).items():
            if self._jobs.is_waiting(job_id):
                continue
            owner = self._jobs.find(job_id)
            kept = self._keep_one(owner, attempts)
            for paid in attempts:
                if owner is None or paid is not kept:
                    self._release(paid)
                else:
                    self._note_twins(owner, [job for one in _list_digests(paid) for job in by_digest.get(one, ())])
        self._asked = digests
        for job, own in asked:
            found = {paid.attempt_key: paid for digest in own for paid in self._released.get(digest, ())}
            if found:
                self._unserved.append((job, [found[key] for key in sorted(found)]))

    @staticmethod
    def _keep_one(owner: Job | None, attempts: Sequence[LatestAttempt]) -> LatestAttempt | None:
        """Choose what stays with a job: a second one of the same is of no use to it, and of some to another."""
        asked = [paid for paid in attempts if owner and counts_for(owner, paid)]
        return find_standing(owner, asked) if asked else None

    def _release(self, paid: LatestAttempt) -> None:
        if paid.attempt_key not in self._known:
            self._known.add(paid.attempt_key)
            for digest in _list_digests(paid):
                self._released[digest].append(paid)

    def _note_twins(self, owner: Job, unserved: Iterable[Job]) -> None:
        for job in unserved:
            if job.family != owner.family and len(self.twins) < TWINS_LIMIT:
                self.twins.setdefault(job.family, owner.family)

    def _assign(self) -> list[tuple[LatestAttempt, Job]]:
        """Serve who asks under the id that was bought under first; then all in the manifest's order, the oldest first.

        The lists can share what they hold.
        """
        taken: dict[int, Job] = {}
        chosen: dict[int, LatestAttempt] = {}
        served: set[str] = set()
        for is_own in (True, False):
            for job, found in self._unserved:
                free = (each for each in found if each.attempt_key not in taken)
                paid = next((each for each in free if not is_own or each.bought_as == job.id), None)
                if paid and job.id not in served:
                    served.add(job.id)
                    taken[paid.attempt_key], chosen[paid.attempt_key] = job, paid
        return [(chosen[key], taken[key]) for key in sorted(taken)]

    def _settle_standings(
        self, moves: Sequence[tuple[LatestAttempt, Job]], reader: LedgerReader
    ) -> dict[JobIdentity, LatestAttempt | None]:
        """Find what the jobs stand by that lose or win something."""
        touched = list(dict.fromkeys(one for moved, job in moves for one in (moved.identity, job.identity)))
        gone = {moved.attempt_key for moved, _ in moves}
        own = _group(
            each for each in (*reader.find_all(touched), *reader.find_beside(touched)) if each.attempt_key not in gone
        )
        for moved, job in moves:
            own[job.identity].append(moved._replace(job_id=job.id, latest=0))
        return {one: find_standing(self._jobs.find(one[1]), own[one]) for one in touched}


def _group(attempts: Iterable[LatestAttempt]) -> defaultdict[JobIdentity, list[LatestAttempt]]:
    grouped = defaultdict[JobIdentity, list[LatestAttempt]](list)
    for attempt in attempts:
        grouped[attempt.identity].append(attempt)
    return grouped


def _list_digests(paid: LatestAttempt) -> set[str]:
    return {digest for digest in (paid.digest, paid.sent_digest, paid.kept_digest) if digest}
