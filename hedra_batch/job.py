"""The job record, and the record of its attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hedra_batch.inputs import FieldValues, Inputs, find_digest, find_request_kind, respell
from hedra_batch.money import Money
from hedra_batch.state import State

#: Jobs of a kind that are named one by one; of the others it is said how many there are.
NAMED_LIMIT = 10
#: In counts: the jobs that wait for their pictures, and those of them to which a person must see.
WAITING, UNUSABLE = "waiting", "unusable"


@dataclass(frozen=True, slots=True)
class Job:
    """One video that the manifest asks for; (edition, id) is its identity for ever."""

    id: str
    edition: str
    inputs: Inputs
    #: Where the video goes, relative to the run folder.
    output: str
    #: The manifest's name of the prompt and of the image, empty where there is none.
    prompt_id: str = ""
    image_id: str = ""
    #: What all variations of one wish share.
    family: str = ""
    #: Other names of its model.
    model_names: Sequence[str] = ()

    @property
    def identity(self) -> tuple[str, str]:
        """What stays of it for ever."""
        return (self.edition, self.id)

    @property
    def sent_digests(self) -> frozenset[str]:
        """The digests of its inputs under every name that a request can have had for its model."""
        fields = self.inputs.fields
        return frozenset([self.inputs.digest, *(find_digest(respell(fields, name)) for name in self.model_names)])


@dataclass(frozen=True, slots=True)
class Attempt:
    """One purchase of one job, as the ledger has it."""

    #: The ledger's own number of the row.
    key: int
    edition: str
    #: The job that it counts for.
    job_id: str
    #: The id of the job that it was bought under, which makes its request key and never changes.
    bought_as: str
    #: Counts up from 1 for each id that was bought under; no number is used twice.
    number: int
    state: State
    digest: str
    #: The canonical fields of the inputs that this attempt was made for.
    fields: FieldValues
    #: Where the manifest wants the file; `output` is where it goes.
    wanted_output: str
    #: Ours, from RESERVED on.
    request_key: str | None = None
    #: The server's, from ACCEPTED on.
    remote_id: str | None = None
    asset_id: str | None = None
    body: bytes | None = field(default=None, repr=False)
    #: Every send under the key, and those of them whose outcome could not be told.
    sends: int = 0
    unknown_sends: int = 0
    #: Sends again after a lost one, but for those that were surely not accepted or that a person has ordered.
    resends: int = 0
    #: Since when its outcome is unknown, on the clock that runs through sleep: the quiet window is counted from it.
    unknown_mark: str | None = None
    #: Begin of the last send.
    submitted_at: str | None = None
    accepted_at: str | None = None
    #: The same moment, on the clock that runs through sleep.
    accepted_mark: str | None = None
    #: Since when the server denies what it had accepted, or the result of what it had completed.
    missing_at: str | None = None
    eta_seconds: float | None = None
    output: str | None = None
    #: Start of the machine, and the version of the file, since when and of which a part of the result is on disk.
    part_tag: str | None = None
    sha256: str | None = None
    #: By the price list, when its request was made.
    estimated: Money | None = None
    #: As the server reports it.
    charged: Money | None = None
    error_code: str | None = None
    error: str | None = None
    #: Of the fields with the model as the request names it.
    sent_digest: str = ""
    #: Of other inputs that a person has said this video counts for.
    kept_digest: str | None = None

    @property
    def label(self) -> str:
        return to_label(self.edition, self.job_id)

    @property
    def identity(self) -> tuple[str, str]:
        return (self.edition, self.job_id)

    @property
    def kind(self) -> str:
        """The kind of request that it is bought with."""
        return find_request_kind(self.fields)


def to_label(edition: str, job_id: str) -> str:
    return f"{job_id} ({edition})" if edition else job_id
