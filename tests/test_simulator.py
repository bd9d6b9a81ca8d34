"""The simulated service over real sockets: its published shape, its money, its memory and its faults."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import jsonschema
import pytest

from hedra_batch.errors import CannotCreateError, UsageError
from hedra_batch.simulator.catalog import AVATAR, IMAGE_TO_VIDEO, MODELS, SLUG_ONLY, STILL, TEXT_TO_VIDEO
from hedra_batch.simulator.faults import FAULTS, parse_faults
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

DOCUMENT = Path(__file__).parents[2] / "shared" / "hedra-api" / "openapi-v2.json"
KEY = {"X-API-Key": "secret-key"}
#: A PNG of 16x9 pixels, as far as its size can be read.
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0\0\0\x10" + b"\0\0\0\x09" + b"\x08\x02\0\0\0" + bytes(12)
LONG_AFTER = 1000.0


@dataclass
class Answer:
    """What came back, read to its end."""

    status: int
    headers: Any
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Service:
    """A running simulator, its clock, and a client that retries nothing."""

    simulator: Simulator
    session: aiohttp.ClientSession
    clock: Clock

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        return await self.request("POST", path, **options)

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        url = path if "://" in path else self.simulator.url + path
        async with self.session.request(method, url, **{"headers": KEY, **options}) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def submit(self, prompt: str = "a fox", **fields: Any) -> Answer:
        return await self.post("/generations", json=video_request(prompt, **fields))

    async def status(self, generation_id: str) -> Any:
        return (await self.get(f"/generations/{generation_id}/status")).json

    async def upload(self, content: bytes = PNG) -> tuple[str, Answer]:
        asset_id = (await self.post("/assets", json={"name": "start.png", "type": "image"})).json["id"]
        form = aiohttp.FormData()
        form.add_field("file", content, filename="start.png")
        return asset_id, await self.post(f"/assets/{asset_id}/upload", data=form)

    async def finished(self, prompt: str = "a fox", **fields: Any) -> Any:
        """Submit, wait until long after the end, and read the status."""
        generation_id = (await self.submit(prompt, **fields)).json["id"]
        self.clock.now += LONG_AFTER
        return await self.status(generation_id)

    async def download(self, url: str, **headers: str) -> Answer:
        return await self.get(url, headers=headers)


def video_request(prompt: str, **fields: Any) -> dict[str, Any]:
    inputs = {name: fields.pop(name) for name in ("aspect_ratio", "resolution", "duration_ms") if name in fields}
    return {"type": "video", "generated_video_inputs": {"text_prompt": prompt, **inputs}, **fields}


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Service]:
    clock = Clock()
    async with (
        Simulator(SimulatorSettings(**{"clock": clock, **settings})) as simulator,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        yield Service(simulator, session, clock)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with running() as each:
        yield each


def charges(service: Service) -> list[tuple[str, int]]:
    return [(record.kind, record.credits) for record in service.simulator.billing]


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


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
    ],
)
async def test_a_wrong_type_is_refused_with_its_place(service: Service, body: object, place: list[str]) -> None:
    answer = await service.post("/generations", json=body)
    assert (answer.status, [problem["loc"] for problem in answer.json["detail"]]) == (422, [place])
    assert service.simulator.billing == []


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


async def test_a_body_that_is_no_json_is_refused(service: Service) -> None:
    answer = await service.post("/generations", data=b"{nope")
    assert (answer.status, answer.json["detail"][0]["type"]) == (422, "json_invalid")


async def test_unknown_fields_are_ignored(service: Service) -> None:
    assert "surprise" not in (await service.submit(surprise=1)).json


async def test_an_unknown_route_is_not_found(service: Service) -> None:
    generation_id = (await service.submit()).json["id"]
    answer = await service.get(f"/generations/{generation_id}")
    assert (answer.status, answer.json) == (404, {"detail": "Not Found"})


async def test_every_answer_has_a_request_id(service: Service) -> None:
    answers = [await service.get("/nowhere"), await service.submit("invalid"), await service.get("/models")]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert ids == {record.request_id for record in service.simulator.requests}


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": ""}, {"X-API-Key": "wrong-key"}])
async def test_a_wrong_key_is_refused(service: Service, headers: dict[str, str]) -> None:
    answer = await service.get("/models", headers=headers)
    assert (answer.status, answer.json["error_code"]) == (401, "UNAUTHORIZED")


async def test_only_listed_keys_are_accepted() -> None:
    async with running(keys={"wrong-but-listed"}) as service:
        assert (await service.get("/models")).status == 401
        assert (await service.get("/models", headers={"X-API-Key": "wrong-but-listed"})).status == 200


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


async def test_a_generation_passes_through_all_statuses(service: Service) -> None:
    generation_id = (await service.submit()).json["id"]
    seen: list[tuple[str, float]] = []
    while not seen or seen[-1][0] != "complete":
        answer = await service.status(generation_id)
        seen.append((answer["status"], answer["progress"]))
        service.clock.now += 2
    assert list(dict(seen)) == ["queued", "processing", "finalizing", "complete"]
    assert seen == sorted(seen, key=lambda pair: pair[1])
    assert 60 <= 2 * len(seen) <= 184


async def test_speed_divides_the_time_of_a_generation() -> None:
    async with running(speed=1000) as service:
        generation_id = (await service.submit()).json["id"]
        service.clock.now += 0.18
        assert (await service.status(generation_id))["status"] == "complete"


async def test_estimates_are_near_and_sometimes_missing(service: Service) -> None:
    etas = [(await service.submit()).json["eta_sec"] for _ in range(40)]
    assert None in etas
    assert all(30 <= eta <= 270 for eta in etas if eta is not None)


async def test_the_same_seed_and_id_take_the_same_time() -> None:
    fields = {"generation_id": str(uuid4())}
    etas = []
    for seed in (1, 1, 2):
        async with running(seed=seed, eta_noise=0) as service:
            await service.submit(**fields)
            service.clock.now += 60
            etas.append((await service.status(fields["generation_id"]))["progress"])
    assert etas[0] == etas[1] != etas[2]


async def test_the_sender_chooses_the_ids(service: Service) -> None:
    ids = [str(uuid4()), str(uuid4())]
    asset_ids = [str(uuid4()), str(uuid4())]
    answer = await service.submit(batch_size=2, generation_ids=ids, reserved_asset_ids=asset_ids)
    assert [result["id"] for result in answer.json["batch_results"]] == ids
    assert [result["asset_id"] for result in answer.json["batch_results"]] == asset_ids
    assert answer.json["id"] == ids[0]
    assert answer.json["batch_generation_id"] is not None


async def test_ids_can_be_ignored() -> None:
    async with running(honours_ids=False) as service:
        wanted = str(uuid4())
        answers = [await service.submit(generation_id=wanted) for _ in range(2)]
        assert len({wanted, *(answer.json["id"] for answer in answers)}) == 3
        listed = (await service.get("/generations")).json["data"]
        assert {item["input"]["generation_id"] for item in listed} == {wanted}


async def test_ignored_ids_need_not_be_echoed() -> None:
    async with running(honours_ids=False, echoes_ids=False) as service:
        await service.submit(generation_id=str(uuid4()))
        assert "generation_id" not in (await service.get("/generations")).json["data"][0]["input"]


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


@pytest.mark.parametrize(
    ("word", "status", "code"),
    [
        ("Forbidden", 422, "MODERATION_FAILED"),
        ("unpayable", 402, "INSUFFICIENT_BALANCE"),
        ("invalid", 422, "INVALID_ARGUMENT"),
    ],
)
async def test_magic_words_are_refused(service: Service, word: str, status: int, code: str) -> None:
    answer = await service.submit(f"a {word}, red fox")
    assert (answer.status, answer.json["error_code"]) == (status, code)
    assert service.simulator.billing == []


async def test_likeness_ends_with_a_moderation_error_and_a_refund(service: Service) -> None:
    answer = await service.finished("the likeness of a fox")
    assert answer["status"] == "error"
    assert answer["error"]["type"] == "MODERATION_FAILED"
    assert answer["error"]["reason_code"] == "MODERATION_LIKENESS"
    assert charges(service) == [("charge", 35), ("refund", 35)]


async def test_flaky_fails_the_first_time_only(service: Service) -> None:
    answers = [await service.finished("a flaky fox") for _ in range(2)]
    assert [answer["status"] for answer in answers] == ["error", "complete"]
    assert answers[0]["error"]["type"] == "INTERNAL"


async def test_endless_never_ends(service: Service) -> None:
    answer = await service.finished("an endless fox")
    assert (answer["status"], answer["progress"]) == ("processing", 0.85)


async def test_too_many_generations_at_once_are_refused() -> None:
    async with running(concurrency=2) as service:
        answers = [await service.submit() for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert "concurrent" in answers[2].json["messages"][0]
        service.clock.now += LONG_AFTER
        assert (await service.submit()).status == 200


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


async def test_ids_need_not_be_understood() -> None:
    async with running(understands_ids=False) as service:
        ids = [(await service.submit()).json["id"] for _ in range(2)]
        answer = await service.get("/generations", params={"ids": ids[0]})
        assert [item["id"] for item in answer.json["data"]] == [ids[1], ids[0]]


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


async def test_a_new_generation_cannot_be_read_at_once() -> None:
    async with running(read_lag_seconds=5) as service:
        generation_id = (await service.submit()).json["id"]
        assert (await service.get(f"/generations/{generation_id}/status")).status == 404
        assert (await service.get("/generations")).json["data"] == []
        service.clock.now += 5
        assert (await service.status(generation_id))["id"] == generation_id
        assert len((await service.get("/generations")).json["data"]) == 1


async def test_an_uploaded_image_can_begin_a_video(service: Service) -> None:
    asset_id, answer = await service.upload()
    assert (answer.json["asset"]["width"], answer.json["asset"]["height"]) == (16, 9)
    assert (await service.submit(start_keyframe_id=asset_id)).status == 200
    (listed,) = (await service.get("/assets", params={"type": "image", "ids": asset_id})).json
    assert listed["id"] == asset_id


async def test_a_start_frame_must_have_its_content(service: Service) -> None:
    asset_id = (await service.post("/assets", json={"name": "a", "type": "image"})).json["id"]
    answer = await service.submit(start_keyframe_id=asset_id)
    assert answer.status == 404
    assert asset_id in answer.json["messages"][0]
    assert (await service.get("/assets?type=image")).json == []


async def test_a_start_frame_can_be_an_address(service: Service) -> None:
    url = "https://example.org/a.png"
    assert (await service.submit(ai_model_id=IMAGE_TO_VIDEO.id, start_keyframe_url=url)).status == 200


@pytest.mark.parametrize("content", [b"", b"<svg/>", b"%PDF-1.7", PNG[:12], PNG.replace(b"\x10", b"\0")])
async def test_what_is_no_image_is_refused(service: Service, content: bytes) -> None:
    _, answer = await service.upload(content)
    assert answer.status == 422
    assert "image" in answer.json["messages"][0]


async def test_an_upload_needs_its_field_and_its_asset(service: Service) -> None:
    form = aiohttp.FormData({"file": "x"}, default_to_multipart=True)
    assert (await service.post(f"/assets/{uuid4()}/upload", data=form)).status == 404
    assert (await service.post(f"/assets/{uuid4()}/upload", data=b"x")).json["detail"][0]["loc"] == ["body", "file"]
    assert (await service.get("/assets")).json["detail"][0]["loc"] == ["query", "type"]


async def test_only_images_can_be_uploaded(service: Service) -> None:
    asset_id = (await service.post("/assets", json={"name": "a", "type": "audio"})).json["id"]
    form = aiohttp.FormData({"file": "x"}, default_to_multipart=True)
    assert (await service.post(f"/assets/{asset_id}/upload", data=form)).status == 422
    assert (await service.post("/assets", json={"name": "a"})).json["detail"][0]["loc"] == ["body", "type"]


async def test_voices_are_assets_too(service: Service) -> None:
    first, second = (await service.get("/voices")).json
    assert (await service.get("/assets?type=voice")).json == [first, second]
    assert (await service.get("/assets", params={"type": "voice", "ids": second["id"]})).json == [second]


async def test_an_asset_id_can_be_reserved_once(service: Service) -> None:
    body = {"name": "a", "type": "image", "reserved_asset_id": str(uuid4())}
    assert (await service.post("/assets", json=body)).json["id"] == body["reserved_asset_id"]
    assert (await service.post("/assets", json=body)).status == 409


async def test_a_finished_video_is_found_by_its_asset(service: Service) -> None:
    answer = await service.finished(duration_ms=6000)
    (asset,) = (await service.get("/assets", params={"type": "video", "ids": answer["asset_id"]})).json
    assert asset["asset"]["duration_ms"] == 6000
    assert (await service.download(asset["asset"]["download_url"])).status == 200


async def test_a_finished_video_can_be_downloaded(service: Service) -> None:
    answer = await service.finished()
    movie = await service.download(answer["download_url"])
    assert (movie.status, movie.headers["Content-Type"]) == (200, "video/mp4")
    assert int(movie.headers["Content-Length"]) == len(movie.content)
    assert movie.content[4:8] == b"ftyp"
    assert answer["id"].encode() in movie.content
    assert answer["streaming_url"] != answer["download_url"]
    assert (await service.download(answer["streaming_url"])).status == 404
    assert (await service.download(service.simulator.media_url)).content.startswith(b"<?xml")


async def test_a_part_of_a_video_can_be_downloaded(service: Service) -> None:
    url = (await service.finished())["download_url"]
    whole = (await service.download(url)).content
    part = await service.download(url, Range="bytes=4-7")
    assert (part.status, part.content) == (206, b"ftyp")
    assert part.headers["Content-Range"] == f"bytes 4-7/{len(whole)}"
    for wrong in (f"bytes={len(whole)}-", "bytes=x"):
        assert (await service.download(url, Range=wrong)).status == 416


async def test_the_media_host_refuses_a_key_and_records_it(service: Service) -> None:
    url = (await service.finished())["download_url"]
    assert not url.startswith(service.simulator.url.removesuffix("/web-app/public"))
    assert url.startswith(service.simulator.media_url)
    assert (await service.download(url, **KEY)).status == 400
    record = service.simulator.requests[-1]
    assert record.path.startswith("/media/")
    assert record.key is not None


async def test_a_media_link_expires(service: Service) -> None:
    url = (await service.finished())["download_url"]
    service.clock.now += 3600
    answer = await service.download(url)
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (403, "application/xml")
    assert answer.content.startswith(b"<?xml")
    assert (await service.download(url.replace("Expires=1", "Expires=2"))).status == 403


async def test_requests_are_recorded_without_query_or_key(service: Service) -> None:
    wanted = str(uuid4())
    await service.submit(generation_id=wanted)
    await service.get("/generations?limit=1")
    first, second = service.simulator.requests
    assert (first.method, first.path, first.status) == ("POST", "/web-app/public/generations", 200)
    assert (first.generation_id, first.at) == (wanted, service.clock.now)
    assert (second.path, second.generation_id) == ("/web-app/public/generations", None)
    assert "secret" not in repr(service.simulator.requests)


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


async def test_a_sender_that_goes_away_in_the_middle_is_recorded(service: Service) -> None:
    port = int(service.simulator.url.split(":")[2].partition("/")[0])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"POST /web-app/public/generations HTTP/1.1\r\nHost: x\r\nX-API-Key: k\r\nContent-Length: 9\r\n\r\n"
    writer.write(head + b"{")
    writer.close()
    async with asyncio.timeout(5):
        while not [record for record in service.simulator.requests if record.method == "POST"]:
            await service.get("/voices")
    assert next(record.status for record in service.simulator.requests if record.method == "POST") is None


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


@pytest.mark.parametrize("settings", [{"speed": 0}, {"generation_seconds": 0}, {"repeat": "shrug"}])
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        SimulatorSettings(**settings)


async def test_a_port_that_is_taken_is_refused(service: Service) -> None:
    port = int(service.simulator.media_url.rpartition(":")[2])
    with pytest.raises(UsageError, match=str(port)):
        await Simulator(SimulatorSettings(port=port)).start()


async def test_a_restart_on_the_same_folder_goes_on(tmp_path: Path) -> None:
    async with running(folder=tmp_path / "state") as service:
        asset_id, _ = await service.upload()
        generation_id = (await service.submit("a flaky fox")).json["id"]
    async with running(folder=tmp_path / "state") as service:
        assert (await service.submit(start_keyframe_id=asset_id, generation_id=generation_id)).status == 409
        service.clock.now += LONG_AFTER
        assert (await service.status(generation_id))["status"] == "error"
        assert charges(service) == [("charge", 35), ("refund", 35)]
        assert (await service.finished("a flaky fox"))["status"] == "complete"
        assert (await service.get("/billing/credits")).json["remaining"] == 9965
        assert service.simulator.requests[0].path == "/web-app/public/assets"


async def test_the_files_are_private_and_hold_no_key(tmp_path: Path) -> None:
    async with running(folder=tmp_path) as service:
        await service.upload()
        await service.submit()
    files = files_of(tmp_path)
    assert {path.name for path in files} == {"assets.jsonl", "generations.jsonl", "billing.jsonl", "requests.jsonl"}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert not any("secret-key" in path.read_text(encoding="utf-8") for path in files)


async def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    async with running(folder=tmp_path) as service:
        generation_id = (await service.submit()).json["id"]
    for path in files_of(tmp_path):
        path.write_bytes(path.read_bytes() + b'{"id": "torn')
    async with running(folder=tmp_path) as service:
        assert (await service.submit()).status == 200
    async with running(folder=tmp_path) as service:
        assert len((await service.get("/generations")).json["data"]) == 2
        assert (await service.status(generation_id))["status"] == "queued"


async def test_a_charge_that_a_kill_kept_from_the_log_is_made_up_for(tmp_path: Path) -> None:
    async with running(folder=tmp_path) as service:
        await service.submit()
    (tmp_path / "billing.jsonl").unlink()
    async with running(folder=tmp_path) as service:
        assert charges(service) == [("charge", 35)]


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "billing.jsonl").write_text('{"foreign": 1}\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"billing\.jsonl:1"):
        Simulator(SimulatorSettings(folder=tmp_path))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotCreateError):
        Simulator(SimulatorSettings(folder=tmp_path / "file" / "state"))


_SERVE = """
import asyncio, pathlib, sys
from hedra_batch.simulator.service import Simulator, SimulatorSettings
async def main():
    async with Simulator(SimulatorSettings(folder=pathlib.Path(sys.argv[1]))) as simulator:
        print(simulator.url, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_that_it_answered(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVE, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    url = (await process.stdout.readline()).decode().strip()
    async with aiohttp.ClientSession(headers=KEY) as session:
        answers = [await session.post(f"{url}/generations", json=video_request("a fox")) for _ in range(3)]
        ids = {(await answer.json())["id"] for answer in answers}
    process.send_signal(signal.SIGKILL)
    await process.wait()
    simulator = Simulator(SimulatorSettings(folder=tmp_path))
    assert {record.generation_id for record in simulator.billing} == ids
    assert len(simulator.requests) == 3
