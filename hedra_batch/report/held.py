"""What a person must know of a held job to settle it. Pure: yields text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hedra_batch.job import to_label
from hedra_batch.sanitize import to_line
from hedra_batch.state import HELD, State

PROMPT_LENGTH = 80
WORDS = {**dict.fromkeys(HELD, "held"), State.OVERDUE: "overdue", State.RESEND_ORDERED: "ordered"}


def write_held(row: dict[str, Any]) -> Iterator[str]:
    """Write one job in a few lines: its id, when it was sent, what was read since, what it may cost."""
    price, doubt = row["credits_estimated"], "" if row["accepted_at"] else ", if it was accepted"
    yield f"{to_label(row['edition'], row['id'])}: {WORDS[row['state']]}, attempt {row['number']}\n"
    yield f"    prompt   {to_line(row['prompt'] or '', PROMPT_LENGTH)}\n"
    yield f"    id       {row['generation_id']}\n"
    times = f"{row['sends']} time{'' if row['sends'] == 1 else 's'} in all"
    yield f"    sent     {row['submitted_at'] or 'before the ledger was lost'} ({times})\n"
    yield f"    read     {_describe_reading(row)}\n"
    yield f"    cost     {'unknown' if price is None else f'{price} credits'}{doubt}\n"
    yield f"    why      {row['error']}\n"


def _describe_reading(row: dict[str, Any]) -> str:
    if row["missing_at"]:
        denied = "its result denied by" if row["state"] == State.HELD_LOST else "not known to"
        return f"accepted at {row['accepted_at']}, {denied} the server since {row['missing_at']}"
    if row["accepted_at"]:
        return f"accepted at {row['accepted_at']}, still running"
    unknown = f"its outcome is unknown since {row['unknown_at']}"
    return f"{unknown}; absent, last at {row['absent_at']}" if row["absent_at"] else unknown
