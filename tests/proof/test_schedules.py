"""Seeded schedules of faults: the whole program and the simulated service in one virtual time, judged by the checker.

A failure names its seed: `pytest -n 0 -m proof tests/proof/test_schedules.py --schedules 1 --seed N` repeats it.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import logging
import random
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from checker import check
from conftest import make_png
from virtual import EPOCH, VirtualClock, VirtualLoop

from hedra_batch.cli.execution import prepare, run_batch
from hedra_batch.cli.logs import ROOT
from hedra_batch.cli.options import RunOptions
from hedra_batch.decide import Deduplication
from hedra_batch.errors import EXIT_DONE, EXIT_FAILED, EXIT_UNFINISHED, HedraBatchError, LedgerError
from hedra_batch.ledger.identity import Binding, Identity, find_place, fingerprint
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.run.settings import RunSettings
from hedra_batch.simulator.account import BillingRecord
from hedra_batch.simulator.recording import RequestRecord
from hedra_batch.simulator.refusals import magic_word
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings
from hedra_batch.state import ENDED_BADLY, HELD, UNSENT, State

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

API_KEY = "key-of-the-schedules"
KEY_SALT = "5c" * 16
#: A real file all the same, where there is memory to keep it in.
SCRATCH = Path("/dev/shm") if Path("/dev/shm").is_dir() else None

QUIET_WINDOW_SECONDS = 120.0
#: Statuses after which surely nothing was accepted.
CLEAR_REFUSALS = (400, 402, 404, 422, 429)
RESENDS_LIMIT = RunSettings().resends_limit
#: Runs without faults until one changes nothing.
CALM_RUNS_LIMIT = 6
HOUR_SECONDS = 3600.0
STORMS_LIMIT = 3
#: More than the quiet window, all of them together less than the clocks of machines may differ.
CLOCK_STEP_SECONDS = 180.0
#: From one submission to the next, by the default rate.
SENDS_SECONDS = RunSettings().limits.submit.interval_seconds
#: All done, or failed for good: nothing is left to do.
ENDED_CODES = (EXIT_DONE, EXIT_FAILED)

#: What a second submission under a known id meets; `ignore` is a service that does not use ids at all.
#: `one-kind` is one that uses the ids of another kind of request only, and is known for that.
KINDS = ("refuse", "replay", "error", "bill", "ignore", "one-kind")
#: What the program has been shown of such a service.
PROVEN_KIND = "image"
#: Services that make ids of their own for what the schedules ask for.
IGNORING = ("ignore", "one-kind")
READ_LAGS_SECONDS = (0.0, 5.0, 60.0)
#: How much later than its connection was cut a request is processed, from and to.
LATENESS_SECONDS = {"prompt": (0.0, 0.0), "late": (5.0, 40.0), "too late": (QUIET_WINDOW_SECONDS + 10, 900.0)}
CELLS = list(itertools.product(KINDS, READ_LAGS_SECONDS, LATENESS_SECONDS))

#: How likely each fault is to be in a schedule at all, and between which chances it then strikes.
WEATHER = {
    "lost-request": (0.5, 0.1, 0.5),
    "lost-answer": (0.7, 0.1, 0.7),
    "5xx-after": (0.4, 0.1, 0.5),
    "400": (0.25, 0.1, 0.5),
    "5xx-before": (0.3, 0.02, 0.25),
    "429": (0.3, 0.02, 0.25),
    "slow": (0.35, 0.1, 0.5),
    "garbage": (0.3, 0.02, 0.25),
    "cut-download": (0.3, 0.1, 0.6),
    "ignored-range": (0.2, 0.1, 0.6),
    "new-version": (0.2, 0.1, 0.6),
    "expired-link": (0.2, 0.1, 0.6),
    "missing-link": (0.2, 0.1, 0.6),
}
#: What a prompt may say to be treated badly; most say nothing.
WORDS = (*[""] * 9, "flaky", "doomed", "likeness", "forbidden")
PRICE_CREDITS = 18

#: A person must settle no more than these shares of the jobs that were sent; far less where ids are used.
HELD_SHARES = {"refuse": 0.25, "replay": 0.25, "error": 0.25, "bill": 0.3, "ignore": 0.5, "one-kind": 0.5}
UNKNOWN_SHARE = 0.15
#: By how many jobs a share may be missed, since some schedules are few schedules.
FEW = 5
#: Where no waiting makes another send safe.
UNWINNABLE = [("bill", read_lag_seconds, "too late") for read_lag_seconds in READ_LAGS_SECONDS]
SEARCHED_SEEDS = 100


@dataclass(frozen=True)
class Storm:
    """One run under faults, and how it ends: by itself, stopped as a signal would, or killed."""

    ending: Literal["", "stopped", "killed"]
    after_seconds: float
    #: What happens until the next run.
    pause_seconds: float
    restarts_machine: bool
    #: By how much somebody sets the clock on the wall ahead.
    clock_step_seconds: float
    forgets_assets: bool


@dataclass(frozen=True)
class Schedule:
    """All that is drawn from a seed."""

    seed: int
    kind: str
    service: dict[str, Any]
    faults: dict[str, float]
    manifest: str
    budget: int | None
    on_unknown: str
    overdue_seconds: float
    storms: tuple[Storm, ...]

    @property
    def shows_ids(self) -> bool:
        """Whether reading finds what was accepted: under the id that it was asked for, or by the echo of that."""
        return self.uses_ids or bool(self.service["echoes_ids"])

    @property
    def uses_ids(self) -> bool:
        """Whether what was accepted has the id that it was asked for."""
        return self.kind not in IGNORING


@dataclass(frozen=True)
class Record:
    """What a schedule has come to."""

    billing: list[BillingRecord]
    requests: list[RequestRecord]
    jobs: list[dict[str, Any]]
    ids_verdict: str

    @property
    def charged_ids(self) -> set[str | None]:
        """The ids that charged requests asked for, whether they got them or not."""
        wanted = {visit.request_id: visit.generation_id for visit in self.requests}
        return {wanted[record.request_id] for record in self.billing if record.kind == "charge"}


# Drawing


def draw_schedule(seed: int, *, on_unknown: str | None = None) -> Schedule:
    kind, read_lag_seconds, lateness = CELLS[seed % len(CELLS)]
    dice = random.Random(seed)
    if on_unknown is None:
        # What nothing else can win is what `hold` is for.
        is_unwinnable = (kind, read_lag_seconds, lateness) in UNWINNABLE
        on_unknown = "hold" if is_unwinnable else dice.choice(["resend", "resend", "resend", "hold"])
    budget = dice.choice([*[None] * 6, 2 * PRICE_CREDITS])
    return Schedule(
        seed=seed,
        kind=kind,
        service={
            "repeat": "replay" if kind in IGNORING else kind,
            "honours_ids": frozenset({PROVEN_KIND}) if kind == "one-kind" else kind != "ignore",
            "echoes_ids": dice.random() < 0.5,
            "understands_ids": dice.random() < 0.7,
            "generation_seconds": 60.0,
            "read_lag_seconds": read_lag_seconds,
            "arrival_delay_seconds": round(dice.uniform(*LATENESS_SECONDS[lateness]), 1),
            "concurrency": dice.choice([None, None, None, 1]),
        },
        faults={
            name: round(dice.uniform(least, most), 2)
            for name, (share, least, most) in WEATHER.items()
            if dice.random() < share
        },
        manifest=draw_manifest(dice, on_unknown, budget),
        budget=budget,
        on_unknown=on_unknown,
        overdue_seconds=dice.choice([7200.0, 7200.0, 7200.0, 30.0]),
        storms=tuple(draw_storm(dice) for _ in range(dice.choice([1, 1, 1, 2, 2, STORMS_LIMIT]))),
    )


def draw_manifest(dice: random.Random, on_unknown: str, budget: int | None) -> str:
    lines = ["version: 1", f"on_unknown: {on_unknown}", f"quiet_window: {QUIET_WINDOW_SECONDS:g}s"]
    lines += [f"budget: {budget} credits"] if budget else []
    lines += ["defaults: {duration: 5s, resolution: 540p}", "jobs:"]
    for number in range(dice.choice([1, 2, 2, 2, 3, 4])):
        model, image = dice.choice([*[("t2v", "")] * 5, ("i2v", "image: hero.png, ")])
        prompt = f"Scene {number} {dice.choice(WORDS)}".strip()
        lines.append(f"  - {{id: job-{number}, model: fal/grok-video-{model}, {image}prompt: {prompt}}}")
    return "\n".join(lines)


def draw_storm(dice: random.Random) -> Storm:
    # At any moment of a run, or close to one at which something is sent.
    after_seconds = dice.choice([10 ** dice.uniform(-1.5, 2.5), SENDS_SECONDS * dice.randrange(4) + dice.uniform(1, 2)])
    return Storm(
        ending=dice.choice(["", "stopped", "killed"]),
        after_seconds=round(after_seconds, 2),
        pause_seconds=dice.choice([1.0, 20.0, HOUR_SECONDS]),
        restarts_machine=dice.random() < 0.4,
        clock_step_seconds=dice.choice([0.0, CLOCK_STEP_SECONDS]),
        forgets_assets=dice.random() < 0.1,
    )


# Carrying out


class Course:
    """One schedule on its way: the service, the run folder, and the time that both live in."""

    def __init__(self, schedule: Schedule, folder: Path, loop: VirtualLoop) -> None:
        self._schedule = schedule
        self._folder = folder
        self._loop = loop
        self._clock = VirtualClock(loop)
        #: Emptied when the faults stop.
        self._faults = dict(schedule.faults)
        settings = SimulatorSettings(seed=schedule.seed, faults=self._faults, **schedule.service)
        self.service = Simulator(replace(settings, clock=self._read_service_clock))
        self._code = EXIT_UNFINISHED

    def _read_service_clock(self) -> float:
        """Read a clock that ours never overtakes, so that the order of what both have noted can be judged."""
        return EPOCH.timestamp() + self._loop.time() + STORMS_LIMIT * CLOCK_STEP_SECONDS

    async def go(self) -> Record:
        """Run through all storms, then in calm weather until a run changes nothing."""
        async with self.service:
            await self._prepare()
            for storm in self._schedule.storms:
                await self._weather(storm)
            self._faults.clear()
            await self._calm_down()
            # Whatever may still arrive has arrived then.
            await asyncio.sleep(HOUR_SECONDS)
            self._check(is_over=True)
        return Record(self.service.billing, self.service.requests, *self._read_ledger())

    async def _prepare(self) -> None:
        (self._folder / "batch.yaml").write_text(self._schedule.manifest, "utf-8")
        (self._folder / "hero.png").write_bytes(make_png(0))
        identity_path = self._folder / "batch.out" / "identity.json"
        identity_path.parent.mkdir()
        # The ids of the generations decide how long they take, so a seed has ids of its own.
        batch_uuid = uuid.UUID(int=random.Random(self._schedule.seed).getrandbits(128))
        binding = ("batch", self.service.url, KEY_SALT, fingerprint(KEY_SALT, API_KEY), find_place(identity_path))
        Identity(str(batch_uuid), *binding).save(identity_path)
        if self._schedule.kind == "one-kind":
            owner = Binding("batch", self.service.url, API_KEY)
            ledger = await Ledger.open(identity_path.with_name("ledger.sqlite3"), identity_path, owner)
            await ledger.record_deduplication(PROVEN_KIND, Deduplication.PROVEN)
            await ledger.close()

    async def _weather(self, storm: Storm) -> None:
        killing = self._loop.call_later(storm.after_seconds, self._kill) if storm.ending == "killed" else None
        await self._run(max_runtime_seconds=storm.after_seconds if storm.ending == "stopped" else None)
        if killing:
            killing.cancel()
        self._loop.is_disk_gone = False
        self._check(is_over=False)
        await asyncio.sleep(storm.pause_seconds)
        if storm.restarts_machine:
            self._clock.restart()
        self._clock.set_ahead(storm.clock_step_seconds)
        if storm.forgets_assets:
            self.service.forget_assets()

    def _kill(self) -> None:
        """Leave the run folder as a kill would leave it; what the run does from now on is lost on it."""
        self._loop.is_disk_gone = True

    async def _calm_down(self) -> None:
        after = None
        for _ in range(CALM_RUNS_LIMIT):
            if self._code in ENDED_CODES:
                return
            await asyncio.sleep(HOUR_SECONDS)
            await self._run()
            before, after = after, self._read_ledger()
            if before == after:
                return
        raise AssertionError(f"after {CALM_RUNS_LIMIT} runs without faults a run still changes something")

    async def _run(self, **options: Any) -> None:
        told = RunOptions(self._folder / "batch.yaml", base_url=self.service.url, is_quiet=True, **options)
        settings = RunSettings(
            clock=self._clock,
            shortest_poll_seconds=20.0,
            longest_poll_seconds=60.0,
            overdue_seconds=self._schedule.overdue_seconds,
            overdue_factor=0.1,
        )
        prepared = prepare(told, settings, {"HEDRA_API_KEY": API_KEY})
        try:
            self._code = await run_batch(prepared)
        except LedgerError as error:
            if not self._loop.is_disk_gone:
                raise
            self._code = error.exit_code
        assert self._code != HedraBatchError.exit_code, "the run has ended with an internal error"

    def _check(self, *, is_over: bool) -> None:
        check(
            self._folder / "batch.out",
            self.service.billing,
            self.service.requests,
            exit_code=self._code if is_over else None,
            budget=self._schedule.budget,
            is_over=is_over,
            secrets=[API_KEY] if is_over else [],
        )

    def _read_ledger(self) -> tuple[list[dict[str, Any]], str]:
        """Read how every job stands, and what is known of the service's use of ids."""
        with closing(sqlite3.connect(self._folder / "batch.out" / "ledger.sqlite3")) as connection:
            connection.row_factory = sqlite3.Row
            columns = "job_id, number, state, fields, request_key, error_code, error, unknown_sends, resends"
            given_up = "(SELECT count(*) FROM attempts AS a WHERE a.job_id = b.job_id AND a.state = 'ABANDONED')"
            statement = f"SELECT {columns}, {given_up} AS given_up FROM attempts AS b WHERE latest = 1 ORDER BY job_id"
            rows = connection.execute(statement).fetchall()
            verdict = connection.execute("SELECT verdict FROM deduplication WHERE kind = 'video'").fetchone()
        return [dict(row) for row in rows], verdict[0] if verdict else "unproven"


