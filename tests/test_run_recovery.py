"""The phase after the loss of a ledger, on a real ledger and a simulated service: what may have been sent has a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from aiohttp import web
from conftest import IMPATIENT, SPEED, Desk
from recorded import make_job, open_ledger
from scripted import make_item, open_api, open_scripted
from test_faults import list_charged
from test_recovery import lose_ledger

from hedra_batch import errors
from hedra_batch.api.protocol import Api
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger import events
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.renames import Rename
from hedra_batch.money import Money
from hedra_batch.planning.plan import Rules
from hedra_batch.planning.selection import ManifestSelection
from hedra_batch.progress import Progress
from hedra_batch.run.recovery import Recovery, Transfers
from hedra_batch.run.restoration import Restoration
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings
from hedra_batch.state import State

PRICED = make_job("priced", model="fal/grok-video-t2v", duration_ms=5000)
A, B, C = (make_job(job_id, f"Scene {job_id}") for job_id in "abc")


@dataclass
class Asked:
    """The jobs of a manifest."""

    jobs: Sequence[Job]
    edition: str = ""
    waiting: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    def is_waiting(self, job_id: str) -> bool:
        return job_id in self.waiting

    def count_waiting(self, is_selected: Callable[[str], bool]) -> dict[str, int]:
        return {"waiting": sum(map(is_selected, self.waiting))}

    def find(self, job_id: str) -> Job | None:
        return next((job for job in self.jobs if job.id == job_id), None)


@dataclass
class Batch:
    """A run folder, and the service that its requests go to."""

    folder: Path
    api: Api
    progress: Progress = field(default_factory=Progress)

    async def submit(self, *numbered: tuple[Job, int], is_sent: bool = True) -> None:
        """Make attempts ready to be sent, and send them, in a ledger that is lost then."""
        ledger = await open_ledger(self.folder)
        for job, number in numbered:
            [attempt] = await ledger.record([(job, number)])
            key = ledger.keys.of_attempt(attempt)
            body = self.api.write_request(key, job.inputs.fields, {})
            await ledger.apply(attempt, events.reserve(key, body, None))
            with suppress(errors.UnknownOutcomeError):
                if is_sent:
                    await self.api.submit(body)
        await ledger.close()
        for path in self.folder.glob("ledger.sqlite3*"):
            path.unlink()

    @asynccontextmanager
    async def recovered(self, *jobs: Job, window_seconds: float = 0.0) -> AsyncIterator[tuple[Ledger, list[Attempt]]]:
        """Open a ledger, recover these jobs, and give out the rows that there are then."""
        ledger = await open_ledger(self.folder)
        rules = Rules(lost_attempts=ledger.loss.highest_attempt if ledger.loss else 0)
        selection = ManifestSelection(Asked(jobs), rules, lambda _: True)
        settings = replace(IMPATIENT, quiet_window_seconds=window_seconds)
        recovery = Recovery(ledger, self.api, self.api.estimate)
        await Restoration(ledger, self.api, self.api.estimate, settings, recovery).recover(selection, self.progress)
        found = await ledger.look(lambda reader: list(reader.find_all([(job.edition, job.id) for job in jobs])))
        yield ledger, sorted(await ledger.attempts([each.attempt_key for each in found]), key=lambda each: each.job_id)
        await ledger.close()


@pytest.fixture
async def batch(tmp_path: Path, simulator: Simulator) -> AsyncIterator[Batch]:
    async with open_api(simulator.url) as api:
        yield Batch(tmp_path, api)


async def test_where_no_ledger_was_lost_nothing_is_recorded_and_nothing_asked(
    batch: Batch, simulator: Simulator
) -> None:
    async with batch.recovered(A) as (_, rows):
        assert rows == []
    assert simulator.requests == []


async def test_each_job_is_unknown_under_the_latest_number_that_the_server_shows(
    batch: Batch, simulator: Simulator
) -> None:
    await batch.submit((A, 1), (B, 1), (C, 1), (B, 2), (C, 2), (C, 3))
    async with batch.recovered(A, B, C) as (ledger, rows):
        assert [(row.job_id, row.number, row.state) for row in rows] == [
            ("a", 1, State.UNKNOWN),
            ("b", 2, State.UNKNOWN),
            ("c", 3, State.UNKNOWN),
        ]
        keys = [ledger.keys.of_job(job, number) for job, number in ((A, 1), (B, 2), (C, 3))]
    assert [row.request_key for row in rows] == keys
    assert {record.generation_id for record in simulator.billing} >= set(keys)


async def test_a_gap_between_the_numbers_hides_no_later_one(batch: Batch) -> None:
    await batch.submit((A, 1), (A, 4))
    async with batch.recovered(A) as (_, rows):
        assert [row.number for row in rows] == [4]


async def test_what_the_server_does_not_show_may_have_been_sent_all_the_same(batch: Batch) -> None:
    await batch.submit((A, 1), (A, 2), is_sent=False)
    async with batch.recovered(A, B) as (_, rows):
        assert [(row.job_id, row.number, row.state) for row in rows] == [
            ("a", 1, State.UNKNOWN),
            ("b", 1, State.UNKNOWN),
        ]


async def test_where_the_list_was_read_no_job_is_asked_for_by_itself(batch: Batch, simulator: Simulator) -> None:
    await batch.submit((A, 1), (B, 2))
    asked = len(simulator.requests)
    async with batch.recovered(A, B, C) as (_, rows):
        assert [row.number for row in rows] == [1, 2, 1]
    assert {request.path for request in simulator.requests[asked:]} == {"/web-app/public/generations"}


async def test_a_lost_send_counts_as_sent_and_towards_the_budget(batch: Batch) -> None:
    await batch.api.load_models()
    await batch.submit((PRICED, 1))
    async with batch.recovered(PRICED) as (ledger, [row]):
        assert (row.sends, row.unknown_sends, row.unknown_mark is not None) == (1, 1, True)
        assert (await ledger.read_spending("")).spent == row.estimated == Money(35)


async def test_the_progress_knows_of_them(batch: Batch) -> None:
    batch.progress.begin(Counter(new=2))
    await batch.submit((A, 1))
    async with batch.recovered(A, B):
        assert (batch.progress.counts["new"], batch.progress.counts["unknown"]) == (0, 2)


async def test_what_is_recovered_once_is_not_looked_for_by_the_next_run(batch: Batch, simulator: Simulator) -> None:
    await batch.submit((A, 1), (A, 2))
    async with batch.recovered(A):
        pass
    asked = len(simulator.requests)
    async with batch.recovered(A) as (_, rows):
        assert [row.number for row in rows] == [2]
    assert len(simulator.requests) == asked


async def test_a_later_attempt_is_looked_for_only_when_none_can_still_arrive(tmp_path: Path) -> None:
    settings = SimulatorSettings(speed=SPEED, arrival_delay_seconds=800.0)
    async with Simulator(settings) as simulator, open_api(simulator.url) as api:
        batch = Batch(tmp_path, api)
        simulator.plan_fault("lost-answer")
        await batch.submit((A, 2))
        assert simulator.billing == []
        async with batch.recovered(A, window_seconds=2.0) as (_, rows):
            assert [row.number for row in rows] == [2]


async def test_what_cannot_be_told_now_has_no_row_before_it_can(tmp_path: Path) -> None:
    answers = iter([422])

    def answer_status(request: web.Request) -> object:
        return next(answers, None) or make_item(request.match_info["id"])

    async with open_scripted(status=answer_status) as (api, _):
        batch = Batch(tmp_path, api)
        await batch.submit((A, 2), is_sent=False)
        async with batch.recovered(A) as (_, rows):
            assert rows == []
        async with batch.recovered(A) as (_, rows):
            assert [row.number for row in rows] == [2]


async def test_what_a_lost_ledger_had_bought_for_other_inputs_is_found_when_they_are_asked_for_again(
    desk: Desk, simulator: Simulator
) -> None:
    for scene in ("First", "Second", "Third"):
        desk.write_manifest(f"jobs: [{{id: scene, prompt: {scene} scene}}]")
        await desk.run_here(rebuys_changed=True)
    lose_ledger(desk)
    for scene in ("First", "Third"):
        desk.write_manifest(f"jobs: [{{id: scene, prompt: {scene} scene}}]")
        assert await desk.run_here(rebuys_changed=True, quiet_window_seconds=0.5) == 0
    assert len(list_charged(simulator)) == 3


def test_what_counts_for_another_job_is_not_asked_for_under_its_old_id_as_long_as_that_job_asks_for_it() -> None:
    fog, storm = make_job("chair", "A fog"), make_job("stool", "A storm")
    moved = Rename(fog.edition, "chair", 1, storm.inputs.digest, "stool")
    transfers = Transfers([moved], lambda job: {job.inputs.digest: job.inputs.fields})
    asked = Asked([fog, storm])
    assert (transfers.is_own(fog, 1, asked.find), transfers.is_own(fog, 2, asked.find)) == (False, True)
    assert transfers.find_moved(storm, asked.find) == [moved]
    gone = Asked([fog])
    assert transfers.is_own(replace(storm, id="chair"), 1, Asked([replace(storm, id="chair")]).find)
    assert transfers.find_moved(fog, gone.find) == []
