"""What a person can do next, as command lines for the same batch that can be pasted as they are."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hedra_batch.cli.options import RunOptions
from hedra_batch.errors import NothingSelectedError, UsageError
from hedra_batch.job import NAMED_LIMIT
from hedra_batch.ledger.records import LatestAttempt
from hedra_batch.manifest.names import is_standard_input
from hedra_batch.report.summary import AGAIN, LATER
from hedra_batch.state import HELD, State
from hedra_batch.units import spell_duration

_BUYING = ("--base-url", "--edition", "--budget", "--all-or-nothing", "--quiet-window", "--submit", "--in-flight")
#: Which options each command that is advised takes of those that say under what a batch is made. Left out on purpose:
#: consent (--yes, --rebuy-changed) and what is said once (--same-account, --moved), which a person gives anew, and what
#: changes nothing about the videos (--max-runtime, --quiet, --verbose).
TAKEN = {
    "run": _BUYING,
    "retry": _BUYING,
    "resolve": ("--base-url", "--edition", "--budget", "--quiet-window"),
    "fetch": ("--base-url",),
    "plan": ("--base-url", "--edition", "--budget"),
    "results": (),
}
#: Failures that the same inputs meet again, so that editing the job is what helps.
EDIT_CODES = frozenset(
    {"invalid_argument", "moderation_failed", "moderation_likeness", "not_found", "failed_precondition"}
)


class Advice(NamedTuple):
    """What helps jobs that ended badly or wait for a person, and the command for it."""

    words: str
    command: str


DECIDE = Advice(
    "These may be paid for, and they wait for your decision. What you can do, and what it costs:", "resolve"
)
FETCH = Advice("These are finished at the server and could not be downloaded yet. At no cost:", "fetch")
EDIT = Advice(
    "As they are, these fail again. Change them alone, under overrides in the manifest, as in 'overrides: {ID: "
    "{prompt: …}}'; then make them, each at its price:",
    "run",
)
RETRY = Advice("To make these once more, each at its price:", "retry")
#: What costs something.
BUYING = (EDIT, RETRY)


def advise(latest: LatestAttempt) -> Advice:
    if latest.state in HELD or latest.state is State.OVERDUE:
        return DECIDE
    if latest.state is State.READY:
        return FETCH
    return EDIT if latest.error_code in EDIT_CODES else RETRY


@dataclass(slots=True)
class Failures:
    """Failed jobs that the same thing helps: how many, the first of them, and with which codes they failed."""

    count: int = 0
    ids: list[str] = field(default_factory=list)
    codes: set[str] = field(default_factory=set)

    def add(self, latest: LatestAttempt) -> None:
        self.count += 1
        self.ids += [latest.job_id][: NAMED_LIMIT - len(self.ids)]
        self.codes.add(latest.error_code or "unknown")


def write_failures(options: RunOptions, failures: Mapping[Advice, Failures]) -> Iterator[str]:
    """Say how failed jobs are made: by name, or by what they have in common where they are too many to name."""
    for advice, alike in failures.items():
        if alike.count == len(alike.ids):
            yield advice.words
            yield f"    {write_command(options, advice.command, *name_jobs(tuple(alike.ids)))}"
        elif advice == EDIT:
            yield f"{alike.count} of them fail again as they are, so change them under overrides in the manifest."
            yield "To see which they are:"
            yield f"    {write_command(options, 'results')}"
            yield "Then make them, and what is new among the same ids, each at its price:"
            yield f"    {write_command(options, 'run', *repeat_selection(options))}"
        else:
            codes = [word for code in sorted(alike.codes) for word in ("--error", code)]
            which = f"all jobs that failed alike, not only these {alike.count}," if options.first else f"{alike.count}"
            yield f"To make {which} once more, each at its price:"
            yield f"    {write_command(options, 'retry', *codes, *name_jobs(options.ids))}"


@contextmanager
def pointing_to_what_there_is(options: RunOptions) -> Iterator[None]:
    """Write, under the word that nothing is selected, the command that shows what could be."""
    try:
        yield
    except NothingSelectedError as error:
        command = write_command(options, error.listing)
        raise UsageError(f"{error} {error.aim}:\n    {command}") from error


def name_jobs(ids: tuple[str, ...]) -> list[str]:
    return [word for each in ids for word in ("--id", each)]


def repeat_selection(options: RunOptions) -> list[str]:
    """Select the same jobs again, for `run` or `plan`; of a `retry`, whose --first counts other jobs, all its ids."""
    first = options.first if is_repeatable(options) else None
    return [*name_jobs(options.ids), *(["--first", str(first)] if first else [])]


def repeat_choices(options: RunOptions) -> list[str]:
    """Repeat what becomes of edited jobs."""
    choices = {"--keep-changed": options.keeps_changed, "--rebuy-changed": options.rebuys_changed}
    return [flag for flag, is_chosen in choices.items() if is_chosen]


def is_repeatable(options: RunOptions) -> bool:
    """Tell whether the same line again goes on, and neither buys nor decides a second time what it did once."""
    return options.retried_codes is None and options.settlement is None


def find_way(options: RunOptions) -> str:
    """Say, at the end of a sentence, how a person goes on after the command at hand."""
    return AGAIN if is_repeatable(options) else LATER


def select_edited(options: RunOptions, count: int, ids: tuple[str, ...]) -> list[str]:
    """Select edited jobs alone, by their ids; where they are more than are named, the same jobs again."""
    return name_jobs(ids) if len(ids) == count else repeat_selection(options)


def write_command(options: RunOptions, name: str, *further: str, edition: str | None = None) -> str:
    """Write a command for the same batch, under the same limits."""
    values = _spell_values(options, options.edition if edition is None else edition)
    words = ["hedra-batch", name, _spell_path(options.manifest)]
    if options.folder:
        words += ["--folder", str(options.folder)]
    if options.is_simulated:
        words.append("--simulate")
    for flag in TAKEN[name]:
        words += values[flag]
    return shlex.join([*words, *further])


def _spell_values(options: RunOptions, edition: str) -> dict[str, list[str]]:
    """Write each flag as the line has it; nothing where it has not."""
    window = options.quiet_window_seconds
    values = {
        "--base-url": options.base_url or "",
        "--edition": edition,
        "--budget": str(options.budget.amount) if options.budget else "",
        "--quiet-window": spell_duration(window) if window else "",
        "--submit": str(options.submit or ""),
        "--in-flight": str(options.in_flight or ""),
    }
    words = {flag: [flag, value] if value else [] for flag, value in values.items()}
    return words | {"--all-or-nothing": ["--all-or-nothing"] if options.is_whole else []}


def _spell_path(path: Path) -> str:
    # A name that begins with a dash would be taken for a flag; the dash alone is the standard input.
    return f"./{path}" if str(path).startswith("-") and not is_standard_input(path) else str(path)
