"""`fetch`: results that are not on disk as they were when they were done are got again, by their ids alone."""

from __future__ import annotations

import asyncio
import logging
import os

from hedra_batch.cli.logs import log_to
from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.signals import Stop
from hedra_batch.cli.verify import Condition, inspect_files
from hedra_batch.cli.workspace import Workspace, find_workspace, open_workspace
from hedra_batch.errors import EXIT_DONE, EXIT_SIGNAL_BASE, EXIT_UNFINISHED
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.manifest.heading import load_name
from hedra_batch.progress import Progress
from hedra_batch.run.runner import Runner
from hedra_batch.run.settings import RunSettings

logger = logging.getLogger(__name__)


def fetch(options: RunOptions, settings: RunSettings | None = None) -> int:
    """Fetch every result that is missing, damaged or not fetched yet; returns the exit code."""
    os.umask(0o077)
    workspace = find_workspace(options, load_name(options.manifest), os.environ)
    workspace.require_ledger()
    with workspace.folder.lock():
        return asyncio.run(fetch_results(workspace, settings or RunSettings()))


async def fetch_results(closed: Workspace, settings: RunSettings) -> int:
    """Fetch into a folder that is locked; returns the exit code. What stands in a result's place is kept beside it."""
    stop = Stop()
    async with open_workspace(closed, settings) as (workspace, ledger):
        options = workspace.options
        log = log_to(
            workspace.folder.name_log(), [workspace.api_key], options.verbosity, has_lines=not options.is_quiet
        )
        with log, stop.watch(None):
            found = inspect_files(workspace.folder, workspace.options)
            keys = [file.attempt_key for file, condition in found if condition is not Condition.GOOD]
            logger.info("%s: %d results to fetch", workspace.name, len(keys))
            unfetched = await stop.guard(_restore(workspace, ledger, settings, keys))
            if unfetched is None or stop.signal_number is not None:
                code = EXIT_SIGNAL_BASE + (stop.signal_number or 0)
            else:
                logger.info("%s: %d fetched, %d not now", workspace.name, len(keys) - unfetched, unfetched)
                code = EXIT_UNFINISHED if unfetched else EXIT_DONE
            await ledger.end_run(code)
            return code


async def _restore(workspace: Workspace, ledger: Ledger, settings: RunSettings, keys: list[int]) -> int:
    if not keys:
        return 0
    client, media = workspace.make_clients(settings)
    async with client, media:
        return await Runner(ledger, client, media, workspace.folder, settings, Progress()).restore(keys)