def carry_out(schedule: Schedule) -> Record:
    """Run a schedule in a loop and a folder of its own."""
    random.seed(schedule.seed)  # the pauses of retries are drawn from here
    logging.getLogger(ROOT).handlers.clear()  # pytest would keep each line of thousands of runs
    loop = VirtualLoop(schedule.seed)
    with (
        tempfile.TemporaryDirectory(dir=SCRATCH) as folder,
        asyncio.Runner(loop_factory=lambda: loop) as runner,
        redirect_stderr(io.StringIO()),
    ):
        return runner.run(Course(schedule, Path(folder), loop).go())


# Judging


def is_held(job: dict[str, Any]) -> bool:
    return State(job["state"]) in HELD


def was_unknown(job: dict[str, Any]) -> bool:
    return bool(job["unknown_sends"])


def find_wrong_verdict(schedule: Schedule, record: Record) -> Iterator[str]:
    """Say where the ledger is wrong about the service's use of ids, or has overlooked what shows it."""
    if record.ids_verdict == ("none" if schedule.uses_ids else "proven"):
        yield f"the service is said to have {record.ids_verdict} ids, which it has not"
    if record.ids_verdict == "unproven" and record.charged_ids and schedule.shows_ids:
        yield "something was charged and shown, and nothing is known of the service's use of ids"


