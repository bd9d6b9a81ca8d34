"""What goes wrong on the way: lost answers, refusals to wait out, downloads that break. Judged by the billing log."""

from __future__ import annotations

import asyncio
import signal
import socket
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from conftest import SPEED, Desk, wait_until
from scripted import Script, Service, make_item, make_list, serve

from hedra_batch.ledger.opening import open_reader
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

TWO_JOBS = "jobs:\n  - {id: first, prompt: One scene}\n  - {id: second, prompt: Another scene}"


@asynccontextmanager
async def open_desk(folder: Path, **settings: Any) -> AsyncIterator[tuple[Desk, Simulator]]:
    async with Simulator(replace(SimulatorSettings(speed=SPEED), **settings)) as service:
        yield Desk(folder, service.url), service


async def run(desk: Desk, *ids: str, window_seconds: float = 0.1) -> int:
    return await desk.run_here(ids=ids, quiet_window_seconds=window_seconds)


def list_charged(simulator: Simulator) -> list[str]:
    return sorted(record.generation_id for record in simulator.billing if record.kind == "charge")


def read_results(desk: Desk) -> list[dict[str, Any]]:
    with open_reader(desk.folder / "batch.out" / "ledger.sqlite3") as reader:
        return list(reader.results(has_all_attempts=False)) if reader else []


def list_history(desk: Desk, job_id: str) -> list[str]:
    with closing(sqlite3.connect(desk.folder / "batch.out" / "ledger.sqlite3")) as connection:
        rows = connection.execute(
            "SELECT to_state FROM history JOIN attempts USING (attempt_key) WHERE job_id = ? ORDER BY history.rowid",
            (job_id,),
        )
        return [row[0] for row in rows]


def count_states(desk: Desk) -> Counter[str]:
    return Counter(row["state"] for row in read_results(desk))


@pytest.mark.parametrize("fault", ["lost-answer", "5xx-after", "garbage"])
async def test_an_accepted_request_whose_answer_is_lost_is_found_and_paid_once(
    desk: Desk, simulator: Simulator, fault: str
) -> None:
    desk.write_manifest(TWO_JOBS)
    simulator.plan_fault(fault, route="POST /generations")
    assert await run(desk, window_seconds=30) == 0
    assert len(list_charged(simulator)) == len(set(list_charged(simulator))) == 2


async def test_a_lost_answer_is_told_with_what_it_may_cost_and_how_long_it_is_looked_for(
    desk: Desk, simulator: Simulator
) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: Wind}]")
    simulator.plan_fault("lost-answer")
    finished = await desk.call("run", "batch.yaml")
    [lost, looking, found, *_] = [line.split(" ", 1)[1] for line in finished.err.splitlines() if " scene: " in line]
    assert lost == "scene: No answer from the API: the connection was cut."
    assert looking.startswith(
        "scene: it may have been accepted, so it is not sent again yet; looking for it for up to "
    )
    assert (looking.endswith(" 10 min"), found.startswith("scene: found: it was accepted as ")) == (True, True)


@pytest.mark.parametrize("fault", ["lost-request", "5xx-before"])
async def test_a_request_that_never_arrived_is_sent_again_under_the_same_id_after_the_window(
    desk: Desk, simulator: Simulator, fault: str
) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk, "first")
    simulator.plan_fault(fault, route="POST /generations")
    assert await run(desk) == 0
    posted = [request.generation_id for request in simulator.requests if request.generation_id]
    assert (len(posted), len(set(posted)), len(list_charged(simulator))) == (3, 2, 2)


async def test_without_proof_that_ids_are_used_an_absent_request_is_held_until_there_is_one(
    desk: Desk, simulator: Simulator
) -> None:
    desk.write_manifest(TWO_JOBS)
    simulator.plan_fault("lost-request")
    assert (await run(desk, "first"), count_states(desk), len(list_charged(simulator))) == (4, {"held": 1}, 0)
    await run(desk, "second")
    assert (await run(desk), len(list_charged(simulator))) == (0, 2)


async def test_a_server_that_ignores_our_ids_is_followed_under_its_own(tmp_path: Path) -> None:
    async with open_desk(tmp_path, honours_ids=False) as (desk, simulator):
        desk.write_manifest(TWO_JOBS)
        code = await run(desk)
    ids = sorted(row["generation_id"] for row in read_results(desk))
    assert (code, ids) == (0, list_charged(simulator))


