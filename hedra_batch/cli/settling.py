"""`resolve`: what a person decides about held and overdue jobs."""

from __future__ import annotations

import asyncio
import os

from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.running import prepare
from hedra_batch.cli.selection import make_scope, require_selected
from hedra_batch.cli.session import Batch
from hedra_batch.cli.site import open_site
from hedra_batch.pipeline.plan import Rules
from hedra_batch.pipeline.scope import take_survey
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
        scope = make_scope(batch.manifest.jobs, batch.options, Rules())
        survey = await take_survey(scope, ledger)
        require_selected(survey, batch.manifest.jobs, batch.options)
        for entry in survey.sent:
            if entry.standing:
                await ledger.abandon(await ledger.attempt(entry.standing.attempt_key))
                print(f"{entry.label}: abandoned")
        await ledger.end_run(0)
    return 0
