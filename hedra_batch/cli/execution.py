"""What `run`, `retry` and `resolve` share: a batch run for a person, with signals, logs, questions and an exit code."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hedra_batch import __version__
from hedra_batch.batch.batch import Batch, apply_manifest, open_batch
from hedra_batch.batch.neighbours import describe
from hedra_batch.batch.request import PlanRequest
from hedra_batch.batch.workspace import Workspace
from hedra_batch.cli.advice import find_way, pointing_to_what_there_is
from hedra_batch.cli.console import Choice, Console, confirm_neighbour
from hedra_batch.cli.loop import name_loop, run_on_loop
from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.signals import Stop
from hedra_batch.cli.workspace import TRIAL_SPEED, apply_budget, describe_path, find_edition, find_workspace
from hedra_batch.errors import (
    HedraBatchError,
    LockedError,
    ManifestError,
    OtherPlanError,
    UnconfirmedError,
    UsageError,
)
from hedra_batch.manifest.loading import Manifest, load_manifest
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.report.summary import describe_stop
from hedra_batch.run.settings import RunSettings

logger = logging.getLogger(__name__)

#: New videos that a run buys without a budget and without being asked.
UNCONFIRMED_LIMIT = 10
#: Objects that are made, and not let go, before the collector looks for circles among them.
GARBAGE_THRESHOLD = 20_000


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """Everything that is settled before the run folder is touched."""

    options: RunOptions
    manifest: Manifest
    workspace: Workspace
    settings: RunSettings


def execute(options: RunOptions, settings: RunSettings | None = None) -> int:
    """Run a manifest and return the exit code. Raises UserError before anything is sent."""
    # Everything that a run writes is for its owner only.
    os.umask(0o077)
    prepared = prepare(options, settings or RunSettings(), os.environ)
    spare_collector()
    try:
        with pointing_to_what_there_is(prepared.options):
            return run_on_loop(run_batch, prepared)
    except LockedError as error:
        if options.is_quiet:
            return error.exit_code
        raise


def spare_collector() -> None:
    """Have the garbage collector look at what a run makes only, and not all the time.

    What was loaded until now stays anyway; to walk through it again and again holds up everything that is under way.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 100)


def prepare(options: RunOptions, settings: RunSettings, environment: Mapping[str, str]) -> PreparedRun:
    """Read everything that can be wrong, in the order in which a person would mend it. Raises UserError."""
    options = replace(options, edition=find_edition(options.edition))
    manifest = load_manifest(options.manifest, edition=options.edition)
    workspace = find_workspace(options, manifest.name, environment)
    # A link may have another name than the file that it leads to.
    manifest = replace(manifest, name=workspace.name)
    return PreparedRun(options, manifest, workspace, _merge_settings(settings, manifest, options))


def _merge_settings(settings: RunSettings, manifest: Manifest, options: RunOptions) -> RunSettings:
    """Put flags over the manifest over the defaults."""
    settings = apply_manifest(manifest, settings)
    if options.is_simulated:
        settings = replace(settings, overdue_seconds=settings.overdue_seconds / TRIAL_SPEED)
    limits = settings.limits
    return replace(
        settings,
        limits=replace(limits, submit=options.submit or limits.submit, in_flight=options.in_flight or limits.in_flight),
        budgets=apply_budget(settings.budgets, options),
        is_exact=bool(options.plan_code),
        quiet_window_seconds=options.quiet_window_seconds or settings.quiet_window_seconds,
    )


async def run_batch(prepared: PreparedRun) -> int:
    options = prepared.options
    opening = open_batch(
        prepared.workspace,
        prepared.manifest,
        prepared.settings,
        options.request,
        lambda neighbour: confirm_neighbour(describe(neighbour), is_confirmed=options.is_confirmed),
    )
    async with opening as batch:
        return await _Execution(batch, options).run()


