"""`fetch`: results that are not on disk as they were when they were done are fetched again, by their ids alone."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from hedra_batch.cli.help import show_examples
from hedra_batch.cli.logs import log_to, make_line_handler
from hedra_batch.cli.options import (
    RunOptions,
    base_url_option,
    binding_options,
    folder_option,
    ids_option,
    manifest_argument,
    quiet_option,
    simulate_option,
    verbose_option,
)
from hedra_batch.errors import EXIT_DONE, EXIT_LOOK, EXIT_SIGNAL_BASE, EXIT_UNFINISHED
from hedra_batch.state import State

if TYPE_CHECKING:
    from hedra_batch.batch.workspace import Workspace
    from hedra_batch.run.settings import RunSettings

logger = logging.getLogger(__name__)


@click.command(epilog=show_examples("hedra-batch fetch spring.yaml", "hedra-batch fetch spring.yaml --id 'hero--*'"))
@manifest_argument
@ids_option
@folder_option
@base_url_option
@simulate_option("Download videos of a trial: its run folder is <name>.sim.")
@binding_options
@quiet_option("Print nothing when all is well (exit codes 0 and 3), else only how it ended.")
@verbose_option
def fetch(**flags: Any) -> int:
    """Download again what is missing or damaged, at no cost.

    That is every finished video whose file was deleted, was changed, or has not arrived yet. They are asked for by
    their ids, so nothing is bought anew. A damaged file is kept beside the new one, with the ending .old.
    """
    from hedra_batch.batch.verification import require_known
    from hedra_batch.cli.advice import pointing_to_what_there_is
    from hedra_batch.cli.loop import run_on_loop
    from hedra_batch.cli.workspace import find_workspace
    from hedra_batch.manifest.heading import load_name
    from hedra_batch.run.settings import RunSettings

    os.umask(0o077)
    options = RunOptions(**flags)
    workspace = find_workspace(options, load_name(options.manifest), os.environ)
    workspace.require_ledger()
    with pointing_to_what_there_is(options):
        require_known(workspace.folder, options.ids)
    return run_on_loop(fetch_results, workspace, options, RunSettings())


async def fetch_results(workspace: Workspace, options: RunOptions, settings: RunSettings) -> int:
    """Fetch every selected result that is missing, damaged or not fetched yet; returns the exit code."""
    from hedra_batch.batch.session import open_session
    from hedra_batch.batch.verification import list_unfetched
    from hedra_batch.cli.advice import write_command
    from hedra_batch.cli.console import QUIET_CODES, Console
    from hedra_batch.cli.signals import Stop

    console = Console(workspace, options)
    folder, stop = workspace.folder, Stop(lambda: "Nothing is lost. Run the same line again to download the rest.")
    async with open_session(workspace, settings) as session:
        secrets, verbosity = [workspace.api_key], options.verbosity
        lines = None if options.is_quiet else make_line_handler(secrets, verbosity)
        with log_to(folder.name_log(), secrets, verbosity, lines), stop.watch(None):
            files = list_unfetched(folder, options.ids)
            logger.info("%s: to download: %d", workspace.name, len(files))
            states = await stop.guard(session.fetch(files))
            if states is None or stop.signal_number is not None:
                code = EXIT_SIGNAL_BASE + (stop.signal_number or 0)
            else:
                code = _judge(states)
                if not (options.is_quiet and code in QUIET_CODES):
                    for line in _write_outcome(workspace.name, states, write_command(options, "resolve")):
                        console.say(line)
            await session.end(code)
            return code


def _write_outcome(name: str, states: Sequence[State], resolve_command: str) -> Iterator[str]:
    from hedra_batch.report.summary import count_videos

    counts = Counter(states)
    lost = counts.pop(State.HELD_LOST, 0)
    fetched = counts.pop(State.DONE, 0)
    yield f"{name}: {count_videos(fetched)} downloaded." if states else f"{name}: nothing to download."
    if counts:
        yield f"{count_videos(counts.total())} could not be downloaded now: run the same line again later."
    if lost:
        yield f"{count_videos(lost)} lost at the server. What you can do, and what it costs:"
        yield f"    {resolve_command}"


def _judge(states: Sequence[State]) -> int:
    if State.HELD_LOST in states:
        return EXIT_LOOK
    return EXIT_UNFINISHED if any(state is not State.DONE for state in states) else EXIT_DONE
