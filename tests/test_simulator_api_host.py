"""Who gets in at the simulated API, and what a repeated submission meets."""

from __future__ import annotations

from uuid import uuid4

import aiohttp
import pytest
from simulated import LONG_AFTER, Service, charges, running


async def test_an_unknown_route_is_not_found(service: Service) -> None:
    generation_id = (await service.submit()).json["id"]
    answer = await service.get(f"/generations/{generation_id}")
    assert (answer.status, answer.json) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": ""}, {"X-API-Key": "wrong-key"}])
async def test_a_wrong_key_is_refused(service: Service, headers: dict[str, str]) -> None:
    answer = await service.get("/models", headers=headers)
    assert (answer.status, answer.json["error_code"]) == (401, "UNAUTHORIZED")


async def test_only_listed_keys_are_accepted() -> None:
    async with running(keys={"wrong-but-listed"}) as service:
        assert (await service.get("/models")).status == 401
        assert (await service.get("/models", headers={"X-API-Key": "wrong-but-listed"})).status == 200


@pytest.mark.parametrize(
    ("repeat", "status", "paid_times"), [("refuse", 409, 1), ("replay", 200, 1), ("error", 500, 1), ("bill", 200, 2)]
)
async def test_a_repeated_id_is_answered_as_set(repeat: str, status: int, paid_times: int) -> None:
    async with running(repeat=repeat) as service:
        wanted = str(uuid4())
        first = await service.submit(generation_id=wanted)
        service.clock.now += 10
        second = await service.submit(generation_id=wanted)
        assert second.status == status
        assert charges(service) == [("charge", 35)] * paid_times
        assert status != 200 or second.json == first.json


async def test_a_refused_repeat_tells_whether_the_first_is_over(service: Service) -> None:
    wanted = str(uuid4())
    codes = []
    for _ in range(3):
        codes.append((await service.submit(generation_id=wanted)).json.get("code"))
        service.clock.now += LONG_AFTER * len(codes[1:])
    assert codes == [None, "ALREADY_IN_PROGRESS", "ALREADY_EXISTS"]


async def test_an_upload_needs_its_field_and_its_asset(service: Service) -> None:
    form = aiohttp.FormData({"file": "x"}, default_to_multipart=True)
    assert (await service.post(f"/assets/{uuid4()}/upload", data=form)).status == 404
    assert (await service.post(f"/assets/{uuid4()}/upload", data=b"x")).json["detail"][0]["loc"] == ["body", "file"]
    assert (await service.get("/assets")).json["detail"][0]["loc"] == ["query", "type"]
