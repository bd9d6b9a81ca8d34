"""Answers other than 200 as our errors."""

from __future__ import annotations

import json

import pytest

from hedra_batch import errors
from hedra_batch.api.v2.refusals import read_refusal, read_submission_refusal
from hedra_batch.api.v2.requests import RequestIds
from hedra_batch.sanitize import clean

IDS = RequestIds("g1", frozenset({"a1", "a2"}))


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, {"code": "UNAUTHORIZED", "messages": ["No such key"]}, errors.KeyRefusedError, "No such key"),
        (
            402,
            {"code": "INSUFFICIENT_BALANCE", "messages": ["Not enough credits"]},
            errors.OutOfCreditsError,
            "Not enough credits",
        ),
        (403, {"error_code": "PERMISSION_DENIED", "messages": ["Moved to v3"]}, errors.ForbiddenError, "v3"),
        (400, {"code": "INVALID_ARGUMENT", "messages": ["a", "b"]}, errors.RefusedError, "a; b"),
        (404, {"error_code": "NOT_FOUND", "messages": ["Model not found"]}, errors.RefusedError, "Model not found"),
        (422, {"detail": [{"loc": ["body", "x"], "msg": "bad", "type": "t"}]}, errors.RefusedError, "body.x: bad"),
        (422, {"error": {"type": "MODERATION_FAILED", "message": "No"}}, errors.RefusedError, "No"),
        (409, {"error_code": "ALREADY_EXISTS", "messages": ["Taken"]}, errors.AlreadyExistsError, "Taken"),
        (429, {"code": "RESOURCE_EXHAUSTED", "messages": ["Too many"]}, errors.ThrottledError, "Too many"),
        (403, {"error_code": "MODERATION_FAILED"}, errors.RefusedError, "without a message"),
        (403, {"messages": ["No"]}, errors.UnknownOutcomeError, "No"),
        (410, {"code": "GONE", "messages": ["Gone"]}, errors.RefusedError, "Gone"),
        (412, {"code": "FAILED_PRECONDITION", "messages": ["Not yet"]}, errors.RefusedError, "Not yet"),
        (410, {"messages": ["Gone"]}, errors.UnknownOutcomeError, "Gone"),
        (405, {"code": "INVALID_ARGUMENT", "messages": ["Not so"]}, errors.UnknownOutcomeError, "Not so"),
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


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [
        (502, "<html><head><title>502 Bad Gateway</title></head></html>", "The API answered HTTP 502: 502 Bad Gateway"),
        (502, "<html><h1>Bad gateway</h1></html>", "The API answered HTTP 502: Bad gateway"),
        (503, "", "The API answered HTTP 503"),
        (404, "<html>None</html>", "HTTP 404, but not in the API's own words (a proxy's?): None"),
        (418, '{"code": "UNKNOWN", "messages": ["Teapot"]}', "HTTP 418: Teapot"),
    ],
)
def test_what_does_not_tell_whether_it_was_accepted_is_told_without_markup(
    status: int, text: str, message: str
) -> None:
    assert str(read_submission_refusal(status, {}, text, IDS)) == message


@pytest.mark.parametrize("status", [404, 410])
def test_a_404_that_names_our_asset_says_that_it_is_gone(status: int) -> None:
    body = '{"error_code": "NOT_FOUND", "messages": ["Asset a1 not found"]}'
    refusal = read_submission_refusal(status, {}, body, IDS)
    assert type(refusal) is errors.UploadGoneError
    assert refusal.handles == {"a1"}


@pytest.mark.parametrize(("text", "bears"), [("Generation G1 exists", True), ("Conflict", False)])
def test_a_409_is_known_to_be_about_our_id_only_when_it_says_so(text: str, bears: bool) -> None:
    body = {"code": "ALREADY_EXISTS", "messages": [text], "request": {"generation_id": "g1"}}
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


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({"message": "Bad.", "param": "seed"}, "Bad (about seed)"),
        (
            {"message": "Bad", "violations": [{"field": "seed", "message": "too low"}, {"field": "prompt"}, 7]},
            "Bad (seed: too low; prompt)",
        ),
        ({"message": "Bad", "param": "seed", "violations": [{"field": "seed", "message": "low"}]}, "Bad (seed: low)"),
        (
            {"message": "Poor.", "credits_needed": 35.0, "credits_available": 1200},
            "Poor (credits needed: 35; credits available: 1,200)",
        ),
        ({"message": "Bad.", "violations": "none", "param": None, "credits_needed": "x"}, "Bad"),
        ({"credits_needed": 35}, "(credits needed: 35)"),
    ],
)
@pytest.mark.parametrize("is_nested", [True, False])
def test_the_fields_and_credits_that_an_error_names_are_told(
    error: dict[str, object], message: str, is_nested: bool
) -> None:
    body = {"error": {"type": "INVALID_ARGUMENT", **error}} if is_nested else {"code": "INVALID_ARGUMENT", **error}
    assert str(read_submission_refusal(422, {}, json.dumps(body), IDS)) == message


def test_a_long_message_leaves_room_for_what_it_is_about() -> None:
    error = {"type": "INVALID_ARGUMENT", "message": "x" * 5000, "violations": [{"field": "f", "message": "y" * 5000}]}
    told = str(read_submission_refusal(422, {}, json.dumps({"error": error}), IDS))
    assert ("… (f: yyy" in told, len(told) <= 400) == (True, True)
