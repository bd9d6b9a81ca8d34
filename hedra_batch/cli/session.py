"""One run of one batch: plans, carries out, and tells how it ended."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hedra_batch import __version__
from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.selection import make_scope, require_selected
from hedra_batch.cli.signals import Stop
from hedra_batch.cli.site import Site
from hedra_batch.cli.telling import Teller
from hedra_batch.errors import HedraBatchError, JobsChangedError, UsageError, WriteError
from hedra_batch.folder import RunFolder
from hedra_batch.instant import CLOCK, to_text
from hedra_batch.job import IN_FLIGHT, UNSENT, State
from hedra_batch.ledger.reading import LedgerReader, open_reader
from hedra_batch.ledger.store import Ledger
from hedra_batch.manifest.loading import Manifest
from hedra_batch.pipeline.outcome import Outcome, judge
from hedra_batch.pipeline.plan import Rules
from hedra_batch.pipeline.runner import Runner
from hedra_batch.pipeline.scope import Scope, take_survey
from hedra_batch.pipeline.settings import RunSettings
from hedra_batch.pipeline.survey import Survey
from hedra_batch.progress import Progress
from hedra_batch.report.summary import ALWAYS, SOMETIMES, describe_change

logger = logging.getLogger(__name__)


#: How long a job may be overdue before a person must look.
OVERDUE_LIMIT = timedelta(hours=24)
#: What a run goes on with, most likely.
UNENDED = UNSENT | IN_FLIGHT | {State.READY}
#: New videos that a run buys without a budget and without being asked.
UNCONFIRMED_LIMIT = 10


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that is settled before the first request."""

    manifest: Manifest
    site: Site
    settings: RunSettings

    @property
    def options(self) -> RunOptions:
        """What the command was told."""
        return self.site.options

    @property
    def folder(self) -> RunFolder:
        """Where everything is written."""
        return self.site.folder


