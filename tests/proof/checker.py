"""Judges a run folder against the simulated service's own records: whether each charge is paid once and never lost.

It reads files and rows by itself and shares no SQL with the program. Ten points, one function each; some can only be
asked once the faults have stopped and the run was repeated until it does nothing more.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hedra_batch.simulator.account import Asset, BillingRecord
from hedra_batch.simulator.movie import make_movie
from hedra_batch.simulator.recording import RequestRecord
from hedra_batch.simulator.refusals import magic_word
from hedra_batch.simulator.requests import read_video_request
from hedra_batch.state import TRANSITIONS, State

#: Written out here, so that a wrong table of the program is found too.
FINAL = frozenset({"DONE", "REFUSED", "FAILED", "ABANDONED"})
PUBLIC = {
    **dict.fromkeys(("NEW", "RESERVED"), "new"),
    **dict.fromkeys(("SENDING", "RESENDING", "RESENDING_ORDERED"), "unknown"),
    **dict.fromkeys(("UNKNOWN", "RESEND_DUE", "RESEND_ORDERED"), "unknown"),
    **dict.fromkeys(("ACCEPTED", "OVERDUE", "READY"), "running"),
    **dict.fromkeys(("REFUSED", "FAILED", "ABANDONED"), "failed"),
    "DONE": "done",
    **dict.fromkeys(("HELD_UNPROVEN", "HELD_UNKNOWN", "HELD_MISSING", "HELD_LOST"), "held"),
}
HELD = frozenset(state for state, public in PUBLIC.items() if public == "held")
#: States that a send begins with.
SENDING = ("SENDING", "RESENDING", "RESENDING_ORDERED")
#: Exit codes of runs that leave jobs unsent: out of credits, and the budget.
CLOSED_CODES = (5, 6)
#: No results: what is being written, and what was moved aside.
NO_RESULT = re.compile(r"\.(part|old\d*)$")
SIGNATURE = re.compile(rb"Signature=[0-9A-Za-z%+/_-]")

Row = sqlite3.Row


@dataclass(frozen=True)
class Evidence:
    """What a run folder holds, and what the service wrote down."""

    folder: Path
    billing: Sequence[BillingRecord]
    requests: Sequence[RequestRecord]
    exit_code: int | None = None
    budget: int | None = None
    secrets: Sequence[str] = ()
    #: The ledger's rows, all empty where there is no ledger yet.
    attempts: Sequence[Row] = ()
    history: Sequence[Row] = ()
    runs: Sequence[Row] = ()
    spending: Sequence[Row] = ()

    @cached_property
    def charges(self) -> list[BillingRecord]:
        return [record for record in self.billing if record.kind == "charge"]

    @cached_property
    def refunded(self) -> set[str]:
        return {record.generation_id for record in self.billing if record.kind == "refund"}

    @cached_property
    def visits(self) -> dict[str, RequestRecord]:
        return {visit.request_id: visit for visit in self.requests}

    @cached_property
    def rows_by_id(self) -> dict[str, Row]:
        """The attempts by every id that they have at the service: the one that was asked for, and the one they got."""
        return {generation_id: row for row in self.attempts for generation_id in list_ids(row)}

    @cached_property
    def steps(self) -> dict[int, list[Row]]:
        """The history of each attempt."""
        steps = defaultdict(list)
        for step in self.history:
            steps[step["attempt_key"]].append(step)
        return steps

    @cached_property
    def latest(self) -> list[Row]:
        return [row for row in self.attempts if row["latest"]]

    @cached_property
    def summary(self) -> dict[str, Any]:
        path = self.folder / "summary.json"
        return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}

    @property
    def final_code(self) -> int | None:
        return self.summary.get("exit_code") if self.exit_code is None else self.exit_code

    def find_row(self, charge: BillingRecord) -> Row | None:
        """Find the attempt that a charge is for; a service that ignores ids is asked what the request wanted."""
        visit = self.visits.get(charge.request_id)
        wanted = visit.generation_id if visit else None
        return self.rows_by_id.get(charge.generation_id) or self.rows_by_id.get(wanted or "")

    def find_step(self, row: Row, states: Iterable[str]) -> Row | None:
        """Find the first time that an attempt entered one of the states."""
        return next((step for step in self.steps[row["attempt_key"]] if step["to_state"] in states), None)


def read_ledger(path: Path) -> dict[str, list[Row]]:
    """Read the tables, also while a run is writing; none where a run was killed before it had made them."""
    if not path.exists():
        return {}
    try:
        return read_tables(f"{path.absolute().as_uri()}?mode=ro")
    except sqlite3.OperationalError:
        # What a crash left half-way in a rollback journal can only be read once it is rolled back: in a copy.
        with TemporaryDirectory() as copy:
            for part in path.parent.glob(f"{path.name}*"):
                shutil.copy(part, copy)
            return read_tables((Path(copy) / path.name).as_uri())


def read_tables(address: str) -> dict[str, list[Row]]:
    with closing(sqlite3.connect(address, uri=True, timeout=5)) as connection:
        connection.row_factory = Row
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            return {}
        connection.execute("BEGIN")
        return {
            "attempts": connection.execute("SELECT * FROM attempts ORDER BY edition, job_id, number").fetchall(),
            "history": connection.execute("SELECT rowid AS place, * FROM history ORDER BY rowid").fetchall(),
            "runs": connection.execute("SELECT * FROM runs ORDER BY number").fetchall(),
            "spending": connection.execute("SELECT * FROM spending").fetchall(),
        }


def list_ids(row: Row) -> set[str]:
    wanted = json.loads(row["body"])["generation_id"] if row["body"] else None
    return {each for each in (row["request_key"], row["remote_id"], wanted) if each}


def name(row: Row) -> str:
    return f"{row['edition']}/{row['job_id']} attempt {row['number']} ({row['state']})"


def is_endless(row: Row) -> bool:
    return magic_word(json.loads(row["fields"])["prompt"]) == "endless"


def find_double_charges(evidence: Evidence) -> Iterator[str]:
    """Charges per generation, and per attempt of a job, are one at most."""
    by_generation = Counter(charge.generation_id for charge in evidence.charges)
    rows = [row for charge in evidence.charges if (row := evidence.find_row(charge))]
    by_attempt = Counter(name(row) for row in rows)
    for what, count in [*by_generation.items(), *by_attempt.items()]:
        if count > 1:
            yield f"{what} was charged {count} times"


def find_early_attempts(evidence: Evidence) -> Iterator[str]:
    """A further attempt is first sent after the record that the one before has ended."""
    first_posts: dict[str, float] = {}
    for visit in evidence.requests:
        wanted = visit.generation_id or ""
        first_posts[wanted] = min(visit.at, first_posts.get(wanted, visit.at))
    for before, row in pairwise(evidence.attempts):
        if (before["edition"], before["job_id"]) == (row["edition"], row["job_id"]):
            end, send = evidence.find_step(before, FINAL), evidence.find_step(row, SENDING)
            if send and not (end and end["place"] < send["place"]):
                yield f"{name(row)} was begun to be sent before the end of {name(before)} was written down"
            posts = [first_posts[wanted] for wanted in list_ids(row) if wanted in first_posts]
            # What a lost ledger had sent is recorded anew in the order in which it is found.
            if send and end and posts and min(posts) < to_seconds(end["at"]):
                yield f"{name(row)} reached the service before the end of {name(before)}"


def to_seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def find_unrecorded_charges(evidence: Evidence) -> Iterator[str]:
    """Every charge has a row that says that it may have been sent, and not that it was refused."""
    for charge in evidence.charges:
        row = evidence.find_row(charge)
        if row is None:
            # On a service that ignores ids the request tells which one it was, once it is answered.
            if charge.request_id in evidence.visits:
                yield f"{charge.generation_id} ({charge.prompt!r}) was charged and is in no row of the ledger"
        elif row["state"] == "REFUSED":
            yield f"{name(row)} was charged and stands as refused"
        elif row["state"] in ("NEW", "RESERVED"):
            yield f"{name(row)} was charged and stands as never sent"


def find_lost_results(evidence: Evidence) -> Iterator[str]:
    """Every generation that was paid for is here with the bytes that the service has, or waits for a person."""
    for charge in evidence.charges:
        row = evidence.find_row(charge)
        if row is None or charge.generation_id in evidence.refunded or is_endless(row):
            continue
        if row["state"] == "DONE":
            path = evidence.folder / row["output"]
            if path.is_file() and path.read_bytes() != make_expected_movie(row, charge):
                yield f"{name(row)}: {row['output']} has other bytes than the service"
        elif row["state"] not in (*HELD, "ABANDONED") or not row["error"]:
            yield f"{name(row)} was paid for, and is neither done nor held with a reason"


def make_expected_movie(row: Row, charge: BillingRecord) -> bytes:
    """Make the movie anew from the request that was sent, or from the inputs where a lost ledger took it along."""
    fields = json.loads(row["fields"])
    inputs = {each: fields[each] for each in ("aspect_ratio", "resolution", "duration_ms") if each in fields}
    request = {"generated_video_inputs": {"text_prompt": fields["prompt"], **inputs}}
    if row["body"]:
        request = json.loads(row["body"])
    order = read_video_request(request, lambda asset_id: Asset(asset_id, "image", "", 0.0))
    return make_movie(order.width, order.height, order.duration_ms, charge.generation_id)


def find_bad_files(evidence: Evidence) -> Iterator[str]:
    """Every row that is done has its file, whole, and every file has its row."""
    rows = {row["output"]: row for row in evidence.attempts if row["output"]}
    for output, row in rows.items():
        if row["state"] == "DONE":
            yield from describe_damage(evidence.folder / output, row)
    for path in evidence.folder.joinpath("videos").rglob("*"):
        output = path.relative_to(evidence.folder).as_posix()
        # A kill between the rename and the commit leaves the file in place and its row in READY.
        has_row = output in rows and rows[output]["state"] in ("DONE", "READY")
        if path.is_file() and not has_row and not NO_RESULT.search(output):
            yield f"{output} is there and no row has it"


def describe_damage(path: Path, row: Row) -> Iterator[str]:
    if not path.is_file():
        yield f"{name(row)} has no file {row['output']}"
        return
    content = path.read_bytes()
    if (len(content), hashlib.sha256(content).hexdigest()) != (row["bytes"], row["sha256"]):
        yield f"{name(row)}: {row['output']} is not the file that was verified"


def find_overspending(evidence: Evidence) -> Iterator[str]:
    """What an edition has spent and reserved was within its budget after every change of state."""
    if evidence.budget is None:
        return
    rows = {row["attempt_key"]: row for row in evidence.attempts}
    prices: dict[str, dict[int, int]] = defaultdict(dict)
    for step in evidence.history:
        row = rows[step["attempt_key"]]
        price = row["estimated"] if row["charged"] is None else row["charged"]
        is_counted = step["to_state"] not in ("NEW", "REFUSED")
        prices[row["edition"]][step["attempt_key"]] = (price or 0) * is_counted
        if (total := sum(prices[row["edition"]].values())) > evidence.budget:
            yield f"{total} credits of {evidence.budget} were spent or reserved with {name(row)}, {step['to_state']}"
            return
    billed: Counter[str] = Counter()
    for charge in evidence.charges:
        charged_row = evidence.find_row(charge)
        billed[charged_row["edition"] if charged_row else ""] += charge.credits
    for edition, total in billed.items():
        if total > evidence.budget:
            yield f"the service charged {total} credits of {evidence.budget} for the edition {edition!r}"


def find_wrong_sums(evidence: Evidence) -> Iterator[str]:
    """What a budget is checked against agrees with the rows that it is the sum of."""
    told: dict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in evidence.spending:
        # Those whose price is not known have no unit, and so a row of their own.
        amount, unpriced = told[row["edition"], row["liability"]]
        told[row["edition"], row["liability"]] = (amount + row["amount"], unpriced + row["unpriced"])
    for liability in ("charged", "reserved"):
        for edition in {row["edition"] for row in evidence.attempts}:
            rows = [row for row in evidence.attempts if (row["edition"], find_liability(row)) == (edition, liability)]
            prices = [max(known, default=None) for known in map(list_prices, rows)]
            summed = (sum(filter(None, prices)), prices.count(None))
            if told[edition, liability] != summed:
                yield f"{liability} in the edition {edition!r}: the ledger says {dict(told)}, its rows {summed}"


def find_liability(row: Row) -> str:
    if row["state"] == "REFUSED":
        return "none"
    if row["state"] not in ("NEW", "RESERVED"):
        return "charged"
    return "reserved" if row["state"] == "RESERVED" else "none"


def list_prices(row: Row) -> list[int]:
    return [price for price in (row["charged"], row["estimated"]) if price is not None]


def find_bad_transitions(evidence: Evidence) -> Iterator[str]:
    """No change of state is outside of the table, none leaves a final state, and none is missing."""
    for row in evidence.attempts:
        before = None
        for step in evidence.steps[row["attempt_key"]]:
            start, end = step["from_state"], step["to_state"]
            is_known = start is None or (start not in FINAL and State(end) in TRANSITIONS[State(start)])
            if start != before or not is_known:
                yield f"{name(row)} went from {before} by {start} to {end}"
            before = end
        if before != row["state"]:
            yield f"{name(row)}: its history ends in {before}"


def find_unended_jobs(evidence: Evidence) -> Iterator[str]:
    """Every job ends, but for those that wait for a person, for credits, or for a generation that never ends."""
    is_closed = evidence.final_code in CLOSED_CODES
    for row in evidence.latest:
        is_unsent = row["state"] in ("NEW", "RESERVED")
        is_running = row["state"] in ("ACCEPTED", "OVERDUE") and is_endless(row)
        if not (row["state"] in FINAL | HELD or is_running or (is_unsent and is_closed)):
            yield f"{name(row)} has not ended"
        if row["state"] in HELD and not (row["error"] and row["error_code"]):
            yield f"{name(row)} is held without a reason"


def find_leaks(evidence: Evidence) -> Iterator[str]:
    """Neither the key nor a signed link is in any file."""
    if not evidence.secrets:
        return
    for path in sorted(path for path in evidence.folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if SIGNATURE.search(content) or any(secret.encode() in content for secret in evidence.secrets):
            yield f"{path.relative_to(evidence.folder)} holds a secret"


def find_wrong_accounts(evidence: Evidence) -> Iterator[str]:
    """The exit code, the summary, the ledger and the service tell the same story."""
    summary, code = evidence.summary, evidence.final_code
    if not summary or not evidence.runs:
        yield "there is no summary, or no run in the ledger"
        return
    told = (code, summary["exit_code"], evidence.runs[-1]["exit_code"])
    if len(set(told)) > 1:
        yield f"the command, the summary and the ledger have different exit codes {told}"
    counts = Counter(summary["counts"])
    if code not in (derive_code(counts), *CLOSED_CODES):
        yield f"the exit code is {code} with {dict(counts)}"
    yield from find_wrong_sums(evidence)
    yield from compare_counts(evidence, counts)
    yield from compare_credits(evidence)


def derive_code(counts: Counter[str]) -> int:
    """Say what the published table of exit codes says of these counts."""
    if counts["held"] or counts["overdue"] or counts["changed"]:
        return 4
    if counts["new"] or counts["running"] or counts["unknown"]:
        return 3
    return 1 if counts["failed"] else 0


def compare_counts(evidence: Evidence, counts: Counter[str]) -> Iterator[str]:
    """Compare the summary with the rows; with several editions it is about some of them only."""
    if any(row["edition"] != evidence.summary["edition"] for row in evidence.latest):
        return
    recorded = Counter(PUBLIC[row["state"]] for row in evidence.latest)
    for state in sorted(set(PUBLIC.values())):
        if counts[state] != recorded[state]:
            yield f"the summary counts {counts[state]} {state}, the ledger {recorded[state]}"


def compare_credits(evidence: Evidence) -> Iterator[str]:
    """Compare what the ledger and the summary say was charged with the billing log."""
    edition, told = evidence.summary["edition"], evidence.summary["credits"]
    billed = 0
    for charge in evidence.charges:
        row = evidence.find_row(charge)
        if row and row["charged"] not in (None, charge.credits):
            yield f"{name(row)} cost {charge.credits} and the ledger says {row['credits_charged']}"
        billed += charge.credits if row and row["edition"] == edition else 0
    charged = sum(row["charged"] or 0 for row in evidence.attempts if row["edition"] == edition)
    if (told["charged"] or 0) != charged:
        yield f"the summary says that {told['charged']} credits were charged, the ledger {charged}"
    if not told["unpriced"] and told["may_be_charged"] < billed:
        yield f"the summary says that {told['may_be_charged']} credits may be charged, the service took {billed}"


Point = Callable[[Evidence], Iterator[str]]

AT_EVERY_MOMENT: dict[int, Point] = {
    1: find_double_charges,
    2: find_early_attempts,
    3: find_unrecorded_charges,
    5: find_bad_files,
    6: find_overspending,
    7: find_bad_transitions,
    9: find_leaks,
}
AT_THE_END: dict[int, Point] = {4: find_lost_results, 8: find_unended_jobs, 10: find_wrong_accounts}


def check(
    folder: Path,
    billing: Sequence[BillingRecord],
    requests: Sequence[RequestRecord],
    *,
    exit_code: int | None = None,
    budget: int | None = None,
    is_over: bool = True,
    secrets: Sequence[str] = (),
) -> None:
    """Raise one AssertionError that names every point which is violated.

    `is_over` says that the faults have stopped and the run was repeated until it does nothing more; without it only
    what holds at every moment is asked, also right after a kill.
    """
    evidence = Evidence(
        folder, tuple(billing), tuple(requests), exit_code, budget, secrets, **read_ledger(folder / "ledger.sqlite3")
    )
    points = AT_EVERY_MOMENT | (AT_THE_END if is_over else {})
    problems = [f"{number}. {problem}" for number, find in sorted(points.items()) for problem in find(evidence)]
    if problems:
        raise AssertionError(f"{folder}:\n" + "\n".join(problems))
