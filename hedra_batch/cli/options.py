"""Options that several commands share, and what they are given as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hedra_batch.errors import UsageError
from hedra_batch.manifest.names import is_standard_input
from hedra_batch.money import Money
from hedra_batch.units import Rate, parse_duration_ms, parse_money, parse_rate

if TYPE_CHECKING:
    from hedra_batch.batch.request import PlanRequest
    from hedra_batch.decide import Settlement

F = TypeVar("F", bound=Callable[..., Any])
Q = TypeVar("Q")


class QuantityType(click.ParamType[Q]):
    """A quantity with its unit, by a parser that raises ValueError with what to write."""

    def __init__(self, name: str, parse: Callable[[str], Q]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Q:
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def parse_count(text: str) -> int:
    """Read a whole number from 1 on."""
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"{text!r} is no count (write a whole number from 1 on)")
    return int(text)


#: `3`; `10/min`; `50m`, as seconds; `500` or `500 credits`.
COUNT = QuantityType("count", parse_count)
RATE = QuantityType("rate", parse_rate)
DURATION = QuantityType("duration", lambda text: parse_duration_ms(text) / 1000)
MONEY = QuantityType("credits", lambda text: parse_money(f"{text} credits" if text.isdecimal() else text))


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The command line of any command; None where it does not say."""

    manifest: Path
    edition: str = ""
    ids: tuple[str, ...] = ()
    first: int | None = None
    folder: Path | None = None
    submit: Rate | None = None
    in_flight: int | None = None
    base_url: str | None = None
    is_simulated: bool = False
    max_runtime_seconds: float | None = None
    quiet_window_seconds: float | None = None
    budget: Money | None = None
    #: Whether a person has said that any number may be bought.
    is_confirmed: bool = False
    rebuys_changed: bool = False
    keeps_changed: bool = False
    #: The code of a plan that is to be bought as it was shown, or not at all.
    plan_code: str = ""
    #: Whether nothing is bought where not all can be.
    is_whole: bool = False
    #: Whether nothing is asked over the network.
    is_offline: bool = False
    #: Error codes of the failed jobs to retry; None for a command that retries none.
    retried_codes: tuple[str, ...] | None = None
    #: What a person has decided about held jobs; None for a command that settles none.
    settlement: Settlement | None = None
    same_account: bool = False
    is_moved: bool = False
    #: Whether a run folder may be begun though another one holds the same, and whether none may be begun at all.
    is_new_folder: bool = False
    is_existing_folder: bool = False
    is_quiet: bool = False
    #: How often -v was given.
    verbosity: int = 0

    def __post_init__(self) -> None:
        if is_standard_input(self.manifest) and self.folder is None:
            raise UsageError("A manifest from the standard input stands nowhere, so name its run folder with --folder.")

    @property
    def request(self) -> PlanRequest:
        from hedra_batch.batch.request import PlanRequest

        return PlanRequest(
            self.ids, self.first, self.rebuys_changed, self.keeps_changed, self.retried_codes, self.settlement
        )