def find_needlessly_held(schedule: Schedule, record: Record) -> Iterator[str]:
    """Say which jobs are left to a person that reading or sending again settles: "hold everything" must not pass."""
    must_hold = record.ids_verdict != "proven" or schedule.on_unknown == "hold"
    for job in filter(is_held, record.jobs):
        if not (must_hold or job["resends"] >= RESENDS_LIMIT):
            yield f"{job['job_id']} could be sent again, and is held: {job['error']}"
        if schedule.shows_ids and job["request_key"] in record.charged_ids:
            yield f"{job['job_id']} could be found, and is held: {job['error']}"


def find_needlessly_failed(schedule: Schedule, record: Record) -> Iterator[str]:
    """Say which jobs have failed though the service had nothing against them, or though they may be accepted yet."""
    for job in record.jobs:
        prompt = json.loads(job["fields"])["prompt"]
        if job["state"] in ENDED_BADLY and not ("400" in schedule.faults or magic_word(prompt)):
            yield f"{job['job_id']} has failed without a reason: {job['error']}"
        if job["state"] == State.REFUSED and was_unknown(job):
            yield f"{job['job_id']} stands as refused, and an earlier send of it may still be accepted"


def find_early_resends(_schedule: Schedule, record: Record) -> Iterator[str]:
    """Say which requests were sent again before it was certain that the lost one cannot arrive any more."""
    sends = sorted((visit for visit in record.requests if visit.generation_id), key=lambda visit: visit.at)
    for before, after in itertools.combinations(sends, 2):
        is_lost = before.status not in CLEAR_REFUSALS
        if is_lost and before.generation_id == after.generation_id and after.at < before.at + QUIET_WINDOW_SECONDS:
            yield f"{after.generation_id} was sent again after {after.at - before.at:.1f} seconds"


