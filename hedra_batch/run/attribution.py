"""What a key was made for that the server shows and no row has: a job of the manifest, under an id that it ever had.

A job that was bought and renamed after the last backup is in neither under the id that it was bought under. That is
then tried: what the server says that it was called, and every id that manifest and ledger have.
"""

from __future__ import annotations

import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from hedra_batch.inputs import FieldValues
from hedra_batch.job import Job
from hedra_batch.ledger.records import LatestAttempt, ListedRequest, Purchase
from hedra_batch.planning.plan import is_paid_for

logger = logging.getLogger(__name__)

#: Numbers after the last known one that are looked for: a gap between them hides no later one.
NUMBERS_AHEAD = 20
#: Keys that are tried for ids of which the server says nothing, which takes a few seconds.
TRIES_LIMIT = 500_000

#: The inputs of a job as they may have been written, by their digests.
InputsByDigest = dict[str, FieldValues]


@dataclass(frozen=True, slots=True)
class FoundPurchase:
    """What the server shows, and what it was bought for."""

    key: str
    #: As the manifest has what asks for it now, under the id that it was bought under.
    job: Job
    purchase: Purchase


class Attribution:
    """Looks at each job of a manifest, then tries for those that lack something what the ids of others come to."""

    def __init__(
        self,
        echoes: Mapping[str, ListedRequest],
        list_inputs: Callable[[Job], InputsByDigest],
        derive_key: Callable[[str, Purchase], str],
        *,
        is_repeated: bool = False,
        tries_limit: int = TRIES_LIMIT,
    ) -> None:
        """Take the keys with what the server says of each; `is_repeated` says that a person was told of the rest."""
        self._echoes = echoes
        self._keys = set(echoes)
        #: The ids that the server names; an empty one where it does not name all.
        self._names = {echo.name for echo in echoes.values()}
        self._is_repeated = is_repeated
        self._list_inputs = list_inputs
        self._derive_key = derive_key
        self._tries_limit = tries_limit
        #: Jobs that have nothing of their own, by what they ask for: of those that ask for the same, one is enough.
        self._unserved: dict[str, Job] = {}
        self._ids: dict[str, None] = {}

    def look_at(self, job: Job, latest: LatestAttempt | None) -> Iterator[FoundPurchase]:
        """Yield what was bought under the id that a job has, the oldest first."""
        self._ids[job.id] = None
        found = []
        if self._keys and not self._names.isdisjoint((job.id, "")):
            highest = latest.number if latest and latest.bought_as == job.id else 0
            numbers = range(1, highest + NUMBERS_AHEAD + 1)
            found = [shown for number in numbers for shown in self._try(job, job.id, number)]
        yield from found
        if not found and not is_paid_for(job, latest):
            self._unserved.setdefault(job.inputs.digest, job)

    def search(self, ids: Iterable[str]) -> Iterator[FoundPurchase]:
        """Yield what was bought for the others under other ids: as the server names them, else all that are known."""
        named = {key for key in self._keys if self._echoes[key].name}
        yield from self._search_named(self._echoes[key] for key in sorted(named))
        self._keys -= named
        names = dict.fromkeys([*self._ids, *ids])
        tries = itertools.product(range(1, NUMBERS_AHEAD + 1), names, list(self._unserved.values()))
        for number, name, job in itertools.islice(tries, self._tries_limit):
            if not self._keys:
                return
            yield from self._try(job, name, number)
        if self._keys and any(tries) and not self._is_repeated:
            logger.warning(
                "The server shows more than can be held against all jobs and all their ids. Jobs that were renamed in "
                "the time that is not known may be bought again; press Ctrl-C if that may be so."
            )

    def _search_named(self, echoes: Iterable[ListedRequest]) -> Iterator[FoundPurchase]:
        by_prompt = defaultdict[str, list[Job]](list)
        for job in self._unserved.values():
            by_prompt[str(job.inputs.values["prompt"])].append(job)
        for echo in echoes:
            tries = itertools.product(range(1, NUMBERS_AHEAD + 1), by_prompt.get(echo.prompt, ()))
            found = (shown for number, job in tries for shown in self._try(job, echo.name, number))
            yield from itertools.islice(found, 1)

    def _try(self, job: Job, bought_as: str, number: int) -> Iterator[FoundPurchase]:
        for digest, fields in self._list_inputs(job).items():
            purchase = Purchase(bought_as, number, fields, digest, "")
            key = self._derive_key(job.edition, purchase)
            if key in self._keys:
                self._keys.remove(key)
                yield FoundPurchase(key, replace(job, id=bought_as), purchase)
