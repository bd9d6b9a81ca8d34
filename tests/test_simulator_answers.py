"""The answers of the simulated service have the published shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from simulated import Service

from hedra_batch.simulator.catalog import MODELS

DOCUMENT = Path(__file__).parents[2] / "shared" / "hedra-api" / "openapi-v2.json"


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    if not DOCUMENT.exists():
        pytest.skip(f"the published document is not at {DOCUMENT}")
    return dict(json.loads(DOCUMENT.read_text(encoding="utf-8")))


def check(document: dict[str, Any], name: str, value: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(schema, format_checker=checker).validate(value)


async def test_every_answer_of_a_generation_has_the_published_shape(
    service: Service, published: dict[str, Any]
) -> None:
    check(published, "GenerateVideoResponse", (await service.submit(batch_size=2)).json)
    check(published, "PagedResponse_Generation_", (await service.get("/generations")).json)
    check(published, "GenerationStatusResponse", await service.finished("likeness of a fox"))
    check(published, "GenerationStatusResponse", await service.finished())
    check(published, "PagedResponse_Generation_", (await service.get("/generations")).json)
    check(published, "CreditBalance", (await service.get("/billing/credits")).json)


async def test_every_answer_about_assets_has_the_published_shape(service: Service, published: dict[str, Any]) -> None:
    created = await service.post("/assets", json={"name": "a", "type": "image"})
    check(published, "CreateAssetResponse", created.json)
    check(published, "Asset", (await service.upload())[1].json)
    await service.finished()
    for kind in ("image", "video"):
        (asset,) = (await service.get(f"/assets?type={kind}")).json
        check(published, "Asset", asset)
    for voice in (await service.get("/voices")).json:
        check(published, "Asset", voice)


async def test_models_have_the_published_shape(service: Service, published: dict[str, Any]) -> None:
    models = (await service.get("/models")).json
    for model in models:
        check(published, "AIModel", model)
    assert len(models) == len(MODELS)


async def test_malformed_requests_are_answered_in_the_published_shape(
    service: Service, published: dict[str, Any]
) -> None:
    answer = await service.post("/generations", json={"type": "video", "generated_video_inputs": {}})
    check(published, "HTTPValidationError", answer.json)
    assert answer.json["detail"][0]["loc"] == ["body", "video", "generated_video_inputs", "text_prompt"]