def find_given_up(_schedule: Schedule, record: Record) -> Iterator[str]:
    """Say which jobs were given up, which is a person's to decide, and no schedule has one."""
    return (f"{job['job_id']} was given up by nobody" for job in record.jobs if job["given_up"])


JUDGES = (find_given_up, find_wrong_verdict, find_needlessly_held, find_needlessly_failed, find_early_resends)


def carry_out_and_judge(schedule: Schedule) -> Record:
    """Run a schedule; whatever is wrong with it names the seed that repeats it."""
    try:
        record = carry_out(schedule)
        problems = [problem for find in JUDGES for problem in find(schedule, record)]
        assert not problems, "\n".join(problems)
    except Exception as error:
        error.add_note(f"--schedules 1 --seed {schedule.seed}\n{schedule}")
        raise
    return record


def is_charged_twice(schedule: Schedule) -> bool:
    try:
        carry_out(schedule)
    except AssertionError as error:
        return "was charged 2 times" in str(error)
    return False


# The tests


def list_seeds(config: pytest.Config, cell: int) -> Iterator[int]:
    first = config.getoption("--seed")
    return (seed for seed in range(first, first + config.getoption("--schedules")) if seed % len(CELLS) == cell)


def name_cell(cell: int) -> str:
    kind, read_lag_seconds, lateness = CELLS[cell]
    return f"{kind}-{read_lag_seconds:g}-{lateness}"


