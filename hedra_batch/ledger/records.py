"""Rows of the ledger as records, and records as rows; whatever home the rows have."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from operator import attrgetter
from typing import Any, NamedTuple

from hedra_batch.errors import LedgerError
from hedra_batch.inputs import FieldValues
from hedra_batch.job import Attempt, Job, to_label
from hedra_batch.money import Money
from hedra_batch.state import State

#: The columns that make a whole attempt, in the order of its record; `unit` is that of both amounts.
ATTEMPT_COLUMNS = (
    "attempt_key", "edition", "job_id", "bought_as", "number", "state", "digest", "fields", "wanted_output",
    "request_key", "remote_id", "asset_id", "body", "sends", "unknown_sends", "resends", "unknown_mark",
    "submitted_at", "accepted_at", "accepted_mark", "missing_at", "eta_seconds", "output", "part_tag",
    "sha256", "estimated", "charged", "error_code", "error", "sent_digest", "kept_digest", "unit",
)  # fmt: skip

#: The columns of `results`, in its order; the view, the JSON and the CSV have the same.
RESULT_COLUMNS = (
    "id", "edition", "state", "attempt", "generation_id", "asset_id", "prompt_id", "image_id", "model", "prompt",
    "image", "aspect_ratio", "resolution", "duration_ms", "output", "sha256", "bytes", "credits_estimated",
    "credits_charged", "error_code", "error", "request_id", "submitted_at", "finished_at", "formerly",
    "credits_refunded",
)  # fmt: skip

#: What stays of a job for ever: its edition and its id.
JobIdentity = tuple[str, str]

_STATES = {state.value: state for state in State}
_FIELDS = tuple(one.name for one in fields(Attempt))
_PLACES = {name: place for place, name in enumerate(_FIELDS)}
_ESTIMATED, _CHARGED = _PLACES["estimated"], _PLACES["charged"]
_read_fields = attrgetter(*_FIELDS)
_write_json = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Loss:
    """A ledger of this batch was lost: attempts up to a number may have been sent before the loss was noticed."""

    highest_attempt: int
    #: When it was noticed, on the clock that runs through sleep: nothing of it was sent later.
    mark: str


class ListedRequest(NamedTuple):
    """What the server says of a request that it shows: what the job was called, and its prompt. Either may be empty."""

    name: str = ""
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Restore:
    """The folder was put back or moved, and may be older than what was bought: the server is asked for the rest."""

    #: When it was noticed, on the clock that runs through sleep: nothing was sent later that the ledger does not know.
    mark: str
    #: The last entry of the ledger before; None where it had none.
    since: str | None
    #: What the server showed of that time, by its keys, and no row had.
    shown: Mapping[str, ListedRequest] = field(default_factory=dict)
    #: Whether all of it was read after nothing could arrive any more.
    is_settled: bool = False

    @classmethod
    def read(cls, text: str) -> Restore:
        content = json.loads(text)
        return cls(**content | {"shown": {key: ListedRequest(*echo) for key, echo in content["shown"].items()}})

    def write(self) -> str:
        return _write_json({name: getattr(self, name) for name in ("mark", "since", "shown", "is_settled")})


class LatestAttempt(NamedTuple):
    """How one job stands: what planning needs of its latest attempt, and no more."""

    attempt_key: int
    edition: str
    job_id: str
    number: int
    state: State
    digest: str
    accepted_at: str | None
    error_code: str | None
    bought_as: str = ""
    sent_digest: str = ""
    kept_digest: str | None = None
    #: 1 where its job stands by it, else 0.
    latest: int = 1

    @classmethod
    def of(cls, attempt: Attempt) -> LatestAttempt:
        """Take from a whole attempt what planning needs."""
        return cls(attempt.key, *(getattr(attempt, name) for name in cls._fields[1:-1]))

    @classmethod
    def read(cls, row: Sequence[Any]) -> LatestAttempt:
        return cls._make((*row[:4], read_state(row[4]), *row[5:]))

    @property
    def identity(self) -> JobIdentity:
        return (self.edition, self.job_id)

    @property
    def label(self) -> str:
        return to_label(self.edition, self.job_id)


class AttemptEnd(NamedTuple):
    """Why an attempt ended badly or is held, and what it cost."""

    error: str
    #: By the price list; None where that does not tell, or no request was made.
    estimated: Money | None = None
    #: As the server reports it.
    charged: Money | None = None


class Purchase(NamedTuple):
    """What makes the key of an attempt, beside its edition, and what it asked for."""

    bought_as: str
    number: int
    fields: FieldValues
    digest: str
    sent_digest: str

    @classmethod
    def of(cls, job: Job, number: int) -> Purchase:
        """Buy what a job asks for now, under its own id."""
        return cls(job.id, number, job.inputs.fields, job.inputs.digest, job.inputs.digest)


class FileMove(NamedTuple):
    """A file that is given another name, with the others of the same move."""

    attempt_key: int
    #: Both relative to the run folder.
    output: str
    moving_to: str
    #: Whether all of them have left their old names.
    is_staged: bool


class ClaimedFile(NamedTuple):
    """The file name that an attempt has, and the one that its job wanted."""

    attempt_key: int
    state: State
    output: str
    wanted_output: str


@dataclass(frozen=True, slots=True)
class Reassignment:
    """Which attempts count for other jobs from now on, and which attempt each of those jobs stands by."""

    moves: Sequence[tuple[LatestAttempt, Job]]
    #: The key of the attempt; None where a job has none any more.
    standings: Mapping[JobIdentity, int | None]


class Charge(NamedTuple):
    """What the server has charged for one kind of request, at most."""

    fields: FieldValues
    charged: Money


class Group(StrEnum):
    """What costs are added up by."""

    PROMPT = "prompt"
    IMAGE = "image"
    MODEL = "model"
    EDITION = "edition"
    STATE = "state"
    #: All in one.
    NONE = ""


class ResultSum(NamedTuple):
    """What some attempts have cost, all those of their jobs together."""

    name: str
    #: Those that ended as a video.
    videos: int
    charged: int
    refunded: int
    #: Those that may have been charged without the server having said how much, and the estimate of them.
    untold: int
    untold_estimated: int


class ResultFile(NamedTuple):
    """A result that is on disk, or can be."""

    attempt_key: int
    edition: str
    job_id: str
    state: State
    #: Relative to the run folder.
    output: str
    #: None until it was fetched.
    sha256: str | None

    @property
    def label(self) -> str:
        return to_label(self.edition, self.job_id)


def to_attempt(row: Sequence[Any]) -> Attempt:
    """Turn a row of ATTEMPT_COLUMNS into a record."""
    *values, unit = row
    values[_PLACES["state"]] = read_state(values[_PLACES["state"]])
    values[_PLACES["fields"]] = json.loads(values[_PLACES["fields"]])
    for place in (_ESTIMATED, _CHARGED):
        if values[place] is not None:
            values[place] = Money(values[place], unit)
    return Attempt(*values)


def evolve(attempt: Attempt, changes: Mapping[str, Any]) -> Attempt:
    """Return an attempt with what was changed in its row, as far as its record has it."""
    # A good part of what an event costs: `dataclasses.replace` takes three times as long.
    values = list(_read_fields(attempt))
    for name, value in changes.items():
        if name in _PLACES:
            values[_PLACES[name]] = value
    return Attempt(*values)


def make_attempt(key: int, values: Mapping[str, Any], given: FieldValues) -> Attempt:
    own = {name: values[name] for name in values.keys() & _PLACES.keys()}
    return Attempt(key=key, **own | {"fields": given})


def purchase_columns(job: Job, purchase: Purchase) -> dict[str, object]:
    """Write what was bought, and what an attempt takes over from the job that it counts for."""
    own = {"digest": purchase.digest, "sent_digest": purchase.sent_digest, "fields": _write_json(purchase.fields)}
    return own | label_columns(job)


def label_columns(job: Job) -> dict[str, object]:
    """Write what an attempt takes over from whichever job it counts for."""
    image = job.inputs.get_media("image")
    return {
        "prompt_id": job.prompt_id,
        "image_id": job.image_id,
        "image": image.source if image else None,
        "wanted_output": job.output,
    }


def money_columns(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Write money as the columns of its amounts and the one of their unit; the rest as it is."""
    columns = dict(changes)
    for name in ("estimated", "charged"):
        money = columns.get(name)
        if isinstance(money, Money):
            columns |= {name: money.amount, "unit": money.unit}
    return columns


def read_state(text: str) -> State:
    """Read a state. Raises LedgerError for one that no version up to this one has written."""
    state = _STATES.get(text)
    if state is None:
        raise LedgerError(
            f"The ledger has a job in the state {text[:40]!a}, which this version of the program does not know. "
            "Nothing more is sent. Update the program, or put the ledger back from a backup."
        )
    return state
