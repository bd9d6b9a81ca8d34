"""One run of one batch: plans, carries out, and tells how it ended."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hedra_batch import __version__
from hedra_batch.cli.console import Console
from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.selection import make_selection, require_selected
from hedra_batch.cli.signals import Stop
from hedra_batch.cli.workspace import Workspace
from hedra_batch.clock import CLOCK, to_text
from hedra_batch.errors import HedraBatchError, JobsChangedError, UsageError, WriteError
from hedra_batch.folder import RunFolder
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.reading import LedgerReader, open_reader
from hedra_batch.manifest.loading import Manifest
from hedra_batch.planning.plan import Rules
from hedra_batch.planning.result import RunResult, judge
from hedra_batch.planning.selection import Selection, summarize
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.progress import Progress
from hedra_batch.report.summary import ALWAYS, SOMETIMES, describe_change
from hedra_batch.run.settings import RunSettings
from hedra_batch.run.wiring import Run, open_run
from hedra_batch.state import IN_FLIGHT, UNSENT, State

logger = logging.getLogger(__name__)


#: How long a job may be overdue before a person must look.
OVERDUE_LIMIT = timedelta(hours=24)
#: What a run goes on with, most likely.
UNENDED = UNSENT | IN_FLIGHT | {State.RESEND_DUE, State.RESEND_ORDERED, State.READY}
#: New videos that a run buys without a budget and without being asked.
UNCONFIRMED_LIMIT = 10


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that is settled before the first request."""

    manifest: Manifest
    workspace: Workspace
    settings: RunSettings

    @property
    def options(self) -> RunOptions:
        """What the command was told."""
        return self.workspace.options

    @property
    def folder(self) -> RunFolder:
        """Where everything is written."""
        return self.workspace.folder