@pytest.mark.parametrize("cell", range(len(CELLS)), ids=name_cell)
def test_every_charge_is_paid_once_and_ends_as_a_file_or_with_a_reason(pytestconfig: pytest.Config, cell: int) -> None:
    records = [carry_out_and_judge(draw_schedule(seed)) for seed in list_seeds(pytestconfig, cell)]
    jobs = [job for record in records for job in record.jobs if job["state"] not in UNSENT]
    held, unknown = (sum(map(is_so, jobs)) for is_so in (is_held, was_unknown))
    assert held <= HELD_SHARES[CELLS[cell][0]] * len(jobs) + FEW, "too many jobs are left to a person"
    assert unknown >= UNKNOWN_SHARE * len(jobs) - FEW, "too few outcomes were unknown for this to show anything"


def test_resending_pays_twice_where_repeats_are_billed_and_requests_arrive_after_the_window(
    pytestconfig: pytest.Config,
) -> None:
    seeds = (
        seed for seed in itertools.count(pytestconfig.getoption("--seed")) if CELLS[seed % len(CELLS)] in UNWINNABLE
    )
    schedules = [draw_schedule(seed, on_unknown="resend") for seed in itertools.islice(seeds, SEARCHED_SEEDS)]
    paid_twice = next(filter(is_charged_twice, schedules), None)
    assert paid_twice, "the checker must see it"
    carry_out_and_judge(draw_schedule(paid_twice.seed, on_unknown="hold"))


# A service that does not use our ids draws its own, and they decide how long it takes.
@pytest.mark.parametrize("seed", [seed for seed in range(0, len(CELLS), 4) if CELLS[seed][0] not in IGNORING])
def test_the_same_seed_brings_the_same_course(seed: int) -> None:
    courses = [carry_out(draw_schedule(seed)).requests for _ in range(2)]
    first, second = ([(visit.at, visit.method, visit.status, visit.fault) for visit in course] for course in courses)
    assert first == second