class Session:
    """One run; the summary, the ledger and the exit code agree, whatever ended it."""

    def __init__(self, batch: Batch, ledger: Ledger) -> None:
        self._batch = batch
        self._ledger = ledger
        self._progress = Progress()
        self._teller = Teller(batch.manifest.name, batch.folder, batch.options, [batch.site.api_key])
        self._stop = Stop()
        #: Why nothing more was submitted, when the run itself went on.
        self._closed_by: HedraBatchError | None = None
        self._started_at = CLOCK.now_text()

    async def run(self) -> int:
        """Do what there is to do, and return the exit code."""
        with self._teller.open_log(), self._stop.watch(self._batch.options.max_runtime_seconds):
            logger.debug("hedra-batch %s, run %d: %s", __version__, self._ledger.run_number, self._batch.options)
            if self._ledger.loss:
                logger.debug("a ledger was lost: attempts up to %d are looked for", self._ledger.loss.highest_attempt)
            scope = self._make_scope()
            stopped_by: HedraBatchError | None = None
            try:
                await self._carry_out(scope)
            except UsageError:
                raise
            except HedraBatchError as error:
                stopped_by = error
            except Exception as error:
                logger.exception("internal error")
                stopped_by = HedraBatchError(f"internal error ({error!r}): please report it with the last log.")
            return await self._end(scope, stopped_by)

    def _make_scope(self) -> Scope:
        lost_attempts = self._ledger.loss.highest_attempt if self._ledger.loss else 0
        rules = Rules(attempts=self._batch.settings.attempts, lost_attempts=lost_attempts)
        return make_scope(self._batch.manifest.jobs, self._batch.options, rules)

    async def _take_survey(self, scope: Scope) -> Survey:
        survey = await take_survey(scope, self._ledger)
        try:
            require_selected(survey, self._batch.manifest.jobs, self._batch.options)
        except UsageError as error:
            await self._ledger.end_run(error.exit_code)
            raise
        return survey

    async def _refuse_changed(self, survey: Survey) -> None:
        """Raise JobsChangedError rather than buy jobs again in silence that were edited after they were paid for."""
        if not survey.changed:
            return
        lines = [f"Edited after they were sent, so nothing is sent now ({survey.changed} of the jobs):"]
        for entry in survey.first_changed:
            if entry.job and entry.standing:
                attempt = await self._ledger.attempt(entry.standing.attempt_key)
                lines.append(f"  {entry.label}: {describe_change(attempt.fields, entry.job.inputs.fields)}")
        if others := survey.changed - len(survey.first_changed):
            lines.append(f"  … and {others} more: {self._teller.command('plan')}")
        lines.append("Undo the edits, give the jobs new ids, or buy them anew:")
        lines.append(f"  {self._teller.command('run', '--rebuy-changed')}")
        raise JobsChangedError("\n".join(lines))

    async def _carry_out(self, scope: Scope) -> None:
        batch = self._batch
        client, media = batch.site.make_clients(batch.settings)
        async with client, media:
            settlement = batch.options.settlement
            runner = Runner(self._ledger, client, media, batch.folder, batch.settings, self._progress, settlement)
            try:
                await self._plan_and_run(scope, runner)
            finally:
                runner.close()
        self._closed_by = runner.closed_by

    async def _plan_and_run(self, scope: Scope, runner: Runner) -> None:
        if await self._ledger.look(lambda reader: reader.has_any(UNENDED)):
            # To survey a large batch takes longer than the answer, which is then there when it is wanted.
            runner.ask_models()
        survey = await self._take_survey(scope)
        await self._refuse_changed(survey)
        await self._stop.guard(self._offer(survey, runner))
        if self._stop.is_stopped:
            return
        self._progress.begin(survey.states)
        with self._teller.show(self._progress, self._batch.settings.limits.submit):
            await self._stop.guard(runner.run(scope, survey))

    async def _offer(self, survey: Survey, runner: Runner) -> None:
        """Say what would be bought and for how much, and have it confirmed where nothing else bounds it."""
        purchase = await runner.price(survey)
        budget = self._batch.settings.budget_credits
        spending = await self._ledger.read_spending(self._batch.options.edition) if budget is not None else None
        self._teller.tell_plan(survey, purchase, budget, spending)
        is_bounded = budget is not None or self._batch.options.is_confirmed or self._batch.site.is_local
        if purchase.count > UNCONFIRMED_LIMIT and not is_bounded:
            await self._teller.confirm(purchase)

    async def _end(self, scope: Scope, stopped_by: HedraBatchError | None) -> int:
        """Write down and tell how it ended, as the ledger has it."""
        # Through a reader of its own, since the ledger itself may be what failed.
        with open_reader(self._batch.folder.ledger) as reader:
            outcome = self._judge(scope, reader, stopped_by)
            for record in (self._end_run, self._write_summary):
                try:
                    await record(outcome, reader)
                except WriteError as error:
                    stopped_by = stopped_by or error
                    outcome = self._judge(scope, reader, stopped_by)
            # What closed submitting was told when it happened, but for those who asked for quiet.
            reasons = [stopped_by, self._closed_by if self._batch.options.is_quiet else None]
            self._teller.tell_end(outcome, reader, [reason for reason in reasons if reason])
        return outcome.exit_code

    def _judge(self, scope: Scope, reader: LedgerReader | None, stopped_by: HedraBatchError | None) -> Outcome:
        return judge(
            scope.review(reader),
            overdue_before=to_text(self._batch.settings.clock.now() - OVERDUE_LIMIT),
            stopped_by=stopped_by,
            closed_by=self._closed_by,
            signal_number=self._stop.signal_number,
        )

    async def _end_run(self, outcome: Outcome, _reader: LedgerReader | None) -> None:
        await self._ledger.end_run(outcome.exit_code)

    async def _write_summary(self, outcome: Outcome, reader: LedgerReader | None) -> None:
        self._batch.folder.write_summary(self._summarise(outcome, reader))

    def _summarise(self, outcome: Outcome, reader: LedgerReader | None) -> dict[str, Any]:
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