async def test_on_a_server_that_ignores_our_ids_an_unknown_outcome_is_held(tmp_path: Path) -> None:
    async with open_desk(tmp_path, honours_ids=False) as (desk, simulator):
        desk.write_manifest(TWO_JOBS)
        await run(desk, "first")
        simulator.plan_fault("lost-request")
        code = await run(desk)
    assert (code, len(list_charged(simulator))) == (4, 1)


async def test_what_can_never_be_told_is_a_matter_for_a_person(tmp_path: Path) -> None:
    scripts: dict[str, Script] = {
        "generate": lambda _: 502,
        "list": lambda _: make_list(make_item("a1"), {"id": None}),
        "balance": lambda _: {"remaining": 100},
        "models": lambda _: [],
    }
    async with serve(**scripts) as service:
        desk = Desk(tmp_path, service.url)
        desk.write_manifest("jobs:\n  - {id: first, prompt: One scene}")
        assert (await run(desk, "first"), service.counts["generate"]) == (4, 1)
    assert (list_history(desk, "first")[-1], count_states(desk)) == ("HELD_UNKNOWN", {"held": 1})


@asynccontextmanager
async def open_proven(
    tmp_path: Path, generate: Script, list_all: Script, asked: list[str], answers: list[object]
) -> AsyncIterator[tuple[Desk, Service]]:
    """Serve two jobs, of which the first has shown that the server uses our ids; of the second it tells the answers.

    `asked` gets the id of each job whose status is asked for.
    """

    def tell_status(request: web.Request) -> object:
        asked.append(request.match_info["id"])
        return make_item(asked[0], "error") if asked[-1] == asked[0] else answers[-1]

    scripts: dict[str, Script] = {
        "generate": generate,
        "status": tell_status,
        "list": list_all,
        "balance": lambda _: {"remaining": 100},
        "models": lambda _: [],
    }
    async with serve(**scripts) as service:
        desk = Desk(tmp_path, service.url)
        desk.write_manifest(TWO_JOBS)
        assert (await run(desk, "first"), list_history(desk, "first")[-1]) == (1, "FAILED")
        yield desk, service


async def test_what_can_be_told_later_is_sent_again_without_a_person(tmp_path: Path) -> None:
    asked: list[str] = []
    answers: list[object] = [400]

    def generate(_: web.Request) -> object:
        if answers[-1] == 400:
            return 502
        answers.append(make_item(asked[-1], "error"))
        return answers[-1]

    async with open_proven(tmp_path, generate, lambda _: make_list(), asked, answers) as (desk, service):
        for _ in range(2):
            assert (await run(desk, "second"), list_history(desk, "second")[-1]) == (4, "HELD_UNKNOWN")
        assert service.counts["generate"] == 2
        answers.append(404)
        assert (await run(desk, "second"), list_history(desk, "second")[-1]) == (1, "FAILED")
    assert (service.counts["generate"], list_history(desk, "second").count("RESENDING")) == (3, 1)


async def test_what_the_server_shows_as_that_of_another_job_is_a_matter_for_a_person(tmp_path: Path) -> None:
    asked: list[str] = []

    def list_as_the_other(request: web.Request) -> object:
        echo = make_item(asked[0], input={"generation_id": asked[-1]})
        return make_list(*([] if "ids" in request.query else [echo]))

    async with open_proven(tmp_path, lambda _: 502, list_as_the_other, asked, [404]) as (desk, service):
        # Without that, the second would be sent again.
        assert (await run(desk, "second"), list_history(desk, "second")[-1]) == (4, "HELD_UNKNOWN")
    assert service.counts["generate"] == 2


async def test_a_send_that_was_unknown_once_is_not_cleared_by_a_later_refusal(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk, "first")
    simulator.plan_fault("lost-request")
    simulator.plan_fault("429")
    assert (await run(desk), len(list_charged(simulator))) == (0, 2)
    # The refusal of the second send is followed by a quiet window of its own, as the lost one was.
    states = ["NEW", "RESERVED", "SENDING", *["UNKNOWN", "RESEND_DUE", "RESENDING"] * 2, "ACCEPTED", "READY", "DONE"]
    assert list_history(desk, "second") == states


async def test_throttled_sends_do_not_count_as_lost_ones(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk, "first")
    simulator.plan_fault("429", times=5)
    simulator.plan_fault("lost-request")
    assert (await run(desk), len(list_charged(simulator))) == (0, 2)


