"""Everything that a run says to a person: its plan, its questions, its live view or its lines, and how it ended."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

from hedra_batch.batch.ending import FinishedRun
from hedra_batch.batch.workspace import Workspace
from hedra_batch.cli.logs import divert, log_to, make_line_handler, make_warning_handler, redact
from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.workspace import describe_path
from hedra_batch.errors import (
    EXIT_DONE,
    EXIT_UNFINISHED,
    HedraBatchError,
    JobsChangedError,
    UnconfirmedError,
    UnfinishedError,
)
from hedra_batch.ledger.budget import Spending
from hedra_batch.ledger.records import LatestAttempt
from hedra_batch.money import Money
from hedra_batch.planning.quote import Quote
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.progress import TakeSnapshot
from hedra_batch.report.summary import NAMED_LIMIT, Trouble, write_changes, write_last_line, write_troubles
from hedra_batch.report.terminal import can_show_view
from hedra_batch.state import HELD, State

if TYPE_CHECKING:
    from hedra_batch.report.screen import Screen

logger = logging.getLogger(__name__)

#: Ends of a run that cron need not mail.
QUIET_CODES = (EXIT_DONE, EXIT_UNFINISHED)
#: Its records go to the log file only: the terminal has them already.
transcript = logging.getLogger("hedra_batch.transcript")

#: Commands that need no network.
LOCAL_COMMANDS = frozenset({"plan", "results", "verify"})
#: Failures that the same inputs meet again, so that editing the job is what helps.
EDIT_CODES = frozenset(
    {"invalid_argument", "moderation_failed", "moderation_likeness", "not_found", "failed_precondition"}
)


class Console:
    """Speaks to the person: words on stderr, nothing on stdout."""

    def __init__(self, workspace: Workspace, options: RunOptions) -> None:
        self._name = workspace.name
        self._folder = workspace.folder
        self._options = options
        self._secrets = [workspace.api_key]
        self._is_live = not options.is_quiet and can_show_view(sys.stderr, os.environ)
        #: What goes to the terminal where there is a view.
        self._warnings = make_warning_handler(self._secrets)
        self._screen: Screen | None = None

    @contextmanager
    def open_log(self) -> Iterator[None]:
        """Log to a file, and to stderr: as plain dated lines, or as warnings where the live view shows the rest."""
        verbosity = self._options.verbosity
        lines = self._warnings if self._is_live else make_line_handler(self._secrets, verbosity)
        with log_to(self._folder.name_log(), self._secrets, verbosity, None if self._options.is_quiet else lines):
            yield

    @asynccontextmanager
    async def show(self, take_snapshot: TakeSnapshot) -> AsyncIterator[None]:
        """Show the live view on a terminal that can; elsewhere there is nothing but the lines."""
        if not self._is_live:
            yield
            return
        from hedra_batch.report.screen import Screen, show_live

        self._screen = Screen(sys.stderr)
        async with show_live(self._name, take_snapshot, self._screen) as lines:
            with divert(self._warnings, lines, logging.INFO if self._options.verbosity else logging.WARNING):
                yield

    def write_plan(self, summary: PlanSummary, quote: Quote, budget: Money | None, spending: Spending | None) -> None:
        """Say what will be bought, before the first paid request."""
        parts = [quote.describe(), *summary.describe_rest()]
        if budget is not None and spending is not None:
            parts.append(f"budget {budget} ({spending.spent.amount} spent)")
        line = f"{self._name}: {', '.join(parts)}"
        self._write_line(line if summary.processed or summary.changed else f"{line}: nothing to do")

    async def confirm(self, quote: Quote) -> None:
        """Ask on a terminal whether to buy that much. Raises UnconfirmedError elsewhere, UnfinishedError after a no."""
        if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
            raise UnconfirmedError(
                f"{quote.count} new videos would be bought, and neither a budget nor a person bounds that. "
                "Nothing was sent. Add a line such as 'budget: 500 credits' to the manifest, or --budget, or --yes."
            )
        print(f"Buy {quote.describe()}? [y/N] ", end="", file=sys.stderr, flush=True)
        if (await _read_answer()).strip().casefold() not in ("y", "yes"):
            raise UnfinishedError("Nothing was bought: it was not confirmed.")

    def write_end(self, finished: FinishedRun) -> None:
        """Say why it ended, the last line, and under it what a person may want to settle."""
        if self._screen:
            self._screen.close()
        result, reasons = finished.result, finished.reasons
        if self._options.is_quiet and result.exit_code in QUIET_CODES:
            return
        # With --quiet, what closed submitting has not been printed yet.
        for reason in (reasons.stopped_by, reasons.closed_by if self._options.is_quiet else None):
            if reason:
                self._print(f"hedra-batch: {self._describe_reason(reason)}")
        videos = describe_path(self._folder.path / "videos")
        self._print(write_last_line(self._name, result.counts, result.exit_code, videos))
        troubles = [self._describe_trouble(latest, message) for latest, message in finished.troubles[:NAMED_LIMIT]]
        for line in write_troubles(troubles, result.troubled - len(troubles), self.command("results")):
            self._print(line)

    def _describe_reason(self, reason: HedraBatchError) -> str:
        if not isinstance(reason, JobsChangedError):
            return str(reason)
        return "\n".join(write_changes(reason, self.command("plan"), self.command("run", "--rebuy-changed")))

    def command(self, name: str, *further: str, edition: str | None = None) -> str:
        """Write a command line for the same batch, ready to paste."""
        options = self._options
        words = ["hedra-batch", name, str(options.manifest)]
        if options.folder:
            words += ["--folder", str(options.folder)]
        if options.is_simulated:
            words.append("--simulate")
        if options.base_url and name not in LOCAL_COMMANDS:
            words += ["--base-url", options.base_url]
        edition = options.edition if edition is None else edition
        if edition and name in ("run", "retry", "plan", "resolve"):
            words += ["--edition", edition]
        return shlex.join([*words, *further])

    def _describe_trouble(self, latest: LatestAttempt, message: str) -> Trouble:
        code = latest.error_code or "unknown"
        return Trouble(latest.label, code, message, self._suggest_command(latest, code))

    def _suggest_command(self, latest: LatestAttempt, code: str) -> str:
        if latest.state in HELD:
            return f"look into the account's history, then settle it: {self.command('resolve', edition=latest.edition)}"
        if latest.state is State.OVERDUE:
            return self.command("resolve", "--abandon", "--id", latest.job_id, edition=latest.edition)
        if latest.state is State.READY:
            return f"it is at the server and could not be fetched for a day: {self.command('fetch')}"
        if code in EDIT_CODES:
            return f"edit the job, then: {self.command('run', edition=latest.edition)}"
        return self.command("retry", "--id", latest.job_id, edition=latest.edition)

    def _write_line(self, line: str) -> None:
        logger.info("%s", line)
        if self._is_live:
            self._print(line)

    def _print(self, line: str) -> None:
        transcript.info("%s", line)
        # After SIGHUP the terminal may be gone; the summary is written all the same.
        with suppress(OSError):
            print(redact(line, self._secrets), file=sys.stderr, flush=True)


async def _read_answer() -> str:
    """Read a line of the terminal while signals are heeded."""
    loop = asyncio.get_running_loop()
    has_line = asyncio.Event()
    loop.add_reader(sys.stdin, has_line.set)
    try:
        await has_line.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()
