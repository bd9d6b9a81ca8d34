"""The rows of attempts inside a transaction: how one is read, recorded, changed by an event, and settled at a start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hedra_batch.clock import Clock
from hedra_batch.decide import AFTER_INTERRUPTION, is_surely_unsent
from hedra_batch.errors import LedgerError
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger.backend import ConflictError, Tables, TakenError
from hedra_batch.ledger.events import UNKNOWN_OUTCOME, Event
from hedra_batch.ledger.records import (
    ATTEMPT_COLUMNS,
    Purchase,
    Reassignment,
    evolve,
    label_columns,
    make_attempt,
    money_columns,
    purchase_columns,
    to_attempt,
)
from hedra_batch.money import Money
from hedra_batch.state import IN_DOUBT, UNDER_WAY, UNSETTLED, State


def fetch(tables: Tables, key: int) -> Attempt:
    """Read one attempt. Raises LedgerError where there is none."""
    rows = tables.find("attempts", ATTEMPT_COLUMNS, {"attempt_key": key})
    if not rows:
        raise LedgerError(f"The ledger has no attempt with the number {key}.")
    return to_attempt(rows[0])


def fetch_many(tables: Tables, keys: Sequence[int]) -> list[Attempt]:
    return [to_attempt(row) for row in tables.find("attempts", ATTEMPT_COLUMNS, {"attempt_key": list(keys)})]


def insert(tables: Tables, job: Job, purchase: Purchase, state: State, columns: Mapping[str, object]) -> Attempt:
    """Record a new attempt, which its job stands by from now on."""
    job_identity = {"edition": job.edition, "job_id": job.id}
    tables.update("attempts", {**job_identity, "latest": True}, {"latest": 0})
    own = {"bought_as": purchase.bought_as, "number": purchase.number, "latest": 1, "state": state}
    values = {**job_identity, **own, **purchase_columns(job, purchase), **columns}
    return make_attempt(tables.insert("attempts", money_columns(values)), values, purchase.fields)


def find_next_number(tables: Tables, job: Job, least: int) -> int:
    """Find the number of a new attempt: above all that were ever bought under the id, whichever job they count for."""
    used = tables.reader().find_numbers(job.edition, [job.id])
    return max([least, *(number + 1 for _, number in used)])


def reassign(tables: Tables, change: Reassignment) -> None:
    """Have attempts count for other jobs; what they were bought under stays."""
    for edition, job_id in change.standings:
        tables.update("attempts", {"edition": edition, "job_id": job_id, "latest": True}, {"latest": 0})
    for moved, job in change.moves:
        tables.update(
            "attempts", {"attempt_key": moved.attempt_key}, {"job_id": job.id, "latest": 0, **label_columns(job)}
        )
    for key in change.standings.values():
        if key is not None:
            tables.update("attempts", {"attempt_key": key}, {"latest": 1})


def rewrite(tables: Tables, key: int, inputs: dict[str, object], now: str) -> Attempt:
    """Give an attempt that was surely never accepted the columns of other inputs: back to NEW. Raises ConflictError."""
    attempt = fetch(tables, key)
    if not is_surely_unsent(attempt.state):
        raise ConflictError(f"{attempt.label} may have been accepted and charged, so its inputs stay as they are.")
    changes: dict[str, object] = {"request_key": None, "body": None, "sends": 0, "submitted_at": None}
    changes |= {"error_code": None, "error": None}
    if attempt.state is State.RESERVED:
        changes |= {"state": State.NEW, "changed_at": now}
    tables.update("attempts", {"attempt_key": key}, changes | inputs)
    return fetch(tables, key)


def change(tables: Tables, attempt: Attempt, event: Event, clock: Clock) -> Attempt:
    """Write down an event, by compare-and-set on the state.

    Raises ConflictError when the attempt is not in the state that its record has, TakenError when another has what it
    should get; then nothing is changed.
    """
    changes = _list_changes(tables, attempt, event, clock)
    # Since when it is missing is recorded beside the record that the caller has.
    shown = ("missing_at",) if attempt.accepted_at else ()
    try:
        row = tables.compare_and_set(attempt.key, attempt.state, money_columns(changes), event.adds, shown)
    except ConflictError as error:
        raise type(error)(f"{_describe(attempt, event)} is against the ledger's rules ({error}).") from error
    if row is None:
        raise ConflictError(f"{attempt.label}: attempt {attempt.number} is no longer in the state {attempt.state}.")
    changes |= {name: getattr(attempt, name) + added for name, added in event.adds.items()}
    # Reading the whole row again would tell nothing new, and cost as much as the change.
    return evolve(attempt, changes | dict(zip(shown, row, strict=True)))


def record_refunds(tables: Tables, reread: Mapping[int, Money | None], now: str) -> None:
    """Write down charges as they are told later; the first one that was told stays, and so does what it counts for."""
    for attempt in fetch_many(tables, list(reread)):
        told = reread[attempt.key]
        changes: dict[str, object] = {"reread_at": now}
        if told and attempt.charged is None:
            changes |= money_columns({"charged": told})
        elif told and attempt.charged and told.unit == attempt.charged.unit and told < attempt.charged:
            changes["refunded"] = attempt.charged.amount - told.amount
        tables.update("attempts", {"attempt_key": attempt.key}, changes)


def require_source(attempt: Attempt, event: Event) -> None:
    """Raise ConflictError unless the event starts from the state of the attempt."""
    if attempt.state not in event.sources:
        raise ConflictError(f"{_describe(attempt, event)} is not what this event is for.")


def _describe(attempt: Attempt, event: Event) -> str:
    return f"{attempt.label}: {attempt.state} to {event.target}"


def _list_changes(tables: Tables, attempt: Attempt, event: Event, clock: Clock) -> dict[str, object]:
    now = clock.now_text()
    changes = {"state": event.target, "changed_at": now, **event.sets, **dict.fromkeys(event.stamps, now)}
    if event.marks:
        changes |= dict.fromkeys(event.marks, clock.mark())
    if (remote_id := event.sets.get("remote_id")) not in (None, attempt.request_key):
        _require_own(tables, str(remote_id))
    if event.claims:
        changes["output"] = _find_free(tables, attempt, event.claims)
    return changes


def _require_own(tables: Tables, remote_id: str) -> None:
    """Raise TakenError for an id that another attempt has asked for: what bears it is that one's."""
    if tables.find("attempts", ("attempt_key",), {"request_key": remote_id}):
        raise TakenError(f"Another attempt has asked for the id {remote_id}.")


