"""The end of a run in words: how it stops, the last line, and failures with what helps them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

#: Failures that are named under the last line.
NAMED_LIMIT = 10
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


def describe_stop(counts: Counter[str]) -> str:
    """Say what becomes of a run that is being stopped."""
    return f"What is being sent now is finished first, and nothing is lost. {describe_next(counts)}"


def describe_next(counts: Counter[str]) -> str:
    """Say what the next run goes on with."""
    if not counts["running"]:
        return "Run the same line again to go on."
    are = "is" if counts["running"] == 1 else "are"
    return f"{count_videos(counts['running'])} {are} still at the server: run the same line again to go on."


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


def describe_trouble(trouble: Trouble) -> str:
    """Say what is wrong with a job, its code in words first."""
    meaning = MEANINGS.get(trouble.code)
    what = f"{meaning} ({trouble.code})" if meaning else trouble.code
    return f"{trouble.label}: {what}: {trouble.message}"
