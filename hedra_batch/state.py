"""The states of an attempt, and the one table of transitions between them.

An attempt's whole condition is its state: nobody needs another column to know what may happen next. Counters, clocks
and the reason of a failure stand beside it.
"""

from __future__ import annotations

from enum import Flag, StrEnum, auto


class State(StrEnum):
    """Where an attempt stands; each change is on disk before the next step is taken."""

    # Before the send: surely nothing was accepted.
    #: Recorded; surely nothing was accepted.
    NEW = "NEW"
    #: Key, body and price are on disk.
    RESERVED = "RESERVED"

    # To be sent again under the same key, after a send whose outcome is unknown.
    #: It was absent for the whole quiet window.
    RESEND_DUE = "RESEND_DUE"
    #: A person has ordered it.
    RESEND_ORDERED = "RESEND_ORDERED"

    # A send may be under way; found at the start of a run, its outcome is unknown.
    SENDING = "SENDING"
    RESENDING = "RESENDING"
    RESENDING_ORDERED = "RESENDING_ORDERED"

    #: A send had no readable outcome; only looking for it settles that.
    UNKNOWN = "UNKNOWN"

    # At the server.
    ACCEPTED = "ACCEPTED"
    #: Far over its expected time.
    OVERDUE = "OVERDUE"
    #: The server has the result; the file is not here yet.
    READY = "READY"

    # A person must decide.
    #: Absent, and nothing shows yet that the server recognises a repeated request.
    HELD_UNPROVEN = "HELD_UNPROVEN"
    #: Absent, or the server refuses to tell; not to be sent again as long as the reason for that lasts.
    HELD_UNKNOWN = "HELD_UNKNOWN"
    #: Accepted, and then denied by the server.
    HELD_MISSING = "HELD_MISSING"
    #: Complete, and then its result was denied by the server.
    HELD_LOST = "HELD_LOST"

    # Ends.
    #: The file is here, verified.
    DONE = "DONE"
    #: The server refused the submission, or one of its files; nothing was charged.
    REFUSED = "REFUSED"
    #: The server took it and ended it with an error.
    FAILED = "FAILED"
    #: A person gave it up; it may have been charged all the same.
    ABANDONED = "ABANDONED"


class Cause(Flag):
    """What brings a transition about."""

    #: The program takes a step for which it needs no answer.
    STEP = auto()
    #: The server says it.
    ANSWER = auto()
    #: A time is over: no answer came, absent for a whole window, denied for a whole day, the run ended or was killed.
    TIME = auto()
    #: A person says it.
    PERSON = auto()


#: The only changes of state there are, and what causes each. The ledger loads this table and refuses any other.
TRANSITIONS: dict[State, dict[State, Cause]] = {
    # Straight to REFUSED: the server refused a file.
    # To UNKNOWN: the ledger was put back from a backup, and the server shows that it was sent since.
    State.NEW: {State.RESERVED: Cause.STEP, State.REFUSED: Cause.ANSWER, State.UNKNOWN: Cause.ANSWER},
    # Back to NEW: the inputs or an upload changed, or the run ended.
    State.RESERVED: {State.SENDING: Cause.STEP, State.NEW: Cause.STEP | Cause.TIME},
    State.SENDING: {
        State.ACCEPTED: Cause.ANSWER,
        State.REFUSED: Cause.ANSWER,
        # Surely not accepted: not sent, 401, 402, 403, 429.
        State.RESERVED: Cause.ANSWER | Cause.STEP,
        # A file that the request names is gone.
        State.NEW: Cause.ANSWER,
        State.UNKNOWN: Cause.ANSWER | Cause.TIME,
    },
    # Back to UNKNOWN: the run ended, or the job is not wanted any more.
    State.RESEND_DUE: {State.RESENDING: Cause.STEP, State.UNKNOWN: Cause.STEP | Cause.TIME},
    # Once a send was unknown, no refusal of a later one tells what became of it.
    State.RESENDING: {State.ACCEPTED: Cause.ANSWER, State.UNKNOWN: Cause.ANSWER | Cause.STEP | Cause.TIME},
    State.RESEND_ORDERED: {State.RESENDING_ORDERED: Cause.STEP, State.ABANDONED: Cause.PERSON},
    State.RESENDING_ORDERED: {
        State.ACCEPTED: Cause.ANSWER,
        State.RESEND_ORDERED: Cause.ANSWER | Cause.STEP,
        State.UNKNOWN: Cause.ANSWER | Cause.TIME,
    },
    State.UNKNOWN: {
        State.ACCEPTED: Cause.ANSWER,
        State.RESEND_DUE: Cause.TIME,
        State.HELD_UNPROVEN: Cause.TIME,
        State.HELD_UNKNOWN: Cause.TIME,
    },
    State.ACCEPTED: {
        State.READY: Cause.ANSWER,
        State.FAILED: Cause.ANSWER,
        State.OVERDUE: Cause.TIME,
        State.HELD_MISSING: Cause.TIME,
    },
    State.OVERDUE: {
        State.READY: Cause.ANSWER,
        State.FAILED: Cause.ANSWER,
        State.HELD_MISSING: Cause.TIME,
        State.ABANDONED: Cause.PERSON,
    },
    State.READY: {State.DONE: Cause.ANSWER, State.HELD_LOST: Cause.TIME, State.ABANDONED: Cause.PERSON},
    State.HELD_UNPROVEN: {
        # Another job has shown that the server recognises repeats.
        State.UNKNOWN: Cause.ANSWER,
        State.ACCEPTED: Cause.ANSWER,
        State.RESEND_ORDERED: Cause.PERSON,
        State.ABANDONED: Cause.PERSON,
    },
    State.HELD_UNKNOWN: {
        # Why it was held is gone: the server tells again, or the manifest asks for it again.
        State.UNKNOWN: Cause.ANSWER,
        State.ACCEPTED: Cause.ANSWER,
        State.RESEND_ORDERED: Cause.PERSON,
        State.ABANDONED: Cause.PERSON,
    },
    State.HELD_MISSING: {State.ACCEPTED: Cause.ANSWER, State.ABANDONED: Cause.PERSON},
    State.HELD_LOST: {State.READY: Cause.ANSWER, State.ABANDONED: Cause.PERSON},
    State.DONE: {},
    State.REFUSED: {},
    State.FAILED: {},
    State.ABANDONED: {},
}

