"""`run`, `retry` and `resolve`: what is settled before the first request, and the frame around a session."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Mapping
from dataclasses import replace

from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.place import TRIAL_SPEED, find_edition
from hedra_batch.cli.session import Batch, Session
from hedra_batch.cli.workspace import find_workspace, open_workspace
from hedra_batch.errors import ConfigurationError, LockedError
from hedra_batch.folder import RunFolder
from hedra_batch.manifest.loading import Manifest, load_manifest
from hedra_batch.run.settings import RunSettings

#: Objects that are made, and not let go, before the collector looks for circles among them.
GARBAGE_THRESHOLD = 20_000


def execute(options: RunOptions, settings: RunSettings | None = None) -> int:
    """Run a manifest and return the exit code. Raises UserError before anything is sent."""
    # Everything that a run writes is for its owner only.
    os.umask(0o077)
    batch = prepare(options, settings or RunSettings(), os.environ)
    batch.folder.create()
    try:
        with batch.folder.lock():
            spare_collector()
            return asyncio.run(run_batch(batch))
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


def prepare(options: RunOptions, settings: RunSettings, environment: Mapping[str, str]) -> Batch:
    """Read everything that can be wrong, in the order in which a person would mend it. Raises UserError."""
    options = replace(options, edition=find_edition(options.edition))
    manifest = load_manifest(options.manifest, edition=options.edition)
    workspace = find_workspace(options, manifest.name, environment)
    _check_names(manifest, workspace.folder)
    return Batch(
        manifest=manifest,
        workspace=workspace,
        settings=_merge_settings(settings, manifest, options),
    )


def _check_names(manifest: Manifest, folder: RunFolder) -> None:
    """Refuse names that this locale cannot write, and links in their way, before anything is paid for.

    Raises ConfigurationError and WriteError.
    """
    try:
        parents = set()
        for job_id, output in manifest.jobs.outputs():  # noqa: B007 - the error names it
            os.fsencode(output)
            parents.add(output.rpartition("/")[0])
        for parent in parents:
            folder.require_inside(folder.path / parent)
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"This locale cannot write the file name of the job {job_id!a}. Set LC_ALL=C.UTF-8, in cron too."
        ) from error


def _merge_settings(settings: RunSettings, manifest: Manifest, options: RunOptions) -> RunSettings:
    """Put flags over the manifest over the defaults."""
    limits = replace(
        manifest.limits,
        submit=options.submit or manifest.limits.submit,
        in_flight=options.in_flight or manifest.limits.in_flight,
    )
    budget = manifest.budget_credits if options.budget_credits is None else options.budget_credits
    if options.is_simulated:
        # A trial shows in seconds what takes the real API minutes.
        settings = replace(settings, overdue_seconds=settings.overdue_seconds / TRIAL_SPEED)
    return replace(
        settings,
        limits=limits,
        budget_credits=budget,
        attempts=manifest.attempts,
        on_unknown=manifest.on_unknown,
        quiet_window_seconds=options.quiet_window_seconds or manifest.quiet_window_seconds,
    )


async def run_batch(batch: Batch) -> int:
    """Run a prepared batch, whose folder is locked, and return the exit code."""
    async with open_workspace(batch.workspace, batch.settings) as (workspace, ledger):
        return await Session(replace(batch, workspace=workspace), ledger).run()