class _Execution:
    """One run before the eyes of a person."""

    def __init__(self, batch: Batch, options: RunOptions) -> None:
        self._batch = batch
        self._options = options
        self._console = Console(batch.session.workspace, options)
        self._stop = Stop(lambda: describe_stop(batch.session.progress.counts, find_way(options)))

    async def run(self) -> int:
        with self._console.open_log(), self._stop.watch(self._options.max_runtime_seconds):
            self._log_start()
            stopped_by = await self._run_to_its_end()
            finished = await self._batch.finish(stopped_by, signal_number=self._stop.signal_number)
            self._console.write_end(finished, self._batch.manifest.warnings, is_stopped=self._stop.is_stopped)
        return finished.result.exit_code

    def _log_start(self) -> None:
        ledger = self._batch.session.ledger
        logger.debug("hedra-batch %s on %s, run %d: %s", __version__, name_loop(), ledger.run_number, self._options)
        if ledger.loss:
            logger.debug("a ledger was lost: attempts up to %d are looked for", ledger.loss.highest_attempt)
        for warning in (*self._batch.session.workspace.warnings, *self._batch.manifest.warnings):
            logger.warning("%s", warning)

    async def _run_to_its_end(self) -> HedraBatchError | None:
        """Plan and run; returns what stopped it. Raises UsageError."""
        try:
            await self._plan_and_run()
        except UsageError:
            raise
        except HedraBatchError as error:
            return error
        except Exception as error:
            logger.exception("internal error")
            logs = describe_path(self._batch.session.workspace.folder.path / "logs")
            return HedraBatchError(
                f"The run stopped for a fault of the program ({error!r}). Nothing that was sent is lost: it is in the "
                f"ledger. Please report it with the last file in {logs}."
            )
        return None

    async def _plan_and_run(self) -> None:
        batch = self._batch
        planned = await batch.plan(self._options.request, is_coded=bool(self._options.plan_code))
        try:
            summary = await self._stop.guard(self._offer(planned))
        except (ManifestError, UnconfirmedError, OtherPlanError):
            # A person must do something before anything is bought; what was bought needs nobody for that.
            if planned.sent:
                logger.info("Nothing is bought now. What was bought before is followed and fetched first.")
            await self._process(batch.follow(planned))
            raise
        if summary and not self._stop.is_stopped:
            await self._process(batch.run(summary))

    async def _process(self, work: Coroutine[Any, Any, None]) -> None:
        async with self._console.show(self._batch.take_snapshot):
            await self._stop.guard(work)

    async def _offer(self, summary: PlanSummary) -> PlanSummary:
        """Say what will be bought and for how much, and have it confirmed where nothing else bounds it."""
        options, console = self._options, self._console
        quote = await self._batch.quote(summary)
        if request := await self._ask_about_edits(summary):
            summary = await self._batch.plan(request)
            quote = await self._batch.quote(summary)
        console.write_plan(summary, quote, await self._batch.read_accounts())
        if options.plan_code and quote.count and not await self._batch.has_code(summary, options.plan_code):
            raise console.make_other_plan(quote)
        shortfalls = await self._batch.find_shortfalls(summary, quote)
        if shortfalls and (options.is_whole or options.plan_code):
            await self._batch.close_submitting(shortfalls[0].make_error(), quote)
            return summary
        console.write_shortfalls(shortfalls)
        is_consented = options.is_confirmed or bool(options.plan_code)
        if shortfalls and console.can_ask and not is_consented:
            await console.confirm(quote, shortfalls)
        elif quote.count > UNCONFIRMED_LIMIT and not (is_consented or self._is_bounded):
            await console.confirm(quote)
        return summary

    async def _ask_about_edits(self, summary: PlanSummary) -> PlanRequest | None:
        """Return what is requested now that a person has chosen for the edited jobs; None where they wait."""
        request = self._options.request
        if self._options.plan_code or request.retried_codes is not None or request.settlement is not None:
            return None
        choice = await self._console.choose(await self._batch.read_edits(summary))
        if choice is Choice.WAIT:
            return None
        return replace(request, keeps_changed=choice is Choice.KEEP, rebuys_changed=choice is Choice.BUY)

    @property
    def _is_bounded(self) -> bool:
        session = self._batch.session
        return session.settings.budgets.is_set or session.workspace.is_local
