"""The simulated service checks the published shape of requests."""

from __future__ import annotations

import pytest
from simulated import Service, video_request


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, ["body"]),
        ({"type": "poem"}, ["body"]),
        ([], ["body"]),
        ({"type": "video"}, ["body", "video", "generated_video_inputs"]),
        (video_request("a", batch_size=9), ["body", "video", "batch_size"]),
        (video_request("a", batch_size=None), ["body", "video", "batch_size"]),
        (video_request("a", generation_id="1"), ["body", "video", "generation_id"]),
        (video_request("a", duration_ms="5000"), ["body", "video", "generated_video_inputs", "duration_ms"]),
        (video_request("a", seed="7"), ["body", "video", "generated_video_inputs", "seed"]),
        (video_request("a", seed=True), ["body", "video", "generated_video_inputs", "seed"]),
        (video_request("a", negative_prompt=7), ["body", "video", "generated_video_inputs", "negative_prompt"]),
    ],
)
async def test_a_wrong_type_is_refused_with_its_place(service: Service, body: object, place: list[str]) -> None:
    answer = await service.post("/generations", json=body)
    assert (answer.status, [problem["loc"] for problem in answer.json["detail"]]) == (422, [place])
    assert service.simulator.billing == []


async def test_a_body_that_is_no_json_is_refused(service: Service) -> None:
    answer = await service.post("/generations", data=b"{nope")
    assert (answer.status, answer.json["detail"][0]["type"]) == (422, "json_invalid")


async def test_unknown_fields_are_ignored(service: Service) -> None:
    assert "surprise" not in (await service.submit(surprise=1)).json
