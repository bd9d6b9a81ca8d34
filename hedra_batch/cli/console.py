"""Everything that a run says to a person: its plan, its questions, its live view or its lines, and how it ended."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from hedra_batch.batch.ending import FinishedRun
from hedra_batch.batch.funds import Room
from hedra_batch.batch.workspace import Workspace
from hedra_batch.cli.advice import (
    BUYING,
    Advice,
    advise,
    is_repeatable,
    name_jobs,
    repeat_choices,
    repeat_selection,
    select_edited,
    write_command,
)
from hedra_batch.cli.logs import admit, log_to, make_line_handler, make_warning_handler, redact
from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.workspace import describe_path
from hedra_batch.errors import (
    EXIT_DONE,
    EXIT_UNFINISHED,
    BudgetReachedError,
    HedraBatchError,
    ManifestError,
    OtherPlanError,
    UnconfirmedError,
    UnfinishedError,
    UserError,
)
from hedra_batch.job import NAMED_LIMIT, UNUSABLE
from hedra_batch.ledger.budget import Account, name_budget
from hedra_batch.ledger.records import AttemptEnd, LatestAttempt
from hedra_batch.money import Money
from hedra_batch.planning.coverage import PRICING_REMEDY, Shortfall
from hedra_batch.planning.edits import Edits
from hedra_batch.planning.quote import Quote
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.progress import TakeSnapshot
from hedra_batch.report.edits import EditCommands, EditNotice, write_edits, write_question
from hedra_batch.report.summary import (
    AGAIN,
    Remedy,
    Trouble,
    describe_charge,
    describe_next,
    name_condition,
    write_going_on,
    write_last_line,
    write_remedies,
)
from hedra_batch.report.terminal import can_show_view, fit, say

if TYPE_CHECKING:
    from hedra_batch.report.screen import Screen

logger = logging.getLogger(__name__)

#: Ends of a run that cron need not mail.
QUIET_CODES = (EXIT_DONE, EXIT_UNFINISHED)
#: Said under a name of a model that a trial does not know.
TRIAL_MODELS = "Only the simulated API lacks it, which has few models; Hedra's may have it. Nothing was charged."
#: Its records go to the log file only: the terminal has them already.
transcript = logging.getLogger("hedra_batch.transcript")


class Choice(Enum):
    """What a person can choose for edited jobs."""

    KEEP = auto()
    BUY = auto()
    WAIT = auto()


_YES = ("y", "yes")
_CHOICES = {"k": Choice.KEEP, "keep": Choice.KEEP, "b": Choice.BUY, "buy": Choice.BUY}


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
            try:
                yield
            finally:
                self._close_screen()

    @asynccontextmanager
    async def show(self, take_snapshot: TakeSnapshot) -> AsyncIterator[None]:
        """Show the live view on a terminal that can; elsewhere there is nothing but the lines."""
        if not self._is_live:
            yield
            return
        from hedra_batch.report.screen import Screen, show_live

        self._screen = Screen(sys.stderr)
        async with show_live(self._name, take_snapshot, self._screen) as lines:
            # To the end of the log: the screen puts what is still said in order after what it holds.
            self._warnings.setStream(lines)
            with admit(self._warnings, logging.INFO if self._options.verbosity else logging.WARNING):
                yield

    def write_plan(self, summary: PlanSummary, quote: Quote, accounts: Sequence[Account]) -> None:
        """Say what will be bought, before the first paid request."""
        parts = [quote.describe(), *summary.describe_rest(), *(account.describe() for account in accounts)]
        line = f"{self._name}: {', '.join(parts)}"
        self._write_line(line if summary.processed or summary.edits.count else f"{line}: nothing to do")
        for twins in summary.describe_twins():
            self._write_line(f"{self._name}: {twins}")

    def write_shortfalls(self, shortfalls: Sequence[Shortfall]) -> None:
        """Say what does not cover all, before the first paid request."""
        for shortfall in shortfalls:
            self._write_line(f"{self._name}: {shortfall.describe()}")

    def make_other_plan(self, quote: Quote) -> OtherPlanError:
        """Make what says that there is another plan now than the one whose code was given."""
        return OtherPlanError(
            f"Nothing was bought: the plan is no longer the one with the code {self._options.plan_code}. A run would "
            f"buy {quote.describe()} now. To see the plan as it is, with its code:\n"
            f"    {_write_purchase(self._options)}"
        )

    @property
    def can_ask(self) -> bool:
        return _can_ask()

    async def confirm(self, quote: Quote, shortfalls: Sequence[Shortfall] = ()) -> None:
        """Ask on a terminal whether to buy that much. Raises UnconfirmedError elsewhere, UnfinishedError after a no."""
        if not self.can_ask:
            raise UnconfirmedError(
                f"{quote.count} new videos need your consent: add a line such as 'budget: 500 credits' to the "
                "manifest, or --budget 500, or --yes. Nothing was bought."
            )
        limits = "".join(f", though {shortfall.describe()}" for shortfall in shortfalls)
        if await self._ask(f"Buy {quote.describe()}{limits}? [y/N] ") not in _YES:
            raise UnfinishedError("Nothing was bought, since you did not say yes.")

    async def choose(self, edits: Edits) -> Choice:
        """Ask on a terminal what becomes of all edited jobs; elsewhere, and without a clear answer, they wait."""
        if not edits.count or not self.can_ask:
            return Choice.WAIT
        for line in write_question(_make_notice(edits)):
            self.say(line)
        answer = await self._ask("Keep, buy or wait? [k/b/W] ")
        return _CHOICES.get(answer, Choice.WAIT)

    async def _ask(self, question: str) -> str:
        """Ask for a word; an empty one is also the end of the input."""
        try:
            return await _ask(question)
        except asyncio.CancelledError:
            self.say("\nNothing was bought.")
            raise

    def write_end(self, finished: FinishedRun, warnings: Sequence[str], *, is_stopped: bool) -> None:
        """Say why it ended, the last line, and under it what a person may want to settle."""
        result, reasons = finished.result, finished.reasons
        if self._options.is_quiet and result.exit_code in QUIET_CODES:
            return
        # With --quiet, what closed submitting has not been printed yet.
        for reason in (reasons.stopped_by, reasons.closed_by if self._options.is_quiet else None):
            if reason:
                self.say(f"hedra-batch: {self._describe_reason(reason)}")
        videos = describe_path(self._folder.path / "videos")
        self.say(write_last_line(self._name, result.counts, result.exit_code, videos))
        for warning in warnings if result.counts[UNUSABLE] else ():
            self.say(f"  {warning}")
        remedies = self._find_remedies(finished)
        others = result.troubled - len(finished.troubles[:NAMED_LIMIT])
        for line in write_remedies(remedies, others, write_command(self._options, "results")):
            self.say(line)
        if finished.edits.count:
            self._write_edits(finished)
        for line in self._write_next(finished, is_stopped=is_stopped):
            self.say(line)

    def say(self, line: str) -> None:
        transcript.info("%s", line)
        if self._screen:
            self._screen.leave([redact(line, self._secrets)])
            return
        # After SIGHUP the terminal may be gone; the summary is written all the same.
        with suppress(OSError):
            say(redact(line, self._secrets))

    def _close_screen(self) -> None:
        """Wait until all is said, or until it is clear that the terminal takes nothing: the log file has it as well."""
        if self._screen and not self._screen.close():
            logger.warning("the terminal takes nothing, so what it has not shown stands here only")

    def _write_edits(self, finished: FinishedRun) -> None:
        edits, edition = finished.edits, self._options.edition
        prices = [price for price, count in edits.quote.runs for _ in range(count)]
        funded, condition = self._fund(finished, edition, prices)
        edited = select_edited(self._options, edits.count, tuple(edit.job_id for edit in edits.first))
        commands = EditCommands(
            plan=write_command(self._options, "plan", *repeat_selection(self._options)),
            keep=write_command(self._options, "run", *edited, "--keep-changed"),
            rebuy=write_command(funded, "run", *edited, "--rebuy-changed"),
            condition=condition,
        )
        for line in write_edits(_make_notice(edits), commands):
            self.say(line)

    def _describe_reason(self, reason: HedraBatchError) -> str:
        if isinstance(reason, ManifestError) and self._options.is_simulated:
            return f"{reason}\n{TRIAL_MODELS}"
        return str(reason)

    def _write_next(self, finished: FinishedRun, *, is_stopped: bool) -> Iterator[str]:
        """Say how to go on, unless there is nothing to go on with or something else must be decided first."""
        result, stopped_by = finished.result, finished.reasons.stopped_by
        reason = stopped_by or finished.reasons.closed_by
        if isinstance(stopped_by, UserError | UnfinishedError):
            return
        if not reason and not is_stopped and result.exit_code != EXIT_UNFINISHED:
            return
        if not is_repeatable(self._options):
            yield from self._write_going_on(finished, reason)
        elif isinstance(reason, BudgetReachedError):
            options, words = self._enlarge(finished, self._options.edition, finished.left_out)
            yield f"  {words}:"
            yield f"      {_write_purchase(options)}"
        elif self._options.plan_code and result.counts["new"]:
            yield "  To go on, look at the plan as it is then; it shows the code to buy the rest with:"
            yield f"      {_write_purchase(self._options)}"
        elif reason:
            yield f"  {name_condition(reason)}, {AGAIN}."
        elif not is_stopped:
            yield f"  Not finished yet. {describe_next(result.counts, AGAIN)}"

    def _fund(self, finished: FinishedRun, edition: str, prices: Sequence[Money | None]) -> tuple[RunOptions, str]:
        """Give a command the budget that its purchases need, and say what must be so besides; nothing where it has."""
        funds = finished.funds
        if funds.find_room(edition, prices) is Room.ENOUGH and not funds.find_others(edition, prices):
            return self._options, ""
        options, condition = self._enlarge(finished, edition, prices)
        return options, f"{condition[0].lower()}{condition[1:]}"

    def _enlarge(self, finished: FinishedRun, edition: str, prices: Sequence[Money | None]) -> tuple[RunOptions, str]:
        """Give a command the budget that its purchases need, and say what must be so besides."""
        funds = finished.funds
        room = funds.find_room(edition, prices)
        if room is Room.UNKNOWN:
            return self._options, f"Once all prices are known ({PRICING_REMEDY})"
        words = "With a larger budget"
        others = [name_budget(account) for account in funds.find_others(edition, prices)]
        if others:
            words = f"{words} (raise the {' and the '.join(others)} in the manifest)"
        if room is Room.TOO_LITTLE:
            return replace(self._options, budget=funds.find_sufficient(edition, prices)), words
        return self._options, words

    def _write_going_on(self, finished: FinishedRun, reason: HedraBatchError | None) -> Iterator[str]:
        """Write the commands that end what was begun, and buy nothing beside it where the jobs can be named."""
        result, options, condition = finished.result, self._options, name_condition(reason) if reason else ""
        if not result.unfinished:
            return iter(())
        if isinstance(reason, BudgetReachedError):
            options, condition = self._enlarge(finished, options.edition, finished.left_out)
        editions: dict[str, list[str]] = {}
        for latest in result.first_unfinished:
            editions.setdefault(latest.edition, []).append(latest.job_id)
        is_exact = result.unfinished == len(result.first_unfinished)
        selected = editions if is_exact else {self._options.edition: self._options.ids}
        commands = [
            write_command(options, "run", *name_jobs(tuple(ids)), edition=edition) for edition, ids in selected.items()
        ]
        return write_going_on(commands, result.unfinished, condition, is_exact=is_exact)

    def _find_remedies(self, finished: FinishedRun) -> list[Remedy]:
        """Put together what the same command helps."""
        kinds: dict[tuple[Advice, str], list[tuple[LatestAttempt, AttemptEnd]]] = {}
        for latest, end in finished.troubles[:NAMED_LIMIT]:
            kinds.setdefault((advise(latest), latest.edition), []).append((latest, end))
        return [self._make_remedy(finished, advice, edition, alike) for (advice, edition), alike in kinds.items()]

    def _make_remedy(
        self, finished: FinishedRun, advice: Advice, edition: str, alike: Sequence[tuple[LatestAttempt, AttemptEnd]]
    ) -> Remedy:
        named = name_jobs(tuple(latest.job_id for latest, _ in alike))
        troubles = tuple(self._describe_trouble(latest, end) for latest, end in alike)
        options, words = self._options, advice.words
        if advice in BUYING:
            options, condition = self._fund(finished, edition, [end.estimated for _, end in alike])
            words = f"{words.rstrip(':')}, {condition}:" if condition else words
        return Remedy(troubles, words, write_command(options, advice.command, *named, edition=edition))

    def _describe_trouble(self, latest: LatestAttempt, end: AttemptEnd) -> Trouble:
        charge = describe_charge(latest.state, end.charged, is_simulated=self._options.is_simulated)
        return Trouble(latest.label, latest.error_code or "unknown", end.error, charge)

    def _write_line(self, line: str) -> None:
        logger.info("%s", line)
        if self._is_live:
            self.say(line)


async def confirm_neighbour(line: str, *, is_confirmed: bool) -> None:
    """Say that another run folder holds some of what is to be bought, and ask on a terminal whether to go on.

    Raises UnfinishedError after a no. There is no log yet: what is said here comes before the run folder.
    """
    say(line)
    if is_confirmed or not _can_ask():
        return
    if await _ask("Begin a new folder all the same? [y/N] ") not in _YES:
        raise UnfinishedError("Nothing was sent, since you did not say yes.")


def _make_notice(edits: Edits) -> EditNotice:
    changes = [(edit.label, edit.sent, edit.wanted) for edit in edits.first]
    return EditNotice(edits.count, edits.unended, ", ".join(edits.quote.describe_price()), changes)


def _write_purchase(options: RunOptions) -> str:
    """Write the line that makes what was left; the code of a plan that is bought in part is not that of the rest."""
    selection = [*repeat_selection(options), *repeat_choices(options)]
    if options.plan_code:
        return write_command(options, "plan", *selection)
    return write_command(options, "run", *selection)


def _can_ask() -> bool:
    return bool(sys.stdin and sys.stdin.isatty() and sys.stderr.isatty())


async def _ask(question: str) -> str:
    print(f"{fit(question.rstrip(), sys.stderr)} ", end="", file=sys.stderr, flush=True)
    return (await _read_answer()).strip().casefold()


async def _read_answer() -> str:
    """Read a line of the terminal while signals are heeded."""
    loop = asyncio.get_running_loop()
    has_line = asyncio.Event()
    is_blocking = os.get_blocking(sys.stdin.fileno())
    loop.add_reader(sys.stdin, has_line.set)
    try:
        await has_line.wait()
    finally:
        loop.remove_reader(sys.stdin)
        # uvloop has made it non-blocking, and with it all that is open on the same terminal, the shell's too.
        os.set_blocking(sys.stdin.fileno(), is_blocking)
    return sys.stdin.readline()
