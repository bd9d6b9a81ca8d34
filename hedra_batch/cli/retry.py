"""`retry`: new attempts for failed jobs."""

from __future__ import annotations

from typing import Any

import click

from hedra_batch.cli.options import EPILOG, RunOptions, manifest_argument, run_options


@click.command(epilog=EPILOG)
@manifest_argument
@click.option(
    "--error",
    "error_codes",
    multiple=True,
    metavar="CODE",
    help="Only jobs that failed with this code; may be repeated.",
)
@run_options
def retry(error_codes: tuple[str, ...], **flags: Any) -> int:
    """Make a new attempt for the failed jobs of MANIFEST, and only for those."""
    from hedra_batch.cli.execution import execute

    return execute(RunOptions(**flags, retried_codes=error_codes or ("*",)))