def _find_free(tables: Tables, attempt: Attempt, names: Iterable[str]) -> str:
    """Find the first of some file names that belongs to no attempt."""
    for name in names:
        if not tables.find("attempts", ("attempt_key",), {"output": name}):
            return name
    raise TakenError(f"{attempt.label}: all file names that it could have belong to other attempts.")


def settle_interrupted(tables: Tables, clock: Clock) -> None:
    """Settle what the last run left half-way, if it was killed."""
    now = clock.now_text()
    for state, target in AFTER_INTERRUPTION.items():
        changes: dict[str, object] = {"state": target, "changed_at": now}
        adds = {}
        if state in UNDER_WAY:
            # The quiet window of a send that was under way begins now.
            changes |= {"unknown_at": now, "unknown_mark": clock.mark()}
            changes |= {
                "error_code": UNKNOWN_OUTCOME,
                "error": "The run ended before the answer came, so it may have been accepted.",
            }
            adds = {"unknown_sends": 1}
        if target is State.NEW:
            changes["body"] = None
        tables.update("attempts", {"state": state}, changes, adds)


def restart_windows(tables: Tables, mark: str) -> None:
    """Begin the quiet windows anew where a time is not known in which the same request may have been sent again."""
    states = sorted(UNSETTLED | IN_DOUBT)
    tables.update("attempts", {"state": states}, {"unknown_mark": mark})
