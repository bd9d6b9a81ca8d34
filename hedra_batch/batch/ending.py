"""How a run of a batch ended: judged once, and written into the ledger and summary.json so that both agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from hedra_batch import __version__
from hedra_batch.batch.funds import Funds
from hedra_batch.batch.session import Session
from hedra_batch.clock import CLOCK
from hedra_batch.errors import HedraBatchError, WriteError
from hedra_batch.inputs import PriceKey
from hedra_batch.ledger.budget import Budget
from hedra_batch.ledger.events import Guard
from hedra_batch.ledger.opening import open_reader
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.ledger.records import AttemptEnd, LatestAttempt
from hedra_batch.money import Money
from hedra_batch.planning.edits import Edits, describe_edits
from hedra_batch.planning.quote import Quote
from hedra_batch.planning.result import RunResult, find_overdue_instant, judge
from hedra_batch.planning.selection import Selection

#: What summary.json counts.
COUNTED = ("done", "failed", "running", "held", "unknown", "new", "overdue", "changed")


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why a run ended before everything was done."""

    #: Why it could not go on.
    stopped_by: HedraBatchError | None = None
    #: Why it submitted nothing more, though it went on.
    closed_by: HedraBatchError | None = None
    signal_number: int | None = None


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """How a run ended, as the ledger and summary.json have it."""

    result: RunResult
    reasons: Reasons
    #: The first jobs that are held or failed, each with what the ledger says of why.
    troubles: Sequence[tuple[LatestAttempt, AttemptEnd]] = field(default_factory=list)
    funds: Funds = field(default_factory=Funds)
    #: The prices of what the budget had no room for; None where one is not known.
    left_out: Sequence[Money | None] = ()
    #: The jobs that were edited after they may have been paid for.
    edits: Edits = field(default_factory=Edits)


async def record_end(
    session: Session,
    name: str,
    edition: str,
    selection: Selection,
    reasons: Reasons,
    price: Callable[[Mapping[PriceKey, int]], Quote],
) -> FinishedRun:
    """Judge the selected jobs as they stand now, and write it down, whatever ended the run.

    What cannot be written becomes the reason of the end. Raises LedgerError where the ledger cannot even be read.
    """
    folder = session.workspace.folder
    # Through a reader of its own, since the ledger itself may be what failed.
    with open_reader(folder.ledger) as reader:
        result = _judge(session, selection, reader, reasons)
        latest_attempts = [*result.first_held, *result.first_failed] if reader else []
        troubles = [(latest, reader.read_end(latest.attempt_key)) for latest in latest_attempts if reader]
        funds = _read_funds(session, {edition, *(latest.edition for latest in latest_attempts)}, reader)
        edits = describe_edits(result.edits, price(result.edits.price_keys), reader) if reader else Edits()
        try:
            await session.end(result.exit_code)
            folder.write_summary(_summarize(session, name, edition, result, reader))
        except WriteError as error:
            reasons = replace(reasons, stopped_by=reasons.stopped_by or error)
            result = _judge(session, selection, reader, reasons)
            # Whichever of the two can still be written says how the run really ended.
            with suppress(WriteError):
                await session.end(result.exit_code)
            with suppress(WriteError):
                folder.write_summary(_summarize(session, name, edition, result, reader))
    return FinishedRun(result, reasons, troubles, edits=edits, funds=funds)


def _read_funds(session: Session, editions: Iterable[str], reader: LedgerReader | None) -> Funds:
    budget, month = Budget(session.settings.budgets), session.ledger.month
    return Funds({each: list(budget.read_accounts(reader, each, month, Guard.SEND)) for each in editions})


def _judge(session: Session, selection: Selection, reader: LedgerReader | None, reasons: Reasons) -> RunResult:
    return judge(
        selection.review(reader),
        overdue_before=find_overdue_instant(session.settings.clock),
        stopped_by=reasons.stopped_by,
        closed_by=reasons.closed_by,
        signal_number=reasons.signal_number,
        waiting=selection.count_waiting(),
    )


def _summarize(
    session: Session, name: str, edition: str, result: RunResult, reader: LedgerReader | None
) -> dict[str, Any]:
    return {
        "manifest": name,
        "edition": edition,
        "exit_code": result.exit_code,
        "counts": {counted: result.counts[counted] for counted in COUNTED},
        "credits": reader.sum_credits(edition) if reader else {},
        "run": session.ledger.run_number,
        "started_at": session.started_at,
        "ended_at": CLOCK.now_text(),
        "version": __version__,
    }
