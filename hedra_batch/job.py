"""The job record, its attempts, their states, and the one table of transitions between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from hedra_batch.inputs import FieldValues, Inputs


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


class State(StrEnum):
    """Where an attempt stands; each change is on disk before the next step is taken."""

    #: Recorded; no id is reserved and nothing was sent.
    NEW = "NEW"
    #: Id, body and price are on disk. With no unknown send before, surely not accepted.
    RESERVED = "RESERVED"
    #: A send may be under way; found at the start of a run it means UNKNOWN.
    SUBMITTING = "SUBMITTING"
    #: A send had no readable outcome; only reading settles it.
    UNKNOWN = "UNKNOWN"
    #: The server has it.
    ACCEPTED = "ACCEPTED"
    #: The server has it, and it is far over its expected time.
    STUCK = "STUCK"
    #: The server has the result; the file is not here yet.
    READY = "READY"
    #: The file is here, verified.
    DONE = "DONE"
    #: The server refused the submission; nothing was charged.
    REJECTED = "REJECTED"
    #: The server took it and ended it with an error.
    FAILED = "FAILED"
    #: A person must decide.
    HELD = "HELD"
    #: A person gave it up; it may have been charged all the same.
    ABANDONED = "ABANDONED"


#: The only changes of state there are. The ledger loads this table and refuses any other.
TRANSITIONS: dict[State, frozenset[State]] = {
    # Straight to REJECTED: the server refused the image.
    State.NEW: frozenset({State.RESERVED, State.REJECTED}),
    # Back to NEW: the inputs or the asset changed, or the run ended, before anything was accepted.
    # To UNKNOWN: an earlier send was lost, and the job left the manifest before it was sent again.
    State.RESERVED: frozenset({State.SUBMITTING, State.NEW, State.UNKNOWN}),
    # Back to RESERVED: surely not accepted (not sent, 401, 402, 403, 429).
    State.SUBMITTING: frozenset({State.ACCEPTED, State.REJECTED, State.UNKNOWN, State.RESERVED}),
    # Back to RESERVED: absent for the whole quiet window, so the same id may be sent again.
    State.UNKNOWN: frozenset({State.ACCEPTED, State.RESERVED, State.HELD}),
    State.ACCEPTED: frozenset({State.READY, State.FAILED, State.STUCK, State.HELD}),
    State.STUCK: frozenset({State.READY, State.FAILED, State.HELD, State.ABANDONED}),
    State.READY: frozenset({State.DONE}),
    # A held job goes on once its id is found after all, or reading has proved that the server honours our ids.
    # Back to RESERVED: a person has the same request sent again.
    State.HELD: frozenset({State.UNKNOWN, State.ACCEPTED, State.RESERVED, State.ABANDONED}),
    State.DONE: frozenset(),
    State.REJECTED: frozenset(),
    State.FAILED: frozenset(),
    State.ABANDONED: frozenset(),
}

#: Nothing of these was ever accepted, as long as no send had an unknown outcome.
UNSENT = frozenset({State.NEW, State.RESERVED})
#: The server may be working on these, so each takes one of the slots in flight. One that is stuck gives it back.
IN_FLIGHT = frozenset({State.SUBMITTING, State.UNKNOWN, State.ACCEPTED})
#: Sent and not ended: followed by every run, whatever the manifest says now.
OPEN = IN_FLIGHT | {State.STUCK, State.READY}
#: Ended without a result; only a new attempt can change that.
ENDED_BADLY = frozenset({State.REJECTED, State.FAILED, State.ABANDONED})
#: A person can settle these.
SETTLEABLE = frozenset({State.HELD, State.STUCK})

#: Ends at the server (its own error codes) that the same inputs may well not meet again.
TRANSIENT_CODES = frozenset({"moderation_output_transient", "internal", "unavailable"})
#: `error_code` of a paid request of which it cannot be told whether it was accepted.
UNKNOWN_OUTCOME = "unknown_outcome"
#: `error_code` of an attempt that waits for the proof that the server uses our ids.
IDS_UNPROVEN = "ids_unproven"
#: `error_code` of an attempt that is far over its expected time.
OVERDUE = "overdue"
#: `error_code` of an attempt that a person gave up.
GIVEN_UP = "abandoned"

#: The state as `results`, `status` and the SQL view say it.
PUBLIC_STATES: dict[State, str] = {
    State.NEW: "new",
    State.RESERVED: "new",
    State.SUBMITTING: "unknown",
    State.UNKNOWN: "unknown",
    State.ACCEPTED: "running",
    State.STUCK: "running",
    State.READY: "running",
    State.DONE: "done",
    State.REJECTED: "failed",
    State.FAILED: "failed",
    State.HELD: "held",
    State.ABANDONED: "failed",
}


#: Public states of jobs that the next run goes on with.
UNFINISHED = ("new", "running", "unknown")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One purchase of one job, as the ledger has it."""

    #: The ledger's own number of the row.
    key: int
    edition: str
    job_id: str
    #: Counts up from 1 for each job; no number is used twice.
    number: int
    state: State
    digest: str
    #: The canonical fields of the inputs that this attempt was made for.
    fields: FieldValues
    #: Where the manifest wants the file; `output` is where it goes.
    wanted_output: str
    generation_id: str | None = None
    asset_id: str | None = None
    body: bytes | None = field(default=None, repr=False)
    #: Every send of the id, and those of them whose outcome could not be told.
    sends: int = 0
    unknown_sends: int = 0
    #: Sends again after a lost one, but for those that were surely not accepted.
    resends: int = 0
    #: Since when its outcome is unknown, on the clock that runs through sleep: the quiet window is counted from it.
    unknown_mark: str | None = None
    #: When a person ordered that it is sent once more.
    ordered_at: str | None = None
    submitted_at: str | None = None
    accepted_at: str | None = None
    #: The same moment, on the clock that runs through sleep.
    accepted_mark: str | None = None
    #: Since when the server says that it does not know the generation, which it had accepted.
    missing_at: str | None = None
    eta_seconds: float | None = None
    output: str | None = None
    sha256: str | None = None
    credits_estimated: int | None = None
    error_code: str | None = None
    error: str | None = None

    @property
    def label(self) -> str:
        """The job as messages name it."""
        return to_label(self.edition, self.job_id)

    @property
    def is_surely_unsent(self) -> bool:
        """Whether the server can have accepted nothing of this attempt."""
        return is_surely_unsent(self.state, self.unknown_sends)


def is_surely_unsent(state: State, unknown_sends: int) -> bool:
    """Tell whether the server can have accepted nothing: not even a send whose outcome could not be told."""
    return state in UNSENT and not unknown_sends


def to_label(edition: str, job_id: str) -> str:
    """Name a job as messages do."""
    return f"{job_id} ({edition})" if edition else job_id
