"""`run`: every video of a manifest that is not made yet."""

from __future__ import annotations

from typing import Any

import click

from hedra_batch.cli.options import EPILOG, RunOptions, manifest_argument, run_options


@click.command(epilog=EPILOG)
@manifest_argument
@run_options
def run(**flags: Any) -> int:
    """Make every video of MANIFEST that is not made yet.

    The same line again goes on where the last run was: what is done is skipped, what runs is followed, what is
    missing is fetched. Failed jobs stay failed; see `retry`.
    """
    from hedra_batch.cli.execution import execute

    return execute(RunOptions(**flags))