async def test_the_proof_may_come_from_another_job_of_the_same_run(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(TWO_JOBS)
    simulator.plan_fault("lost-request")
    assert (await run(desk), len(list_charged(simulator))) == (0, 2)


async def test_a_repeat_that_the_server_refuses_is_held_in_the_end(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs:\n  - {id: first, prompt: One scene}\n  - {id: bad, prompt: Something forbidden}")
    await run(desk, "first")
    simulator.plan_fault("lost-request")
    assert (await run(desk), count_states(desk)) == (4, {"done": 1, "held": 1})
    assert sum(request.generation_id is not None for request in simulator.requests) == 1 + 1 + 3


async def test_a_stopped_run_waits_for_an_answer_only_so_long_and_the_next_finds_out(tmp_path: Path) -> None:
    async with open_desk(tmp_path, speed=1.0, generation_seconds=0.1) as (desk, simulator):
        desk.write_manifest("jobs: [{id: scene, prompt: One scene}]")
        simulator.plan_fault("slow", route="POST /generations")
        running = asyncio.create_task(run(desk))
        await wait_until(lambda: len(simulator.billing) >= 1)
        signal.raise_signal(signal.SIGTERM)
        assert (await running, count_states(desk), len(list_charged(simulator))) == (143, {"unknown": 1}, 1)
        assert (await run(desk, window_seconds=30), len(list_charged(simulator))) == (0, 1)


async def test_jobs_of_an_older_edition_that_were_sent_are_followed_and_fetched(
    desk: Desk, simulator: Simulator
) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: One scene}]")
    interrupted = await desk.start("run", "batch.yaml", "--edition", "old")
    await wait_until(lambda: len(simulator.billing) >= 1)
    interrupted.kill()
    await interrupted.communicate()
    await desk.run_here(edition="new", quiet_window_seconds=30.0)
    videos = desk.folder / "batch.out" / "videos"
    made = sorted(path.relative_to(videos).as_posix() for path in videos.rglob("*.mp4"))
    assert (made, len(list_charged(simulator))) == (["new/scene.mp4", "old/scene.mp4"], 2)


async def test_no_more_are_in_flight_at_the_server_than_the_limit_allows(tmp_path: Path) -> None:
    async with open_desk(tmp_path, concurrency=3) as (desk, simulator):
        jobs = "\n".join(f"  - {{id: job-{number}, prompt: Scene {number}}}" for number in range(12))
        desk.write_manifest(f"jobs:\n{jobs}")
        code = await desk.run_here(in_flight=3)
    assert (code, {request.status for request in simulator.requests}) == (0, {200})


async def test_on_a_server_that_ignores_our_ids_a_lost_answer_is_found_by_the_echo(tmp_path: Path) -> None:
    async with open_desk(tmp_path, honours_ids=False) as (desk, simulator):
        desk.write_manifest("jobs: [{id: scene, prompt: One scene}]")
        simulator.plan_fault("lost-answer")
        assert (await run(desk), count_states(desk), len(list_charged(simulator))) == (0, {"done": 1}, 1)


async def test_a_held_job_that_arrives_late_is_found_by_the_next_run(tmp_path: Path) -> None:
    async with open_desk(tmp_path, arrival_delay_seconds=1500.0) as (desk, simulator):
        desk.write_manifest("jobs: [{id: scene, prompt: One scene}]")
        simulator.plan_fault("lost-answer")
        held = await run(desk)
        await wait_until(lambda: len(simulator.billing) >= 1)
        assert (held, await run(desk), len(list_charged(simulator))) == (4, 0, 1)


async def test_a_generation_that_cannot_be_read_at_first_is_waited_for(tmp_path: Path) -> None:
    async with open_desk(tmp_path, read_lag_seconds=1000.0) as (desk, simulator):
        desk.write_manifest(TWO_JOBS)
        code = await run(desk)
    assert (code, len(list_charged(simulator))) == (0, 2)


@pytest.mark.parametrize("route", ["POST /generations", "GET /generations", "GET /models", "POST /assets"])
async def test_429_makes_everybody_wait_and_loses_nothing(desk: Desk, simulator: Simulator, route: str) -> None:
    desk.add_image("hero.png")
    desk.write_manifest("jobs: [{id: scene, prompt: Wind, image: hero.png, model: fal/grok-video-i2v}]")
    simulator.plan_fault("429", route=route)
    code = await run(desk)
    assert (code, len(list_charged(simulator))) == (0, 1)
    assert "asks to slow down" in next((desk.folder / "batch.out" / "logs").iterdir()).read_text()


