"""The models that the simulated service offers."""

from __future__ import annotations

from simulated import Service

from hedra_batch.simulator.catalog import SLUG_ONLY, TEXT_TO_VIDEO


async def test_models_are_filtered_by_type(service: Service) -> None:
    models = (await service.get("/models?types=video")).json
    assert {model["type"] for model in models} == {"video"}
    assert (await service.get("/models?types=poem")).status == 422


async def test_a_model_tells_the_size_of_each_picture(service: Service) -> None:
    models = {model["slug"]: model for model in (await service.get("/models")).json}
    sizes = models[TEXT_TO_VIDEO.slug]["dimensions"]
    assert sizes["16:9"] == {"540p": {"width": 960, "height": 540}, "720p": {"width": 1280, "height": 720}}
    assert sizes["3:4"]["720p"] == {"width": 720, "height": 960}
    assert models[SLUG_ONLY.slug]["id"] is None
