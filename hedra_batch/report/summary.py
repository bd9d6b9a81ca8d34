"""The end of a run in words: how it stops, the last line, and failures with what helps them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: How to go on, as the end of a sentence: by the same line, or, where that would buy or decide anew, by another.
AGAIN = "run the same line again to go on"
LATER = "the last lines say how to go on"
#: Counts that the last line always has, in its order; the others only when there are any.
ALWAYS = ("done", "failed", "running", "held")
SOMETIMES = ("unknown", "new", "overdue", "changed")

#: Error codes in words: those that the service publishes, then our own, of which the message says the rest.
MEANINGS = {
    "moderation_failed": "Hedra's moderation refused the prompt or an image",
    "moderation_likeness": "Hedra's moderation refused it for showing a real person",
    "moderation_output_transient": "Hedra's moderation refused this video, though another try may pass",
    "invalid_argument": "the API refuses one of its values",
    "not_found": "the API does not know something that it names",
    "failed_precondition": "its model cannot make it like this",
    "insufficient_balance": "the account is out of credits",
    "resource_exhausted": "a limit of the service or of the account was reached",
    "permission_denied": "the account may not do this",
    "deadline_exceeded": "the service took too long",
    "internal": "the service broke down over it",
    "unavailable": "the service was not there for it",
    "unknown_outcome": "held",
    "ids_unproven": "held",
    "result_lost": "held",
    "overdue": "overdue",
    "abandoned": "given up",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """A job that ended badly or waits for a person."""

    label: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Remedy:
    """Jobs that the same thing helps."""

    troubles: tuple[Trouble, ...]
    #: What it does and costs, and the command for it.
    words: str
    command: str


def describe_stop(counts: Counter[str], way: str) -> str:
    """Say what becomes of a run that is being stopped."""
    return f"What is being sent now is finished first, and nothing is lost. {describe_next(counts, way)}"


def describe_next(counts: Counter[str], way: str) -> str:
    """Say what the next run goes on with, and which way leads there."""
    if not counts["running"]:
        return f"{way[0].upper()}{way[1:]}."
    are = "is" if counts["running"] == 1 else "are"
    return f"{count_videos(counts['running'])} {are} still at the server: {way}."


def count_videos(count: int) -> str:
    return f"{count} video{'' if count == 1 else 's'}"


def write_last_line(name: str, counts: Counter[str], exit_code: int, videos: str) -> str:
    """Write `spring: done=238 failed=2 running=0 held=0 exit=1 -> spring.out/videos`."""
    shown = [f"{state}={counts[state]}" for state in ALWAYS]
    shown += [f"{state}={counts[state]}" for state in SOMETIMES if counts[state]]
    return f"{name}: {' '.join(shown)} exit={exit_code} -> {videos}"


def write_remedies(remedies: list[Remedy], others: int, results_command: str) -> Iterator[str]:
    """Name each job with what is wrong with it, and under those of a kind what helps them; say where the others are."""
    for remedy in remedies:
        yield from (f"  {describe_trouble(trouble)}" for trouble in remedy.troubles)
        yield f"  {remedy.words}"
        yield f"      {remedy.command}"
    if others:
        yield f"  … and {others} more; all of them:"
        yield f"      {results_command}"


def write_going_on(commands: Sequence[str], count: int, *, is_exact: bool, is_stopped: bool) -> Iterator[str]:
    """Name what goes on with the jobs that a command has begun, where the same line would not do just that."""
    begin = "Once that is put right, to go on" if is_stopped else "Not finished yet. To go on"
    others = f" with these {count} jobs, and to make what is new among the same ids, each at its price"
    yield f"  {begin}{'' if is_exact else others}:"
    yield from (f"      {command}" for command in commands)


def describe_trouble(trouble: Trouble) -> str:
    """Say what is wrong with a job, its code in words first."""
    meaning = MEANINGS.get(trouble.code)
    what = f"{meaning} ({trouble.code})" if meaning else trouble.code
    return f"{trouble.label}: {what}: {trouble.message}"
