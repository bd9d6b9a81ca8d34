"""Where a request is looked for whose outcome is unknown, and where a link to a result is."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from conftest import SPEED
from scripted import make_item, make_list, make_page, open_api, open_scripted

from hedra_batch import errors
from hedra_batch.api.protocol import SentRequest
from hedra_batch.api.v2.finder import ECHO_PAGES_LIMIT
from hedra_batch.decide import Deduplication
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

KEY = "0b0e4bb7-5a4c-5d4c-9b39-0b7b8a3a9d11"
OTHER = "b7f9e4bb-f4c3-4237-8c76-deae53cdd61d"
LINK = "https://media.example.com/a.mp4"
SENT = SentRequest(KEY, "2026-07-02T10:00:00.000Z", Deduplication.UNPROVEN)
PROVEN = replace(SENT, deduplication=Deduplication.PROVEN)
ECHO = make_item(OTHER, input={"generation_id": KEY})


def list_by_ids(*listed: object) -> Callable[[web.Request], Any]:
    """List these where ids are asked for, and nothing as the account's whole list."""
    return lambda request: make_list(*(listed if "ids" in request.query else ()))


def list_all(*listed: object) -> Callable[[web.Request], Any]:
    """List these, page by page, as what the account has had made; nothing is found by its id."""

    def answer(request: web.Request) -> object:
        offset = int(request.query.get("offset", 0))
        return make_list(*(() if "ids" in request.query else listed[offset : offset + 2]))

    return answer


async def test_a_request_is_found_by_its_id() -> None:
    async with open_scripted(status=lambda _: make_item(KEY)) as (api, service):
        found = await api.find(SENT)
    assert found
    assert found.deduplication is Deduplication.PROVEN
    assert service.counts == {"status": 1}


@pytest.mark.parametrize("item", [make_item(KEY), ECHO])
async def test_a_request_that_has_no_status_yet_is_found_in_the_list(item: dict[str, Any]) -> None:
    async with open_scripted(list=list_by_ids(item)) as (api, _):
        found = await api.find(PROVEN)
    assert found
    assert found.remote_id == item["id"]


async def test_a_request_is_found_by_its_echo_where_ids_may_not_be_used() -> None:
    async with open_scripted(list=list_all(make_item("a1"), make_item("a2"), ECHO)) as (api, _):
        found = await api.find(SENT)
    assert found
    assert found.remote_id == OTHER
    assert found.deduplication is Deduplication.NONE


@pytest.mark.parametrize(
    ("status", "error"), [(502, errors.UnfinishedError), (403, errors.JobError), (200, errors.UnfinishedError)]
)
async def test_a_search_for_an_echo_ends_also_where_the_list_cannot_be_read(
    status: int, error: type[Exception]
) -> None:
    def answer(request: web.Request) -> object:
        if "ids" in request.query:
            return make_list()
        body = {"error_code": "PERMISSION_DENIED", "messages": ["No."]} if status == 403 else {"detail": "broken"}
        return web.json_response(body, status=status)

    async with open_scripted(list=answer) as (api, _):
        with pytest.raises(error):
            await api.find(SENT)


async def test_a_server_that_uses_our_ids_has_nothing_under_another_one() -> None:
    async with open_scripted(list=list_all(ECHO)) as (api, service):
        assert await api.find(PROVEN) is None
    assert service.counts == {"status": 1, "list": 1}


async def test_a_server_that_gives_ids_of_its_own_shows_a_request_by_its_echo() -> None:
    settings = SimulatorSettings(speed=SPEED, honours_ids=False)
    async with Simulator(settings) as simulator, open_api(simulator.url) as api:
        accepted = await api.submit(api.write_request(KEY, {"prompt": "A scene"}, {}))
        found = await api.find(replace(SENT, submitted_at=None))
    assert found
    assert found.remote_id == accepted.remote_id != KEY


