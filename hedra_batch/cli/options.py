"""Options that several commands share, and what they are given as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hedra_batch.errors import EXIT_CODES
from hedra_batch.money import Money
from hedra_batch.units import Rate, parse_duration_ms, parse_money, parse_rate

if TYPE_CHECKING:
    from hedra_batch.batch.request import PlanRequest
    from hedra_batch.decide import Settlement

F = TypeVar("F", bound=Callable[..., Any])
Q = TypeVar("Q")

EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code:>5}  {meaning}" for code, meaning in EXIT_CODES)


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


#: `10/min`; `50m`, as seconds; `500` or `500 credits`.
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
    #: Error codes of the failed jobs to retry; None for a command that retries none.
    retried_codes: tuple[str, ...] | None = None
    #: What a person has decided about held jobs; None for a command that settles none.
    settlement: Settlement | None = None
    same_account: bool = False
    is_moved: bool = False
    is_quiet: bool = False
    #: How often -v was given.
    verbosity: int = 0

    @property
    def request(self) -> PlanRequest:
        from hedra_batch.batch.request import PlanRequest

        return PlanRequest(self.ids, self.first, self.rebuys_changed, self.retried_codes, self.settlement)


def combine(options: list[Callable[[F], F]]) -> Callable[[F], F]:
    """Make one decorator of several, in the order of `--help`."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


manifest_argument = click.argument("manifest", type=click.Path(path_type=Path))
edition_option = click.option(
    "--edition", default="", metavar="LABEL", help="Make new videos from the same manifest; 'today' is the local date."
)
folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The run folder [default: <name>.out beside the manifest].",
)
simulate_option = click.option(
    "--simulate", "is_simulated", is_flag=True, help="A trial on a simulated API: no key, no network, no cost."
)
ids_option = click.option(
    "--id", "ids", multiple=True, metavar="GLOB", help="Only jobs whose id matches; may be repeated."
)
first_option = click.option(
    "--first", type=click.IntRange(min=1), metavar="N", help="Only the first N jobs of the manifest."
)

workspace_options = combine([folder_option, simulate_option])

base_url_option = click.option("--base-url", metavar="URL", help="The API's address [env: HEDRA_BASE_URL].")
quiet_window_option = click.option(
    "--quiet-window",
    "quiet_window_seconds",
    type=DURATION,
    metavar="TIME",
    help="How long a request with an unknown outcome may still arrive [default: 10m].",
)
binding_options = combine(
    [
        click.option("--same-account", is_flag=True, help="The key was replaced, the account is the same."),
        click.option(
            "--moved", "is_moved", is_flag=True, help="The run folder was moved here and is not used elsewhere."
        ),
    ]
)
loudness_options = combine(
    [
        click.option(
            "-q", "--quiet", "is_quiet", is_flag=True, help="Print nothing on 0, 3 and 75, and the summary otherwise."
        ),
        click.option("-v", "--verbose", "verbosity", count=True, help="Say more; -vv: every request too."),
    ]
)

run_options = combine(
    [
        edition_option,
        ids_option,
        first_option,
        folder_option,
        click.option("--submit", type=RATE, metavar="RATE", help="Submissions, spread evenly: 10/min."),
        click.option("--in-flight", type=click.IntRange(min=1), metavar="N", help="Generations at the server at once."),
        click.option(
            "--budget",
            "budget",
            type=MONEY,
            metavar="CREDITS",
            help="The most that this edition may cost, all its runs together; goes over the manifest's.",
        ),
        click.option("--yes", "is_confirmed", is_flag=True, help="Buy more than 10 new videos without being asked."),
        base_url_option,
        simulate_option,
        click.option(
            "--max-runtime",
            "max_runtime_seconds",
            type=DURATION,
            metavar="TIME",
            help="Stop after 50m; the next run goes on.",
        ),
        quiet_window_option,
        click.option(
            "--rebuy-changed",
            "rebuys_changed",
            is_flag=True,
            help="Buy jobs anew that were edited after they were paid for.",
        ),
        binding_options,
        loudness_options,
    ]
)
