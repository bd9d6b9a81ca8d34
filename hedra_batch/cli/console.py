"""Everything that a run says to a person: its plan, its questions, its live view or its lines, and how it ended."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

from hedra_batch.batch.ending import FinishedRun
from hedra_batch.batch.workspace import Workspace
from hedra_batch.cli.advice import Advice, advise, name_jobs, repeat_selection, write_command
from hedra_batch.cli.logs import divert, log_to, make_line_handler, make_warning_handler, redact
from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.workspace import describe_path
from hedra_batch.errors import (
    EXIT_DONE,
    EXIT_UNFINISHED,
    HedraBatchError,
    JobsChangedError,
    OtherPlanError,
    UnconfirmedError,
    UnfinishedError,
)
from hedra_batch.ledger.budget import Account
from hedra_batch.ledger.records import LatestAttempt
from hedra_batch.planning.coverage import Shortfall
from hedra_batch.planning.quote import Quote
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.progress import TakeSnapshot
from hedra_batch.report.summary import (
    NAMED_LIMIT,
    Remedy,
    Trouble,
    describe_next,
    write_changes,
    write_last_line,
    write_remedies,
)
from hedra_batch.report.terminal import can_show_view, say

if TYPE_CHECKING:
    from hedra_batch.report.screen import Screen

logger = logging.getLogger(__name__)

#: Ends of a run that cron need not mail.
QUIET_CODES = (EXIT_DONE, EXIT_UNFINISHED)
#: Its records go to the log file only: the terminal has them already.
transcript = logging.getLogger("hedra_batch.transcript")


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

    def write_plan(self, summary: PlanSummary, quote: Quote, accounts: Sequence[Account]) -> None:
        """Say what will be bought, before the first paid request."""
        parts = [quote.describe(), *summary.describe_rest(), *(account.describe() for account in accounts)]
        line = f"{self._name}: {', '.join(parts)}"
        self._write_line(line if summary.processed or summary.changed else f"{line}: nothing to do")

    def write_shortfalls(self, shortfalls: Sequence[Shortfall]) -> None:
        """Say what does not cover all, before the first paid request."""
        for shortfall in shortfalls:
            self._write_line(f"{self._name}: {shortfall.describe()}")

    def make_other_plan(self, quote: Quote) -> OtherPlanError:
        """Make what says that there is another plan now than the one whose code was given."""
        plan_command = write_command(self._options, "plan", *repeat_selection(self._options))
        return OtherPlanError(
            f"Nothing was bought: the plan is no longer the one with the code {self._options.plan_code}. A run would "
            f"buy {quote.describe()} now. To see the plan as it is, with its code:\n    {plan_command}"
        )

    @property
    def can_ask(self) -> bool:
        return bool(sys.stdin and sys.stdin.isatty() and sys.stderr.isatty())

    async def confirm(self, quote: Quote, shortfalls: Sequence[Shortfall] = ()) -> None:
        """Ask on a terminal whether to buy that much. Raises UnconfirmedError elsewhere, UnfinishedError after a no."""
        if not self.can_ask:
            raise UnconfirmedError(
                f"{quote.count} new videos need your consent: add a line such as 'budget: 500 credits' to the "
                "manifest, or --budget 500, or --yes. Nothing was bought."
            )
        limits = "".join(f", though {shortfall.describe()}" for shortfall in shortfalls)
        print(f"Buy {quote.describe()}{limits}? [y/N] ", end="", file=sys.stderr, flush=True)
        try:
            answer = await _read_answer()
        except asyncio.CancelledError:
            self.say("\nNothing was bought.")
            raise
        if answer.strip().casefold() not in ("y", "yes"):
            raise UnfinishedError("Nothing was bought, since you did not say yes.")

    def write_end(self, finished: FinishedRun, *, is_stopped: bool) -> None:
        """Say why it ended, the last line, and under it what a person may want to settle."""
        if self._screen:
            self._screen.close()
        result, reasons = finished.result, finished.reasons
        if self._options.is_quiet and result.exit_code in QUIET_CODES:
            return
        # With --quiet, what closed submitting has not been printed yet.
        for reason in (reasons.stopped_by, reasons.closed_by if self._options.is_quiet else None):
            if reason:
                self.say(f"hedra-batch: {self._describe_reason(reason)}")
        videos = describe_path(self._folder.path / "videos")
        self.say(write_last_line(self._name, result.counts, result.exit_code, videos))
        remedies = self._find_remedies(finished.troubles[:NAMED_LIMIT])
        others = result.troubled - len(finished.troubles[:NAMED_LIMIT])
        for line in write_remedies(remedies, others, write_command(self._options, "results")):
            self.say(line)
        if result.exit_code == EXIT_UNFINISHED and not reasons.stopped_by and not is_stopped:
            self.say(f"  Not finished yet. {describe_next(result.counts)}")

    def say(self, line: str) -> None:
        transcript.info("%s", line)
        # After SIGHUP the terminal may be gone; the summary is written all the same.
        with suppress(OSError):
            say(redact(line, self._secrets))

    def _describe_reason(self, reason: HedraBatchError) -> str:
        if not isinstance(reason, JobsChangedError):
            return str(reason)
        selection = repeat_selection(self._options)
        plan_command = write_command(self._options, "plan", *selection)
        rebuy_command = write_command(self._options, "run", *selection, "--rebuy-changed")
        return "\n".join(write_changes(reason, plan_command, rebuy_command))

    def _find_remedies(self, troubles: Sequence[tuple[LatestAttempt, str]]) -> list[Remedy]:
        """Put together what the same command helps."""
        kinds: dict[tuple[Advice, str], list[tuple[LatestAttempt, str]]] = {}
        for latest, message in troubles:
            kinds.setdefault((advise(latest), latest.edition), []).append((latest, message))
        return [self._make_remedy(advice, edition, alike) for (advice, edition), alike in kinds.items()]

    def _make_remedy(self, advice: Advice, edition: str, alike: Sequence[tuple[LatestAttempt, str]]) -> Remedy:
        named = name_jobs(tuple(latest.job_id for latest, _ in alike))
        troubles = tuple(Trouble(latest.label, latest.error_code or "unknown", message) for latest, message in alike)
        return Remedy(troubles, advice.words, write_command(self._options, advice.command, *named, edition=edition))

    def _write_line(self, line: str) -> None:
        logger.info("%s", line)
        if self._is_live:
            self.say(line)


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