async def test_the_whole_list_is_searched_whatever_the_kind() -> None:
    async with open_scripted(list=list_all()) as (api, service):
        assert await api.find(SENT) is None
    # The server's clock may be a day off.
    assert service.queries[-1] == {"limit": "100", "offset": "0", "created_after": "2026-07-01T10:00:00.000Z"}


async def test_what_was_sent_at_an_unknown_time_is_searched_in_all_there_is() -> None:
    async with open_scripted(list=list_all()) as (api, service):
        assert await api.find(replace(SENT, submitted_at=None)) is None
    assert "created_after" not in service.queries[-1]


@pytest.mark.parametrize("status", [403, 422])
async def test_a_list_that_is_refused_has_nothing_in_it(status: int) -> None:
    async with open_scripted(list=lambda _: status) as (api, _):
        assert await api.find(PROVEN) is None


@pytest.mark.parametrize("status", [403, 422])
async def test_a_search_that_is_refused_tells_nothing(status: int) -> None:
    async with open_scripted(list=lambda request: make_list() if "ids" in request.query else status) as (api, _):
        with pytest.raises(errors.RefusedError):
            await api.find(SENT)
        assert await api.find_elsewhere(SENT) is None


async def test_a_status_that_is_refused_tells_nothing() -> None:
    async with open_scripted(status=lambda _: 422) as (api, _):
        with pytest.raises(errors.RefusedError):
            await api.find(SENT)


async def test_an_item_that_cannot_be_read_may_be_what_is_looked_for() -> None:
    async with open_scripted(list=list_all(make_item("a1"), {"id": None})) as (api, _):
        with pytest.raises(errors.UnfinishedError, match="searched to its end"):
            await api.find(SENT)
        assert await api.find_elsewhere(SENT) is None


async def test_a_list_without_an_end_is_not_searched_for_ever() -> None:
    async with open_scripted(list=lambda r: make_list(*([make_item("a1")] if "ids" not in r.query else []))) as (
        api,
        service,
    ):
        with pytest.raises(errors.UnfinishedError, match=rf"\({ECHO_PAGES_LIMIT} were read\)"):
            await api.find(SENT)
    assert service.counts["list"] == 1 + ECHO_PAGES_LIMIT


async def test_before_it_is_sent_again_a_request_is_looked_for_under_another_id() -> None:
    async with open_scripted(list=list_all(ECHO)) as (api, _):
        found = await api.find_elsewhere(PROVEN)
    assert found
    assert found.remote_id == OTHER


async def test_an_outage_is_waited_for(simulator: Simulator) -> None:
    simulator.plan_fault("5xx-before", 3, "GET /generations/{id}/status")
    simulator.plan_fault("garbage", 3, "GET /generations")
    async with open_api(simulator.url) as api:
        assert await api.find(replace(SENT, key=str(uuid.uuid4()))) is None


def complete(request: web.Request) -> dict[str, Any]:
    return make_item(request.match_info["id"], "complete", asset_id="a1")


@pytest.mark.parametrize(
    "scripts",
    [
        {"status": lambda request: {**complete(request), "download_url": LINK}},
        {"status": complete, "list": lambda _: make_list(make_item(KEY, "complete", url=LINK))},
        {"status": complete, "list": lambda _: make_list(), "assets": lambda _: [{"id": "a1", "asset": {"url": LINK}}]},
        # The list is refused, or out of order.
        {"status": complete, "list": lambda _: 422, "assets": lambda _: [{"id": "a1", "asset": {"url": LINK}}]},
        *(
            {"status": complete, "list": answer, "assets": lambda _: [{"id": "a1", "asset": {"url": LINK}}]}
            for answer in (
                *(lambda _, status=status: status for status in (401, 402, 403, 404, 500, 503)),
                *(lambda _, status=status: make_page(status) for status in (200, 302, 401, 403, 404, 502)),
                lambda _: {"data": [{"id": 7}, None]},
                lambda _: {"data": "none"},
            )
        ),
        # Only the list names the asset.
        {
            "status": lambda _: make_item(KEY, "complete"),
            "list": lambda _: make_list(7, make_item(KEY, "complete", asset={"id": "A3"})),
            "assets": lambda _: [None, {"id": "x"}, {"id": "a3", "asset": {"url": LINK}}],
        },
        # Only the acceptance named the asset.
        {"status": lambda _: make_item(KEY, "complete"), "assets": lambda _: [{"id": "a2", "asset": {"url": LINK}}]},
    ],
)
async def test_a_link_is_found_in_any_of_three_places(scripts: dict[str, Callable[[web.Request], Any]]) -> None:
    async with open_scripted(**scripts) as (api, _):
        assert await api.find_link(KEY, "a2") == LINK


