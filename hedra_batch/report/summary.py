"""The end of a run in words: how it stops, the last line, and failures with what helps them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hedra_batch.errors import (
    ApiUnreachableError,
    BudgetReachedError,
    HedraBatchError,
    KeyRefusedError,
    NothingFetchedError,
    OutOfCreditsError,
    WriteError,
)
from hedra_batch.money import Money
from hedra_batch.state import State

#: How to go on, as the end of a sentence: by the same line, or, where that would buy or decide anew, by another.
AGAIN = "run the same line again to go on"
LATER = "the last lines say how to go on"
#: What must be so before a run goes on, by what has stopped it.
CONDITIONS: Mapping[type[HedraBatchError], str] = {
    OutOfCreditsError: "Once the account has credits again",
    BudgetReachedError: "With a larger budget",
    NothingFetchedError: "Once videos can be fetched again",
    ApiUnreachableError: "Once the network is back",
    KeyRefusedError: "Once the API accepts the key",
    WriteError: "Once files can be written again",
}
#: Counts that the last line always has, in its order; the others only when there are any.
ALWAYS = ("done", "failed", "running", "held")
SOMETIMES = ("unknown", "new", "overdue", "changed", "waiting")

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
    #: What it cost, as a sentence; empty where that is not known, or stands in the message.
    charge: str = ""


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


def write_going_on(commands: Sequence[str], count: int, condition: str, *, is_exact: bool) -> Iterator[str]:
    """Name what goes on with the jobs that a command has begun, where the same line would not do just that."""
    begin = f"{condition}, to go on" if condition else "Not finished yet. To go on"
    others = f" with these {count} jobs, and to make what is new among the same ids, each at its price"
    yield f"  {begin}{'' if is_exact else others}:"
    yield from (f"      {command}" for command in commands)


def describe_charge(state: State, charged: Money | None, *, is_simulated: bool) -> str:
    """Say what a failed job cost; nothing where that is not known, or the job is not failed."""
    if state is State.REFUSED or (state is State.FAILED and charged is not None and not charged.amount):
        return "Nothing was charged."
    if state is not State.FAILED or charged is None:
        return ""
    return f"{charged.amount:,} {'simulated ' if is_simulated else ''}{charged.unit} were charged."


def describe_trouble(trouble: Trouble) -> str:
    """Say what is wrong with a job, its code in words first."""
    meaning = MEANINGS.get(trouble.code)
    what = f"{meaning} ({trouble.code})" if meaning else trouble.code
    end = f"{'' if trouble.message.endswith(('.', '!', '?')) else '.'} {trouble.charge}" if trouble.charge else ""
    return f"{trouble.label}: {what}: {trouble.message}{end}"


def name_condition(error: HedraBatchError) -> str:
    """Say what must be so before a run goes on that an error has stopped: the beginning of a sentence."""
    return next((words for kind, words in CONDITIONS.items() if isinstance(error, kind)), "Once that is put right")