class Session:
    """One run; the summary, the ledger and the exit code agree, whatever ended it."""

    def __init__(self, batch: Batch, ledger: Ledger) -> None:
        self._batch = batch
        self._ledger = ledger
        self._progress = Progress()
        self._console = Console(batch.manifest.name, batch.folder, batch.options, [batch.workspace.api_key])
        self._stop = Stop()
        #: Why nothing more was submitted, when the run itself went on.
        self._closed_by: HedraBatchError | None = None
        self._started_at = CLOCK.now_text()

    async def run(self) -> int:
        """Do what there is to do, and return the exit code."""
        with self._console.open_log(), self._stop.watch(self._batch.options.max_runtime_seconds):
            logger.debug("hedra-batch %s, run %d: %s", __version__, self._ledger.run_number, self._batch.options)
            if self._ledger.loss:
                logger.debug("a ledger was lost: attempts up to %d are looked for", self._ledger.loss.highest_attempt)
            selection = self._make_selection()
            stopped_by: HedraBatchError | None = None
            try:
                await self._carry_out(selection)
            except UsageError:
                raise
            except HedraBatchError as error:
                stopped_by = error
            except Exception as error:
                logger.exception("internal error")
                stopped_by = HedraBatchError(f"internal error ({error!r}): please report it with the last log.")
            return await self._end(selection, stopped_by)

    def _make_selection(self) -> Selection:
        lost_attempts = self._ledger.loss.highest_attempt if self._ledger.loss else 0
        rules = Rules(attempts=self._batch.settings.attempts, lost_attempts=lost_attempts)
        return make_selection(self._batch.manifest.jobs, self._batch.options, rules)

    async def _summarize(self, selection: Selection) -> PlanSummary:
        summary = await summarize(selection, self._ledger)
        try:
            require_selected(summary, self._batch.manifest.jobs, self._batch.options)
        except UsageError as error:
            await self._ledger.end_run(error.exit_code)
            raise
        return summary

    async def _refuse_changed(self, summary: PlanSummary) -> None:
        """Raise JobsChangedError rather than buy jobs again in silence that were edited after they were paid for."""
        if not summary.changed:
            return
        lines = [f"Edited after they were sent, so nothing is sent now ({summary.changed} of the jobs):"]
        for planned in summary.first_changed:
            if planned.job and planned.latest:
                attempt = await self._ledger.attempt(planned.latest.attempt_key)
                lines.append(f"  {planned.label}: {describe_change(attempt.fields, planned.job.inputs.fields)}")
        if others := summary.changed - len(summary.first_changed):
            lines.append(f"  … and {others} more: {self._console.command('plan')}")
        lines.append("Undo the edits, give the jobs new ids, or buy them anew:")
        lines.append(f"  {self._console.command('run', '--rebuy-changed')}")
        raise JobsChangedError("\n".join(lines))

    async def _carry_out(self, selection: Selection) -> None:
        batch = self._batch
        account, settlement = batch.workspace.account, batch.options.settlement
        async with open_run(self._ledger, account, batch.folder, batch.settings, self._progress, settlement) as run:
            await self._plan_and_run(selection, run)
        self._closed_by = run.closed_by

    async def _plan_and_run(self, selection: Selection, runner: Run) -> None:
        if await self._ledger.look(lambda reader: reader.has_any(UNENDED)):
            # To survey a large batch takes longer than the answer, which is then there when it is wanted.
            runner.ask_models()
        summary = await self._summarize(selection)
        await self._refuse_changed(summary)
        await self._stop.guard(self._offer(summary, runner))
        if self._stop.is_stopped:
            return
        self._progress.begin(summary.states)
        with self._console.show(self._progress, self._batch.settings.limits.submit):
            await self._stop.guard(runner.process(selection, summary))

    async def _offer(self, summary: PlanSummary, runner: Run) -> None:
        """Say what would be bought and for how much, and have it confirmed where nothing else bounds it."""
        quote = await runner.quote(summary)
        budget = self._batch.settings.budget
        spending = await self._ledger.read_spending(self._batch.options.edition) if budget is not None else None
        self._console.tell_plan(summary, quote, budget, spending)
        is_bounded = budget is not None or self._batch.options.is_confirmed or self._batch.workspace.is_local
        if quote.count > UNCONFIRMED_LIMIT and not is_bounded:
            await self._console.confirm(quote)

    async def _end(self, selection: Selection, stopped_by: HedraBatchError | None) -> int:
        """Write down and tell how it ended, as the ledger has it."""
        # Through a reader of its own, since the ledger itself may be what failed.
        with open_reader(self._batch.folder.ledger) as reader:
            outcome = self._judge(selection, reader, stopped_by)
            for record in (self._end_run, self._write_summary):
                try:
                    await record(outcome, reader)
                except WriteError as error:
                    stopped_by = stopped_by or error
                    outcome = self._judge(selection, reader, stopped_by)
            # What closed submitting was told when it happened, but for those who asked for quiet.
            reasons = [stopped_by, self._closed_by if self._batch.options.is_quiet else None]
            self._console.tell_end(outcome, reader, [reason for reason in reasons if reason])
        return outcome.exit_code

    def _judge(
        self, selection: Selection, reader: LedgerReader | None, stopped_by: HedraBatchError | None
    ) -> RunResult:
        return judge(
            selection.review(reader),
            overdue_before=to_text(self._batch.settings.clock.now() - OVERDUE_LIMIT),
            stopped_by=stopped_by,
            closed_by=self._closed_by,
            signal_number=self._stop.signal_number,
        )

    async def _end_run(self, outcome: RunResult, _retrying: LedgerReader | None) -> None:
        await self._ledger.end_run(outcome.exit_code)

    async def _write_summary(self, outcome: RunResult, reader: LedgerReader | None) -> None:
        self._batch.folder.write_summary(self._summarise(outcome, reader))

    def _summarise(self, outcome: RunResult, reader: LedgerReader | None) -> dict[str, Any]:
        edition = self._batch.options.edition
        return {
            "manifest": self._batch.manifest.name,
            "edition": edition,
            "exit_code": outcome.exit_code,
            "counts": {state: outcome.counts[state] for state in (*ALWAYS, *SOMETIMES)},
            "credits": reader.sum_credits(edition) if reader else {},
            "run": self._ledger.run_number,
            "started_at": self._started_at,
            "ended_at": CLOCK.now_text(),
            "version": __version__,
        }
