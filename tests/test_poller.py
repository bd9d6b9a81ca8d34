"""The poller over generations in flight against the simulated API, in one process."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from conftest import SPEED, wait_until
from test_lane import make_lanes

from hedra_batch.api.protocol import Phase, Reading
from hedra_batch.api.v2.adapter import HedraV2
from hedra_batch.api.v2.client import HedraClient
from hedra_batch.clock import CLOCK
from hedra_batch.errors import ApiUnreachableError, NotFoundError, UnfinishedError
from hedra_batch.job import Attempt
from hedra_batch.money import Money
from hedra_batch.run.pacing.poller import Poller
from hedra_batch.run.pacing.retrying import RetryingClient
from hedra_batch.run.settings import RunSettings
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings
from hedra_batch.state import State
from hedra_batch.units import Rate

QUICK = RunSettings(first_pause_seconds=0.01, shortest_poll_seconds=0.02, longest_poll_seconds=0.1)
#: Whatever runs is overdue.
HASTY = replace(QUICK, overdue_seconds=0.0, overdue_factor=0.0, overdue_poll_seconds=0.02)
LONG_AGO = "2020-01-01T00:00:00.000Z"


class Missing:
    """What is written down of generations that the server does not know, and whoever waits for that."""

    def __init__(self) -> None:
        self.records: list[str | None] = []
        self.changed = asyncio.Event()

    async def record(self, _key: int, missing_at: str | None) -> None:
        self.records.append(missing_at)
        self.changed.set()


@dataclass
class Watch:
    """A poller at work over one account."""

    api: HedraV2
    poller: Poller
    missing: Missing
    fractions: list[float] = field(default_factory=list)

    async def submit(self, prompt: str = "A scene") -> Attempt:
        remote_id = str(uuid.uuid4())
        await self.api.submit(self.api.write_request(remote_id, {"prompt": prompt}, {}))
        return make_attempt(remote_id)

    async def follow_all(self, *attempts: Attempt) -> list[Reading]:
        readings = await asyncio.gather(*(self.poller.follow(attempt) for attempt in attempts))
        return [reading for reading in readings if reading]


def make_attempt(remote_id: str, state: State = State.ACCEPTED, missing_at: str | None = None) -> Attempt:
    attempt = Attempt(1, "", "scene", "scene", 1, state, "v1:0", {}, "x.mp4", remote_id=remote_id)
    return replace(attempt, accepted_at=CLOCK.now_text(), accepted_mark=CLOCK.mark(), missing_at=missing_at)


@asynccontextmanager
async def open_watch(simulator: Simulator, settings: RunSettings = QUICK) -> AsyncIterator[Watch]:
    fractions, missing = list[float](), Missing()
    async with HedraClient(simulator.url, "key") as client:
        _, lane = make_lanes(settings, Rate(1000, 1))
        api = HedraV2(client, RetryingClient(settings, lane))
        poller = Poller(api, settings, lambda _key, fraction: fractions.append(fraction), missing.record)
        running = asyncio.create_task(poller.run())
        yield Watch(api, poller, missing, fractions)
        running.cancel()
        await asyncio.wait({running})


def list_reads(simulator: Simulator, ending: str) -> int:
    return sum(1 for request in simulator.requests if request.method == "GET" and request.path.endswith(ending))


async def test_many_generations_are_read_with_few_requests(simulator: Simulator) -> None:
    async with open_watch(simulator) as watch:
        ended = await watch.follow_all(*[await watch.submit() for _ in range(60)])
    assert [reading.phase for reading in ended] == [Phase.COMPLETE] * 60
    assert (list_reads(simulator, "/status"), list_reads(simulator, "/generations") < 60) == (0, True)


async def test_the_charge_and_the_link_come_with_the_end(simulator: Simulator) -> None:
    async with open_watch(simulator) as watch:
        [reading] = await watch.follow_all(await watch.submit())
    assert reading.link
    assert reading.charged == Money(simulator.billing[0].credits)


async def test_an_error_of_the_server_ends_the_following(simulator: Simulator) -> None:
    async with open_watch(simulator) as watch:
        [reading] = await watch.follow_all(await watch.submit("A doomed scene"))
    assert (reading.phase, reading.error_code) == (Phase.FAILED, "internal")


async def test_a_server_that_does_not_filter_by_ids_is_read_one_by_one() -> None:
    settings = SimulatorSettings(speed=SPEED, understands_ids=False)
    async with Simulator(settings) as simulator, open_watch(simulator) as watch:
        followed, _newer = await watch.submit(), await watch.submit()
        [reading] = await watch.follow_all(followed)
    assert reading.remote_id == followed.remote_id
    assert list_reads(simulator, "/generations") == 1


async def test_a_generation_that_is_unknown_for_a_day_is_given_up(simulator: Simulator) -> None:
    async with open_watch(simulator) as watch:
        with pytest.raises(NotFoundError):
            await watch.poller.follow(make_attempt(str(uuid.uuid4()), missing_at=LONG_AGO))


async def test_since_when_it_is_unknown_is_written_down_once(simulator: Simulator) -> None:
    async with open_watch(simulator) as watch:
        following = asyncio.create_task(watch.poller.follow(make_attempt(str(uuid.uuid4()))))
        await watch.missing.changed.wait()
        before = list_reads(simulator, "/status")
        await wait_until(lambda: list_reads(simulator, "/status") >= before + 3)
        following.cancel()
    [missing_at] = watch.missing.records
    assert missing_at is not None
    assert CLOCK.age_seconds(missing_at) < 60


async def test_what_is_known_again_counts_as_known_all_the_time(simulator: Simulator) -> None:
    async with open_watch(simulator) as watch:
        attempt = await watch.submit()
        [reading] = await watch.follow_all(replace(attempt, missing_at=LONG_AGO))
    assert (reading.phase, watch.missing.records) == (Phase.COMPLETE, [None])


async def test_when_the_api_stays_away_everybody_who_waits_is_told(simulator: Simulator) -> None:
    settings = replace(QUICK, outage_seconds=0.1, first_answer_seconds=0.1)
    async with open_watch(simulator, settings) as watch:
        attempts = [await watch.submit("An endless scene") for _ in range(2)]
        waiting = [asyncio.create_task(watch.poller.follow(attempt)) for attempt in attempts]
        await asyncio.sleep(0)
        await simulator.stop()
        done, _ = await asyncio.wait(waiting)
        with pytest.raises(ApiUnreachableError):
            await watch.poller.follow(attempts[0])
    assert {type(task.exception()) for task in done} == {ApiUnreachableError}


async def test_when_only_the_list_is_broken_each_is_read_by_itself(simulator: Simulator) -> None:
    async with open_watch(simulator) as watch:
        simulator.plan_fault("5xx-before", times=1000, route="GET /generations")
        ended = await watch.follow_all(*[await watch.submit() for _ in range(5)])
    assert [reading.phase for reading in ended] == [Phase.COMPLETE] * 5


async def test_one_status_that_cannot_be_read_keeps_nobody_else_waiting() -> None:
    settings = SimulatorSettings(speed=SPEED, understands_ids=False)
    async with Simulator(settings) as simulator, open_watch(simulator) as watch:
        attempts = [await watch.submit() for _ in range(4)]
        simulator.plan_fault("garbage", times=8, route="GET /generations/{id}/status")
        ended = await watch.follow_all(*attempts)
    assert [reading.phase for reading in ended] == [Phase.COMPLETE] * 4


async def test_how_far_a_generation_is_is_told(simulator: Simulator) -> None:
    async with open_watch(simulator) as watch:
        await watch.follow_all(await watch.submit())
    assert watch.fractions == sorted(watch.fractions)
    assert watch.fractions[-1] == 1.0


async def test_what_takes_far_too_long_is_returned_as_it_is(simulator: Simulator) -> None:
    async with open_watch(simulator, HASTY) as watch:
        [reading] = await watch.follow_all(await watch.submit("An endless scene"))
    assert reading.phase is Phase.RUNNING


async def test_what_is_overdue_is_followed_until_nothing_else_keeps_the_run_going(simulator: Simulator) -> None:
    async with open_watch(simulator, HASTY) as watch:
        overdue = replace(await watch.submit("An endless scene"), state=State.OVERDUE)
        following = asyncio.create_task(watch.poller.follow(overdue))
        await wait_until(lambda: len(watch.fractions) >= 3)
        assert not following.done()
        watch.poller.on_idle()
        reading = await following
    assert reading
    assert reading.phase is Phase.RUNNING


async def test_what_is_overdue_and_cannot_be_read_keeps_no_run_going(simulator: Simulator) -> None:
    async with open_watch(simulator, HASTY) as watch:
        watch.poller.on_idle()
        with pytest.raises(UnfinishedError, match="overdue and cannot be read now"):
            await watch.poller.follow(make_attempt(str(uuid.uuid4()), State.OVERDUE))
