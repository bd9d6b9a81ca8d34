"""The commands, and the one boundary where errors become a sentence and an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from hedra_batch import __version__
from hedra_batch.cli.logs import redact
from hedra_batch.cli.options import (
    DurationType,
    RateType,
    RunOptions,
    base_url_option,
    binding_options,
    edition_option,
    first_option,
    folder_option,
    ids_option,
    loudness_options,
    manifest_argument,
    place_options,
    quiet_window_option,
    run_options,
    simulate_option,
)
from hedra_batch.errors import EXIT_CODES, EXIT_SIGNAL_BASE, HedraBatchError, ProblemsError, UsageError, WriteError
from hedra_batch.units import Rate

EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>5}  {meaning}" for code, meaning in EXIT_CODES)

HELP = """Run a manifest of prompts and images through Hedra's video API, paying for nothing twice.

    hedra-batch run spring.yaml      the same line again is the resume

The API key comes from HEDRA_API_KEY, or from a file named by HEDRA_API_KEY_FILE."""


@click.group(
    help=HELP, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="hedra-batch")
def cli() -> None:
    """Carry the commands."""


@cli.command(epilog=EPILOG)
@manifest_argument
@run_options
def run(**options: Any) -> int:
    """Make every video of MANIFEST that is not made yet.

    The same line again goes on where the last run was: what is done is skipped, what runs is followed, what is
    missing is fetched. Failed jobs stay failed; see `retry`.
    """
    from hedra_batch.cli.execution import execute

    return execute(RunOptions(**options))


@cli.command(epilog=EPILOG)
@manifest_argument
@click.option(
    "--error",
    "error_codes",
    multiple=True,
    metavar="CODE",
    help="Only jobs that failed with this code; may be repeated.",
)
@run_options
def retry(error_codes: tuple[str, ...], **options: Any) -> int:
    """Make a new attempt for the failed jobs of MANIFEST, and only for those."""
    from hedra_batch.cli.execution import execute

    return execute(RunOptions(**options, retried_codes=error_codes or ("*",)))


@cli.command(epilog=EPILOG)
@manifest_argument
@click.option("--recheck", is_flag=True, help="Look for them at the server once more.")
@click.option("--resend-same-id", "resend", is_flag=True, help="Send the same request under the same id once more.")
@click.option("--abandon", is_flag=True, help="Give them up, though they may have been charged.")
@edition_option
@ids_option
@folder_option
@base_url_option
@simulate_option
@quiet_window_option
@binding_options
@loudness_options
def resolve(recheck: bool, resend: bool, abandon: bool, **options: Any) -> int:
    """List the jobs that are held or overdue, with what is known of each, or settle those that --id selects."""
    from hedra_batch.planning.plan import Settlement

    decisions = {Settlement.RECHECK: recheck, Settlement.RESEND: resend, Settlement.ABANDON: abandon}
    chosen = [decision for decision, is_chosen in decisions.items() if is_chosen]
    if len(chosen) > 1:
        raise UsageError("Decide one thing at a time: --recheck, --resend-same-id and --abandon exclude each other.")
    settlement = chosen[0] if chosen else None
    told = RunOptions(**options, settlement=settlement)
    if settlement is None:
        from hedra_batch.cli.inspecting import print_held

        return print_held(told)
    if settlement is not Settlement.RECHECK and not told.ids:
        raise UsageError("Name the jobs to settle with --id; --id '*' is all of them.")
    if settlement is Settlement.ABANDON:
        from hedra_batch.cli.settling import abandon_jobs

        return abandon_jobs(told)
    from hedra_batch.cli.execution import execute

    return execute(told)


@cli.command(epilog=EPILOG)
@manifest_argument
@ids_option
@folder_option
@base_url_option
@simulate_option
@binding_options
@loudness_options
def fetch(**options: Any) -> int:
    """Get results again by their ids, at no cost: files that were deleted or damaged, or did not arrive yet."""
    from hedra_batch.cli.fetch import fetch

    return fetch(RunOptions(**options))


@cli.command()
@manifest_argument
@ids_option
@place_options
def verify(**options: Any) -> int:
    """Check every result against its hash; without network."""
    from hedra_batch.cli.verify import verify

    return verify(RunOptions(**options))


@cli.command()
@manifest_argument
@edition_option
@ids_option
@place_options
@first_option
@click.option("--rebuy-changed", "rebuys_changed", is_flag=True, help="As for run.")
def plan(**options: Any) -> int:
    """Print what a run would do, each job with its reason; without network."""
    from hedra_batch.cli.inspecting import print_plan

    return print_plan(RunOptions(**options))


@cli.command()
@manifest_argument
@place_options
def status(**options: Any) -> int:
    """Print counts and the jobs that are not ended, also while a run is going."""
    from hedra_batch.cli.inspecting import print_status

    return print_status(RunOptions(**options))


@cli.command()
@manifest_argument
@place_options
@click.option(
    "--format", "form", type=click.Choice(["table", "jsonl", "csv"]), help="[default: table on a terminal, else jsonl]"
)
@click.option("--attempts", "has_all_attempts", is_flag=True, help="Every attempt, not only the latest of each job.")
def results(form: str | None, has_all_attempts: bool, **options: Any) -> int:
    """Print what the ledger knows of each job."""
    from hedra_batch.cli.inspecting import print_results

    chosen = form or ("table" if sys.stdout.isatty() else "jsonl")
    return print_results(RunOptions(**options), chosen, has_all_attempts=has_all_attempts)


@cli.command()
def schema() -> int:
    """Print the JSON Schema of a manifest, for editors that complete and check YAML by one."""
    from hedra_batch.cli.inspecting import print_schema

    return print_schema()


@cli.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="0 takes a free one.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="How much faster than the real API.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME=PROBABILITY",
    help="Make it misbehave; `--fault help` lists the names.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the faults and durations.")
@click.option(
    "--credits", type=click.IntRange(min=0), default=10_000, show_default=True, help="The account's balance at first."
)
@click.option(
    "--rate",
    type=RateType(),
    metavar="RATE",
    help="Refuse more submissions than so many a window: 20/s; --speed does not change it.",
)
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Refuse more generations at once.")
@click.option(
    "--generation-time",
    "generation_seconds",
    type=DurationType(),
    default="2m",
    show_default=True,
    metavar="TIME",
    help="What a generation takes, give or take a half; --speed divides it.",
)
@click.option(
    "--eta-noise",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    metavar="SHARE",
    help="How wrong its estimates are at most.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep state, billing.jsonl and requests.jsonl here.",
)
def simulate(faults: tuple[str, ...], rate: Rate | None, **settings: Any) -> int:
    """Serve a simulated Hedra API on this machine, until interrupted."""
    from hedra_batch.cli.simulate import serve

    return serve(faults, rate, **settings)


def main() -> None:
    """Run the command line and exit with its code."""
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
    except click.ClickException as error:
        error.show()
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
        _tell(str(error) if isinstance(error, ProblemsError) else f"hedra-batch: {error}")
        code = error.exit_code
    except OSError as error:
        _drop_stdout()
        _tell(f"hedra-batch: something cannot be written or read: {error}")
        code = WriteError.exit_code
    except Exception:  # noqa: BLE001 - the last boundary: nothing may leave as a bare traceback with exit code 1
        _tell("hedra-batch: internal error. What was sent is in the ledger; please report this:")
        _tell(traceback.format_exc())
        code = HedraBatchError.exit_code
    return code if isinstance(code, int) else 0


def _drop_stdout() -> None:
    """Write the rest nowhere: Python must not complain when it flushes at the end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(text: str) -> None:
    with suppress(OSError):
        print(redact(text, [os.environ.get("HEDRA_API_KEY", "")]), file=sys.stderr)
