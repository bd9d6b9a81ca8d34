"""What a person can do next, as command lines for the same batch that can be pasted as they are."""

from __future__ import annotations

import shlex
from typing import NamedTuple

from hedra_batch.cli.options import RunOptions
from hedra_batch.ledger.records import LatestAttempt
from hedra_batch.state import HELD, State

#: Commands that need no network.
LOCAL_COMMANDS = frozenset({"status", "results", "verify"})
#: Commands for one edition, and those of them that are bounded by a budget.
EDITION_COMMANDS = frozenset({"run", "retry", "plan", "resolve"})
BUDGET_COMMANDS = frozenset({"run", "retry", "plan"})
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
FETCH = Advice("These are finished at the server and could not be downloaded for a day. At no cost:", "fetch")
EDIT = Advice("Edit these in the manifest: as they are, they fail again. Then make them, each at its price:", "run")
RETRY = Advice("To make these once more, each at its price:", "retry")


def advise(latest: LatestAttempt) -> Advice:
    if latest.state in HELD or latest.state is State.OVERDUE:
        return DECIDE
    if latest.state is State.READY:
        return FETCH
    return EDIT if latest.error_code in EDIT_CODES else RETRY


def name_jobs(ids: tuple[str, ...]) -> list[str]:
    return [word for each in ids for word in ("--id", each)]


def repeat_selection(options: RunOptions) -> list[str]:
    """Select the same jobs again."""
    return [*name_jobs(options.ids), *(["--first", str(options.first)] if options.first else [])]


def write_command(options: RunOptions, name: str, *further: str, edition: str | None = None) -> str:
    """Write a command for the same batch, under the same budget."""
    words = ["hedra-batch", name, str(options.manifest)]
    if options.folder:
        words += ["--folder", str(options.folder)]
    if options.is_simulated:
        words.append("--simulate")
    if options.base_url and name not in LOCAL_COMMANDS:
        words += ["--base-url", options.base_url]
    edition = options.edition if edition is None else edition
    if edition and name in EDITION_COMMANDS:
        words += ["--edition", edition]
    if options.budget and name in BUDGET_COMMANDS:
        words += ["--budget", str(options.budget.amount)]
    return shlex.join([*words, *further])
