"""The commands, and the one boundary where errors become a sentence and an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from hedra_batch import __version__
from hedra_batch.cli.help import FIRST_SCREEN, GroupedCommands
from hedra_batch.cli.logs import redact
from hedra_batch.errors import EXIT_SIGNAL_BASE, HedraBatchError, ProblemsError, UsageError, WriteError
from hedra_batch.report.terminal import say

#: The commands by what a person wants. Each has a module of its name beside this one, with its click command in it.
GROUPS = {
    "Make": ("plan", "run"),
    "Look": ("status", "results"),
    "Put right": ("retry", "resolve", "fetch", "verify"),
    "Set up": ("simulate", "schema"),
}
COMMANDS = tuple(name for names in GROUPS.values() for name in names)

HELP = """Make the videos that a manifest of prompts and images asks for, through Hedra's video API, paying for nothing
twice.

\b
    hedra-batch run spring.yaml      the same line again goes on

The API key comes from HEDRA_API_KEY, or from a file that HEDRA_API_KEY_FILE names."""


INTERNAL_ERROR = (
    "This is a fault of the program. Nothing that was sent is lost: it is in the ledger. Please report these lines:"
)


@click.group(
    cls=GroupedCommands,
    groups=GROUPS,
    help=HELP,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="hedra-batch")
@click.pass_context
def cli(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        print(FIRST_SCREEN, file=sys.stderr)
        # In a script, a line without its command must not look like a run that has done everything.
        context.exit(UsageError.exit_code)


for name in COMMANDS:
    cli.add_command(getattr(import_module(f"hedra_batch.cli.{name}"), name))


def main() -> None:
    _mend_streams()
    sys.exit(guard(lambda: cli.main(prog_name="hedra-batch", standalone_mode=False)))


def _mend_streams() -> None:
    """Have both streams, also where cron or a shell has closed them, and never fail on a letter they cannot write."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - it stays open to the end
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def guard(command: Callable[[], Any]) -> int:
    """Turn whatever ends a command into an exit code, with a sentence on stderr."""
    try:
        code = command()
        sys.stdout.flush()
    except click.UsageError as error:
        _print(f"hedra-batch: {describe_usage(error)}")
        code = UsageError.exit_code
    except click.exceptions.Exit as ending:
        code = ending.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = EXIT_SIGNAL_BASE + signal.SIGINT
    except BrokenPipeError:
        _drop_stdout()
        code = EXIT_SIGNAL_BASE + signal.SIGPIPE
    except HedraBatchError as error:
        # Each fault of a file begins with its place, as editors expect it.
        _print(str(error) if isinstance(error, ProblemsError) else f"hedra-batch: {error}")
        code = error.exit_code
    except OSError as error:
        _drop_stdout()
        _print(f"hedra-batch: {describe_os_error(error)}")
        code = WriteError.exit_code
    except Exception:  # noqa: BLE001 - the last boundary: nothing may leave as a bare traceback with exit code 1
        _print(f"hedra-batch: {INTERNAL_ERROR}\n{traceback.format_exc()}")
        code = HedraBatchError.exit_code
    return code if isinstance(code, int) else 0


def describe_usage(error: click.UsageError) -> str:
    """Say what is wrong with a command line, and where its help is."""
    if isinstance(error, click.MissingParameter):
        message = "The manifest is missing, as in spring.yaml."
    else:
        message = error.format_message()
    end = "" if message.endswith((".", "?")) else "."
    return f"{message}{end} Help: `{error.ctx.command_path if error.ctx else 'hedra-batch'} --help`"


def describe_os_error(error: OSError) -> str:
    place = f" ({error.filename})" if error.filename else ""
    return f"Something cannot be read or written: {error.strerror or error}{place}."


def _drop_stdout() -> None:
    """Write the rest nowhere: Python must not complain when it flushes at the end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print(text: str) -> None:
    with suppress(OSError):
        say(redact(text, [os.environ.get("HEDRA_API_KEY", "")]))
