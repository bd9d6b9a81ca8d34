"""The watch over generations against the simulated API, in one process."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from conftest import SPEED

from hedra_batch.api.v2.client import HedraClient
from hedra_batch.api.v2.requests import build_video_request
from hedra_batch.clock import CLOCK
from hedra_batch.errors import ApiUnreachableError, NotFoundError
from hedra_batch.job import Attempt
from hedra_batch.run.pacing.outage import OutageGuard
from hedra_batch.run.pacing.poller import LIST_FAILURES_LIMIT, Poller
from hedra_batch.run.pacing.rate import Cooldown, RateLimiter
from hedra_batch.run.pacing.retrying import RetryingClient
from hedra_batch.run.settings import RunSettings
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings
from hedra_batch.state import State
from hedra_batch.units import Rate

QUICK = RunSettings(first_pause_seconds=0.01, shortest_poll_seconds=0.02, longest_poll_seconds=0.1)


async def submit(client: HedraClient, prompt: str = "A scene") -> Attempt:
    generation_id = str(uuid.uuid4())
    await client.submit(build_video_request({"prompt": prompt}, generation_id=generation_id, model={}, keyframes={}))
    return make_attempt(generation_id)


def make_attempt(generation_id: str, missing_at: str | None = None) -> Attempt:
    attempt = Attempt(1, "", "scene", 1, State.ACCEPTED, "v1:0", {}, "x.mp4")
    return replace(attempt, generation_id=generation_id, accepted_at=CLOCK.now_text(), missing_at=missing_at)


async def note_missing(missing: dict[int, str | None], key: int, missing_at: str | None) -> None:
    missing[key] = missing_at


@asynccontextmanager
async def open_watch(client: HedraClient, settings: RunSettings = QUICK) -> AsyncIterator[Poller]:
    pause = Cooldown()
    reader = RetryingClient(settings, OutageGuard(settings), RateLimiter(Rate(1000, 1), pause), pause)
    missing: dict[int, str | None] = {}
    watch = Poller(
        client, reader, settings, lambda _key, _fraction: None, partial(note_missing, missing), lambda _attempt: None
    )
    running = asyncio.create_task(watch.run())
    yield watch
    running.cancel()
    await asyncio.wait({running})


async def gather(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    return await asyncio.gather(*work)


def list_reads(simulator: Simulator, ending: str) -> int:
    return sum(1 for request in simulator.requests if request.method == "GET" and request.path.endswith(ending))


async def test_many_generations_are_read_with_few_requests(simulator: Simulator) -> None:
    async with HedraClient(simulator.url, "key") as client, open_watch(client) as watch:
        attempts = [await submit(client) for _ in range(60)]
        ended = await gather(*(watch.follow(attempt) for attempt in attempts))
    assert {generation and generation.status for generation in ended} == {"complete"}
    assert (list_reads(simulator, "/status"), list_reads(simulator, "/generations") < 60) == (0, True)


async def test_the_charge_and_the_link_come_with_the_end(simulator: Simulator) -> None:
    async with HedraClient(simulator.url, "key") as client, open_watch(client) as watch:
        generation = await watch.follow(await submit(client))
    assert generation
    assert generation.link
    assert generation.credits_charged == simulator.billing[0].credits


async def test_an_error_of_the_server_ends_the_following(simulator: Simulator) -> None:
    async with HedraClient(simulator.url, "key") as client, open_watch(client) as watch:
        generation = await watch.follow(await submit(client, "A doomed scene"))
    assert generation
    assert (generation.status, generation.error_code) == ("error", "internal")


async def test_a_server_that_does_not_filter_by_ids_is_read_one_by_one() -> None:
    async with (
        Simulator(SimulatorSettings(speed=SPEED, understands_ids=False)) as simulator,
        HedraClient(simulator.url, "key") as client,
        open_watch(client) as watch,
    ):
        followed, _newer = await submit(client), await submit(client)
        generation = await watch.follow(followed)
    assert generation
    assert generation.generation_id == followed.generation_id
    assert list_reads(simulator, "/generations") == 1


async def test_a_generation_that_is_unknown_for_a_day_is_given_up(simulator: Simulator) -> None:
    async with HedraClient(simulator.url, "key") as client, open_watch(client) as watch:
        with pytest.raises(NotFoundError):
            await watch.follow(make_attempt(str(uuid.uuid4()), "2020-01-01T00:00:00.000Z"))


async def test_when_the_api_stays_away_everybody_who_waits_is_told(simulator: Simulator) -> None:
    settings = replace(QUICK, outage_seconds=0.1, first_answer_seconds=0.1)
    async with HedraClient(simulator.url, "key") as client, open_watch(client, settings) as watch:
        attempts = [await submit(client, "An endless scene") for _ in range(2)]
        waiting = [asyncio.create_task(watch.follow(attempt)) for attempt in attempts]
        await asyncio.sleep(0)
        await simulator.stop()
        done, _ = await asyncio.wait(waiting)
    assert {type(task.exception()) for task in done} == {ApiUnreachableError}


async def test_when_only_the_list_is_broken_each_is_read_by_itself() -> None:
    async with (
        Simulator(SimulatorSettings(speed=SPEED)) as simulator,
        HedraClient(simulator.url, "key") as client,
        open_watch(client) as watch,
    ):
        simulator.plan_fault("5xx-before", times=1000, route="GET /generations")
        attempts = [await submit(client) for _ in range(5)]
        ended = await gather(*(watch.follow(attempt) for attempt in attempts))
    assert {generation and generation.status for generation in ended} == {"complete"}


async def test_one_status_that_cannot_be_read_keeps_nobody_else_waiting() -> None:
    async with (
        Simulator(SimulatorSettings(speed=SPEED, understands_ids=False)) as simulator,
        HedraClient(simulator.url, "key") as client,
        open_watch(client) as watch,
    ):
        attempts = [await submit(client) for _ in range(4)]
        simulator.plan_fault("garbage", times=8, route="GET /generations/{id}/status")
        ended = await gather(*(watch.follow(attempt) for attempt in attempts))
    assert {generation and generation.status for generation in ended} == {"complete"}


@asynccontextmanager
async def serve(listed: list[dict[str, Any]], reads: Counter[str], running: int) -> AsyncIterator[str]:
    """Serve a list that is always the same, and statuses that are complete after so many reads."""

    async def list_all(_request: web.Request) -> web.Response:
        reads["list"] += 1
        return web.json_response({"page_info": {}, "data": listed})

    async def read_status(request: web.Request) -> web.Response:
        reads["status"] += 1
        status = "complete" if reads["status"] > running else "processing"
        return web.json_response({"id": request.match_info["id"], "status": status, "progress": 0.5})

    app = web.Application()
    app.router.add_get("/generations", list_all)
    app.router.add_get("/generations/{id}/status", read_status)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


OLD = "2026-01-01T00:00:00.000Z"
ITEM = {"id": str(uuid.uuid4()), "status": "processing", "progress": 0.5}


@pytest.mark.parametrize(
    ("accepted_at", "items", "lists"),
    [
        # Kept back though it is old: noticed after some reads.
        (OLD, [], LIST_FAILURES_LIMIT),
        # It may be too new for the list.
        (None, [], 9),
        # Something else, or more than was asked for: noticed at once.
        (None, [ITEM], 1),
        (None, [ITEM, ITEM], 1),
    ],
)
async def test_a_list_that_does_not_show_what_it_is_asked_for_is_given_up(
    accepted_at: str | None, items: list[dict[str, Any]], lists: int
) -> None:
    reads: Counter[str] = Counter()
    async with (
        serve(items, reads, running=8) as url,
        HedraClient(url, "key") as client,
        open_watch(client) as watch,
    ):
        attempt = make_attempt(str(uuid.uuid4()))
        generation = await watch.follow(replace(attempt, accepted_at=accepted_at or attempt.accepted_at))
    assert (generation and generation.status, reads["status"], reads["list"]) == ("complete", 9, lists)
