"""What can happen to an attempt, as values: from which states, to which, and what is written with it. Pure.

The ledger applies them, one commit for many. Beside them only the settling of an interrupted run, and new inputs for
what was never accepted, change the state of an attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from hedra_batch.decide import Deduplication, Reply, Verdict, after_send, is_resend_counted
from hedra_batch.money import Money
from hedra_batch.state import IN_DOUBT, SETTLEABLE, TRANSITIONS, UNDER_WAY, State

#: `error_code` of a paid request of which it cannot be told whether it was accepted.
UNKNOWN_OUTCOME = "unknown_outcome"
#: `error_code` of an attempt that waits for the proof that the server recognises repeats.
UNPROVEN = "ids_unproven"
#: `error_code` of an attempt that is far over its expected time.
OVERDUE = "overdue"
#: `error_code` of an attempt whose result the server denies.
RESULT_LOST = "result_lost"
#: `error_code` of an attempt that a person gave up.
GIVEN_UP = "abandoned"
#: `error_code` of an attempt whose send did not take place, or was refused for now.
NOT_ACCEPTED = "not_accepted"
#: Why the outcome of an attempt is unknown that the server shows and a restored ledger does not know.
RESTORED = "The run folder was put back or moved, and the server shows that this was sent since."

_NO_ERROR: Mapping[str, object] = {"error_code": None, "error": None}


class Guard(StrEnum):
    """What the budget must allow before an event."""

    #: The price fits beside what was charged and what is reserved.
    RESERVE = "reserve"
    #: The price fits beside what was charged.
    SEND = "send"


@dataclass(frozen=True, slots=True)
class Event:
    """One change of state and what is written with it."""

    sources: frozenset[State]
    target: State
    #: Columns of the attempt, by their names in its record and beyond.
    sets: Mapping[str, object] = field(default_factory=dict)
    #: Counters, and by how much they change.
    adds: Mapping[str, int] = field(default_factory=dict)
    #: Columns that take the present instant.
    stamps: tuple[str, ...] = ()
    #: Columns that take the present moment on the clock that runs through sleep.
    marks: tuple[str, ...] = ()
    guard: Guard | None = None
    #: What it shows of the server's use of our keys.
    shows: Deduplication = Deduplication.UNPROVEN
    #: File names of which the first that nobody has is claimed for ever.
    claims: Iterable[str] = ()


def _from(*sources: State) -> frozenset[State]:
    return frozenset(sources)


def _leading_to(target: State) -> frozenset[State]:
    return frozenset(source for source, targets in TRANSITIONS.items() if target in targets)


_BEFORE_ACCEPTED = _leading_to(State.ACCEPTED)


def reserve(
    request_key: str,
    body: bytes,
    price: Money | None,
    eta_seconds: float | None = None,
    sent_digest: str | None = None,
) -> Event:
    """Key, body and price are on disk before anything is sent."""
    sets: dict[str, object] = {"request_key": request_key, "body": body, "estimated": price, "eta_seconds": eta_seconds}
    if sent_digest:
        sets["sent_digest"] = sent_digest
    return Event(_from(State.NEW), State.RESERVED, sets, guard=Guard.RESERVE)


def begin_send(source: State, target: State, price: Money | None = None) -> Event:
    """On disk before the first byte of the request; its price as it is known by now, where it is not repeated."""
    sets = {**_NO_ERROR, **({"estimated": price} if price and source is State.RESERVED else {})}
    adds = {"sends": 1, "resends": 1} if target is State.RESENDING else {"sends": 1}
    return Event(_from(source), target, sets, adds, ("submitted_at",), guard=Guard.SEND)


def accept(
    remote_id: str,
    *,
    asset_id: str | None = None,
    eta_seconds: float | None = None,
    request_id: str | None = None,
    shows: Deduplication = Deduplication.UNPROVEN,
) -> Event:
    """The server has it, under an id of its own or under our key; what that shows is one commit with it."""
    sets: dict[str, object] = {"remote_id": remote_id, "asset_id": asset_id, "request_id": request_id}
    sets |= {"unknown_at": None, "missing_at": None, **_NO_ERROR}
    if eta_seconds is not None:
        sets["eta_seconds"] = eta_seconds
    return Event(
        _BEFORE_ACCEPTED,
        State.ACCEPTED,
        sets,
        stamps=("accepted_at",),
        marks=("accepted_mark",),
        shows=shows,
    )


def end_send(source: State, reply: Reply, code: str, message: str, *, request_id: str | None = None) -> Event:
    """A send came to something else than an acceptance; only one that was not clearly refused counts as lost."""
    target = after_send(source, reply)
    adds = {"resends": -1} if source is State.RESENDING and not is_resend_counted(reply) else {}
    if target is State.UNKNOWN:
        return lose(source, message, adds | {"unknown_sends": int(reply is Reply.UNKNOWN)})
    sets: dict[str, object] = {"error_code": code, "error": message}
    if target is State.REFUSED:
        return Event(_from(source), target, {**sets, "request_id": request_id}, stamps=("finished_at",))
    if target is State.NEW:
        sets["body"] = None
    return Event(_from(source), target, sets, adds)


def lose(source: State, message: str, adds: Mapping[str, int]) -> Event:
    """Whether the server has it can only be told by looking for it; the quiet window begins."""
    assert source in UNDER_WAY, "only a send can be lost"
    sets = {"error_code": UNKNOWN_OUTCOME, "error": message}
    return Event(_from(source), State.UNKNOWN, sets, adds, ("unknown_at",), ("unknown_mark",))


def refuse(code: str, message: str, request_id: str | None) -> Event:
    """A file of a job was refused before anything was sent."""
    sets = {"error_code": code, "error": message, "request_id": request_id}
    return Event(_from(State.NEW), State.REFUSED, sets, stamps=("finished_at",))


def find_sent(request_key: str, price: Money | None, mark: str) -> Event:
    """The ledger was put back from a backup, as was noticed at a mark, and the server shows that it was sent since."""
    sets: dict[str, object] = {"request_key": request_key, "estimated": price, "unknown_mark": mark}
    sets |= {"error_code": UNKNOWN_OUTCOME, "error": RESTORED}
    adds = {"sends": 1, "unknown_sends": 1}
    return Event(_from(State.NEW), State.UNKNOWN, sets, adds, ("unknown_at",))


def plan_resend(body: bytes) -> Event:
    """Absent for the whole quiet window, so the same bytes are sent again."""
    return Event(_from(State.UNKNOWN), State.RESEND_DUE, {"body": body})


def order_resend(body: bytes) -> Event:
    """A person has decided that the same request is sent once more."""
    return Event(IN_DOUBT, State.RESEND_ORDERED, {"body": body})


def look_again() -> Event:
    """It is looked for again: its question is answered, or it is not sent again after all."""
    return Event(IN_DOUBT | {State.RESEND_DUE}, State.UNKNOWN)


def hold(verdict: Verdict, message: str) -> Event:
    """A person must decide about a request whose outcome is unknown."""
    code = UNPROVEN if verdict.state is State.HELD_UNPROVEN else UNKNOWN_OUTCOME
    return Event(_from(State.UNKNOWN), verdict.state, {"error_code": code, "error": message})


def deny(source: State, target: State, code: str, message: str) -> Event:
    """The server has denied for too long what it had accepted, or the result of what it had completed."""
    return Event(_from(source), target, {"error_code": code, "error": message})


def abandon(reason: str | None) -> Event:
    """A person gives it up, though it may have been charged."""
    text = f"A person gave it up; it may have been charged. Before: {reason or 'no reason was noted.'}"
    sets = {"error_code": GIVEN_UP, "error": text}
    return Event(SETTLEABLE, State.ABANDONED, sets, stamps=("finished_at",))


def mark_overdue(message: str) -> Event:
    """Far over its expected time, and never to be sent again for that."""
    return Event(_from(State.ACCEPTED), State.OVERDUE, {"error_code": OVERDUE, "error": message})


def fail(code: str, message: str, charged: Money | None) -> Event:
    """The server ended it with an error."""
    sets = {"error_code": code, "error": message, "charged": charged}
    return Event(_from(State.ACCEPTED, State.OVERDUE), State.FAILED, sets, stamps=("finished_at",))


def make_ready(outputs: Iterable[str], asset_id: str | None, charged: Money | None) -> Event:
    """The server has the result, and the first of these file names that nobody has is its own for ever."""
    sets = {"charged": charged, **({"asset_id": asset_id} if asset_id else {}), **_NO_ERROR}
    return Event(_from(State.ACCEPTED, State.OVERDUE), State.READY, sets, claims=outputs)


def find_result() -> Event:
    """The server has a result again that it had denied."""
    return Event(_from(State.HELD_LOST), State.READY, {**_NO_ERROR, "missing_at": None})


def complete(sha256: str, size_bytes: int) -> Event:
    """The verified file is in place under its final name."""
    sets = {"sha256": sha256, "bytes": size_bytes, "part_tag": None}
    return Event(_from(State.READY), State.DONE, sets, stamps=("finished_at",))
