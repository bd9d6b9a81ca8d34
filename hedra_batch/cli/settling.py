"""`resolve`: what a person decides about held and overdue jobs."""

from __future__ import annotations

import asyncio
import os

from hedra_batch.cli.execution import prepare
from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.selection import make_selection, require_selected
from hedra_batch.cli.session import Batch
from hedra_batch.cli.workspace import open_workspace
from hedra_batch.planning.plan import Rules
from hedra_batch.planning.selection import summarize
from hedra_batch.run.settings import RunSettings


def abandon_jobs(options: RunOptions) -> int:
    """Give up the selected jobs, without any request; returns the exit code."""
    os.umask(0o077)
    batch = prepare(options, RunSettings(), os.environ)
    batch.workspace.require_ledger()
    with batch.folder.lock():
        return asyncio.run(_abandon(batch))


async def _abandon(batch: Batch) -> int:
    async with open_workspace(batch.workspace, batch.settings) as (_, ledger):
        selection = make_selection(batch.manifest.jobs, batch.options, Rules())
        summary = await summarize(selection, ledger)
        require_selected(summary, batch.manifest.jobs, batch.options)
        for planned in summary.sent:
            if planned.latest:
                await ledger.abandon(await ledger.attempt(planned.latest.attempt_key))
                print(f"{planned.label}: abandoned")
        await ledger.end_run(0)
    return 0
