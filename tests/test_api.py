"""Answers and refusals of the API as our types, and the client on a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from hedra_batch import errors
from hedra_batch.api.media import MediaClient
from hedra_batch.api.v2.answers import read_generation, read_generations, read_models, read_submission
from hedra_batch.api.v2.client import HedraClient, check_base_url
from hedra_batch.api.v2.refusals import read_refusal, read_submission_refusal
from hedra_batch.api.v2.requests import RequestIds, build_video_request, read_ids
from hedra_batch.sanitize import clean
from hedra_batch.simulator.service import Simulator

BODY = build_video_request(
    {"prompt": "A storm", "duration_ms": 5000},
    generation_id="0b0e4bb7-5a4c-5d4c-9b39-0b7b8a3a9d11",
    model={"model_slug": "fal/grok-video-t2v"},
    keyframes={},
)


IDS = RequestIds("g1", frozenset({"a1", "a2"}))


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[HedraClient]:
    async with HedraClient(simulator.url, "key-of-the-tests") as opened:
        yield opened


def test_a_request_has_the_published_form() -> None:
    fields: dict[str, str | int] = {"prompt": "Wind", "aspect_ratio": "16:9", "resolution": "720p"}
    fields |= {"duration_ms": 5000, "image": "sha256:00"}
    body = build_video_request(
        fields, generation_id="g", model={"ai_model_id": "m"}, keyframes={"start_keyframe_id": "a"}
    )
    inputs = {"text_prompt": "Wind", "aspect_ratio": "16:9", "resolution": "720p", "duration_ms": 5000}
    expected = {"type": "video", "generation_id": "g", "ai_model_id": "m", "start_keyframe_id": "a"}
    assert json.loads(body) == {**expected, "generated_video_inputs": inputs, "batch_size": 1}


def test_the_assets_of_a_stored_body_are_found_again() -> None:
    body = build_video_request(
        {"prompt": "x"}, generation_id="g", model={}, keyframes={"start_keyframe_id": "a", "end_keyframe_url": "b"}
    )
    assert read_ids(body) == RequestIds("g", frozenset({"a"}))


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, {"code": "UNAUTHORIZED", "messages": ["No such key"]}, errors.KeyRefusedError, "No such key"),
        (402, {"messages": ["Not enough credits"]}, errors.OutOfCreditsError, "Not enough credits"),
        (403, {"error_code": "PERMISSION_DENIED", "messages": ["Moved to v3"]}, errors.KeyRefusedError, "v3"),
        (400, {"messages": ["a", "b"]}, errors.RefusedError, "a; b"),
        (404, {"messages": ["Model not found"]}, errors.RefusedError, "Model not found"),
        (422, {"detail": [{"loc": ["body", "x"], "msg": "bad", "type": "t"}]}, errors.RefusedError, "body.x: bad"),
        (422, {"error": {"type": "MODERATION_FAILED", "message": "No"}}, errors.RefusedError, "No"),
        (409, {"error_code": "ALREADY_EXISTS", "messages": ["Taken"]}, errors.AlreadyExistsError, "Taken"),
        (429, {"messages": ["Too many"]}, errors.ThrottledError, "Too many"),
        (403, {"error_code": "MODERATION_FAILED"}, errors.RefusedError, "without a message"),
        (403, {"messages": ["No"]}, errors.KeyRefusedError, "No"),
        (410, {"messages": ["Gone"]}, errors.UnknownOutcomeError, "Gone"),
        (499, "", errors.UnknownOutcomeError, "499"),
        (408, {}, errors.UnknownOutcomeError, "408"),
        (500, {"error_code": "UNAUTHORIZED"}, errors.UnknownOutcomeError, "500"),
        (404, "<html>No such page</html>", errors.UnknownOutcomeError, "No such page"),
        (400, "Bad Request", errors.UnknownOutcomeError, "Bad Request"),
        (502, "<html>Bad gateway</html>", errors.UnknownOutcomeError, "502"),
        (302, "", errors.UnknownOutcomeError, "302"),
        (201, {"id": "x"}, errors.UnknownOutcomeError, "201"),
    ],
)
def test_each_refusal_of_a_paid_request_has_its_verdict(
    status: int, body: object, kind: type[errors.HedraBatchError], words: str
) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    refusal = read_submission_refusal(status, {}, text, IDS)
    assert type(refusal) is kind
    assert words in str(refusal)


def test_a_404_that_names_our_asset_says_that_it_is_gone() -> None:
    refusal = read_submission_refusal(404, {}, '{"messages": ["Asset a1 not found"]}', IDS)
    assert type(refusal) is errors.UploadGoneError
    assert refusal.handles == {"a1"}


@pytest.mark.parametrize(("text", "bears"), [("Generation G1 exists", True), ("Conflict", False)])
def test_a_409_is_known_to_be_about_our_id_only_when_it_says_so(text: str, bears: bool) -> None:
    body = {"messages": [text], "request": {"generation_id": "g1"}}
    refusal = read_submission_refusal(409, {}, json.dumps(body), IDS)
    assert isinstance(refusal, errors.AlreadyExistsError)
    assert refusal.bears_our_key is bears


def test_the_services_own_code_is_kept_in_lower_case() -> None:
    body = '{"error": {"type": "MODERATION_FAILED", "reason_code": "MODERATION_LIKENESS", "message": "No"}}'
    refusal = read_refusal(422, {"x-request-id": "r1"}, body)
    assert isinstance(refusal, errors.RefusedError)
    assert (refusal.code, refusal.request_id) == ("moderation_likeness", "r1")


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("1e9", 3600.0), ("nan", None), ("soon", None)]
)
def test_retry_after_is_read_within_bounds(header: str, seconds: float | None) -> None:
    refusal = read_refusal(429, {"Retry-After": header}, "")
    assert isinstance(refusal, errors.ThrottledError)
    assert refusal.retry_after_seconds == seconds


def test_messages_of_the_server_are_safe_to_print() -> None:
    cleaned = clean("see\x1b[31m\n https://cdn.example.com/a.mp4?X-Signature=secret \u202eend" + "x" * 1000)
    assert "\x1b" not in cleaned
    assert "secret" not in cleaned
    assert len(cleaned) == 400


@pytest.mark.parametrize("answer", [[], "text", None, {}, {"id": 5}, {"id": ""}, {"id": None, "status": "queued"}])
def test_a_submission_without_an_id_is_garbled(answer: object) -> None:
    with pytest.raises(errors.GarbledError):
        read_submission(answer, None)


def test_numbers_that_are_none_are_taken_as_absent() -> None:
    answer = {"id": "A", "status": "queued", "progress": float("nan"), "eta_sec": 10**400, "credit_cost": True}
    generation = read_generation(answer)
    assert (generation.generation_id, generation.progress, generation.eta_seconds) == ("a", 0.0, None)
    assert generation.credits_charged is None


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"error": {"type": "INTERNAL", "message": "m"}}, "internal", "m"),
        ({"error_message": "m"}, None, "m"),
        ({"error": {"type": "X_Y"}, "error_message": "m"}, "x_y", "m"),
        ({"error": "m"}, None, "m"),
        ({"error": {"type": "MODERATION_FAILED", "reason_code": "MODERATION_LIKENESS"}}, "moderation_likeness", None),
        ({"error": {"type": "INTERNAL", "reason_code": "NEWS", "message": "m"}}, "internal", "m (NEWS)"),
        ({"error": {"type": "INTERNAL", "reason_code": "NEWS"}}, "internal", "no message (NEWS)"),
        ({}, None, None),
    ],
)
def test_an_error_is_read_from_either_place(fields: dict[str, object], code: str | None, message: str | None) -> None:
    generation = read_generation({"id": "a", "status": "error", **fields})
    assert (generation.error_code, generation.error) == (code, message)


def test_the_link_is_a_file_and_never_a_stream() -> None:
    answer = {"id": "a", "status": "complete", "streaming_url": "https://s", "asset": {"asset": {"url": "https://u"}}}
    assert read_generation(answer).link == "https://u"


def test_a_link_is_in_no_repr() -> None:
    generation = read_generation({"id": "a", "status": "complete", "download_url": "https://x/y?Signature=secret"})
    assert "secret" not in repr(generation)


def test_an_item_that_cannot_be_read_leaves_the_others_alone() -> None:
    read = read_generations({"data": [{"id": "a", "status": "queued"}, {"id": None}, 7]})
    assert [generation.generation_id for generation in read] == ["a"]


@pytest.mark.parametrize("answer", [{}, {"data": {}}, {"data": [1]}])
def test_a_list_without_items_is_garbled(answer: object) -> None:
    with pytest.raises(errors.GarbledError):
        read_generations(answer)


def test_models_without_a_list_are_garbled() -> None:
    with pytest.raises(errors.GarbledError):
        read_models({"models": []})


@pytest.mark.parametrize(
    "address", ["https://api.hedra.com/web-app/public/", "http://127.0.0.1:8080/x", "http://localhost"]
)
def test_a_key_goes_over_https_or_to_this_machine(address: str) -> None:
    assert check_base_url(address) == address.rstrip("/")


@pytest.mark.parametrize(
    "address",
    ["http://api.hedra.com", "//x", "https://", "file:///etc", "https://a@b.c", "https://a.b/?k=1", "https://a:x"],
)
def test_any_other_address_is_refused(address: str) -> None:
    with pytest.raises(errors.ConfigurationError):
        check_base_url(address)


async def test_a_submission_is_accepted_under_our_id(client: HedraClient) -> None:
    submission = await client.submit(BODY)
    assert submission.generation_id == "0b0e4bb7-5a4c-5d4c-9b39-0b7b8a3a9d11"
    assert submission.request_id


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
        link = (await client.read_status(submission.generation_id)).link
    async with MediaClient(allows_private_hosts=True) as media, media.open(link) as download:
        content = b"".join([chunk async for chunk in download.chunks])
    assert len(content) == download.length_bytes
    keys = [request.key for request in simulator.requests if request.path.startswith("/media/")]
    assert keys == [None]


async def test_an_asset_is_found_with_a_fresh_link(client: HedraClient, simulator: Simulator) -> None:
    submission = await client.submit(BODY)
    while (await client.read_status(submission.generation_id)).status != "complete":
        pass
    assert submission.asset_id
    assert (await client.find_asset_link(submission.asset_id) or "").startswith(simulator.media_url)


@pytest.mark.parametrize("link", ["file:///etc/passwd", "ftp://example.com/a", "nonsense", "http://["])
async def test_a_link_that_is_not_http_is_refused(link: str) -> None:
    async with MediaClient() as media:
        with pytest.raises(errors.DownloadError):
            async with media.open(link):
                pass
