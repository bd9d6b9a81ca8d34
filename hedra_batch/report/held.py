"""What a person must know of a held job to settle it, and what can be decided at what cost. Pure: yields text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hedra_batch.decide import can_be_ordered
from hedra_batch.job import to_label
from hedra_batch.sanitize import to_line
from hedra_batch.state import HELD, State

PROMPT_LENGTH = 80
#: What is done about a job that a person has ordered to be sent again: a run sends it.
SEND = "run"
WORDS = {
    **dict.fromkeys(HELD, "held"),
    State.OVERDUE: "overdue",
    State.READY: "not fetched",
    State.RESEND_ORDERED: "to be sent again",
}


def write_held(row: dict[str, Any]) -> Iterator[str]:
    """Write one job in a few lines: its id, when it was sent, what is known since, what it may cost."""
    price, doubt = row["credits_estimated"], "" if row["accepted_at"] else ", if it was accepted"
    times = "once" if row["sends"] == 1 else f"{row['sends']} times in all"
    yield f"{to_label(row['edition'], row['id'])}: {WORDS[row['state']]}, attempt {row['number']}\n"
    yield f"    prompt   {to_line(row['prompt'] or '', PROMPT_LENGTH)}\n"
    yield f"    id       {row['generation_id']}\n"
    yield f"    sent     {row['submitted_at'] or 'before the ledger was lost'} ({times})\n"
    yield f"    since    {_describe_reading(row)}\n"
    yield f"    cost     {'unknown' if price is None else f'{price} credits'}{doubt}\n"
    if row["error"]:
        yield f"    why      {row['error']}\n"


def _describe_reading(row: dict[str, Any]) -> str:
    if row["missing_at"]:
        what = "its result" if row["state"] == State.HELD_LOST else "it"
        return (
            f"accepted at {row['accepted_at']}; since {row['missing_at']} the server says that it does not have {what}"
        )
    if row["state"] == State.READY:
        return f"accepted at {row['accepted_at']} and finished; its file could not be fetched for a day"
    if row["accepted_at"]:
        return f"accepted at {row['accepted_at']}, still running"
    unknown = f"whether it was accepted is unknown since {row['unknown_at']}"
    return f"{unknown}; not found at the server, last at {row['absent_at']}" if row["absent_at"] else unknown


def write_choices(rows: Sequence[dict[str, Any]], write_command: Callable[[str], str]) -> Iterator[str]:
    """Write what can be decided about the jobs that were listed: what it does, what it may cost, and its command."""
    states = {row["state"] for row in rows}
    count = "1 job waits" if len(rows) == 1 else f"{len(rows)} jobs wait"
    yield f"{count} for your decision. Look into your account's history at Hedra, around the times above. Then choose:"
    if states - {State.RESEND_ORDERED}:
        yield from _write_recheck(write_command, may_send=State.HELD_UNPROVEN in states)
    if State.RESEND_ORDERED in states:
        yield "What is to be sent again, by your order: the next run sends it, at its price."
        yield f"    {write_command(SEND)}"
    if any(map(can_be_ordered, states)):
        yield (
            "Send it again under the same id: its price. It is looked for first, and not sent while the first request "
            "may still arrive. It is paid for twice only if the server got the first one, but neither shows it nor "
            "recognises the second as a repeat."
        )
        yield f"    {write_command('--resend-same-id')}"
    yield (
        "Give it up: no further cost, but it may have been charged. It counts as failed then, and can be bought "
        "anew, at its price."
    )
    yield f"    {write_command('--abandon')}"
    if len(rows) > 1:
        yield "Put the id of a job in place of ID."
    if len({row["edition"] for row in rows}) > 1:
        yield "Put the label in brackets behind a job in place of LABEL; leave --edition out where there is none."


def _write_recheck(write_command: Callable[[str], str], *, may_send: bool) -> Iterator[str]:
    exception = (
        ", unless the server is found to recognise repeats: then it is sent again, at its price" if may_send else ""
    )
    yield f"Look for it once more, and download it if it is found: no cost{exception}."
    yield f"    {write_command('--recheck')}"
