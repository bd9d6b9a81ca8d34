"""Version 2 of the API as the run sees it, on a real socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from conftest import make_png
from scripted import make_page, open_api, open_scripted

from hedra_batch import errors
from hedra_batch.api.protocol import Upload
from hedra_batch.decide import Deduplication
from hedra_batch.inputs import FieldValues, Medium
from hedra_batch.money import Money
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

WANTED = "5d3e1b70-9a5e-5c41-8f0e-0d9a3f5b7c11"
KEY = "0b0e4bb7-5a4c-5d4c-9b39-0b7b8a3a9d11"
FIELDS: FieldValues = {"prompt": "A storm", "model": "fal/grok-video-t2v", "resolution": "720p", "duration_ms": 5000}


async def test_a_price_is_known_once_the_models_are_loaded(simulator: Simulator) -> None:
    async with open_api(simulator.url) as api:
        assert (api.estimate(FIELDS), api.find_usual_seconds(FIELDS)) == (None, None)
        await api.load_models()
        price = api.estimate(FIELDS)
        assert api.find_usual_seconds(FIELDS)
        await api.submit(api.write_request(KEY, FIELDS, {}))
    assert price == Money(simulator.billing[0].credits)


async def test_a_name_is_sent_as_the_slug_of_its_model(simulator: Simulator) -> None:
    async with open_api(simulator.url) as api:
        await api.load_models()
        with pytest.raises(errors.ManifestError, match=r"^market: model: .*Nonsense"):
            api.check_models({None: "a", "Nonsense": "market", "Grok Video T2V": "b"})
        body = api.write_request(KEY, {"prompt": "x", "model": "Grok Video T2V"}, {})
    assert b'"model_slug":"fal/grok-video-t2v"' in body


@pytest.mark.parametrize("status", [404, 422])
async def test_an_address_that_lists_no_models_is_no_such_api(status: int) -> None:
    async with open_scripted(models=lambda _: status) as (api, service):
        with pytest.raises(errors.ConfigurationError, match=f"There is no Hedra API at {service.url}"):
            await api.load_models()


async def test_a_key_that_is_refused_is_told_as_such() -> None:
    async with open_scripted(models=lambda _: 401) as (api, _):
        with pytest.raises(errors.KeyRefusedError):
            await api.load_models()


@pytest.mark.parametrize(
    ("answer", "balance"),
    [({"remaining": 7}, Money(7)), ({}, None), (503, None), (402, None), (403, None), (404, None)],
)
async def test_a_balance_is_told_or_not_by_one_try(answer: object, balance: Money | None) -> None:
    async with open_scripted(balance=lambda _: answer) as (api, service):
        assert await api.read_balance() == balance
    assert service.counts == {"balance": 1}


@pytest.mark.parametrize("status", [302, 401, 403, 404, 502])
async def test_a_balance_in_whose_place_a_page_comes_is_not_told(status: int) -> None:
    async with open_scripted(balance=lambda _: make_page(status)) as (api, _):
        assert await api.read_balance() is None


@pytest.mark.parametrize("status", [301, 401, 403, 404, 407, 451, 503])
async def test_a_page_in_place_of_the_models_is_waited_for(status: int) -> None:
    answers = iter([make_page(status), make_page(status), []])
    async with open_scripted(models=lambda _: next(answers)) as (api, service):
        await api.load_models()
    assert service.counts == {"models": 3}


async def test_a_route_that_the_service_does_not_have_is_a_wrong_address() -> None:
    unknown = web.json_response({"detail": "Not Found"}, status=404)
    async with open_scripted(models=lambda _: unknown) as (api, _):
        with pytest.raises(errors.ConfigurationError, match="There is no Hedra API at"):
            await api.load_models()


@pytest.mark.parametrize("said", ["", "Thanks", "<html>Stored</html>", "[]"])
@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_success_of_an_upload_is_one_whatever_it_says(status: int, said: str) -> None:
    def announce(_request: web.Request) -> web.Response:
        return web.json_response({"id": "a1"}, status=200 if status == 204 else status)

    async with open_scripted(announce=announce, upload=lambda _: web.Response(status=status, text=said)) as (
        api,
        service,
    ):
        assert await api.upload(Medium.IMAGE, "a.png", b"x", WANTED) == Upload("a1")
    assert service.counts == {"announce": 1, "upload": 1}


@pytest.mark.parametrize("announced", [lambda: web.Response(status=204), lambda: web.Response(text="{"), lambda: 409])
@pytest.mark.parametrize("takes_ids", [True, False])
async def test_a_file_that_is_announced_without_a_word_on_its_id_may_have_ours(
    announced: Callable[[], Any], takes_ids: bool
) -> None:
    async def announce(request: web.Request) -> Any:
        return announced() if "reserved_asset_id" in await request.json() else {"id": "a1"}

    def upload(request: web.Request) -> Any:
        return {} if takes_ids or request.match_info["id"] == "a1" else 404

    async with open_scripted(announce=announce, upload=upload) as (api, _):
        assert await api.upload(Medium.IMAGE, "a.png", b"x", WANTED) == Upload(WANTED if takes_ids else "a1")


@pytest.mark.parametrize("status", [401, 403, 404, 409, 422, 503])
async def test_a_page_in_place_of_an_upload_is_waited_for(status: int) -> None:
    announcements, uploads = iter([make_page(status), {"id": "a1"}]), iter([make_page(status), {}])
    async with open_scripted(announce=lambda _: next(announcements), upload=lambda _: next(uploads)) as (api, _):
        assert await api.upload(Medium.IMAGE, "a.png", b"x", WANTED) == Upload("a1")


async def test_an_upload_that_is_repeated_is_one_asset(simulator: Simulator) -> None:
    async with open_api(simulator.url) as api:
        for _ in range(2):
            assert await api.upload(Medium.IMAGE, "a.png", make_png(1), WANTED) == Upload(WANTED)


async def test_a_server_that_takes_no_ids_of_ours_gives_its_own() -> None:
    async with (
        Simulator(SimulatorSettings(honours_ids=False)) as simulator,
        open_api(simulator.url) as api,
    ):
        assert (await api.upload(Medium.IMAGE, "a.png", make_png(1), WANTED)).handle != WANTED


async def test_a_file_is_uploaded_and_named_by_its_handle(simulator: Simulator) -> None:
    async with open_api(simulator.url) as api:
        upload = await api.upload(Medium.IMAGE, "a.png", make_png(1))
        body = api.write_request(KEY, FIELDS | {"image": "sha256:00"}, {"image": upload.handle})
        assert (await api.submit(body)).deduplication is Deduplication.PROVEN
        simulator.forget_assets()
        with pytest.raises(errors.UploadGoneError) as gone:
            await api.submit(body.replace(KEY.encode(), KEY[::-1].encode()))
    assert gone.value.handles == {upload.handle}
    assert upload.expires_at is None


@pytest.mark.parametrize("fault", ["5xx-before", "garbage", "429"])
async def test_an_upload_is_repeated_until_it_is_there(simulator: Simulator, fault: str) -> None:
    simulator.plan_fault(fault, 2, "POST /assets")
    simulator.plan_fault(fault, 2, "POST /assets/{id}/upload")
    async with open_api(simulator.url) as api:
        assert (await api.upload(Medium.IMAGE, "a.png", make_png(1))).handle


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(409, Upload("a1")), (404, errors.UnfinishedError), (422, errors.RefusedError)],
)
async def test_an_upload_may_have_arrived_before_or_be_refused(status: int, outcome: object) -> None:
    async with open_scripted(announce=lambda _: {"id": "a1"}, upload=lambda _: status) as (api, service):
        result = await try_upload(lambda: api.upload(Medium.IMAGE, "a.png", b"x"))
    assert result == outcome or type(result) is outcome
    assert service.counts == {"announce": 1, "upload": 1}


async def try_upload(upload: Callable[[], Any]) -> object:
    try:
        return await upload()
    except errors.HedraBatchError as error:
        return error
