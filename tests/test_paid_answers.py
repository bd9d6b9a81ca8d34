"""What every status with every kind of body means for a paid request, on a real socket: one cell after the other."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from scripted import CODES, open_scripted
from test_client import BODY, KEY

from hedra_batch import errors
from hedra_batch.api.protocol import Acceptance
from hedra_batch.errors import HedraBatchError

STATUSES = (*range(200, 205), *range(301, 309), *range(400, 432), 451, *range(500, 531))
#: Bodies that only the service itself writes; `%s` is the class of the error.
OWN = {
    "error_code": '{"error_code": "%s", "messages": ["No."]}',
    "code": '{"code": "%s", "messages": ["No."]}',
    "error.type": '{"error": {"type": "%s", "message": "No."}}',
    "detail list": '{"detail": [{"type": "missing", "loc": ["body"], "msg": "Field required"}]}',
}
#: Bodies that anything on the way can have written.
FOREIGN = {
    "detail text": '{"detail": "Not Found"}',
    "page": "<html><head><title>Sign in</title></head><body>Welcome to the hotel.</body></html>",
    "empty": "",
    "messages alone": '{"messages": ["No."]}',
    "another code": '{"code": "RATE_LIMITED", "error": {"type": "Throttled"}}',
    "a number": '{"code": 400, "error_code": 17, "message": "Bad Request"}',
    "a list": '["INVALID_ARGUMENT"]',
    "a text": '"INVALID_ARGUMENT"',
}
CLEAR = {
    **dict.fromkeys((400, 404, 410, 412, 422), errors.RefusedError),
    401: errors.KeyRefusedError,
    402: errors.OutOfCreditsError,
    403: errors.ForbiddenError,
    409: errors.AlreadyExistsError,
    429: errors.ThrottledError,
}


def answer(status: int, text: str) -> web.Response:
    kind = "application/json" if text[:1] in tuple('{["') else "text/html"
    return web.Response(status=status, text=text, content_type=kind)


async def submit(status: int, text: str) -> Acceptance | HedraBatchError:
    async with open_scripted(generate=lambda _: answer(status, text)) as (api, service):
        try:
            return await api.submit(BODY)
        except HedraBatchError as error:
            return error
        finally:
            assert service.counts["generate"] == 1


@pytest.mark.parametrize("kind", OWN)
async def test_only_a_published_refusal_of_the_service_itself_means_that_nothing_was_accepted(kind: str) -> None:
    for status in STATUSES:
        code = CODES[status] if status in CLEAR else "INVALID_ARGUMENT"
        outcome = await submit(status, OWN[kind].replace("%s", code))
        assert type(outcome) is CLEAR.get(status, errors.UnknownOutcomeError), (status, outcome)


@pytest.mark.parametrize("kind", FOREIGN)
async def test_whatever_is_not_the_services_own_leaves_the_outcome_unknown(kind: str) -> None:
    for status in STATUSES:
        outcome = await submit(status, FOREIGN[kind])
        assert type(outcome) is errors.UnknownOutcomeError, (status, outcome)


@pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 226])
async def test_any_success_is_read_like_a_200(status: int) -> None:
    accepted = await submit(status, json.dumps({"id": KEY, "status": "queued"}))
    assert isinstance(accepted, Acceptance)
    assert accepted.remote_id == KEY


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 422])
@pytest.mark.parametrize("code", ["MODERATION_FAILED", "moderation_failed"])
async def test_moderation_is_a_clear_no_under_any_status_of_a_refusal(status: int, code: str) -> None:
    outcome = await submit(status, json.dumps({"error_code": code, "messages": ["No."]}))
    expected = errors.KeyRefusedError if status == 401 else errors.RefusedError
    assert type(outcome) is expected


@pytest.mark.parametrize(("headers", "seconds"), [({"Retry-After": "7"}, 7.0), ({}, None)])
async def test_a_429_of_a_gateway_is_unknown_and_slows_down_all_the_same(
    headers: dict[str, str], seconds: float | None
) -> None:
    page = web.Response(status=429, text="<html>Slow down</html>", headers=headers)
    async with open_scripted(generate=lambda _: page) as (api, _):
        with pytest.raises(errors.UnknownOutcomeError) as caught:
            await api.submit(BODY)
    assert caught.value.throttling
    assert caught.value.throttling.retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("https://login.example.com/hotel?next=secret&key=k#part", ": it points to login.example.com/hotel"),
        ("/web-app/v3/generations?key=secret", ": it points to /web-app/v3/generations"),
        ("https://user:secret@elsewhere.example.com:8443/a", ": it points to elsewhere.example.com/a"),
        ("http://[secret", ""),
        ("", ""),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_where_a_redirect_points_is_said_by_host_and_path_alone(status: int, location: str, words: str) -> None:
    moved = web.Response(status=status, headers={"Location": location})
    async with open_scripted(generate=lambda _: moved) as (api, _):
        with pytest.raises(errors.UnknownOutcomeError) as caught:
            await api.submit(BODY)
    assert str(caught.value) == f"The API answered HTTP {status}{words}"
