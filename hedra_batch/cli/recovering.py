"""`verify` and `fetch`: whether the results are on disk as they were when they were done, and having them so again."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum

from hedra_batch.cli.logs import log_to
from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.place import find_folder
from hedra_batch.cli.selection import matches
from hedra_batch.cli.signals import Stop
from hedra_batch.cli.site import Site, find_site, open_site
from hedra_batch.durable import hash_file
from hedra_batch.errors import (
    EXIT_DONE,
    EXIT_SIGNAL_BASE,
    EXIT_UNFINISHED,
    DamagedFilesError,
    LedgerError,
)
from hedra_batch.folder import RunFolder
from hedra_batch.job import State
from hedra_batch.ledger.identity import Identity
from hedra_batch.ledger.opening import check_pair
from hedra_batch.ledger.reading import ResultFile, open_reader
from hedra_batch.ledger.store import Ledger
from hedra_batch.manifest.loading import load_name
from hedra_batch.pipeline.runner import Runner
from hedra_batch.pipeline.settings import RunSettings
from hedra_batch.progress import Progress

logger = logging.getLogger(__name__)


class Condition(StrEnum):
    """How a result is on disk."""

    GOOD = "good"
    #: The server has it, and no run has fetched it yet.
    READY = "not fetched"
    MISSING = "missing"
    #: Its bytes are not those that were verified.
    DAMAGED = "damaged"


def verify(options: RunOptions) -> int:
    """Check every result against its hash, without network. Raises DamagedFilesError when some are not as they were."""
    folder = find_folder(
        options.manifest, load_name(options.manifest), options.folder, is_simulated=options.is_simulated
    )
    check_pair(folder.ledger, Identity.load(folder.identity))
    found = list(_inspect(folder, options))
    for file, condition in found:
        if condition is not Condition.GOOD:
            print(f"{condition}: {file.label}: {folder.path / file.output}")
    counts = Counter(condition for _, condition in found)
    print(f"{counts[Condition.GOOD]} of {len(found)} results are good", file=sys.stderr)
    if counts[Condition.MISSING] or counts[Condition.DAMAGED]:
        raise DamagedFilesError(
            f"{counts[Condition.MISSING]} files are missing and {counts[Condition.DAMAGED]} damaged. "
            "`hedra-batch fetch` gets them again by their ids, at no cost."
        )
    return EXIT_UNFINISHED if counts[Condition.READY] else EXIT_DONE


def _inspect(folder: RunFolder, options: RunOptions) -> Iterator[tuple[ResultFile, Condition]]:
    with open_reader(folder.ledger) as reader:
        for file in reader.files() if reader else ():
            if matches(file.job_id, options.ids):
                yield file, _find_condition(folder, file)


def _find_condition(folder: RunFolder, file: ResultFile) -> Condition:
    path = folder.path / file.output
    if file.state is State.READY:
        return Condition.READY
    try:
        return Condition.GOOD if hash_file(path) == file.sha256 else Condition.DAMAGED
    except FileNotFoundError:
        return Condition.MISSING
    except IsADirectoryError:
        return Condition.DAMAGED
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror or error}.") from error


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
        verbosity = None if site.options.is_quiet else site.options.verbosity
        with log_to(site.folder.name_log(), [site.api_key], verbosity), stop.watch(None):
            found = _inspect(site.folder, site.options)
            keys = [file.attempt_key for file, condition in found if condition is not Condition.GOOD]
            logger.info("%s: %d results to fetch", site.name, len(keys))
            code = EXIT_SIGNAL_BASE
            unfetched = await stop.guard(_restore(site, ledger, settings, keys))
            if stop.signal_number is not None:
                code += stop.signal_number
            else:
                logger.info("%s: %d fetched, %d not now", site.name, len(keys) - (unfetched or 0), unfetched or 0)
                code = EXIT_UNFINISHED if unfetched else EXIT_DONE
            await ledger.end_run(code)
            return code


async def _restore(site: Site, ledger: Ledger, settings: RunSettings, keys: list[int]) -> int:
    if not keys:
        return 0
    client, media = site.make_clients(settings)
    async with client, media:
        return await Runner(ledger, client, media, site.folder, settings, Progress()).restore(keys)
