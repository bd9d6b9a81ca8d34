"""The client on a real socket: one try each, and a paid request whose answer is lost is an unknown outcome."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from scripted import serve

from hedra_batch import errors
from hedra_batch.api.media import MediaClient
from hedra_batch.api.protocol import Phase
from hedra_batch.api.v2.client import HedraClient
from hedra_batch.api.v2.pricing import Catalogue
from hedra_batch.api.v2.requests import write_request
from hedra_batch.decide import Deduplication
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

KEY = "0b0e4bb7-5a4c-5d4c-9b39-0b7b8a3a9d11"
FIELDS: dict[str, str | int] = {"prompt": "A storm", "duration_ms": 5000, "model": "fal/grok-video-t2v"}
BODY = write_request(KEY, FIELDS, {}, Catalogue([]).name_on_wire)


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[HedraClient]:
    async with HedraClient(simulator.url, "key-of-the-tests") as opened:
        yield opened


async def test_a_submission_is_accepted_under_our_id(client: HedraClient) -> None:
    submission = await client.submit(BODY)
    assert (submission.remote_id, submission.deduplication) == (KEY, Deduplication.PROVEN)
    assert submission.request_id


async def test_a_server_that_gives_ids_of_its_own_shows_it() -> None:
    async with (
        Simulator(SimulatorSettings(honours_ids=False)) as simulator,
        HedraClient(simulator.url, "key-of-the-tests") as client,
    ):
        submission = await client.submit(BODY)
    assert submission.remote_id != KEY
    assert submission.deduplication is Deduplication.NONE


@pytest.mark.parametrize(
    ("fault", "charges"), [("lost-request", 0), ("lost-answer", 1), ("5xx-after", 1), ("5xx-before", 0)]
)
async def test_an_answer_that_is_lost_is_an_unknown_outcome(
    client: HedraClient, simulator: Simulator, fault: str, charges: int
) -> None:
    simulator.plan_fault(fault)
    with pytest.raises(errors.UnknownOutcomeError):
        await client.submit(BODY)
    assert len(simulator.billing) == charges


async def test_an_answer_that_is_garbage_is_an_unknown_outcome(client: HedraClient, simulator: Simulator) -> None:
    simulator.plan_fault("garbage", route="POST /generations")
    with pytest.raises(errors.UnknownOutcomeError):
        await client.submit(BODY)


async def test_a_paid_request_is_sent_once_whatever_comes_back(client: HedraClient, simulator: Simulator) -> None:
    simulator.plan_fault("lost-request", times=5)
    with pytest.raises(errors.UnknownOutcomeError):
        await client.submit(BODY)
    assert len(simulator.requests) == 1


async def test_a_closed_port_means_that_nothing_was_sent() -> None:
    async with HedraClient("http://127.0.0.1:1", "key-of-the-tests") as client:
        with pytest.raises(errors.NotSentError):
            await client.submit(BODY)
        with pytest.raises(errors.NotSentError):
            await client.list_models()


async def test_an_answer_that_takes_too_long_is_an_unknown_outcome(simulator: Simulator) -> None:
    simulator.plan_fault("slow")
    async with HedraClient(simulator.url, "key-of-the-tests", submit_timeout_seconds=0.0001) as client:
        with pytest.raises((errors.UnknownOutcomeError, errors.NotSentError)):
            await client.submit(BODY)


async def test_the_key_is_sent_to_the_api_and_not_to_the_media_host(client: HedraClient, simulator: Simulator) -> None:
    submission = await client.submit(BODY)
    link = None
    while link is None:
        link = (await client.read_status(submission.remote_id)).link
    async with MediaClient(allows_private_hosts=True) as media, media.open(link) as download:
        content = b"".join([chunk async for chunk in download.chunks])
    assert content
    keys = [request.key for request in simulator.requests if request.path.startswith("/media/")]
    assert keys == [None]


@pytest.mark.parametrize("page", ["<html><title>Log in</title></html>", " \n<!DOCTYPE html><p>Welcome</p>"])
async def test_a_page_under_a_success_is_an_outage_and_for_a_paid_request_unknown(page: str) -> None:
    def answer(_: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    async with serve(models=answer, generate=answer) as service, HedraClient(service.url, "key") as client:
        with pytest.raises(errors.ForeignAnswerError, match="A page came in place"):
            await client.list_models()
        with pytest.raises(errors.UnknownOutcomeError, match="A page came in place"):
            await client.submit(BODY)


async def test_an_asset_is_found_with_a_fresh_link(client: HedraClient, simulator: Simulator) -> None:
    submission = await client.submit(BODY)
    while (await client.read_status(submission.remote_id)).phase is not Phase.COMPLETE:
        pass
    assert submission.asset_id
    links, _ = await client.list_asset_links(submission.asset_id)
    assert links[submission.asset_id][0].startswith(simulator.media_url)


@pytest.mark.parametrize("link", ["file:///etc/passwd", "ftp://example.com/a", "nonsense", "http://["])
async def test_a_link_that_is_not_http_is_refused(link: str) -> None:
    async with MediaClient() as media:
        with pytest.raises(errors.DownloadError):
            async with media.open(link):
                pass