def combine(options: list[Callable[[F], F]]) -> Callable[[F], F]:
    """Make one decorator of several, in the order of `--help`."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


manifest_argument = click.argument("manifest", type=click.Path(path_type=Path))

ids_option = click.option(
    "--id", "ids", multiple=True, metavar="GLOB", help="Only jobs with such an id, as in 'hero--*'; may be repeated."
)
folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The run folder [default: <name>.out beside the manifest, <name>.sim with --simulate].",
)
base_url_option = click.option("--base-url", metavar="URL", help="The API's address [env: HEDRA_BASE_URL].")
budget_option = click.option(
    "--budget",
    "budget",
    type=MONEY,
    metavar="CREDITS",
    help="The most that this edition may cost, all its runs together; replaces the manifest's for an edition.",
)
quiet_window_option = click.option(
    "--quiet-window",
    "quiet_window_seconds",
    type=DURATION,
    metavar="TIME",
    help="How long a request whose answer was lost may still arrive at the server; it is not sent again before that "
    "[default: the manifest's, or 10m].",
)
binding_options = combine(
    [
        click.option("--same-account", is_flag=True, help="The API key is a new one of the same account; say it once."),
        click.option(
            "--moved",
            "is_moved",
            is_flag=True,
            help="The run folder was moved, and is no copy of one in use; say it once.",
        ),
    ]
)
beginning_options = combine(
    [
        click.option(
            "--new-folder",
            "is_new_folder",
            is_flag=True,
            help="Begin a run folder though another one holds the same videos, which are bought again then; once there "
            "is one, it does nothing.",
        ),
        click.option(
            "--existing-folder",
            "is_existing_folder",
            is_flag=True,
            help="For schedules and containers: never begin a run folder, as on a disk that is not mounted.",
        ),
    ]
)
verbose_option = click.option(
    "-v", "--verbose", "verbosity", count=True, help="Write every step to the log; -vv every request too."
)


def edition_option(help_text: str) -> Callable[[F], F]:
    return click.option("--edition", default="", metavar="LABEL", help=f"{help_text}; 'today' is the local date.")


def first_option(help_text: str) -> Callable[[F], F]:
    return click.option("--first", type=COUNT, metavar="N", help=help_text)


def _refuse_both(context: click.Context, param: click.Parameter, value: bool) -> bool:
    """Take one of the two choices about edited jobs."""
    other = {"keeps_changed": "rebuys_changed", "rebuys_changed": "keeps_changed"}[param.name or ""]
    if value and context.params.get(other):
        raise click.UsageError(
            "--keep-changed and --rebuy-changed exclude each other: say one of them, with --id for the jobs it is for."
        )
    return value


def changed_options(keep_help: str, rebuy_help: str) -> Callable[[F], F]:
    """What becomes of jobs that were edited after they may have been paid for."""
    flags = (("--keep-changed", "keeps_changed", keep_help), ("--rebuy-changed", "rebuys_changed", rebuy_help))
    return combine(
        [
            click.option(flag, name, is_flag=True, callback=_refuse_both, help=help_text)
            for flag, name, help_text in flags
        ]
    )


def simulate_option(help_text: str) -> Callable[[F], F]:
    return click.option("--simulate", "is_simulated", is_flag=True, help=help_text)


def quiet_option(help_text: str) -> Callable[[F], F]:
    return click.option("-q", "--quiet", "is_quiet", is_flag=True, help=help_text)


#: For what only looks: which run folder.
look_options = combine([folder_option, simulate_option("Look at a trial: its run folder is <name>.sim.")])

QUIET_RUN = "For cron: print nothing when all is well (exit codes 0, 3 and 75), else only how it ended."

#: What `run` and `retry` share: where and how fast, for how much, and how it is told.
purchase_options = combine(
    [
        folder_option,
        click.option("--submit", type=RATE, metavar="RATE", help="How fast requests are sent, spread evenly: 10/min."),
        click.option("--in-flight", type=COUNT, metavar="N", help="How many videos may be in the making at once."),
        budget_option,
        click.option(
            "--all-or-nothing",
            "is_whole",
            is_flag=True,
            help="Buy nothing where the budget, the balance or the disk does not cover all.",
        ),
        click.option(
            "--yes",
            "is_confirmed",
            is_flag=True,
            help="Buy more than 10 videos without a budget and without a question.",
        ),
        base_url_option,
        simulate_option("A trial on a simulated API, in <name>.sim: no key, no network, no cost."),
        click.option(
            "--max-runtime",
            "max_runtime_seconds",
            type=DURATION,
            metavar="TIME",
            help="Stop after this time, such as 50m; it says then how to go on.",
        ),
        quiet_window_option,
        binding_options,
        beginning_options,
        quiet_option(QUIET_RUN),
        verbose_option,
    ]
)
