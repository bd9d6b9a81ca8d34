"""`run` and `retry`: what is settled before the first request, and the frame around a session."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from hedra_batch.api.client import check_base_url
from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.place import DEFAULT_BASE_URL, find_edition, find_folder, find_key
from hedra_batch.cli.session import Batch, Session
from hedra_batch.errors import ConfigurationError, LockedError
from hedra_batch.ledger.store import Ledger
from hedra_batch.manifest.loading import Manifest, load_manifest
from hedra_batch.pipeline.settings import RunSettings


def execute(
    options: RunOptions, retried_codes: Sequence[str] | None = None, settings: RunSettings | None = None
) -> int:
    """Run a manifest and return the exit code. Raises UserError before anything is sent."""
    # Everything that a run writes is for its owner only.
    os.umask(0o077)
    batch = prepare(options, retried_codes, settings or RunSettings(), os.environ)
    batch.folder.create()
    try:
        with batch.folder.lock():
            return asyncio.run(run_batch(batch))
    except LockedError as error:
        if options.is_quiet:
            return error.exit_code
        raise


def prepare(
    options: RunOptions, retried_codes: Sequence[str] | None, settings: RunSettings, environment: Mapping[str, str]
) -> Batch:
    """Read everything that can be wrong, in the order in which a person would mend it. Raises UserError."""
    options = replace(options, edition=find_edition(options.edition))
    manifest = load_manifest(options.manifest, edition=options.edition)
    _check_names(manifest)
    api_key, base_url = "", ""
    if not options.is_simulated:
        base_url = check_base_url(options.base_url or environment.get("HEDRA_BASE_URL") or DEFAULT_BASE_URL)
        api_key = find_key(environment)
    return Batch(
        manifest=manifest,
        folder=find_folder(options.manifest, manifest.name, options.folder, is_simulated=options.is_simulated),
        options=options,
        settings=_settle(settings, manifest, options),
        api_key=api_key,
        base_url=base_url,
        retried_codes=retried_codes,
    )


def _check_names(manifest: Manifest) -> None:
    """Refuse names that this locale cannot write, before anything is paid for. Raises ConfigurationError."""
    try:
        for job in manifest.jobs:
            os.fsencode(job.output)
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"This locale cannot write the file name of the job {job.id!a}. Set LC_ALL=C.UTF-8, in cron too."
        ) from error


def _settle(settings: RunSettings, manifest: Manifest, options: RunOptions) -> RunSettings:
    """Put flags over the manifest over the defaults."""
    limits = replace(
        manifest.limits,
        submit=options.submit or manifest.limits.submit,
        in_flight=options.in_flight or manifest.limits.in_flight,
    )
    return replace(
        settings,
        limits=limits,
        on_unknown=manifest.on_unknown,
        quiet_window_seconds=options.quiet_window_seconds or manifest.quiet_window_seconds,
    )


async def run_batch(batch: Batch) -> int:
    """Run a prepared batch, whose folder is locked, and return the exit code."""
    async with AsyncExitStack() as stack:
        if batch.options.is_simulated:
            from hedra_batch.cli.simulating import TRIAL_KEY, make_trial

            simulator = await stack.enter_async_context(make_trial(batch.folder.simulator))
            batch = replace(batch, api_key=TRIAL_KEY, base_url=simulator.url)
        folder = batch.folder
        ledger = await Ledger.open(
            folder.ledger, folder.identity, batch.binding, same_account=batch.options.same_account
        )
        stack.push_async_callback(ledger.close)
        return await Session(batch, ledger).run()
