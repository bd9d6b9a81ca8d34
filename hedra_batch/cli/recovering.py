"""`fetch`: results that are not on disk as they were when they were done are got again, by their ids alone."""

from __future__ import annotations

import asyncio
import logging
import os

from hedra_batch.cli.logs import log_to
from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.signals import Stop
from hedra_batch.cli.site import Site, find_site, open_site
from hedra_batch.cli.verifying import Condition, inspect_files
from hedra_batch.errors import EXIT_DONE, EXIT_SIGNAL_BASE, EXIT_UNFINISHED
from hedra_batch.ledger.store import Ledger
from hedra_batch.manifest.heading import load_name
from hedra_batch.pipeline.runner import Runner
from hedra_batch.pipeline.settings import RunSettings
from hedra_batch.progress import Progress

logger = logging.getLogger(__name__)


def fetch(options: RunOptions, settings: RunSettings | None = None) -> int:
    """Fetch every result that is missing, damaged or not fetched yet; returns the exit code."""
    os.umask(0o077)
    site = find_site(options, load_name(options.manifest), os.environ)
    site.require_ledger()
    with site.folder.lock():
        return asyncio.run(fetch_results(site, settings or RunSettings()))


async def fetch_results(closed: Site, settings: RunSettings) -> int:
    """Fetch into a folder that is locked; returns the exit code. What stands in a result's place is kept beside it."""
    stop = Stop()
    async with open_site(closed, settings) as (site, ledger):
        options = site.options
        log = log_to(site.folder.name_log(), [site.api_key], options.verbosity, has_lines=not options.is_quiet)
        with log, stop.watch(None):
            found = inspect_files(site.folder, site.options)
            keys = [file.attempt_key for file, condition in found if condition is not Condition.GOOD]
            logger.info("%s: %d results to fetch", site.name, len(keys))
            unfetched = await stop.guard(_restore(site, ledger, settings, keys))
            if unfetched is None or stop.signal_number is not None:
                code = EXIT_SIGNAL_BASE + (stop.signal_number or 0)
            else:
                logger.info("%s: %d fetched, %d not now", site.name, len(keys) - unfetched, unfetched)
                code = EXIT_UNFINISHED if unfetched else EXIT_DONE
            await ledger.end_run(code)
            return code


async def _restore(site: Site, ledger: Ledger, settings: RunSettings, keys: list[int]) -> int:
    if not keys:
        return 0
    client, media = site.make_clients(settings)
    async with client, media:
        return await Runner(ledger, client, media, site.folder, settings, Progress()).restore(keys)