@pytest.mark.parametrize(
    ("fault", "route"),
    [
        ("5xx-before", "GET /models"),
        ("garbage", "POST /assets"),
        ("5xx-before", "POST /assets/{id}/upload"),
        ("garbage", "GET /generations"),
    ],
)
async def test_what_costs_nothing_is_asked_again(desk: Desk, simulator: Simulator, fault: str, route: str) -> None:
    desk.add_image("hero.png")
    desk.write_manifest("jobs: [{id: scene, prompt: Wind, image: hero.png, model: fal/grok-video-i2v}]")
    simulator.plan_fault(fault, route=route)
    code = await run(desk)
    assert (code, len(list_charged(simulator))) == (0, 1)


@pytest.mark.parametrize("fault", ["cut-download", "expired-link", "missing-link"])
async def test_a_result_that_does_not_arrive_is_fetched_again_and_not_generated_again(
    desk: Desk, simulator: Simulator, fault: str
) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: One scene, duration: 5s}]")
    simulator.plan_fault(fault, times=2)
    code = await run(desk)
    assert (code, len(list_charged(simulator))) == (0, 1)
    assert [path.name for path in (desk.folder / "batch.out" / "videos").iterdir()] == ["scene.mp4"]


async def test_a_result_that_never_arrives_leaves_the_run_unfinished_and_no_file(tmp_path: Path) -> None:
    async with open_desk(tmp_path, faults={"cut-download": 1.0}) as (desk, simulator):
        desk.write_manifest("jobs: [{id: scene, prompt: One scene}]")
        code = await run(desk)
    assert (code, count_states(desk), len(list_charged(simulator))) == (3, {"running": 1}, 1)
    assert not list((desk.folder / "batch.out").rglob("*.mp4"))


async def test_out_of_concurrency_is_waited_out(tmp_path: Path) -> None:
    async with open_desk(tmp_path, concurrency=1) as (desk, simulator):
        desk.write_manifest(TWO_JOBS)
        code = await run(desk)
    assert (code, len(list_charged(simulator))) == (0, 2)


async def test_a_signal_lets_the_paid_request_under_way_end_and_be_written_down(tmp_path: Path) -> None:
    async with open_desk(tmp_path, speed=20.0) as (desk, simulator):
        desk.write_manifest("jobs: [{id: scene, prompt: One scene}]")
        simulator.plan_fault("slow", route="POST /generations")
        process = await desk.start("run", "batch.yaml")
        await wait_until(lambda: len(simulator.billing) >= 1)
        process.terminate()
        await process.communicate()
    [row] = read_results(desk)
    assert (process.returncode, row["state"], row["generation_id"]) == (143, "running", list_charged(simulator)[0])


@pytest.mark.parametrize("seed", range(3))
async def test_through_every_fault_at_once_each_job_is_paid_once(tmp_path: Path, seed: int) -> None:
    names = ("lost-answer", "5xx-before", "5xx-after", "429", "garbage", "cut-download", "expired-link", "missing-link")
    async with open_desk(tmp_path, faults=dict.fromkeys(names, 0.05), seed=seed) as (desk, simulator):
        jobs = "\n".join(f"  - {{id: job-{number}, prompt: Scene {number}}}" for number in range(15))
        desk.write_manifest(f"jobs:\n{jobs}")
        code = await run(desk, window_seconds=0.5)
    charged = list_charged(simulator)
    assert len(charged) == len(set(charged)) == count_states(desk)["done"]
    assert count_states(desk)["done"] >= 12
    assert (code, count_states(desk)["held"]) == ((4, 15 - len(charged)) if len(charged) < 15 else (0, 0))


async def test_a_server_that_begins_to_give_ids_of_its_own_is_asked_for_the_echo_before_a_resend(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    state = tmp_path_factory.mktemp("state")
    settings = SimulatorSettings(speed=SPEED, folder=state, port=find_port())
    async with Simulator(settings) as simulator:
        desk = Desk(tmp_path_factory.mktemp("desk"), simulator.url)
        desk.write_manifest(TWO_JOBS)
        await run(desk, "first")
    async with Simulator(replace(settings, honours_ids=False)) as changed:
        changed.plan_fault("lost-answer")
        assert (await run(desk), len(list_charged(changed))) == (0, 2)


def find_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
