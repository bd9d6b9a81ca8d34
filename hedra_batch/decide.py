"""What follows for an attempt: from an answer, from an absence, from a crash, from a person's word. Pure.

Each decision about sending and paying stands here once. The stations, the settling of an interrupted run and the
proof's model all call it, so that the proof covers the program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from hedra_batch.state import ENDED_BADLY, IN_DOUBT, UNSENT, State


class Deduplication(StrEnum):
    """Whether a server recognises a repeated request by its key, for one kind of request."""

    UNPROVEN = "unproven"
    PROVEN = "proven"
    #: It gave an id of its own once, and is not trusted with keys again.
    NONE = "none"


class Reply(StrEnum):
    """What came of one send of a paid request."""

    ACCEPTED = "accepted"
    #: A clear no to the request as it stands.
    REFUSED = "refused"
    #: A clear no because a file that it names is gone; another upload mends that.
    UPLOAD_GONE = "upload gone"
    #: It did not take place, or a clear no for now (401, 402, 403, 429): the same request can be sent later.
    NOT_ACCEPTED = "not accepted"
    #: All else: the server may have it.
    UNKNOWN = "unknown"


class Finding(StrEnum):
    """What looking for a request came to."""

    FOUND = "found"
    ABSENT = "absent"
    #: The server refuses to tell.
    UNTOLD = "untold"


class Settlement(StrEnum):
    """What a person can decide about a job that is held or overdue."""

    #: Look for it once more.
    RECHECK = "recheck"
    #: Send the same request under the same key once more.
    RESEND = "resend"
    #: Give it up, though it may have been charged.
    ABANDON = "abandon"


class HoldReason(StrEnum):
    """Why a request whose outcome is unknown is not sent again: the end of a sentence, with braces to be filled."""

    UNTOLD = "the server does not say whether it has it"
    UNPROVEN = "nothing shows yet that this server recognises a repeat, and a repeat could be charged twice"
    NO_DEDUPLICATION = "this server does not recognise repeats, so a repeat could be charged twice"
    UNWANTED = "the manifest no longer asks for it (the job was taken out or edited)"
    POLICY = "the manifest says on_unknown: hold"
    RESENDS_USED_UP = "it was sent again {resends} times already"
    REQUEST_LOST = "the request itself was lost with an earlier ledger"
    FILE_REFUSED = "the server refuses a file that it needs"


class Objection(StrEnum):
    """Why a request is not sent again though a person wants it; sentences, with braces to be filled."""

    ACCEPTED = (
        "Not sent again: it was accepted, and could be charged twice. To buy it anew, give it up first (--abandon)."
    )
    UNTOLD = "Not sent again: whether it was accepted cannot be read now ({refusal}). Try again later."
    MAY_ARRIVE = "Not sent again yet: it may still arrive. Try again in {wait}."
    REQUEST_LOST = (
        "Not sent again: the request was lost with an earlier ledger, and the manifest no longer has its job."
    )


class Verdict(NamedTuple):
    """What becomes of an attempt, and why a person must decide, if so."""

    state: State
    reason: HoldReason | None = None


@dataclass(frozen=True, slots=True)
class ResendPolicy:
    """Whether and how often a lost request is sent again without a person."""

    should_resend: bool = True
    resends_limit: int = 3


@dataclass(frozen=True, slots=True)
class Inquiry:
    """All that counts when a request whose outcome is unknown was looked for."""

    finding: Finding
    #: Whether the quiet window has passed, so that no request can still be on its way.
    is_window_over: bool
    deduplication: Deduplication
    #: Whether the manifest still asks for what it was sent for.
    is_wanted: bool = True
    #: How often it was sent again already.
    resends: int = 0
    #: Why there are no bytes that could be sent, if there are none.
    obstacle: HoldReason | None = None


#: What becomes of an attempt whose request is about to be sent.
_BEFORE_SEND = {
    State.RESERVED: State.SENDING,
    State.RESEND_DUE: State.RESENDING,
    State.RESEND_ORDERED: State.RESENDING_ORDERED,
}

_AFTER_FIRST_SEND = {
    Reply.ACCEPTED: State.ACCEPTED,
    Reply.REFUSED: State.REFUSED,
    Reply.UPLOAD_GONE: State.NEW,
    Reply.NOT_ACCEPTED: State.RESERVED,
    Reply.UNKNOWN: State.UNKNOWN,
}

#: What a run leaves that ended or was killed. A send that was under way has an unknown outcome; a reservation lasts as
#: long as its run, since another may have other prices and budgets; what was lost once is looked for before it is sent
#: again, unless a person has ordered that.
AFTER_INTERRUPTION = {
    State.RESERVED: State.NEW,
    State.SENDING: State.UNKNOWN,
    State.RESENDING: State.UNKNOWN,
    State.RESENDING_ORDERED: State.UNKNOWN,
    State.RESEND_DUE: State.UNKNOWN,
}

#: Ends at the server (its own error codes) that the same inputs may well not meet again.
TRANSIENT_CODES = frozenset({"moderation_output_transient", "internal", "unavailable"})


def before_send(state: State, is_wanted: Callable[[], bool]) -> State:
    """Say what an attempt becomes when its turn to be sent has come.

    What was lost once and is not wanted any more is looked for instead, unless a person has ordered the send.
    """
    if state is State.RESEND_DUE and not is_wanted():
        return State.UNKNOWN
    return _BEFORE_SEND[state]


def after_send(state: State, reply: Reply) -> State:
    """Say what an attempt becomes by what came of its send.

    Once a send of a key was unknown, no refusal of a later one tells what became of it; only for a send that a person
    has ordered, knowing that, one that did not take place changes nothing.
    """
    if state is State.SENDING:
        return _AFTER_FIRST_SEND[reply]
    if reply is Reply.ACCEPTED:
        return State.ACCEPTED
    if state is State.RESENDING_ORDERED and reply is Reply.NOT_ACCEPTED:
        return State.RESEND_ORDERED
    return State.UNKNOWN


def is_resend_counted(reply: Reply) -> bool:
    """Tell whether a repeated send counts towards the limit: one that surely was not accepted does not."""
    return reply is not Reply.NOT_ACCEPTED


def after_inquiry(inquiry: Inquiry, policy: ResendPolicy) -> Verdict | None:
    """Say what becomes of an unknown outcome; None to look again later.

    Absence is no evidence before the quiet window has passed, and only a server that recognises repeats is sent one.
    """
    if inquiry.finding is Finding.FOUND:
        return Verdict(State.ACCEPTED)
    if not inquiry.is_window_over:
        return None
    if inquiry.finding is Finding.UNTOLD:
        return Verdict(State.HELD_UNKNOWN, HoldReason.UNTOLD)
    if inquiry.deduplication is Deduplication.UNPROVEN:
        return Verdict(State.HELD_UNPROVEN, HoldReason.UNPROVEN)
    reason = _find_reason_to_hold(inquiry, policy)
    return Verdict(State.HELD_UNKNOWN, reason) if reason else Verdict(State.RESEND_DUE)


def _find_reason_to_hold(inquiry: Inquiry, policy: ResendPolicy) -> HoldReason | None:
    if inquiry.deduplication is Deduplication.NONE:
        return HoldReason.NO_DEDUPLICATION
    if not inquiry.is_wanted:
        return HoldReason.UNWANTED
    if not policy.should_resend:
        return HoldReason.POLICY
    if inquiry.resends >= policy.resends_limit:
        return HoldReason.RESENDS_USED_UP
    return inquiry.obstacle


def after_proof(state: State, deduplication: Deduplication) -> State:
    """Say what becomes of a held attempt by what is known of the server, without another look."""
    is_answered = state is State.HELD_UNPROVEN and deduplication is Deduplication.PROVEN
    return State.UNKNOWN if is_answered else state


def after_find(state: State) -> State:
    """Say what becomes of a held attempt that the server shows after all."""
    return State.READY if state is State.HELD_LOST else State.ACCEPTED


def after_recheck(state: State, inquiry: Inquiry, policy: ResendPolicy) -> State:
    """Say what becomes of a held attempt that is looked for once more.

    It is looked for anew where the reason why it was held is gone: the server tells now that it is absent, the
    manifest asks for it again, or lets it be sent again.
    """
    if inquiry.finding is Finding.FOUND:
        return after_find(state)
    if state is State.HELD_UNKNOWN and after_inquiry(inquiry, policy) == Verdict(State.RESEND_DUE):
        return State.UNKNOWN
    return after_proof(state, inquiry.deduplication)


def can_be_ordered(state: State) -> bool:
    """Tell whether a person can have the request sent again: not what was accepted, for that could be paid again."""
    return state in IN_DOUBT


def after_order(state: State, inquiry: Inquiry) -> State | Objection:
    """Say what becomes of a held attempt whose request a person wants sent again, or what speaks against it."""
    if not can_be_ordered(state):
        return Objection.ACCEPTED
    if inquiry.finding is Finding.FOUND:
        return State.ACCEPTED
    if inquiry.finding is Finding.UNTOLD:
        return Objection.UNTOLD
    if not inquiry.is_window_over:
        return Objection.MAY_ARRIVE
    return Objection.REQUEST_LOST if inquiry.obstacle else State.RESEND_ORDERED


def is_denial_believed(denied_seconds: float, limit_seconds: float) -> bool:
    """Tell whether the server has denied for long enough what it had accepted, or the result of it."""
    return denied_seconds > limit_seconds


def after_denial(state: State) -> State:
    """Say what becomes of an attempt that the server has denied for as long as it takes to believe it."""
    return State.HELD_LOST if state is State.READY else State.HELD_MISSING


def is_surely_unsent(state: State) -> bool:
    return state in UNSENT


def is_possibly_paid(state: State) -> bool:
    """Tell whether what was sent may have been paid for: with other inputs, another purchase wants a person's word."""
    return state not in UNSENT and state not in (State.REFUSED, State.FAILED)


def may_be_followed(state: State, *, is_changed: bool = False) -> bool:
    """Tell whether a further attempt may begin: after an end without a result, or with other inputs after any end."""
    return state in ENDED_BADLY or (is_changed and state is State.DONE)


def may_retry(state: State, code: str | None, number: int, attempts: int) -> bool:
    """Tell whether another attempt is made without a person: the reason may pass, and few were made."""
    return state is State.FAILED and code in TRANSIENT_CODES and number < attempts


def first_state(number: int, lost_attempts: int) -> State:
    """Say how an attempt begins: one that a lost ledger may have sent has an unknown outcome."""
    return State.UNKNOWN if number <= lost_attempts else State.NEW


def learn(known: Deduplication, shown: Deduplication) -> Deduplication:
    """Keep what an answer shows of a server; one that gave an id of its own once is not trusted again."""
    if Deduplication.NONE in (known, shown):
        return Deduplication.NONE
    return Deduplication.PROVEN if Deduplication.PROVEN in (known, shown) else Deduplication.UNPROVEN
