"""`fetch`: results that are not on disk as they were when they were done are fetched again, by their ids alone."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from hedra_batch.cli.logs import log_to, make_line_handler
from hedra_batch.cli.options import (
    EPILOG,
    RunOptions,
    base_url_option,
    binding_options,
    folder_option,
    ids_option,
    loudness_options,
    manifest_argument,
    simulate_option,
)
from hedra_batch.errors import EXIT_DONE, EXIT_LOOK, EXIT_SIGNAL_BASE, EXIT_UNFINISHED
from hedra_batch.state import State

if TYPE_CHECKING:
    from hedra_batch.batch.workspace import Workspace
    from hedra_batch.run.settings import RunSettings

logger = logging.getLogger(__name__)


@click.command(epilog=EPILOG)
@manifest_argument
@ids_option
@folder_option
@base_url_option
@simulate_option
@binding_options
@loudness_options
def fetch(**flags: Any) -> int:
    """Get results again by their ids, at no cost: files that were deleted or damaged, or did not arrive yet."""
    import asyncio

    from hedra_batch.cli.workspace import find_workspace
    from hedra_batch.manifest.heading import load_name
    from hedra_batch.run.settings import RunSettings

    os.umask(0o077)
    options = RunOptions(**flags)
    workspace = find_workspace(options, load_name(options.manifest), os.environ)
    workspace.require_ledger()
    return asyncio.run(fetch_results(workspace, options, RunSettings()))


async def fetch_results(workspace: Workspace, options: RunOptions, settings: RunSettings) -> int:
    """Fetch every selected result that is missing, damaged or not fetched yet; returns the exit code."""
    from hedra_batch.batch.session import open_session
    from hedra_batch.batch.verification import list_unfetched
    from hedra_batch.cli.console import Console
    from hedra_batch.cli.signals import Stop

    folder, stop = workspace.folder, Stop()
    async with open_session(workspace, settings) as session:
        secrets, verbosity = [workspace.api_key], options.verbosity
        lines = None if options.is_quiet else make_line_handler(secrets, verbosity)
        with log_to(folder.name_log(), secrets, verbosity, lines), stop.watch(None):
            files = list_unfetched(folder, options.ids)
            logger.info("%s: %d results to fetch", workspace.name, len(files))
            states = await stop.guard(session.fetch(files))
            if states is None or stop.signal_number is not None:
                code = EXIT_SIGNAL_BASE + (stop.signal_number or 0)
            else:
                code = _judge(workspace.name, states, Console(workspace, options).command("resolve"))
            await session.end(code)
            return code


def _judge(name: str, states: Sequence[State], resolve_command: str) -> int:
    """Say how a fetch ended, and return its exit code."""
    fetched = states.count(State.DONE)
    logger.info("%s: %d fetched, %d not now", name, fetched, len(states) - fetched)
    if lost := states.count(State.HELD_LOST):
        logger.warning("%s: results that the server has lost: %d; settle them: %s", name, lost, resolve_command)
        return EXIT_LOOK
    return EXIT_UNFINISHED if fetched < len(states) else EXIT_DONE
