"""`plan`: what a run would do and cost. No network library, unless there is a key to ask for prices with."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from hedra_batch.cli.help import show_examples
from hedra_batch.cli.options import (
    RunOptions,
    base_url_option,
    budget_option,
    changed_options,
    edition_option,
    first_option,
    folder_option,
    ids_option,
    manifest_argument,
    simulate_option,
)
from hedra_batch.errors import (
    EXIT_DONE,
    EXIT_LOOK,
    EXIT_UNFINISHED,
    ConfigurationError,
    ForbiddenError,
    HedraBatchError,
    KeyRefusedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hedra_batch.batch.preview import ListedJob, Market, Preview
    from hedra_batch.cli.advice import Advice, Failures
    from hedra_batch.folder import RunFolder
    from hedra_batch.manifest.loading import Manifest
    from hedra_batch.money import Money
    from hedra_batch.planning.coverage import Shortfall
    from hedra_batch.planning.quote import Quote
    from hedra_batch.units import Limits


@click.command(epilog=show_examples("hedra-batch plan spring.yaml", "hedra-batch plan spring.yaml --edition today"))
@manifest_argument
@edition_option("Plan a run of this edition")
@ids_option
@first_option("Only the first N jobs, in the order of the manifest.")
@changed_options(
    "Plan as for a run that keeps the videos of jobs which were edited after they were paid for.",
    "Plan as for a run that buys jobs anew which were edited after they were paid for.",
)
@folder_option
@budget_option
@base_url_option
@simulate_option("Plan a trial: its run folder is <name>.sim.")
@click.option("--offline", "is_offline", is_flag=True, help="Ask the API for nothing, so that there are no prices.")
@click.option(
    "--exit-code", "tells_by_code", is_flag=True, help="End with 0: nothing to buy, 3: something, 4: you must look."
)
def plan(tells_by_code: bool, **flags: Any) -> int:
    """Show what a run would do and cost, job by job.

    Nothing is bought. A run buys what is new, follows what is running or unknown, and leaves the others alone. With an
    API key, prices and balance are asked for. `run --plan CODE` buys exactly what was shown with a code, or nothing.
    """
    from hedra_batch.batch.preview import Preview
    from hedra_batch.cli.advice import pointing_to_what_there_is
    from hedra_batch.cli.workspace import apply_budget, check_folder, find_edition, find_folder, follow_folder
    from hedra_batch.ledger.opening import open_reader
    from hedra_batch.manifest.loading import load_manifest
    from hedra_batch.report.terminal import say

    options = RunOptions(**flags)
    options = replace(options, edition=find_edition(options.edition))
    manifest = load_manifest(options.manifest, edition=options.edition)
    folder = find_folder(options, manifest.name)
    check_folder(folder)
    options = follow_folder(options, folder, os.environ)
    market, obstacle, refusal = _ask_market(options)
    with pointing_to_what_there_is(options), open_reader(folder.ledger) as reader:
        budgets = apply_budget(manifest.budgets, options)
        preview = Preview(manifest, options.request, reader, budgets, market)
        if _is_put_back(folder):
            say("This run folder was put back from a backup, or moved. A run asks the server first what was bought.")
        failures: dict[Advice, Failures] = {}
        sys.stdout.writelines(_write_jobs(preview, failures, manifest.jobs.edition))
        sys.stdout.writelines(f"waiting  {job_id}  ({what})\n" for job_id, what in preview.list_waiting())
        sys.stdout.flush()
        preview.check_models()
        refusal = refusal or _find_refusal(options, manifest)
        shortfalls = preview.find_shortfalls(folder)
        outcome = _write_outcome(options, preview, failures, shortfalls, manifest.limits, obstacle, refusal)
        for line in (*manifest.warnings, *manifest.notes, *outcome):
            say(line)
    return _find_code(preview, shortfalls, refusal) if tells_by_code else EXIT_DONE


def _ask_market(options: RunOptions) -> tuple[Market | None, str, str]:
    """Ask for prices where that is possible; else say why there are none, and whether a run would stop for that."""
    if options.is_offline:
        return None, "No prices: --offline.", ""
    if options.is_simulated:
        return None, "No prices: the simulated API of a trial is there only while it runs.", ""
    from hedra_batch.cli.keys import find_key
    from hedra_batch.cli.workspace import find_base_url

    try:
        key, base_url = find_key(os.environ), find_base_url(options, os.environ)
        from hedra_batch.batch.pricing import ask_market
        from hedra_batch.cli.loop import run_on_loop
        from hedra_batch.run.wiring import ApiAccount

        return run_on_loop(ask_market, ApiAccount(base_url, key)), "", ""
    except HedraBatchError as error:
        refusal = "the API does not take the key." if isinstance(error, KeyRefusedError | ForbiddenError) else ""
        hint = " --offline asks nothing." if not isinstance(error, ConfigurationError) else ""
        return None, f"No prices: {' '.join(str(error).split()).rstrip('.')}.{hint}", refusal


def _find_refusal(options: RunOptions, manifest: Manifest) -> str:
    """Say why a run would go on with no folder, and begin none, where that is so; without a key nobody can tell."""
    from hedra_batch.cli.keys import has_key
    from hedra_batch.cli.workspace import find_workspace

    if not (options.is_simulated or has_key(os.environ)):
        return ""
    from hedra_batch.batch.memory import read_last_run
    from hedra_batch.batch.neighbours import check_beginning
    from hedra_batch.ledger.identity import Identity

    try:
        workspace = find_workspace(options, manifest.name, os.environ)
        check_beginning(workspace, manifest.jobs, options.request)
        read_last_run(workspace)
        if identity := Identity.load(workspace.folder.identity):
            identity.adopt(workspace.binding, workspace.folder.path, same_account=False, is_moved=False)
    except ConfigurationError as error:
        return str(error)
    return ""


def _is_put_back(folder: RunFolder) -> bool:
    from hedra_batch.ledger.identity import Identity
    from hedra_batch.ledger.opening import may_be_older

    identity = Identity.load(folder.identity)
    return identity is not None and folder.ledger.exists() and may_be_older(folder.ledger, identity)


def _find_code(preview: Preview, shortfalls: Sequence[Shortfall], refusal: str) -> int:
    if preview.needs_person or refusal or any(shortfall.is_total for shortfall in shortfalls):
        return EXIT_LOOK
    is_open = preview.summary.bought or preview.unknown or any(preview.list_waiting())
    return EXIT_UNFINISHED if is_open else EXIT_DONE


def _write_jobs(preview: Preview, failures: dict[Advice, Failures], edition: str) -> Iterator[str]:
    """Write all jobs, and note which of them failed for good."""
    from hedra_batch.cli.advice import Failures, advise
    from hedra_batch.planning.plan import Reason

    for listed in preview.list_jobs():
        latest = listed.planned.latest
        if listed.planned.reason is Reason.FAILED and latest:
            failures.setdefault(advise(latest), Failures()).add(latest)
        yield _write_job(listed, edition)


def _write_job(listed: ListedJob, edition: str) -> str:
    """Write a job on a line: its reason, and what a person may want to know beside it."""
    from hedra_batch.report.edits import describe_change

    planned, notes = listed.planned, []
    if planned.formerly:
        notes.append(f"renamed from {planned.formerly}")
    if planned.is_bought and planned.bought_number > 1:
        notes.append(f"attempt {planned.bought_number}")
    if planned.is_kept:
        notes.append("edited; its video is kept for it")
    if planned.is_beside:
        notes.append("bought for an earlier wording and still followed")
    if listed.change:
        notes.append(describe_change(listed.change.sent, listed.change.wanted))
    if planned.job is None and not planned.is_beside:
        notes.append("left the manifest" if planned.identity[0] == edition else "of another edition")
    words = f"{planned.reason:8} {planned.label}"
    if listed.price:
        words += f"  {listed.price}"
    return f"{words}  ({'; '.join(notes)})\n" if notes else f"{words}\n"


def _write_outcome(
    options: RunOptions,
    preview: Preview,
    failures: Mapping[Advice, Failures],
    shortfalls: Sequence[Shortfall],
    limits: Limits,
    obstacle: str,
    refusal: str,
) -> Iterator[str]:
    """Say what it comes to, what covers it, and what a run leaves to a person."""
    from hedra_batch.units import write_duration

    summary, quote = preview.summary, preview.quote
    said = quote.describe_count() if obstacle else quote.describe()
    yield ", ".join([said, *summary.describe_rest()])
    yield from _write_hints(options, preview, failures)
    if obstacle:
        yield obstacle
    for account in preview.read_accounts():
        yield f"{account.describe()}"
    if preview.unknown:
        yield _write_unknown(preview.unknown)
    if refusal:
        yield f"A run refuses this now: {refusal}"
    if not quote.count:
        yield "to buy: nothing"
        return
    yield from _write_coverage(preview, shortfalls, quote, is_priced=not obstacle)
    seconds = write_duration(preview.estimate_seconds(limits))
    yield f"It takes about {seconds} at this pace ({limits.submit}, {limits.in_flight} at once)."
    yield _write_sum(quote, is_priced=not obstacle)
    if not refusal and not any(shortfall.is_total for shortfall in shortfalls):
        yield from _write_purchase(options, preview, is_covered=not shortfalls)


def _write_purchase(options: RunOptions, preview: Preview, *, is_covered: bool) -> Iterator[str]:
    """Say how exactly this is bought, and how as much of it as is covered."""
    from hedra_batch.cli.advice import repeat_choices, repeat_selection, write_command

    selection = [*repeat_selection(options), *repeat_choices(options)]
    if not is_covered:
        yield "To buy as much as is covered:"
        yield f"    {write_command(options, 'run', *selection)}"
    condition = "" if is_covered else ", once all of it is covered"
    yield f"code: {preview.code}. To buy exactly this, or nothing{condition}:"
    yield f"    {write_command(options, 'run', *selection, '--plan', preview.code)}"


def _write_unknown(prices: Sequence[Money | None]) -> str:
    """Say what may be charged for beside what is bought: the same requests again, which the budgets count already."""
    known = sum(price.amount for price in prices if price)
    cost = f"up to {known:,} credits, which the budgets count already" if None not in prices else "at prices not known"
    videos = "1 video" if len(prices) == 1 else f"{len(prices)} videos"
    return f"{videos} of unknown outcome: sent again if the server has none of them, {cost}."


def _write_coverage(
    preview: Preview, shortfalls: Sequence[Shortfall], quote: Quote, *, is_priced: bool
) -> Iterator[str]:
    """Say what budget, balance and disk cover, where that is known."""
    from hedra_batch.planning.coverage import Resource

    short = {shortfall.resource: shortfall for shortfall in shortfalls}
    known = {
        Resource.BUDGET: is_priced and preview.has_budget,
        Resource.BALANCE: quote.balance is not None and not quote.unpriced and quote.total <= quote.balance.amount,
        Resource.DISK: False,
    }
    for resource, is_known in known.items():
        if resource in short:
            yield short[resource].describe()
        elif is_known:
            yield f"the {resource} covers all {quote.count}"


def _write_sum(quote: Quote, *, is_priced: bool) -> str:
    """Say it as `to buy: 12 videos, about 360 of 9,120 credits`."""
    searched = "at most " if quote.searched else ""
    words = f"to buy: {searched}{quote.count} video{'' if quote.count == 1 else 's'}"
    if not is_priced:
        return f"{words}, prices not known"
    balance = "balance unknown" if quote.balance is None else f"balance {quote.balance.amount:,} credits"
    if quote.unpriced == quote.count:
        return f"{words}, price unknown, {balance}"
    if quote.unpriced:
        return f"{words}, about {quote.total:,} credits and {quote.unpriced} of unknown price, {balance}"
    if quote.balance is None:
        return f"{words}, about {quote.total:,} credits, {balance}"
    return f"{words}, about {quote.total:,} of {quote.balance.amount:,} credits"


def _write_hints(options: RunOptions, preview: Preview, failures: Mapping[Advice, Failures]) -> Iterator[str]:
    """Say what a run leaves to a person."""
    from hedra_batch.cli.advice import select_edited, write_command, write_failures
    from hedra_batch.planning.plan import Reason

    summary = preview.summary
    yield from summary.describe_twins()
    if summary.edits.count:
        named = tuple(job.id for job, _ in summary.edits.first)
        edited = select_edited(options, summary.edits.count, named)
        yield "Jobs marked as changed were edited after they were paid for. They wait, and the rest goes on."
        yield "To keep their videos for the edited jobs, 0 credits; undoing the edits costs nothing either:"
        yield f"    {write_command(options, 'run', *edited, '--keep-changed')}"
        yield "To buy them anew, each at its price; the files that are here stay:"
        yield f"    {write_command(options, 'run', *edited, '--rebuy-changed')}"
    if failures:
        yield "A run leaves failed jobs alone."
        yield from write_failures(options, failures)
    if summary.reasons[Reason.HELD]:
        yield "Held jobs wait for your decision. What you can do, and what it costs:"
        yield f"    {write_command(options, 'resolve')}"
