"""The account of the simulated service: its credits and its assets."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from simulated import PNG, Service, charges, running

from hedra_batch.simulator.catalog import SLUG_ONLY, TEXT_TO_VIDEO


@pytest.mark.parametrize(
    ("model", "resolution", "duration_ms", "credits_"),
    [
        (TEXT_TO_VIDEO, "720p", 5000, 35),
        (TEXT_TO_VIDEO, "540p", 5000, 18),
        (SLUG_ONLY, "720p", 1, 4),
        (SLUG_ONLY, "1080p", 5500, 46),
    ],
)
async def test_credits_are_charged_at_acceptance(
    service: Service, model: Any, resolution: str, duration_ms: int, credits_: int
) -> None:
    await service.submit(model_slug=model.slug, resolution=resolution, duration_ms=duration_ms)
    assert charges(service) == [("charge", credits_)]
    balance = (await service.get("/billing/credits")).json
    assert (balance["remaining"], balance["used"]) == (10_000 - credits_, credits_)


async def test_nothing_is_charged_when_credits_run_out() -> None:
    async with running(credits=69) as service:
        assert (await service.submit(batch_size=2)).status == 402
        assert (await service.submit()).status == 200
        refusal = await service.submit()
        assert (refusal.status, refusal.json["code"]) == (402, "INSUFFICIENT_BALANCE")
        assert charges(service) == [("charge", 35)]


async def test_the_billing_log_names_the_request_and_never_the_key(service: Service) -> None:
    answer = await service.submit("a fox")
    (record,) = service.simulator.billing
    assert record.generation_id == answer.json["id"]
    assert (record.prompt, record.request_id) == ("a fox", answer.headers["x-request-id"])
    assert "secret" not in record.key


async def test_an_uploaded_image_can_begin_a_video(service: Service) -> None:
    asset_id, answer = await service.upload()
    assert (answer.json["asset"]["width"], answer.json["asset"]["height"]) == (16, 9)
    assert (await service.submit(start_keyframe_id=asset_id)).status == 200
    (listed,) = (await service.get("/assets", params={"type": "image", "ids": asset_id})).json
    assert listed["id"] == asset_id


@pytest.mark.parametrize("content", [b"", b"<svg/>", b"%PDF-1.7", PNG[:12], PNG.replace(b"\x10", b"\0")])
async def test_what_is_no_image_is_refused(service: Service, content: bytes) -> None:
    _, answer = await service.upload(content)
    assert answer.status == 422
    assert "image" in answer.json["messages"][0]


async def test_only_images_can_be_uploaded(service: Service) -> None:
    asset_id = (await service.post("/assets", json={"name": "a", "type": "audio"})).json["id"]
    form = aiohttp.FormData({"file": "x"}, default_to_multipart=True)
    assert (await service.post(f"/assets/{asset_id}/upload", data=form)).status == 422
    assert (await service.post("/assets", json={"name": "a"})).json["detail"][0]["loc"] == ["body", "type"]


async def test_voices_are_assets_too(service: Service) -> None:
    first, second = (await service.get("/voices")).json
    assert (await service.get("/assets?type=voice")).json == [first, second]
    assert (await service.get("/assets", params={"type": "voice", "ids": second["id"]})).json == [second]


@pytest.mark.parametrize(("kind", "is_honoured"), [("asset", True), ("video", False)])
async def test_asset_ids_are_a_kind_of_their_own(kind: str, is_honoured: bool) -> None:
    async with running(honours_ids=frozenset({kind})) as service:
        body = {"name": "a", "type": "image", "reserved_asset_id": str(uuid4())}
        answer = await service.post("/assets", json=body)
        assert (answer.json["id"] == body["reserved_asset_id"]) is is_honoured


async def test_an_asset_id_can_be_reserved_once(service: Service) -> None:
    body = {"name": "a", "type": "image", "reserved_asset_id": str(uuid4())}
    assert (await service.post("/assets", json=body)).json["id"] == body["reserved_asset_id"]
    assert (await service.post("/assets", json=body)).status == 409
