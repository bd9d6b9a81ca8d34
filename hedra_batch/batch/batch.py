"""One batch from its plan to its end: `open_batch`, then `plan`, `quote`, `run` and `finish`, in this order.

What the command line adds is words, questions and signals.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from hedra_batch.batch.ending import FinishedRun, Reasons, record_end
from hedra_batch.batch.neighbours import Neighbour, check_beginning
from hedra_batch.batch.request import PlanRequest, make_selection, require_selected
from hedra_batch.batch.session import Session, open_session
from hedra_batch.batch.workspace import Workspace
from hedra_batch.decide import Settlement
from hedra_batch.errors import (
    EXIT_DONE,
    ConfigurationError,
    HedraBatchError,
    JobChange,
    JobsChangedError,
    UsageError,
)
from hedra_batch.folder import RunFolder
from hedra_batch.ledger import events
from hedra_batch.ledger.budget import Spending
from hedra_batch.manifest.jobs import Jobs
from hedra_batch.manifest.loading import Manifest
from hedra_batch.money import Money
from hedra_batch.planning.plan import Rules
from hedra_batch.planning.quote import Quote
from hedra_batch.planning.selection import Selection, summarize
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.progress import Cost, Snapshot
from hedra_batch.run.run import Run
from hedra_batch.run.settings import RunSettings
from hedra_batch.state import IN_FLIGHT, TO_SEND, UNSENT, State

#: What a run goes on with, most likely.
UNENDED = UNSENT | TO_SEND | IN_FLIGHT | {State.READY}


class Batch:
    """A manifest at work in its run folder, for one plan and one run of it. Make it by `open_batch`."""

    def __init__(self, session: Session, manifest: Manifest) -> None:
        self.session = session
        self.manifest = manifest
        self._request = PlanRequest()
        self._selection: Selection | None = None
        self._run: Run | None = None
        self._is_priced = False
        #: What the edition will have cost once the plan is carried out, by the price list.
        self._expected = Spending(Money(0))

    async def plan(self, request: PlanRequest | None = None) -> PlanSummary:
        """Work out what is to be done.

        Raises UsageError where the ids select nothing, and JobsChangedError rather than buy jobs again in silence that
        were edited after they were paid for.
        """
        self._request = request = request or PlanRequest()
        ledger = self.session.ledger
        lost_attempts = ledger.loss.highest_attempt if ledger.loss else 0
        rules = Rules(attempts=self.session.settings.attempts, lost_attempts=lost_attempts)
        self._selection = make_selection(self.manifest.jobs, request, rules)
        await self._look_for_restored(rules)
        await self._ask_models_early()
        summary = await summarize(self._selection, ledger)
        try:
            require_selected(summary, self.manifest.jobs, request)
        except UsageError as error:
            await self.session.end(error.exit_code)
            raise
        if summary.changed:
            raise JobsChangedError(summary.changed, await self._read_changes(summary))
        self.session.progress.begin(summary.states)
        return summary

    async def quote(self, summary: PlanSummary) -> Quote:
        """Price what would be bought.

        It is also the first sign that key and address are right. Raises StopRunError and UserError where they are not.
        """
        quote = await (await self._connect()).quote(summary)
        self._is_priced = True
        before = await self.read_spending()
        self._expected = Spending(
            Money(before.spent.amount + quote.total, before.spent.unit), before.unpriced + quote.unpriced
        )
        return quote

    async def read_spending(self) -> Spending:
        """Read what all runs of this edition may have cost so far."""
        return await self.session.ledger.read_spending(self.manifest.jobs.edition)

    async def run(self, summary: PlanSummary) -> None:
        """Process what was planned as far as it goes. Raises StopRunError when it cannot go on.

        Cancelling stops it: what is being sent ends first, and is on disk.
        """
        if not self._is_priced:
            await self.quote(summary)
        if self._selection:
            await (await self._connect()).process(self._selection, summary)

    async def take_snapshot(self) -> Snapshot:
        """Look at the run as it is at this moment, for whoever shows it."""
        spending, expected = await self.read_spending(), self._expected
        cost = Cost(spending.spent, expected.spent, spending.unpriced, expected.unpriced, self.session.settings.budget)
        run = self._run
        if run is None:
            return self.session.progress.take_snapshot(cost=cost)
        return self.session.progress.take_snapshot(run.read_pace(), cost, str(run.closed_by or ""))

    async def abandon(self, summary: PlanSummary) -> AsyncIterator[str]:
        """Give up what was planned by a request to abandon, without network; yields the label of each job."""
        ledger = self.session.ledger
        for planned in summary.sent:
            if planned.latest:
                attempt = await ledger.attempt(planned.latest.attempt_key)
                await ledger.apply(attempt, events.abandon(attempt.error))
                yield planned.label
        await self.session.end(EXIT_DONE)

    async def finish(
        self, stopped_by: HedraBatchError | None = None, *, signal_number: int | None = None
    ) -> FinishedRun:
        """Judge how the planned jobs stand, and write it down: summary, ledger and exit code agree, whatever ended it.

        `stopped_by` is what `plan`, `quote` or `run` raised, `signal_number` what made a person's process stop.
        """
        await self.session.disconnect()
        # After a stop it is no matter what else was not submitted.
        closed_by = self._run.closed_by if self._run and not stopped_by else None
        reasons = Reasons(stopped_by, closed_by, signal_number)
        jobs = self.manifest.jobs
        selection = self._selection or make_selection(jobs, self._request, Rules())
        return await record_end(self.session, self.manifest.name, jobs.edition, selection, reasons)

    async def _look_for_restored(self, rules: Rules) -> None:
        """Look for what a ledger that was put back does not know, before it is said what is to be bought."""
        restore = self.session.ledger.restore
        if restore and not restore.is_settled and self._request.settlement is None:
            everything = make_selection(self.manifest.jobs, PlanRequest(), rules)
            await (await self._connect()).look_for_restored(everything)

    async def _ask_models_early(self) -> None:
        if self._request.settlement is Settlement.ABANDON:
            return
        if await self.session.ledger.look(lambda reader: reader.has_any(UNENDED)):
            # To survey a large batch takes longer than the answer, which is then there when it is wanted.
            (await self._connect()).ask_models()

    async def _connect(self) -> Run:
        if self._run is None:
            self._run = await self.session.connect(self._request.settlement)
        return self._run

    async def _read_changes(self, summary: PlanSummary) -> list[JobChange]:
        changes = []
        for planned in summary.first_changed:
            if planned.job and planned.latest:
                attempt = await self.session.ledger.attempt(planned.latest.attempt_key)
                changes.append(JobChange(planned.job.id, planned.label, attempt.fields, planned.job.inputs.fields))
        return changes


@asynccontextmanager
async def open_batch(
    workspace: Workspace,
    manifest: Manifest,
    settings: RunSettings,
    request: PlanRequest | None = None,
    on_neighbour: Callable[[Neighbour], Awaitable[None]] | None = None,
) -> AsyncIterator[Batch]:
    """Lock the run folder of a manifest, which is made where there is none, and open its ledger.

    Before one is begun, `on_neighbour` is told of another that holds some of what the request asks for; it may raise.
    Raises UserError, and WriteError for a link in the way of the results.
    """
    _check_outputs(manifest.jobs, workspace.folder)
    neighbour = await check_beginning(workspace, manifest.jobs, request or PlanRequest())
    if neighbour and on_neighbour:
        await on_neighbour(neighbour)
    async with open_session(workspace, settings) as session:
        yield Batch(session, manifest)


def apply_manifest(manifest: Manifest, settings: RunSettings | None = None) -> RunSettings:
    return replace(
        settings or RunSettings(),
        limits=manifest.limits,
        budget=manifest.budget,
        attempts=manifest.attempts,
        on_unknown=manifest.on_unknown,
        quiet_window_seconds=manifest.quiet_window_seconds,
    )


def _check_outputs(jobs: Jobs, folder: RunFolder) -> None:
    """Refuse names that this locale cannot write, and links in their way, before anything is paid for.

    Raises ConfigurationError and WriteError.
    """
    try:
        parents = set()
        for job_id, output in jobs.outputs():  # noqa: B007 - the error names it
            os.fsencode(output)
            parents.add(output.rpartition("/")[0])
        for parent in parents:
            folder.require_inside(folder.path / parent)
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"The file name of the job {job_id!a} has letters that this locale cannot write. Nothing was sent. Set "
            "LC_ALL=C.UTF-8, in cron too."
        ) from error
