"""One batch from its plan to its end: `open_batch`, then `plan`, `quote`, `run` and `finish`, in this order.

What the command line adds is words, questions and signals.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from hedra_batch.batch.ending import FinishedRun, Reasons, record_end
from hedra_batch.batch.neighbours import Neighbour, check_beginning
from hedra_batch.batch.request import PlanRequest, find_nothing_selected, make_selection
from hedra_batch.batch.session import Session, open_session
from hedra_batch.batch.workspace import Workspace
from hedra_batch.decide import Settlement
from hedra_batch.errors import (
    EXIT_DONE,
    ConfigurationError,
    HedraBatchError,
)
from hedra_batch.folder import RunFolder
from hedra_batch.inputs import PriceKey, Spellings
from hedra_batch.ledger import events
from hedra_batch.ledger.budget import Account, Spending
from hedra_batch.manifest.jobs import Jobs
from hedra_batch.manifest.loading import Manifest
from hedra_batch.money import Money
from hedra_batch.planning.coverage import Shortfall, expect_room, find_shortfalls
from hedra_batch.planning.edits import Edits, describe_edits
from hedra_batch.planning.fingerprint import Fingerprint
from hedra_batch.planning.plan import Rules
from hedra_batch.planning.quote import Quote
from hedra_batch.planning.recognition import Recognition
from hedra_batch.planning.selection import ManifestSelection, Selection, page_through, summarize
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.progress import Cost, Snapshot
from hedra_batch.run.renaming import rename_results
from hedra_batch.run.run import Run
from hedra_batch.run.settings import RunSettings
from hedra_batch.state import IN_FLIGHT, PAID, TO_SEND, UNSENT, State

#: What a run goes on with, most likely.
UNENDED = UNSENT | TO_SEND | IN_FLIGHT | {State.READY}


class Batch:
    """A manifest at work in its run folder, for one plan and one run of it. Make it by `open_batch`."""

    def __init__(self, session: Session, manifest: Manifest, spellings: Spellings) -> None:
        self.session = session
        self.manifest = manifest
        self._spellings = spellings
        self._request = PlanRequest()
        self._selection: Selection | None = None
        self._run: Run | None = None
        self._is_priced = False
        #: What the edition will have cost once the plan is carried out, by the price list.
        self._expected = Spending(Money(0))
        #: The prices of what is not bought since not all can be.
        self._withheld: list[Money | None] = []

    async def plan(self, request: PlanRequest | None = None, *, is_coded: bool = False) -> PlanSummary:
        """Work out what is to be done, and take a code of it where it is to be the same as an earlier plan.

        Jobs that were edited after they may have been paid for wait, unless the request says what becomes of them; what
        it keeps is written into the ledger. Raises NothingSelectedError where the request selects nothing.
        """
        self._request = request = request or PlanRequest()
        ledger = self.session.ledger
        lost_attempts = ledger.loss.highest_attempt if ledger.loss else 0
        rules = Rules(attempts=self.session.settings.attempts, lost_attempts=lost_attempts)
        await self._look_for_restored(rules)
        await self._ask_models_early()
        summary = await self._recognize(request, rules, is_coded=is_coded)
        if (summary.edits.count or summary.bought) and await self._lacks_models():
            await self._learn_models()
            summary = await self._recognize(request, rules, is_coded=is_coded)
        jobs = self.manifest.jobs
        if error := await ledger.look(lambda reader: find_nothing_selected(summary, jobs, request, reader)):
            await self.session.end(error.exit_code)
            raise error
        if summary.kept:
            await self._keep()
        self.session.progress.begin(summary.states)
        return summary

    async def _recognize(self, request: PlanRequest, rules: Rules, *, is_coded: bool) -> PlanSummary:
        """Have what was paid for count for the jobs that ask for it now, then add up what is to be done.

        Where all jobs are selected, and nothing moves, they are gone through once.
        """
        ledger, jobs = self.session.ledger, self.manifest.jobs
        recognition, summary = Recognition(jobs), None
        self._selection = make_selection(jobs, request, rules)
        if isinstance(self._selection, ManifestSelection) and request.selects_all:
            summary = await summarize(self._selection, ledger, recognition, Fingerprint() if is_coded else None)
        else:
            await ledger.look(recognition.look)
        recognized = await ledger.look(recognition.settle)
        if recognized:
            await rename_results(ledger, self.session.workspace.folder, recognized.reassignment)
            self._selection = make_selection(jobs, request, rules, recognized.committed())
            summary = None
        summary = summary or await summarize(self._selection, ledger, fingerprint=Fingerprint() if is_coded else None)
        summary.note_twins(recognition.twins)
        return summary

    async def quote(self, summary: PlanSummary) -> Quote:
        """Price what would be bought.

        It is also the first sign that key and address are right. Raises StopRunError and UserError where they are not.
        """
        quote = await (await self._connect()).billing.quote(summary)
        await self.session.bind_account()
        self._spellings.learn(await self.session.ledger.look(lambda reader: reader.read_models()))
        self._is_priced = True
        before = await self.read_spending()
        self._expected = Spending(
            Money(before.spent.amount + quote.total, before.spent.unit), before.unpriced + quote.unpriced
        )
        return quote

    async def read_spending(self) -> Spending:
        """Read what all runs of this edition may have cost so far."""
        return await self.session.ledger.read_spending(self.manifest.jobs.edition)

    async def read_edits(self, summary: PlanSummary) -> Edits:
        """Read what differs in the edited jobs that wait for a person, and price them as they are now."""
        quote = self._price(summary.edits.price_keys)
        return await self.session.ledger.look(lambda reader: describe_edits(summary.edits, quote, reader))

    async def read_accounts(self) -> list[Account]:
        """Read each budget of this edition, and what counts towards it."""
        return await self.session.ledger.read_accounts(self.manifest.jobs.edition)

    async def find_shortfalls(self, summary: PlanSummary, quote: Quote) -> list[Shortfall]:
        """Find what covers less than all that was planned: the balance, a budget or the disk."""
        if not quote.count:
            return []
        sizes = await self.session.ledger.look(lambda reader: reader.average_sizes())
        room = expect_room(summary, sizes, self.session.workspace.folder.read_free_bytes())
        return list(find_shortfalls(quote.runs, await self.read_accounts(), quote.balance, room))

    async def has_code(self, summary: PlanSummary, code: str) -> bool:
        """Tell whether a priced plan is the one that `plan` showed with a code, with its prices or without any."""
        if summary.fingerprint is None:
            return False
        estimate = (await self._connect()).billing.estimate
        return code.strip().upper() in (summary.fingerprint.write_code(estimate), summary.fingerprint.write_code())

    async def close_submitting(self, reason: HedraBatchError, quote: Quote) -> None:
        """Buy nothing of what was priced; what was bought before is followed and fetched by `run`."""
        self._withheld = list(quote.prices.elements())
        await (await self._connect()).close_submitting(reason)

    async def run(self, summary: PlanSummary) -> None:
        """Process what was planned as far as it goes. Raises StopRunError when it cannot go on.

        Cancelling stops it: what is being sent ends first, and is on disk.
        """
        if not self._is_priced:
            await self.quote(summary)
        if self._selection:
            await (await self._connect()).process(self._selection, summary)

    async def follow(self, summary: PlanSummary) -> None:
        """Follow and fetch what an earlier run sent, and buy nothing: what a run does that may not buy.

        Raises StopRunError when it cannot go on.
        """
        if self._selection:
            await (await self._connect()).follow(self._selection, summary)

    async def take_snapshot(self) -> Snapshot:
        """Look at the run as it is at this moment, to show it."""
        spending, expected = await self.read_spending(), self._expected
        cost = Cost(
            spending.spent, expected.spent, spending.unpriced, expected.unpriced, self.session.settings.budgets.edition
        )
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
        finished = await record_end(self.session, self.manifest.name, jobs.edition, selection, reasons, self._price)
        left_out = list(self._run.left_out.values()) if self._run else []
        return replace(finished, left_out=left_out + self._withheld)

    async def _look_for_restored(self, rules: Rules) -> None:
        """Look for what a ledger that was put back does not know, before it is said what is to be bought."""
        if self.session.ledger.restore and self._request.settlement is None:
            everything = make_selection(self.manifest.jobs, PlanRequest(), rules)
            await (await self._connect()).look_for_restored(everything)

    async def _ask_models_early(self) -> None:
        if self._request.settlement is Settlement.ABANDON:
            return
        if await self.session.ledger.look(lambda reader: reader.has_any(UNENDED)):
            # To survey a large batch takes longer than the answer, which is then there when it is wanted.
            (await self._connect()).billing.ask_models()

    async def _lacks_models(self) -> bool:
        """Tell whether what was sent may have been spelled otherwise, without any list of models that tells."""
        is_offline = self._request.settlement is Settlement.ABANDON
        return (
            not is_offline
            and not self._spellings
            and await self.session.ledger.look(lambda reader: reader.has_any(PAID))
        )

    async def _learn_models(self) -> None:
        await (await self._connect()).billing.learn_models()
        self._spellings.learn(await self.session.ledger.look(lambda reader: reader.read_models()))

    async def _connect(self) -> Run:
        if self._run is None:
            self._run = await self.session.connect(self._request.settlement)
        return self._run

    def _price(self, price_keys: Mapping[PriceKey, int]) -> Quote:
        """Price some jobs by the list, if there was a reason to ask for it."""
        return self._run.billing.price(price_keys) if self._run else Quote([(None, sum(price_keys.values()))])

    async def _keep(self) -> None:
        """Note for each edited job that what was bought for it counts for what it asks for now."""
        assert self._selection, "it was planned"
        async for page in page_through(self._selection, self.session.ledger):
            await self.session.ledger.keep(
                [
                    (one.latest.attempt_key, one.job.inputs.digest)
                    for one in page
                    if one.is_kept and one.job and one.latest
                ]
            )


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
    neighbour = check_beginning(workspace, manifest.jobs, request or PlanRequest())
    if neighbour and on_neighbour:
        await on_neighbour(neighbour)
    async with open_session(workspace, settings) as session:
        spellings = Spellings(await session.ledger.look(lambda reader: reader.read_models()))
        yield Batch(session, replace(manifest, jobs=manifest.jobs.with_spellings(spellings)), spellings)


def apply_manifest(manifest: Manifest, settings: RunSettings | None = None) -> RunSettings:
    return replace(
        settings or RunSettings(),
        limits=manifest.limits,
        budgets=manifest.budgets,
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
