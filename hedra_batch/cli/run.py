"""`run`: every video of a manifest that is not made yet."""

from __future__ import annotations

from typing import Any

import click

from hedra_batch.cli.help import show_examples
from hedra_batch.cli.options import (
    RunOptions,
    changed_options,
    edition_option,
    first_option,
    ids_option,
    manifest_argument,
    purchase_options,
)
from hedra_batch.errors import UsageError


def _read_plan_code(_context: click.Context, _option: click.Parameter, code: str | None) -> str:
    """Take the code of a plan; an empty one, as from a script that found none, would buy whatever there is."""
    if code is not None and not code.strip():
        raise UsageError("--plan needs the code that `hedra-batch plan` has shown, and this one is empty.")
    return code or ""


@click.command(
    epilog=show_examples(
        "hedra-batch run spring.yaml --simulate",
        "hedra-batch run spring.yaml --first 3",
        "hedra-batch run spring.yaml --edition today --budget 500",
    )
)
@manifest_argument
@edition_option("Make all videos anew under this label, beside the others")
@ids_option
@first_option("Only the first N jobs, in the order of the manifest.")
@changed_options(
    "Have the videos of jobs that were edited after they were paid for count for the edited jobs, at no cost.",
    "Buy jobs anew that were edited after they were paid for; with neither flag they wait, and the rest goes on.",
)
@click.option(
    "--plan",
    "plan_code",
    default=None,
    metavar="CODE",
    callback=_read_plan_code,
    help="Buy exactly what `plan` has shown with this code, or nothing.",
)
@purchase_options
def run(**flags: Any) -> int:
    """Make every video of MANIFEST that is not made yet.

    It says first how many videos it buys and for how much. The same line again goes on where the last run was, and pays
    for nothing twice: what is done is skipped, what is being made is followed, what is missing is downloaded. Jobs that
    failed stay failed; `retry` makes them anew. Jobs that were edited after they were paid for wait for
    you to choose.
    """
    from hedra_batch.cli.execution import execute

    return execute(RunOptions(**flags))
