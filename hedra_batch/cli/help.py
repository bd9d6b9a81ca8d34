"""What is shown to those who ask for help: the first screen, the commands in groups, examples and the exit codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from hedra_batch.errors import EXIT_CODES

#: A call without any command shows this; it fits on a terminal of 80 columns and 24 lines.
FIRST_SCREEN = """\
hedra-batch makes the videos that a file of yours, the manifest, asks for.
It buys them from Hedra's API, and pays for nothing twice.

Start    export HEDRA_API_KEY_FILE=~/.hedra-key     a file that holds your key
         Write a manifest, spring.yaml, with at least these two lines:
             version: 1
             jobs: [{id: sea, prompt: A calm sea at dawn}]
Try      hedra-batch run spring.yaml --simulate     a trial: no key, no cost
Plan     hedra-batch plan spring.yaml               what a run would do: free
Make     hedra-batch run spring.yaml                says the price, then buys
         The same line again goes on where it was, and buys nothing again.
Look     hedra-batch status spring.yaml             how far it is
         hedra-batch results spring.yaml            file, cost, error of each
Repair   hedra-batch retry spring.yaml              failed ones, bought anew
         hedra-batch resolve spring.yaml            what you must decide
         hedra-batch fetch spring.yaml              lost files once more: free
Help     hedra-batch --help                         all commands, exit codes
         hedra-batch run --help                     all options of a command"""

#: Longer than any summary, so that none is cut.
_WHOLE = 1000


class GroupedCommands(click.Group):
    """Lists its commands in groups, by what a person wants, and the exit codes of all of them."""

    def __init__(self, *args: Any, groups: Mapping[str, Sequence[str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._groups = groups

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a manifest in its place is the slip that is made most."""
        if args[0].endswith((".yaml", ".yml")):
            ctx.fail(f"Say first what to do with {args[0]}, as in `hedra-batch plan {args[0]}`.")
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands first: they are what is looked for."""
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's form
        width = max(map(len, self.commands))
        for heading, names in self._groups.items():
            with formatter.section(heading):
                summaries = {name: self.commands[name].get_short_help_str(_WHOLE) for name in names}
                formatter.write_dl([(name.ljust(width), summary) for name, summary in summaries.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's form
        with formatter.section("Exit codes"):
            formatter.write_dl(EXIT_CODES)


def show_examples(*lines: str) -> str:
    """Write the end of a command's help: lines to paste, and where the exit codes are."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines), "", "Exit codes: hedra-batch --help"])
