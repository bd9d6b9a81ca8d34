"""The end of a run in words: why it ended, the last line, and failures with what settles each. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hedra_batch.errors import JobsChangedError
from hedra_batch.inputs import FIELDS_BY_NAME

#: Failures that are named under the last line.
NAMED_LIMIT = 10
#: Counts that the last line always has, in its order; the others only when there are any.
ALWAYS = ("done", "failed", "running", "held")
SOMETIMES = ("unknown", "new", "overdue", "changed")


@dataclass(frozen=True, slots=True)
class Trouble:
    """A job that ended badly or waits for a person."""

    label: str
    code: str
    message: str
    #: The command that settles it.
    command: str


def write_last_line(name: str, counts: Counter[str], exit_code: int, videos: str) -> str:
    """Write `spring: done=238 failed=2 running=0 held=0 exit=1 -> spring.out/videos`."""
    shown = [f"{state}={counts[state]}" for state in ALWAYS]
    shown += [f"{state}={counts[state]}" for state in SOMETIMES if counts[state]]
    return f"{name}: {' '.join(shown)} exit={exit_code} -> {videos}"


def write_troubles(troubles: Sequence[Trouble], others: int, results_command: str) -> Iterator[str]:
    """Name each with its code and the command that settles it, and say where the others are."""
    for trouble in troubles:
        yield f"  {trouble.label}: {trouble.code}: {trouble.message}"
        yield f"      {trouble.command}"
    if others:
        yield f"  … and {others} more: {results_command}"


def write_changes(error: JobsChangedError, plan_command: str, rebuy_command: str) -> Iterator[str]:
    """Name each job that was edited after it was sent with what differs, and say what can be done."""
    yield f"Edited after they were sent, so nothing is sent now ({error.count} of the jobs):"
    for change in error.changes:
        yield f"  {change.label}: {describe_change(change.sent, change.wanted)}"
    if others := error.count - len(error.changes):
        yield f"  … and {others} more: {plan_command}"
    yield "Undo the edits, give the jobs new ids, or buy them anew:"
    yield f"  {rebuy_command}"


def describe_change(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """Say what differs between the inputs that were paid for and those of the manifest."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return "; ".join(_describe_field(name, before.get(name), after.get(name)) for name in names)


def _describe_field(name: str, before: object, after: object) -> str:
    if FIELDS_BY_NAME[name].medium and before is not None and after is not None:
        return f"{name} has other content"
    return f"{name} {_clip(before)} -> {_clip(after)}"


def _clip(value: object) -> str:
    if value is None:
        return "(none)"
    text = str(value)
    return repr(text if len(text) <= 50 else text[:49] + "…")
