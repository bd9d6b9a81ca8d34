"""What the live view of a run says: a snapshot, the latest log lines and a size become lines of a terminal. Pure.

No line is wider than the terminal, no words are cut in two, and there are never more lines than fit. Imported only
where there is a terminal.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

from hedra_batch.money import Money
from hedra_batch.progress import Cost, Pace, Running, Snapshot
from hedra_batch.report.fitting import CUT, Part, choose, join_parts, shorten, wrap_words
from hedra_batch.state import UNDER_WAY, State
from hedra_batch.units import write_duration

#: From this height on, blank lines stand between the parts of the view.
SPACIOUS_LINES = 20
#: From this width on, a running job has a bar, which is not longer than that.
BAR_COLUMNS = 64
BAR_WIDTH = 24
#: An outage that is shorter is none yet.
OUTAGE_SECONDS = 1.0

_WORDS = {
    **dict.fromkeys(UNDER_WAY, "submitting"),
    State.UNKNOWN: "outcome unknown",
    State.ACCEPTED: "generating",
    State.OVERDUE: "overdue",
    State.READY: "fetching",
}
_STYLES = {"done": "green", "failed": "red", "held": "yellow"}


def draw(name: str, snapshot: Snapshot, messages: Sequence[str], size: os.terminal_size) -> list[Text]:
    """Draw the view of a run; `messages` are its latest log lines, the oldest first."""
    width, height = size
    gap = [Text()] if height >= SPACIOUS_LINES else []
    head = list(_draw_head(name, snapshot, width))
    room = max(height - len(head) - 3 * len(gap), 0)
    told = [list(wrap_words(message, width - len(CUT))) for message in messages]
    running_rows, ended_rows, told_rows = share_rows(
        room, len(snapshot.running), len(snapshot.ended), sum(map(len, told))
    )
    parts = [
        head,
        _draw_running(snapshot.running, width, running_rows),
        [_draw_ended(*ended, width) for ended in snapshot.ended[:ended_rows]],
        [Text(line, "dim") for line in _choose_told(told, told_rows)],
    ]
    lines = [line for part in parts if part for line in (*gap, *part)]
    return lines[len(gap) :][:height]


def share_rows(room: int, running: int, ended: int, told: int) -> tuple[int, int, int]:
    """Share the rows of a window: running jobs go first, but leave some of them to the others."""
    share = max(room // 4, 1 if room >= 3 else 0)
    running_rows = min(running, room - min(ended, share) - min(told, share))
    rest = room - running_rows
    told_rows = min(told, max(rest // 2, rest - ended))
    return running_rows, min(ended, rest - told_rows), told_rows


# The head


def _draw_head(name: str, snapshot: Snapshot, width: int) -> Iterator[Text]:
    left = snapshot.left_seconds
    yield join_parts(
        [
            (shorten(name, max(width - 18, 10)), "bold"),
            (f"{write_clock(snapshot.elapsed_seconds)} elapsed", ""),
            *([(f"about {write_duration(round(left))} left", "dim")] if left else []),
        ],
        width,
    )
    yield join_parts(_count_jobs(snapshot), width)
    if snapshot.cost:
        yield join_parts(_describe_cost(snapshot.cost), width)
    if snapshot.pace:
        yield join_parts(_describe_pace(snapshot.pace, snapshot.submitted), width)
    for variants in describe_waits(snapshot):
        yield Text(choose(variants, width), "cyan")


def _count_jobs(snapshot: Snapshot) -> Iterator[Part]:
    counts = snapshot.counts
    yield f"{counts['done']} done", _STYLES["done"]
    for state in ("failed", "held"):
        if counts[state]:
            yield f"{counts[state]} {state}", _STYLES[state]
    yield f"{counts['running'] + counts['unknown']} running", ""
    yield f"{counts['new']} waiting", ""


def _describe_cost(cost: Cost) -> Iterator[Part]:
    spent = _describe_sum(cost.spent, cost.unpriced_spent)
    total = cost.expected if cost.unpriced_expected else max(cost.spent, cost.expected)
    expected = _describe_sum(total, cost.unpriced_expected)
    yield f"{spent} of {'?' if expected == '?' else f'about {expected}'} {cost.spent.unit} spent", ""
    if cost.budget:
        yield f"budget {cost.budget.amount:,}", "dim"


def _describe_sum(money: Money, unpriced: int) -> str:
    """Say how much it is; what nobody knows the price of is no 0."""
    if not unpriced:
        return f"{money.amount:,}"
    return f"{money.amount:,}+?" if money.amount else "?"


def _describe_pace(pace: Pace, submitted: int) -> Iterator[Part]:
    unit = "h" if pace.configured.per_seconds > 60 else "min"
    yield f"{submitted} sent/{unit}", ""
    if pace.allowed == pace.configured:
        yield f"{pace.allowed} allowed", "dim"
    else:
        yield f"{pace.allowed} allowed of {pace.configured}", "yellow"


def describe_waits(snapshot: Snapshot) -> Iterator[tuple[str, ...]]:
    """Say what the run waits for, each in one or several ways, the longest first."""
    if snapshot.closed_by:
        yield (f"not submitted: {snapshot.closed_by}",)
    if snapshot.pace and snapshot.pace.outage_seconds >= OUTAGE_SECONDS:
        duration, reason = write_duration(round(snapshot.pace.outage_seconds)), snapshot.pace.outage_reason
        yield (
            f"no useful answer for {duration}: {reason}; it is tried again and again",
            f"no useful answer for {duration}: {reason}",
            f"{reason}: {duration}",
        )
    elif snapshot.pace and snapshot.pace.is_awaited:
        yield describe_wait(snapshot.pace)
    elif words := ", ".join(_describe_running(snapshot.running)):
        yield f"waiting: {words}", words
    if lost := sum(running.state is State.UNKNOWN for running in snapshot.running):
        requests = _count(lost, "lost request")
        yield (f"quiet window of {requests}: looked for at the server", f"quiet window of {requests}")


def _describe_running(running: Sequence[Running]) -> Iterator[str]:
    """Count what the run waits for by the words of the rows; lost requests have a line of their own."""
    counts = Counter(_WORDS[one.state] for one in running if one.state is not State.UNKNOWN)
    if generating := counts.pop(_WORDS[State.ACCEPTED], 0):
        yield f"{_count(generating, 'generation')} to end"
    yield from (f"{count} {words}" for words, count in counts.items())


def describe_wait(pace: Pace) -> tuple[str, ...]:
    """Say what keeps the next submission."""
    if pace.pause_seconds:
        seconds = math.ceil(pace.pause_seconds)
        return (
            f"waiting: {pace.pause_reason}: {seconds} s",
            f"{pace.pause_reason}: {seconds} s",
            f"pause of {seconds} s",
        )
    if pace.in_flight >= pace.slots:
        taken = f"{pace.in_flight} of {pace.slots} slots are taken"
        more = (f"waiting: {taken}, the API runs no more at once",) if pace.slots < pace.configured_slots else ()
        return (*more, f"waiting: {taken}", taken)
    if pace.backlog:
        return (f"waiting: downloads go first, {pace.backlog} to begin",)
    return (f"waiting: pace, next in {math.ceil(pace.next_seconds) or 1} s",)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


# The rows


def _draw_running(running: Sequence[Running], width: int, rows: int) -> list[Text]:
    hidden = len(running) - rows
    shown = running[: rows - 1 if hidden > 0 and rows > 1 else rows]
    words_width = max((len(_WORDS[one.state]) for one in shown), default=0)
    bar_width = min(BAR_WIDTH, width // 4) if width >= BAR_COLUMNS else 0
    bar_columns = bar_width + 1 if bar_width else 0
    label_width = max(width - words_width - bar_columns - 8, 1)
    label_width = min(label_width, max((cell_len(one.label) for one in shown), default=0))
    lines = [_draw_row(one, label_width, bar_width) for one in shown]
    if len(shown) < rows:
        lines.append(Text(f"… and {len(running) - len(shown)} more", "dim"))
    return lines


def _draw_row(running: Running, label_width: int, bar_width: int) -> Text:
    label = shorten(running.label, label_width)
    line = Text(label + " " * (label_width - cell_len(label) + 2))
    if bar_width:
        filled = round(running.fraction * bar_width)
        line.append("━" * filled, "green").append("─" * (bar_width - filled), "bright_black").append(" ")
    return line.append(f"{running.fraction:4.0%}  {_WORDS[running.state]}")


def _draw_ended(label: str, state: str, width: int) -> Text:
    return Text.assemble((f"{state:6}", _STYLES[state]), "  ", shorten(label, max(width - 8, 1)))


def _choose_told(told: Sequence[list[str]], rows: int) -> list[str]:
    """Choose the latest messages that fit whole, or else the beginning of the last one."""
    lines: list[str] = []
    for message in reversed(told):
        if len(lines) + len(message) > rows:
            break
        lines = message + lines
    if lines or not rows or not told:
        return lines
    *shown, last = told[-1][:rows]
    return [*shown, last + CUT]


def write_clock(seconds: float) -> str:
    """Write a time that runs, digit by digit."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
