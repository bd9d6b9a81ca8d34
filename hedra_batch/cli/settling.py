"""`resolve`: what a person decides about held and overdue jobs."""

from __future__ import annotations

import asyncio
import os

from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.running import prepare
from hedra_batch.cli.selection import make_selected_plan
from hedra_batch.cli.session import Batch
from hedra_batch.cli.site import open_site
from hedra_batch.pipeline.plan import Rules
from hedra_batch.pipeline.settings import RunSettings


def abandon_jobs(options: RunOptions) -> int:
    """Give up the selected jobs, without any request; returns the exit code."""
    os.umask(0o077)
    batch = prepare(options, RunSettings(), os.environ)
    batch.site.require_ledger()
    with batch.folder.lock():
        return asyncio.run(_abandon(batch))


async def _abandon(batch: Batch) -> int:
    async with open_site(batch.site, batch.settings) as (_, ledger):
        plan = make_selected_plan(batch.manifest.jobs, await ledger.standings(), batch.options, Rules())
        for entry in plan.entries:
            if entry.standing:
                await ledger.abandon(await ledger.attempt(entry.standing.attempt_key))
                print(f"{entry.label}: abandoned")
        await ledger.end_run(0)
    return 0
