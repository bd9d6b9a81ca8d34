"""What the simulated service reads in requests of the published shape."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from simulated import LONG_AFTER, Service

from hedra_batch.simulator.catalog import AVATAR, IMAGE_TO_VIDEO, STILL


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"ai_model_id": str(uuid4())}, 404, "Model"),
        ({"model_slug": "no/such"}, 404, "no/such"),
        ({"start_keyframe_id": "00000000-0000-4000-8000-00000000abcd"}, 404, "00000000-0000-4000-8000-00000000abcd"),
        ({"model_slug": IMAGE_TO_VIDEO.slug}, 422, "start frame"),
        ({"aspect_ratio": "2:1"}, 422, "aspect_ratio 2:1"),
        ({"resolution": "1080p"}, 422, "resolution 1080p"),
        ({"duration_ms": 11_000}, 422, "duration_ms 11000"),
        ({"type": "image"}, 422, "only videos"),
        ({"batch_size": 2, "generation_id": str(uuid4())}, 422, "generation_ids"),
        ({"generation_id": str(uuid4()), "generation_ids": [str(uuid4())]}, 422, "exclude each other"),
        ({"model_slug": AVATAR.slug, "start_keyframe_url": "https://example.org/a.png"}, 422, "audio"),
        ({"model_slug": STILL.slug}, 422, "no videos"),
        ({"prompt": " "}, 422, "empty"),
        ({"prompt": "a" * 5000}, 422, "longer than 4096"),
    ],
)
async def test_a_request_without_meaning_is_refused(
    service: Service, fields: dict[str, Any], status: int, words: str
) -> None:
    answer = await service.submit(**fields)
    assert answer.status == status
    assert words in answer.json["messages"][0]
    assert answer.json["error_code"] == {404: "NOT_FOUND", 422: "INVALID_ARGUMENT"}[status]


async def test_the_sender_chooses_the_ids(service: Service) -> None:
    ids = [str(uuid4()), str(uuid4())]
    asset_ids = [str(uuid4()), str(uuid4())]
    answer = await service.submit(batch_size=2, generation_ids=ids, reserved_asset_ids=asset_ids)
    assert [result["id"] for result in answer.json["batch_results"]] == ids
    assert [result["asset_id"] for result in answer.json["batch_results"]] == asset_ids
    assert answer.json["id"] == ids[0]
    assert answer.json["batch_generation_id"] is not None


async def test_generations_are_listed_newest_first_in_pages(service: Service) -> None:
    prompts = [f"fox {number}" for number in range(5)]
    for prompt in prompts:
        await service.submit(prompt)
    page = (await service.get("/generations?limit=2&offset=1")).json
    assert [item["input"]["generated_video_inputs"]["text_prompt"] for item in page["data"]] == ["fox 3", "fox 2"]
    assert page["page_info"] == {"limit": 2, "offset": 1}
    for query in ("limit=x", "offset=-1", "created_after=yesterday", "type=poem"):
        assert (await service.get(f"/generations?{query}")).status == 422


async def test_generations_are_listed_by_their_ids(service: Service) -> None:
    ids = [(await service.submit()).json["id"] for _ in range(3)]
    answer = await service.get("/generations", params={"ids": f"{ids[0]},{ids[2]},{uuid4()}"})
    assert [item["id"] for item in answer.json["data"]] == [ids[0], ids[2]]


async def test_generations_are_listed_by_time_type_and_prompt(service: Service) -> None:
    await service.submit("old fox")
    service.clock.now += 10
    created_at = (await service.submit("new fox")).json["created_at"]
    for query, count in (
        ({"created_before": created_at}, 1),
        ({"created_after": created_at}, 0),
        ({"type": "image"}, 0),
        ({"type": "video", "prompt_query": "NEW"}, 1),
    ):
        assert len((await service.get("/generations", params=query)).json["data"]) == count


@pytest.mark.parametrize("inputs", [{"seed": 7, "negative_prompt": "rain"}, {"seed": None, "negative_prompt": None}])
async def test_seed_and_negative_prompt_are_accepted_and_echoed(service: Service, inputs: dict[str, Any]) -> None:
    answer = await service.submit(**inputs)
    service.clock.now += LONG_AFTER
    (listed,) = (await service.get("/generations")).json["data"]
    places = (answer.json, listed["input"], listed["asset"]["asset"])
    assert [place["generated_video_inputs"] for place in places] == [{"text_prompt": "a fox", **inputs}] * 3


async def test_a_start_frame_must_have_its_content(service: Service) -> None:
    asset_id = (await service.post("/assets", json={"name": "a", "type": "image"})).json["id"]
    answer = await service.submit(start_keyframe_id=asset_id)
    assert answer.status == 404
    assert asset_id in answer.json["messages"][0]
    assert (await service.get("/assets?type=image")).json == []


async def test_a_start_frame_can_be_an_address(service: Service) -> None:
    url = "https://example.org/a.png"
    assert (await service.submit(ai_model_id=IMAGE_TO_VIDEO.id, start_keyframe_url=url)).status == 200
