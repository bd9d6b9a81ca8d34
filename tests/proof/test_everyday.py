"""Everyday events between runs, drawn from a seed: none of them buys again what was bought, or loses it.

Jobs and pictures are renamed, renumbered and swapped, prompts are edited and put back, ledgers are lost and folders
restored, in virtual time and some bad weather. A failure names its seed:
`pytest -n 0 -m proof tests/proof/test_everyday.py --days 1 --seed N` repeats it.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
import json
import logging
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, redirect_stderr
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from checker import HELD, Evidence, list_ids, make_expected_movie, read_ledger
from conftest import make_png
from virtual import EPOCH, VirtualClock, VirtualLoop

from hedra_batch.cli.execution import prepare, run_batch
from hedra_batch.cli.logs import ROOT
from hedra_batch.cli.options import RunOptions
from hedra_batch.errors import HedraBatchError, LedgerError
from hedra_batch.run.settings import RunSettings
from hedra_batch.simulator.account import BillingRecord
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

#: What a job asks for: its prompt, and its picture by content.
Content = tuple[str, str | None]

API_KEY = "key-of-the-everyday"
#: A real file all the same, where there is memory to keep it in.
SCRATCH = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
CHUNKS = 8
DAYS_AT_ONCE = 50
HOUR_SECONDS = 3600.0
QUIET_WINDOW_SECONDS = 120.0
#: The service does not answer whoever asks for other jobs as if they had a fault.
WEATHER = {"lost-request": 0.2, "lost-answer": 0.3, "5xx-after": 0.15, "5xx-before": 0.1, "cut-download": 0.2}
CALM_RUNS = 4
PRICE_CREDITS = 18
JOBS_LIMIT = 6
#: What may happen between two runs, and how often beside the others.
EVENTS = {
    "nothing": 2,
    "rename a job": 3,
    "rename a picture": 2,
    "renumber": 3,
    "swap two jobs": 3,
    "swap two pictures": 2,
    "turn around": 1,
    "take out": 2,
    "edit": 2,
    "put back": 4,
    "add": 2,
    "lose the ledger": 1,
    "restore": 1,
}


@dataclass(frozen=True)
class Wanted:
    """One job as the manifest has it."""

    id: str
    prompt: str
    picture: str = ""


@dataclass(frozen=True)
class Batch:
    """A manifest and the pictures beside it; the contents of a picture are a shade."""

    jobs: tuple[Wanted, ...]
    pictures: dict[str, int]

    def write(self, folder: Path, heading: str) -> None:
        for path in folder.glob("*.png"):
            path.unlink()
        for name, shade in self.pictures.items():
            (folder / name).write_bytes(make_png(shade))
        (folder / "batch.yaml").write_text("\n".join([heading, "jobs:", *map(write_job, self.jobs)]), "utf-8")

    def find_content(self, job: Wanted) -> Content:
        """Say what a job asks for: its prompt, and its picture by content."""
        if not job.picture:
            return job.prompt, None
        return job.prompt, f"sha256:{hashlib.sha256(make_png(self.pictures[job.picture])).hexdigest()}"


def write_job(job: Wanted) -> str:
    image = f"image: {job.picture}, " if job.picture else ""
    return f"  - {{id: {job.id}, model: fal/grok-video-{'i2v' if image else 't2v'}, {image}prompt: {job.prompt}}}"


@dataclass
class Person:
    """Whoever works on a batch from day to day."""

    dice: random.Random
    batch: Batch
    #: How it was before, to be put back.
    earlier: list[Batch] = field(default_factory=list)
    made: int = 0

    def change(self, event: str) -> None:
        before = self.batch
        if event == "put back":
            self.batch = self.dice.choice([*self.earlier, before])
        else:
            self.batch = getattr(self, f"_{event.replace(' ', '_')}", lambda: before)()
        self.earlier.append(before)

    def _next(self, word: str) -> str:
        self.made += 1
        return f"{word}{self.made}"

    def _replace(self, changed: dict[int, Wanted]) -> Batch:
        jobs = tuple(changed.get(place, job) for place, job in enumerate(self.batch.jobs))
        return replace(self.batch, jobs=jobs)

    def _pick(self, count: int) -> list[int]:
        return self.dice.sample(range(len(self.batch.jobs)), count)

    def _rename_a_job(self) -> Batch:
        (place,) = self._pick(1)
        return self._replace({place: replace(self.batch.jobs[place], id=self._next("renamed-"))})

    def _rename_a_picture(self) -> Batch:
        old, new = self.dice.choice(list(self.batch.pictures)), f"{self._next('photo')}.png"
        jobs = tuple(replace(job, picture=new) if job.picture == old else job for job in self.batch.jobs)
        return Batch(jobs, {new if name == old else name: shade for name, shade in self.batch.pictures.items()})

    def _renumber(self) -> Batch:
        """Put one job in front where there is room, and count all anew."""
        grown = self._add() if self.dice.random() < 0.5 else self.batch
        jobs = (grown.jobs[-1], *grown.jobs[:-1])
        return replace(grown, jobs=tuple(replace(job, id=f"job-{place}") for place, job in enumerate(jobs)))

    def _swap_two_jobs(self) -> Batch:
        first, second = self._pick(2)
        jobs = self.batch.jobs
        swapped = {first: replace(jobs[first], id=jobs[second].id), second: replace(jobs[second], id=jobs[first].id)}
        return self._replace(swapped)

    def _swap_two_pictures(self) -> Batch:
        first, second = self.dice.sample(list(self.batch.pictures), 2)
        pictures = self.batch.pictures
        return replace(self.batch, pictures=pictures | {first: pictures[second], second: pictures[first]})

    def _turn_around(self) -> Batch:
        return replace(self.batch, jobs=self.batch.jobs[::-1])

    def _take_out(self) -> Batch:
        if len(self.batch.jobs) < 3:
            return self.batch
        (place,) = self._pick(1)
        return replace(self.batch, jobs=tuple(job for at, job in enumerate(self.batch.jobs) if at != place))

    def _edit(self) -> Batch:
        (place,) = self._pick(1)
        return self._replace({place: replace(self.batch.jobs[place], prompt=self._next("Another scene "))})

    def _add(self) -> Batch:
        if len(self.batch.jobs) >= JOBS_LIMIT:
            return self.batch
        job = Wanted(self._next("added-"), self._next("An added scene "))
        return replace(self.batch, jobs=(*self.batch.jobs, job))


def begin() -> Batch:
    texts = [Wanted(f"job-{number}", f"Scene {number}") for number in range(2)]
    photos = [Wanted(f"job-{number}", "A turn", f"photo-{number}.png") for number in range(2, 4)]
    return Batch((*texts, *photos), {"photo-2.png": 2, "photo-3.png": 3})


# Carrying out


class Course:
    """Some days with one batch."""

    def __init__(self, seed: int, folder: Path, loop: VirtualLoop, allowed: set[str]) -> None:
        self.dice = random.Random(seed)
        self.person = Person(self.dice, begin())
        self.story: list[str] = []
        self._folder = folder
        self._out = folder / "batch.out"
        self._backup = folder / "backup" / "batch.out"
        self._loop = loop
        self._clock = VirtualClock(loop)
        self._events = {name: weight for name, weight in EVENTS.items() if name in allowed}
        self._faults = {name: chance for name, chance in WEATHER.items() if self.dice.random() < 0.4}
        self.budget = self.dice.choice([None, None, 3 * PRICE_CREDITS])
        #: What was asked for under each id, by all that the ledgers have said.
        self._contents: dict[str, Content] = {}
        #: Whether a ledger was lost or put back, and whether a run has looked since for what it does not have.
        self._is_incomplete = self._has_looked = False
        #: What no job asked for when that was looked for: under another name it is found by nobody later.
        self._forgotten: set[Content] = set()
        # After so long a pause for whoever sends the next one.
        submissions = self.dice.choice([None, None, 2.0])
        settings = SimulatorSettings(
            seed=seed,
            faults=self._faults,
            generation_seconds=60.0,
            clock=lambda: EPOCH.timestamp() + loop.time(),
            window_submissions=submissions,
            window_seconds=600.0,
        )
        self.service = Simulator(settings)

    async def go(self) -> None:
        async with self.service:
            for _ in range(self.dice.randrange(3, 8)):
                is_killed = self.dice.random() < 0.3
                await self._run(kill_after=10 ** self.dice.uniform(-1, 2) if is_killed else None)
                self._judge(is_over=False)
                if self.dice.random() < 0.4:
                    self._back_up()
                event = self.dice.choices(list(self._events), list(self._events.values()))[0]
                self._let_happen(event)
                await asyncio.sleep(self.dice.choice([60.0, HOUR_SECONDS, 30 * HOUR_SECONDS]))
            self._faults.clear()
            await self._end()

    async def _end(self) -> None:
        """Run on in calm weather, until all that can be is done."""
        for _ in range(CALM_RUNS):
            await self._run()
            await asyncio.sleep(HOUR_SECONDS)
        self._judge(is_over=True)

    def _back_up(self) -> None:
        if self._out.exists():
            shutil.rmtree(self._backup, ignore_errors=True)
            shutil.copytree(self._out, self._backup)

    def _let_happen(self, event: str) -> None:
        self.story.append(event)
        if event == "lose the ledger":
            self._is_incomplete, self._has_looked = True, False
            # With a copy of the ledger that was lost its numbers come back too, of which some are used again by then.
            shutil.rmtree(self._backup, ignore_errors=True)
            for path in self._out.glob("ledger.sqlite3*"):
                path.unlink()
        elif event == "restore":
            if self._backup.exists():
                self._is_incomplete, self._has_looked = True, False
                copy = self._out.with_name("copy")
                shutil.copytree(self._backup, copy)
                shutil.rmtree(self._out)
                copy.rename(self._out)
        else:
            self.person.change(event)

    async def _run(self, *, kill_after: float | None = None) -> None:
        budget = [f"budget: {self.budget} credits"] if self.budget else []
        heading = ["version: 1", f"quiet_window: {QUIET_WINDOW_SECONDS:g}s", *budget]
        if self._is_incomplete and not self._has_looked:
            self._forgotten |= set(self._contents.values()) - self._list_wanted()
        self.person.batch.write(self._folder, "\n".join([*heading, "defaults: {duration: 5s, resolution: 540p}"]))
        told = RunOptions(self._folder / "batch.yaml", base_url=self.service.url, is_quiet=True)
        settings = RunSettings(clock=self._clock, shortest_poll_seconds=20.0, longest_poll_seconds=60.0)
        killing = self._loop.call_later(kill_after, self._kill) if kill_after is not None else None
        try:
            code = await run_batch(prepare(told, settings, {"HEDRA_API_KEY": API_KEY}))
        except LedgerError as error:
            if not self._loop.is_disk_gone:
                raise
            code = error.exit_code
        except HedraBatchError as error:
            self.story.append(f"{error.exit_code}: {error}")
            raise
        finally:
            if killing:
                killing.cancel()
            self._loop.is_disk_gone = False
        jobs = ", ".join(f"{job.id} {self.person.batch.find_content(job)}" for job in self.person.batch.jobs)
        self.story.append(f"run: {code} with {jobs}")
        assert code != HedraBatchError.exit_code, "the run has ended with an internal error"
        self._has_looked = self._has_looked or code != LedgerError.exit_code

    def _list_wanted(self) -> set[Content]:
        return {self.person.batch.find_content(job) for job in self.person.batch.jobs}

    def _kill(self) -> None:
        self._loop.is_disk_gone = True

    def _judge(self, *, is_over: bool) -> None:
        ledger = read_ledger(self._out / "ledger.sqlite3")
        records = tuple(self.service.billing), tuple(self.service.requests)
        evidence = Evidence(self._out, *records, attempts=ledger.get("attempts", ()))
        self._contents |= {each: read_content(row) for row in evidence.attempts for each in list_ids(row)}
        # What was spent for jobs that are gone since is in no row then, and in no budget.
        problems = [*self._find_paid_twice(evidence, None if self._is_incomplete else self.budget)]
        if is_over:
            problems += [*self._find_lost(evidence), *self._find_unserved(evidence)]
        if problems:
            raise AssertionError("\n".join([*problems, *self.story]))

    def _find_paid_twice(self, evidence: Evidence, budget: int | None) -> Iterator[str]:
        """Each content is charged once at most, whatever its job is called; all together stay within the budget."""
        ids = Counter(charge.generation_id for charge in evidence.charges)
        contents = Counter(self._contents.get(charge.generation_id) for charge in evidence.charges)
        for what, count in [*ids.items(), *contents.items()]:
            if what and count > 1 and what not in self._forgotten:
                yield f"{what} was charged {count} times"
        total = sum(charge.credits for charge in evidence.charges)
        if budget is not None and total > budget:
            yield f"{total} credits of {budget} were charged"

    def _find_lost(self, evidence: Evidence) -> Iterator[str]:
        """Every charge has its row, and its video is here as the service has it, or waits for a person.

        After the loss of a ledger that is so for what is wanted: nobody knows what the manifest does not name.
        """
        wanted = self._list_wanted() - self._forgotten
        for charge in evidence.charges:
            row, content = evidence.find_row(charge), self._contents.get(charge.generation_id)
            if content in self._forgotten:
                continue
            if row is not None:
                yield from describe_loss(evidence, charge, row)
            elif not self._is_incomplete or content in wanted:
                yield f"{charge.prompt!r} was charged, and no row has it"

    def _find_unserved(self, evidence: Evidence) -> Iterator[str]:
        """Each job that is in the manifest now has what was paid for it, under its own name."""
        paid = {read_content(row) for charge in evidence.charges if (row := evidence.find_row(charge))}
        with closing(sqlite3.connect(self._out / "ledger.sqlite3")) as connection:
            connection.row_factory = sqlite3.Row
            rows = {row["job_id"]: row for row in connection.execute("SELECT * FROM attempts WHERE latest = 1")}
        for job in self.person.batch.jobs:
            row, content = rows.get(job.id), self.person.batch.find_content(job)
            is_served = row is not None and read_content(row) == content and row["state"] in ("DONE", *HELD)
            if content in paid - self._forgotten and not is_served:
                yield f"{job.id} asks for {content}, which is paid for, and has {row and (row['state'], row['fields'])}"


#: What may happen to two jobs in any order, with when a run is killed; one of them is renamed once beside that.
STEPS = {"run": None, "killed": 2.0, "lose the ledger": None, "back up": None, "restore": None}
RENAMES = ("rename a job", "swap two jobs")
ORDER_LENGTH = 4


class Order(Course):
    """Two jobs, one rename, and what happens around it; the budget is what the two cost."""

    async def follow(self, steps: Sequence[str]) -> None:
        self.person.batch = Batch(begin().jobs[:2], {})
        self.budget = 2 * PRICE_CREDITS
        self._faults.clear()
        async with self.service:
            for step in steps:
                if step.startswith(("run", "killed")):
                    await self._run(kill_after=STEPS[step])
                    self._judge(is_over=False)
                elif step == "back up":
                    self._back_up()
                else:
                    self._let_happen(step)
                await asyncio.sleep(60.0)
            await self._end()


def list_orders() -> Iterator[tuple[str, ...]]:
    for others in itertools.product(STEPS, repeat=ORDER_LENGTH - 1):
        for place in range(ORDER_LENGTH):
            yield from ((*others[:place], rename, *others[place:]) for rename in RENAMES)


def read_content(row: sqlite3.Row) -> Content:
    fields = json.loads(row["fields"])
    return fields["prompt"], fields.get("image")


def describe_loss(evidence: Evidence, charge: BillingRecord, row: sqlite3.Row) -> Iterator[str]:
    if row["state"] == "DONE":
        path = evidence.folder / row["output"]
        if not path.is_file() or path.read_bytes() != make_expected_movie(row, charge):
            yield f"{charge.prompt!r} is done, and {row['output']} is not its video"
    elif row["state"] not in HELD:
        yield f"{charge.prompt!r} was charged, and is {row['state']}"


@contextmanager
def running(seed: int) -> Iterator[tuple[asyncio.Runner, Path, VirtualLoop]]:
    random.seed(seed)  # the pauses of retries are drawn from here
    logging.getLogger(ROOT).handlers.clear()
    loop = VirtualLoop(seed)
    with (
        tempfile.TemporaryDirectory(dir=SCRATCH) as folder,
        asyncio.Runner(loop_factory=lambda: loop) as runner,
        redirect_stderr(io.StringIO()),
    ):
        yield runner, Path(folder), loop


def carry_out(seed: int, allowed: set[str] | None = None) -> Any:
    with running(seed) as (runner, folder, loop):
        course = Course(seed, folder, loop, allowed or set(EVENTS))
        try:
            runner.run(course.go())
        except Exception as error:
            error.add_note("\n".join([f"--days 1 --seed {seed}", *course.story]))
            raise
    return course


def carry_out_order(steps: Sequence[str]) -> None:
    with running(0) as (runner, folder, loop):
        order = Order(0, folder, loop, set(EVENTS))
        try:
            runner.run(order.follow(steps))
        except Exception as error:
            error.add_note("\n".join([", ".join(steps), *order.story]))
            raise


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_rename_costs_nothing_in_any_order_with_kills_losses_and_restores(chunk: int) -> None:
    for steps in list(list_orders())[chunk::CHUNKS]:
        carry_out_order(steps)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Cut the days into tests that are alike, so that a time limit tells a hang from many days."""
    if "day" in metafunc.fixturenames:
        metafunc.parametrize("day", range(0, metafunc.config.getoption("--days"), DAYS_AT_ONCE))


def test_everyday_events_cost_nothing(pytestconfig: pytest.Config, day: int) -> None:
    first = pytestconfig.getoption("--seed")
    for seed in range(first + day, first + min(day + DAYS_AT_ONCE, pytestconfig.getoption("--days"))):
        carry_out(seed)
