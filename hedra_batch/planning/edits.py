"""Jobs that were edited after they may have been paid for, and wait for a person to choose. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hedra_batch.inputs import FieldValues, PriceKey, find_price_key
from hedra_batch.job import NAMED_LIMIT, Job
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.ledger.records import LatestAttempt
from hedra_batch.planning.quote import Quote
from hedra_batch.state import FOLLOWED


@dataclass(slots=True)
class EditTally:
    """Counts edited jobs one by one, and keeps the first of them."""

    count: int = 0
    #: Those whose attempt has not ended: it is followed first, and only a later run can buy another.
    unended: int = 0
    #: What they ask for now, by what decides its price.
    price_keys: Counter[PriceKey] = field(default_factory=Counter)
    first: list[tuple[Job, LatestAttempt]] = field(default_factory=list)

    def add(self, job: Job, latest: LatestAttempt) -> None:
        self.count += 1
        self.unended += latest.state in FOLLOWED
        self.price_keys[find_price_key(job.inputs.fields)] += 1
        if self.count <= NAMED_LIMIT:
            self.first.append((job, latest))


@dataclass(frozen=True, slots=True)
class Edit:
    """What was sent for a job, and what the manifest asks for now, field by field."""

    job_id: str
    label: str
    sent: FieldValues
    wanted: FieldValues


@dataclass(frozen=True, slots=True)
class Edits:
    """The edited jobs that wait, the first of them with what differs, and what it costs to buy all of them anew."""

    count: int = 0
    unended: int = 0
    first: tuple[Edit, ...] = ()
    quote: Quote = field(default_factory=Quote)


def describe_edits(tally: EditTally, quote: Quote, reader: LedgerReader) -> Edits:
    first = [
        Edit(job.id, latest.label, reader.read_fields(latest.attempt_key), job.inputs.fields)
        for job, latest in tally.first
    ]
    return Edits(tally.count, tally.unended, tuple(first), quote)