async def test_where_one_place_is_spent_the_next_one_is_told() -> None:
    links = {name: f"https://media.example/{name}.mp4?signature=x" for name in ("first", "second", "listed", "stored")}
    item = make_item(KEY, "complete", asset_id="a1", download_url=links["first"], url=links["second"])
    scripts: dict[str, Callable[[web.Request], Any]] = {
        "status": lambda _: item,
        "list": lambda _: make_list({**item, "url": links["listed"]}),
        "assets": lambda _: [{"id": "a1", "asset": {"download_url": links["stored"]}}],
    }
    spent: list[str] = []
    async with open_scripted(**scripts) as (api, _):
        for name in (*links, "first"):
            found = await api.find_link(KEY, None, spent)
            assert found == links[name]
            spent.append(found.partition("?")[0])


@pytest.mark.parametrize("assets", [lambda _: {"data": "none"}, lambda _: 503, lambda _: make_page(200)])
async def test_a_list_of_assets_that_cannot_be_read_is_no_end(assets: Callable[[web.Request], Any]) -> None:
    async with open_scripted(status=complete, assets=assets) as (api, _):
        with pytest.raises(errors.DownloadError, match="gives no link to it yet"):
            await api.find_link(KEY, "a1")


@pytest.mark.parametrize(
    "scripts",
    [
        {"status": complete, "assets": lambda _: [{"id": "a1", "asset": {}}]},
        # Not complete any more.
        {"status": lambda _: make_item(KEY, asset_id="a1"), "assets": lambda _: []},
        {"status": lambda _: make_item(KEY, "complete")},
        # Other assets than that which was asked for, or one that cannot be read, which may be it.
        {"status": complete, "assets": lambda _: [{"id": "b1", "asset": {"url": LINK}}]},
        {"status": complete, "assets": lambda _: [{"id": None}]},
        # A word that nobody knows, and a link before the end.
        {"status": lambda _: make_item(KEY, "polishing", url=LINK)},
    ],
)
async def test_a_result_without_a_link_is_not_denied(scripts: dict[str, Callable[[web.Request], Any]]) -> None:
    async with open_scripted(**scripts) as (api, _):
        with pytest.raises(errors.DownloadError, match=r"gives no link to it yet"):
            await api.find_link(KEY, None)


@pytest.mark.parametrize(
    "scripts", [{}, {"status": lambda _: 410}, {"status": complete, "list": lambda _: 503, "assets": lambda _: []}]
)
async def test_a_result_that_the_service_itself_does_not_have_is_denied(
    scripts: dict[str, Callable[[web.Request], Any]],
) -> None:
    async with open_scripted(**scripts) as (api, _):
        with pytest.raises(errors.ResultDeniedError) as denied:
            await api.find_link(KEY, "a1")
    assert denied.value.code in {"not_found", "gone"}


@pytest.mark.parametrize("status", [403, 410, 422])
async def test_assets_that_are_refused_deny_nothing(status: int) -> None:
    async with open_scripted(status=complete, assets=lambda _: status) as (api, _):
        with pytest.raises(errors.RefusedError):
            await api.find_link(KEY, None)