#: Surely nothing of these was accepted.
UNSENT = frozenset({State.NEW, State.RESERVED})
#: Key and body are on disk, and the next step is a send.
TO_SEND = frozenset({State.RESERVED, State.RESEND_DUE, State.RESEND_ORDERED})
#: A send may be under way.
UNDER_WAY = frozenset({State.SENDING, State.RESENDING, State.RESENDING_ORDERED})
#: What became of the last send is not known.
UNSETTLED = UNDER_WAY | {State.RESEND_DUE, State.RESEND_ORDERED, State.UNKNOWN}
#: The server may be working on these, so each takes one of the slots in flight. One that is overdue gives it back.
IN_FLIGHT = UNDER_WAY | {State.UNKNOWN, State.ACCEPTED}
#: A person must decide about these, while each run looks for them once.
HELD = frozenset({State.HELD_UNPROVEN, State.HELD_UNKNOWN, State.HELD_MISSING, State.HELD_LOST})
#: Sent and not ended: followed by every run, whatever the manifest says now.
OPEN = UNSETTLED | {State.ACCEPTED, State.OVERDUE, State.READY}
#: Held because the outcome is unknown: a person can have the same request sent again.
IN_DOUBT = frozenset({State.HELD_UNPROVEN, State.HELD_UNKNOWN})
#: Sent, and perhaps not at its end: what each run goes on with or looks at once more.
FOLLOWED = OPEN | HELD
#: Paid for, or perhaps: a result came of these, or can still come.
PAID = FOLLOWED | {State.DONE}
#: The server is asked how far they are.
POLLED = frozenset({State.ACCEPTED, State.OVERDUE})
#: Ended without a result; only a new attempt can change that.
ENDED_BADLY = frozenset({State.REFUSED, State.FAILED, State.ABANDONED})
#: Nothing leaves these.
ENDS = frozenset(state for state, ends in TRANSITIONS.items() if not ends)
#: A person can give these up.
SETTLEABLE = frozenset(state for state, ends in TRANSITIONS.items() if State.ABANDONED in ends)

#: The state as `results`, `status` and the SQL view say it.
PUBLIC_STATES: dict[State, str] = {
    **dict.fromkeys(UNSENT, "new"),
    **dict.fromkeys(UNSETTLED, "unknown"),
    **dict.fromkeys((State.ACCEPTED, State.OVERDUE, State.READY), "running"),
    **dict.fromkeys(HELD, "held"),
    **dict.fromkeys(ENDED_BADLY, "failed"),
    State.DONE: "done",
}
#: Public states of jobs that the next run goes on with.
UNFINISHED = ("new", "running", "unknown")


class Liability(StrEnum):
    """What an attempt does to a budget."""

    NONE = "none"
    #: It is about to be sent.
    RESERVED = "reserved"
    #: The server may have charged it.
    CHARGED = "charged"


#: Loaded into the ledger at each opening.
LIABILITIES: dict[State, Liability] = {
    **dict.fromkeys(State, Liability.CHARGED),
    **dict.fromkeys((State.NEW, State.REFUSED), Liability.NONE),
    State.RESERVED: Liability.RESERVED,
}
