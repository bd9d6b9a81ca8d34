"""What a key was made for that the server shows and no row has: a job of the manifest, under an id that it ever had.

A job that was bought and renamed after the last backup is in neither under the id that it was bought under. That is
then tried: what the server says that it was called, and every id that manifest and ledger have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from hedra_batch.inputs import FieldValues
from hedra_batch.job import Job
from hedra_batch.ledger.records import LatestAttempt, Purchase
from hedra_batch.planning.plan import is_paid_for

#: Numbers after the last known one that are looked for: a gap between them hides no later one.
NUMBERS_AHEAD = 20
#: Keys that are tried for ids that jobs do not have any more, which takes a few seconds.
TRIES_LIMIT = 2_000_000

#: The inputs of a job as they may have been written, by their digests.
Wishes = dict[str, FieldValues]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the server shows, and what it was bought for."""

    key: str
    #: As the manifest has what asks for it now, under the id that it was bought under.
    job: Job
    purchase: Purchase


class Attribution:
    """Looks at each job of a manifest, then tries for those that lack something what the ids of others come to."""

    def __init__(
        self,
        keys: Iterable[str],
        list_wishes: Callable[[Job], Wishes],
        derive_key: Callable[[str, Purchase], str],
    ) -> None:
        self._keys = set(keys)
        self._list_wishes = list_wishes
        self._derive_key = derive_key
        #: Jobs that have nothing of their own, by what they ask for: of those that ask for the same, one is enough.
        self._seekers: dict[str, Job] = {}
        self._ids: dict[str, None] = {}

    def look_at(self, job: Job, latest: LatestAttempt | None) -> Iterator[Shown]:
        """Yield what was bought under the id that a job has, the oldest first."""
        self._ids[job.id] = None
        if not self._keys:
            return
        if not is_paid_for(job, latest):
            self._seekers.setdefault(job.inputs.digest, job)
        wishes = self._list_wishes(job)
        highest = latest.number if latest and latest.bought_as == job.id else 0
        for number in range(1, highest + NUMBERS_AHEAD + 1):
            yield from self._try(job, job.id, number, wishes)

    def search(self, ids: Iterable[str]) -> Iterator[Shown]:
        """Yield what was bought for the others under other ids: those that are given first, then the manifest's."""
        names = list(dict.fromkeys(chain(ids, self._ids)))
        seekers = [(job, self._list_wishes(job)) for job in self._seekers.values()]
        tries_left = TRIES_LIMIT
        for number in range(1, NUMBERS_AHEAD + 1):
            tries_left -= len(names) * len(seekers)
            if not self._keys or tries_left < 0:
                return
            for name in names:
                for job, wishes in seekers:
                    if name != job.id:
                        yield from self._try(job, name, number, wishes)

    def _try(self, job: Job, bought_as: str, number: int, wishes: Wishes) -> Iterator[Shown]:
        for digest, fields in wishes.items():
            purchase = Purchase(bought_as, number, fields, digest, "")
            key = self._derive_key(job.edition, purchase)
            if key in self._keys:
                self._keys.remove(key)
                yield Shown(key, replace(job, id=bought_as), purchase)
