"""The faults of the simulated service, and where each can strike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import aiohttp
import pytest
from simulated import Service, charges, running

from hedra_batch.errors import UsageError
from hedra_batch.simulator.faults import FAULTS, parse_faults
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings


async def test_a_lost_request_is_not_processed(service: Service) -> None:
    service.simulator.plan_fault("lost-request")
    wanted = str(uuid4())
    with pytest.raises(aiohttp.ClientConnectionError):
        await service.submit(generation_id=wanted)
    (record,) = service.simulator.requests
    assert (record.status, record.fault, record.generation_id) == (None, "lost-request", wanted)
    assert service.simulator.billing == []
    assert (await service.submit(generation_id=wanted)).status == 200


async def test_a_lost_answer_was_billed(service: Service) -> None:
    service.simulator.plan_fault("lost-answer")
    wanted = str(uuid4())
    with pytest.raises(aiohttp.ClientConnectionError):
        await service.submit(generation_id=wanted)
    assert charges(service) == [("charge", 35)]
    assert (await service.status(wanted))["status"] == "queued"


async def test_a_lost_answer_can_be_billed_later() -> None:
    async with running(arrival_delay_seconds=1000, speed=1000) as service:
        service.simulator.plan_fault("lost-answer")
        with pytest.raises(aiohttp.ClientConnectionError):
            await service.submit()
        was_billed_at_once = bool(service.simulator.billing)
        while not service.simulator.billing:
            await service.get("/billing/credits")
        assert (was_billed_at_once, charges(service)) == (False, [("charge", 35)])


async def test_what_has_not_arrived_when_the_service_stops_never_does() -> None:
    async with running(arrival_delay_seconds=1000) as service:
        service.simulator.plan_fault("lost-answer")
        with pytest.raises(aiohttp.ClientConnectionError):
            await service.submit()
    assert service.simulator.billing == []


async def test_a_lost_answer_can_be_a_refusal(service: Service) -> None:
    service.simulator.plan_fault("lost-answer")
    with pytest.raises(aiohttp.ClientConnectionError):
        await service.submit("forbidden")
    assert service.simulator.billing == []


async def test_an_outage_before_acceptance_bills_nothing(service: Service) -> None:
    service.simulator.plan_fault("5xx-before")
    assert (await service.submit()).status == 503
    assert service.simulator.billing == []


async def test_an_outage_after_acceptance_is_html_and_billed(service: Service) -> None:
    service.simulator.plan_fault("5xx-after")
    answer = await service.submit()
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (502, "text/html")
    assert charges(service) == [("charge", 35)]


async def test_throttling_names_a_pause_half_of_the_time(service: Service) -> None:
    service.simulator.plan_fault("429", times=20)
    answers = [await service.submit() for _ in range(20)]
    assert {answer.status for answer in answers} == {429}
    assert {answer.headers.get("Retry-After") for answer in answers} == {None, "1"}


async def test_a_slow_answer_comes_late() -> None:
    async with running(speed=1000) as service:
        service.simulator.plan_fault("slow", route="GET /models")
        started = asyncio.get_running_loop().time()
        assert (await service.get("/models")).status == 200
        assert asyncio.get_running_loop().time() - started >= 0.001


async def test_garbage_is_cut_short_or_mistyped(service: Service) -> None:
    service.simulator.plan_fault("garbage", times=20)
    answers = [await service.submit() for _ in range(20)]
    mistyped = [answer for answer in answers if b"half" in answer.content]
    assert {answer.status for answer in answers} == {200}
    assert 0 < len(mistyped) < 20
    assert len(service.simulator.billing) == 20
    for answer in answers:
        assert answer in mistyped or not answer.content.endswith(b"}")


async def test_a_download_can_be_cut_with_and_without_notice(service: Service) -> None:
    url = (await service.finished())["download_url"]
    whole = (await service.download(url)).content
    service.simulator.plan_fault("cut-download", times=20)
    parts = [part async for part in downloads(service, url, 20)]
    assert {None, whole[: len(whole) // 2]} == set(parts)


async def downloads(service: Service, url: str, times: int) -> AsyncIterator[bytes | None]:
    """Download again and again; None stands for one that was noticed to be cut."""
    for _ in range(times):
        try:
            yield (await service.download(url)).content
        except aiohttp.ClientPayloadError:
            yield None


async def test_a_link_can_be_expired_already(service: Service) -> None:
    service.simulator.plan_fault("expired-link")
    answer = await service.finished()
    assert (await service.download(answer["download_url"])).status == 403
    again = await service.status(answer["id"])
    assert (await service.download(again["download_url"])).status == 200


async def test_links_can_be_missing(service: Service) -> None:
    service.simulator.plan_fault("missing-link", route="GET /generations/{id}/status")
    answer = await service.finished()
    assert (answer["status"], answer["url"], answer["download_url"]) == ("complete", None, None)
    (item,) = (await service.get("/generations")).json["data"]
    assert item["asset"]["asset"]["download_url"]


async def test_faults_follow_from_the_seed() -> None:
    runs = []
    for seed in (1, 1, 2):
        async with running(seed=seed, faults={"5xx-before": 0.5}) as service:
            runs.append([(await service.get("/voices")).status for _ in range(20)])
    assert runs[0] == runs[1] != runs[2]
    assert set(runs[0]) == {200, 503}


@pytest.mark.parametrize("text", ["lost", "lost=0.1", "429", "429=", "429=1.5", "429=nan", "=0.1"])
def test_a_wrong_fault_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_faults([text])


def test_an_unknown_fault_is_told_the_names() -> None:
    assert parse_faults(["slow=0.25", "429=1"]) == {"slow": 0.25, "429": 1}
    with pytest.raises(UsageError) as refusal:
        SimulatorSettings(faults={"lost": 0.1})
    assert all(name in str(refusal.value) for name in FAULTS)


def test_a_fault_is_planned_only_where_it_can_strike() -> None:
    simulator = Simulator()
    with pytest.raises(UsageError):
        simulator.plan_fault("lost-answer", route="GET /models")
    with pytest.raises(UsageError):
        simulator.plan_fault("slow", route="GET /nowhere")
