"""A batch used from Python: it prints nothing, heeds no signal, and stops when its task is cancelled."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import IMPATIENT, SPEED, Desk
from test_faults import TWO_JOBS, count_states, list_charged

from hedra_batch.batch.batch import Batch, apply_manifest, open_batch
from hedra_batch.batch.request import PlanRequest
from hedra_batch.batch.session import open_session
from hedra_batch.batch.verification import Condition, inspect_files, list_unfetched
from hedra_batch.batch.workspace import Workspace
from hedra_batch.cli.signals import STOPPING
from hedra_batch.decide import Settlement
from hedra_batch.errors import ConfigurationError, LockedError, UsageError, WriteError
from hedra_batch.folder import RunFolder
from hedra_batch.manifest.loading import load_manifest
from hedra_batch.money import Money
from hedra_batch.progress import Cost
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings
from hedra_batch.state import State

ENDLESS = "jobs: [{id: slow, prompt: An endless scene}]"
PRICED = "jobs: [{id: scene, prompt: A scene, model: fal/grok-video-t2v, duration: 5s, resolution: 720p}]"


def make_workspace(desk: Desk) -> Workspace:
    return Workspace("batch", RunFolder(desk.folder / "batch.out"), desk.base_url, "key-of-the-tests")


def open_desk_batch(desk: Desk, *, edition: str = "") -> AbstractAsyncContextManager[Batch]:
    manifest = load_manifest(desk.folder / "batch.yaml", edition=edition)
    return open_batch(make_workspace(desk), manifest, apply_manifest(manifest, IMPATIENT))


async def run_once(desk: Desk, request: PlanRequest | None = None) -> int:
    async with open_desk_batch(desk) as batch:
        await batch.run(await batch.plan(request))
        return (await batch.finish()).result.exit_code


def read_summary(desk: Desk) -> dict[str, object]:
    summary: dict[str, object] = json.loads((desk.folder / "batch.out" / "summary.json").read_text("utf-8"))
    return summary


async def test_a_batch_is_planned_priced_and_run(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(PRICED)
    async with open_desk_batch(desk) as batch:
        summary = await batch.plan()
        quote = await batch.quote(summary)
        assert (summary.bought, quote.count, quote.total, list_charged(simulator)) == (1, 1, 35, [])
        await batch.run(summary)
        finished = await batch.finish()
    assert (finished.result.exit_code, finished.result.counts["done"], len(list_charged(simulator))) == (0, 1, 1)
    assert (finished.reasons.stopped_by, finished.troubles) == (None, [])


async def test_a_run_can_be_looked_at_while_it_goes(desk: Desk) -> None:
    desk.write_manifest(f"budget: 500 credits\n{PRICED}")
    async with open_desk_batch(desk) as batch:
        summary = await batch.plan()
        assert (await batch.take_snapshot()).pace is None
        await batch.quote(summary)
        before = await batch.take_snapshot()
        await batch.run(summary)
        after = await batch.take_snapshot()
    assert [snapshot.cost for snapshot in (before, after)] == [
        Cost(Money(spent), Money(35), budget=Money(500)) for spent in (0, 35)
    ]
    assert (after.counts["done"], after.ended, after.submitted, after.closed_by) == (1, [("scene", "done")], 1, "")


async def test_what_has_no_price_is_expected_at_an_unknown_one(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: A scene}]")
    async with open_desk_batch(desk) as batch:
        await batch.run(await batch.plan())
        assert (await batch.take_snapshot()).cost == Cost(Money(35), Money(0), 0, 1)


async def test_why_something_is_not_submitted_can_be_read(desk: Desk) -> None:
    desk.write_manifest(f"budget: 10 credits\n{PRICED}")
    async with open_desk_batch(desk) as batch:
        await batch.run(await batch.plan())
        assert (await batch.take_snapshot()).closed_by.startswith("The budget of 10 credits is reached")


async def test_a_job_that_becomes_overdue_is_counted_once(desk: Desk) -> None:
    desk.write_manifest(ENDLESS)
    manifest = load_manifest(desk.folder / "batch.yaml")
    hasty = replace(apply_manifest(manifest, IMPATIENT), overdue_seconds=0.0, overdue_factor=0.0)
    async with open_batch(make_workspace(desk), manifest, hasty) as batch:
        await batch.run(await batch.plan())
        assert +batch.session.progress.counts == {"running": 1}


async def test_what_is_not_priced_before_is_priced_by_the_run(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(PRICED)
    assert (await run_once(desk), len(list_charged(simulator))) == (0, 1)


async def test_nothing_is_printed_and_neither_signals_logging_nor_umask_are_touched(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_process() -> list[object]:
        umask = os.umask(0)
        os.umask(umask)
        logger = logging.getLogger("hedra_batch")
        return [umask, logger.level, *logger.handlers, *map(signal.getsignal, STOPPING)]

    desk.write_manifest(TWO_JOBS)
    before = read_process()
    async with open_desk_batch(desk) as batch:
        summary = await batch.plan()
        running = asyncio.create_task(batch.run(summary))
        await asyncio.sleep(0)
        assert read_process() == before
        await running
        await batch.finish()
    assert (read_process(), capsys.readouterr()) == (before, ("", ""))
    assert list((desk.folder / "batch.out" / "logs").iterdir()) == []


async def test_cancelling_stops_the_run_and_the_next_one_goes_on(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(ENDLESS)

    async def run_for_ever() -> None:
        async with open_desk_batch(desk) as batch:
            await batch.run(await batch.plan())

    task = asyncio.create_task(run_for_ever())
    while not simulator.billing:  # noqa: ASYNC110 - no event of ours tells of the service's
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (RunFolder(desk.folder / "batch.out").is_locked(), len(list_charged(simulator))) == (False, 1)
    async with open_desk_batch(desk) as batch:
        assert (await batch.plan()).describe_rest() == ["1 running"]


async def test_a_stopped_run_can_still_be_finished(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(ENDLESS)
    async with open_desk_batch(desk) as batch:
        running = asyncio.create_task(batch.run(await batch.plan()))
        while not simulator.billing:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        finished = await batch.finish()
    assert (finished.result.exit_code, finished.result.counts["running"]) == (3, 1)
    assert read_summary(desk)["exit_code"] == 3


async def test_ids_that_select_nothing_are_an_error_before_anything_is_sent(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(TWO_JOBS)
    async with open_desk_batch(desk) as batch:
        with pytest.raises(UsageError, match="No job has an id like nope"):
            await batch.plan(PlanRequest(ids=("nope",)))
    assert simulator.requests == []


async def test_a_request_selects_jobs(desk: Desk) -> None:
    desk.write_manifest(TWO_JOBS)
    assert (await run_once(desk, PlanRequest(first=1)), count_states(desk)) == (0, {"done": 1})
    assert (await run_once(desk, PlanRequest(ids=("sec*",))), count_states(desk)) == (0, {"done": 2})


async def test_edited_jobs_wait_and_can_be_read_with_what_was_sent_and_what_is_wanted(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: A calm sea}]")
    await run_once(desk)
    desk.write_manifest("jobs: [{id: scene, prompt: A wild sea}]")
    async with open_desk_batch(desk) as batch:
        edits = await batch.read_edits(await batch.plan())
        finished = await batch.finish()
    [edit] = edits.first
    assert (edit.label, edit.sent["prompt"], edit.wanted["prompt"]) == ("scene", "A calm sea", "A wild sea")
    assert (edits, finished.result.exit_code) == (finished.edits, 4)


async def test_the_budget_is_the_manifests_and_what_was_spent_can_be_read(desk: Desk) -> None:
    desk.write_manifest(f"budget: 40 credits\n{PRICED}")
    await run_once(desk)
    async with open_desk_batch(desk) as batch:
        assert (batch.session.settings.budget, (await batch.read_spending()).spent) == (Money(40), Money(35))
    async with open_desk_batch(desk, edition="june") as batch:
        assert (await batch.read_spending()).spent == Money(0)


async def test_failed_jobs_are_named_with_their_reason(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: bad, prompt: Something forbidden}]")
    async with open_desk_batch(desk) as batch:
        await batch.run(await batch.plan())
        [(latest, message)] = (await batch.finish()).troubles
    assert (latest.label, bool(message)) == ("bad", True)


async def test_a_folder_is_held_by_one_batch(desk: Desk) -> None:
    desk.write_manifest(TWO_JOBS)
    async with open_desk_batch(desk):
        with pytest.raises(LockedError):
            async with open_desk_batch(desk):
                pass


async def test_held_jobs_are_abandoned_without_network(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(TWO_JOBS)
    simulator.plan_fault("lost-request")
    assert await desk.run_here(ids=("first",), quiet_window_seconds=0.1) == 4
    before = len(simulator.requests)
    async with open_desk_batch(desk) as batch:
        summary = await batch.plan(PlanRequest(ids=("*",), settlement=Settlement.ABANDON))
        assert [label async for label in batch.abandon(summary)] == ["first"]
    assert (count_states(desk), len(simulator.requests)) == ({"failed": 1}, before)


async def test_results_are_fetched_again_without_the_manifest(desk: Desk) -> None:
    desk.write_manifest(TWO_JOBS)
    await run_once(desk)
    folder = RunFolder(desk.folder / "batch.out")
    (folder.path / "videos" / "first.mp4").unlink()
    async with open_session(make_workspace(desk), IMPATIENT) as session:
        assert await session.fetch(list_unfetched(folder)) == [State.DONE]
        await session.end(0)
    assert {condition for _, condition in inspect_files(folder)} == {Condition.GOOD}


async def test_a_trial_brings_its_api_with_it(desk: Desk, tmp_path: Path) -> None:
    @asynccontextmanager
    async def start_api(folder: Path) -> AsyncIterator[str]:
        async with Simulator(SimulatorSettings(folder=folder, speed=SPEED)) as trial:
            yield trial.url

    desk.write_manifest(TWO_JOBS)
    manifest = load_manifest(desk.folder / "batch.yaml")
    trial = Workspace("batch", RunFolder(tmp_path / "batch.sim"), "", "key-of-the-trial", start_api=start_api)
    for _ in range(2):
        async with open_batch(trial, manifest, apply_manifest(manifest, IMPATIENT)) as batch:
            await batch.run(await batch.plan())
            assert (await batch.finish()).result.exit_code == 0


async def test_a_link_in_the_way_of_the_results_is_refused_before_the_folder_is_touched(desk: Desk) -> None:
    desk.write_manifest(TWO_JOBS)
    (desk.folder / "batch.out").mkdir()
    (desk.folder / "batch.out" / "videos").symlink_to(desk.folder)
    with pytest.raises(WriteError, match="symbolic link"):
        async with open_desk_batch(desk):
            pass
    assert [path.name for path in (desk.folder / "batch.out").iterdir()] == ["videos"]


def test_where_no_run_has_been_nothing_can_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no ledger"):
        Workspace("batch", RunFolder(tmp_path), "https://api.example.com", "key").require_ledger()
