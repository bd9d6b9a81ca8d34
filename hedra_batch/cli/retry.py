"""`retry`: new attempts for failed jobs."""

from __future__ import annotations

from typing import Any

import click

from hedra_batch.cli.help import show_examples
from hedra_batch.cli.options import (
    RunOptions,
    edition_option,
    first_option,
    ids_option,
    manifest_argument,
    purchase_options,
)


@click.command(
    epilog=show_examples(
        "hedra-batch retry spring.yaml --id market", "hedra-batch retry spring.yaml --error internal --first 3"
    )
)
@manifest_argument
@click.option(
    "--error",
    "error_codes",
    multiple=True,
    metavar="CODE",
    help="Only jobs that failed with such a code, as in internal or 'moderation*'; may be repeated.",
)
@edition_option("Only the failed jobs of this edition [default: those without a label]")
@ids_option
@first_option("Only the first N of the failed jobs.")
@purchase_options
def retry(error_codes: tuple[str, ...], **flags: Any) -> int:
    """Buy the failed jobs of MANIFEST anew, and nothing else.

    Each costs its price again. What the moderation refused, or what the model cannot do, fails again until the job is
    edited; once it is edited, `run` makes it too.
    """
    from hedra_batch.cli.execution import execute

    return execute(RunOptions(**flags, retried_codes=error_codes or ("*",)))
