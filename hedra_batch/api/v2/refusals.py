"""Answers that are no success as our errors, in one place. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from hedra_batch.api.v2.answers import ERROR_CODES, add_details, read_request_id
from hedra_batch.api.v2.requests import RequestIds
from hedra_batch.api.v2.throttling import read_reset_seconds, read_retry_after
from hedra_batch.errors import (
    AlreadyExistsError,
    ForbiddenError,
    ForeignAnswerError,
    HedraBatchError,
    KeyRefusedError,
    NotFoundError,
    OutOfCreditsError,
    RefusedError,
    StopRunError,
    ThrottledError,
    TooManyAtOnceError,
    UnavailableError,
    UnknownOutcomeError,
    UploadGoneError,
)
from hedra_batch.sanitize import clean

#: What is read of a message before it is made safe to print and cut: that would take long for a large answer.
_LONGEST_READ = 4_000
_MOST_MESSAGES = 20
#: Of where a redirect points.
_LONGEST_PLACE = 100
_NOT_OWN = "not in the API's own words (a proxy's?)"
#: How a 429 speaks of what runs at the same time, and of what does.
_AT_ONCE = re.compile(
    r"\b(concurren|simultaneous|parallel|(in progress|already running|still running|at once)\b)", re.IGNORECASE
)
_TITLE = re.compile(r"<title>([^<]{1,200})</title>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{1,200}>")
_WORK = re.compile(r"\b(generations?|jobs?|videos?)\b", re.IGNORECASE)
_ALREADY = frozenset({"already_exists", "already_in_progress"})
_BY_STATUS = {
    400: "invalid_argument",
    403: "permission_denied",
    404: "not_found",
    409: "already_exists",
    410: "gone",
    412: "failed_precondition",
    422: "invalid_argument",
}
#: The refusals of a request as it stands that are published; of other statuses nobody says what they mean for it.
_CLEAR_STATUSES = frozenset({400, 404, 410, 412, 422})
#: Those that can mean that an uploaded file is gone.
_MISSING_STATUSES = frozenset({404, 410})
#: What the service's framework says of a route that it does not have.
_UNKNOWN_ROUTE = {"detail": "Not Found"}


def read_refusal(status: int, headers: Mapping[str, str], text: str) -> HedraBatchError:
    """Say what an answer that is no success means for a read, an upload or a submission.

    Statuses of 3xx, 408 and 5xx come back as UnavailableError, and so does any other whose body is not the service's
    own: a gateway's answer tells nothing of what is behind it. For a paid request the caller makes them unknown.
    """
    body = _parse(text)
    message = extract_message(body, text).rstrip(".")
    if status < 400 or status == 408 or status >= 500:
        said = ": ".join(filter(None, (_describe_redirect(status, headers), message)))
        unavailable = UnavailableError(
            f"The API answered HTTP {status}{said and f': {said}'}", read_retry_after(headers)
        )
        unavailable.status = status
        return unavailable
    if status == 429:
        return _read_throttling(message or f"HTTP {status} without a message", headers)
    if not is_own(body):
        foreign = ForeignAnswerError(
            f"HTTP {status}, but {_NOT_OWN}: {message or 'no message'}", read_retry_after(headers)
        )
        foreign.is_unknown_route = status == 404 and body == _UNKNOWN_ROUTE
        return foreign
    code = extract_code(body) or _BY_STATUS.get(status, f"http_{status}")
    request_id = read_request_id(headers.get("x-request-id"))
    return _read_own(status, code, message or f"HTTP {status} without a message", request_id)


def is_own(body: Any) -> bool:
    """Tell whether a refusal is the service's own, and not a gateway's: it has a published code, or a `detail` list."""
    if not isinstance(body, dict):
        return False
    return isinstance(body.get("detail"), list) or any(code in ERROR_CODES for code in _list_codes(body))


def _read_own(status: int, code: str, message: str, request_id: str | None) -> HedraBatchError:
    if stop := _read_stop(status, code, message):
        return stop
    if status == 409 or code in _ALREADY:
        return AlreadyExistsError(code, message, request_id)
    if status == 404:
        return NotFoundError(code, message, request_id)
    return RefusedError(code, message, request_id)


def _describe_redirect(status: int, headers: Mapping[str, str]) -> str:
    """Say where a redirect points, by host and path alone: what else it has can be a secret."""
    location = headers.get("Location", "") if 300 <= status < 400 else ""
    try:
        target = urlsplit(location)
        place = f"{target.hostname or ''}{target.path}"
    except ValueError:
        return ""
    return f"it points to {clean(place)[:_LONGEST_PLACE]}" if place else ""


def _read_throttling(message: str, headers: Mapping[str, str]) -> ThrottledError:
    """Tell a limit of generations that run together from a limit of requests in a time."""
    seconds = read_retry_after(headers)
    if _AT_ONCE.search(message) and _WORK.search(message):
        return TooManyAtOnceError(f"The API runs no more generations at once ({message})", seconds)
    seconds = read_reset_seconds(headers) if seconds is None else seconds
    return ThrottledError(f"The API asks to slow down ({message})", seconds)


def _read_stop(status: int, code: str, message: str) -> StopRunError | None:
    """Recognise the refusals that every further request would meet too."""
    if status == 401 or code == "unauthorized":
        return KeyRefusedError(f"The API refused the key: {message}. Check HEDRA_API_KEY or HEDRA_API_KEY_FILE.")
    if status == 402 or code == "insufficient_balance":
        return OutOfCreditsError(f"The account is out of credits: {message}. Add credits to it.")
    if status == 403 and not code.startswith("moderation"):
        return ForbiddenError(
            f"The API refused the account: {message}. The plan may not include the API, or the account may have "
            "moved to Hedra's v3 API, which this program cannot use. Nothing more is sent."
        )
    return None


def read_submission_refusal(status: int, headers: Mapping[str, str], text: str, ids: RequestIds) -> HedraBatchError:
    """Say it for POST /generations, where only a clear no of the service means that nothing was accepted.

    A 404 is about something that the request names; a 5xx, a page, and a 4xx that is not published, are unknown.
    """
    refusal = read_refusal(status, headers, text)
    if isinstance(refusal, ThrottledError) and not is_own(_parse(text)):
        unclear = UnknownOutcomeError(f"HTTP {status}, but {_NOT_OWN}: {refusal}")
        unclear.throttling = refusal
        return unclear
    if isinstance(refusal, AlreadyExistsError):
        # In its own words: an echo of the whole request bears every id.
        refusal.bears_our_key = ids.generation_id in str(refusal).lower()
    elif isinstance(refusal, NotFoundError | RefusedError):
        return _read_paid_refusal(status, refusal, frozenset(each for each in ids.asset_ids if each in text))
    elif isinstance(refusal, UnavailableError):
        return UnknownOutcomeError(str(refusal))
    return refusal


def _read_paid_refusal(
    status: int, refusal: NotFoundError | RefusedError, named_assets: frozenset[str]
) -> HedraBatchError:
    """Tell a clear no to the request, or to a file of it, from what is published nowhere."""
    if named_assets and status in _MISSING_STATUSES:
        return UploadGoneError(refusal.code, str(refusal), refusal.request_id, named_assets)
    if status in _CLEAR_STATUSES or refusal.code.startswith("moderation"):
        return RefusedError(refusal.code, str(refusal), refusal.request_id)
    return UnknownOutcomeError(f"HTTP {status}: {refusal}")


def extract_message(body: Any, text: str) -> str:
    """Find the sentence in the many forms of the API's errors, safe to print on one line, with its details."""
    message = _find_message(body) or ("" if body is not None else _read_page(text[:_LONGEST_READ]))
    return clean(message[:_LONGEST_READ])


def _read_page(text: str) -> str:
    """Read what a proxy answers instead of the API: the title of its page, or all its words."""
    if title := _TITLE.search(text):
        return title[1]
    return _TAG.sub(" ", text) if text.lstrip().startswith("<") else text


def extract_code(body: Any) -> str | None:
    """Find the service's own error class, in lower case."""
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    reason = error.get("reason_code") if isinstance(error, dict) else None
    for value in (reason.lower() if isinstance(reason, str) else None, *_list_codes(body)):
        if value and re.fullmatch(r"[a-z_]{3,40}", value):
            return value
    return None


def _list_codes(body: dict[str, Any]) -> list[str]:
    """List what stands where the service names the class of an error, in lower case."""
    error = body.get("error")
    places = (error.get("type") if isinstance(error, dict) else None, body.get("error_code"), body.get("code"))
    return [value.lower() for value in places if isinstance(value, str)]


def _find_message(body: Any) -> str:
    """Find what is said, and what is said beside it of fields and credits."""
    if not isinstance(body, dict):
        return ""
    error = body.get("error")
    return add_details(_find_sentence(body)[:_LONGEST_READ], error if isinstance(error, dict) else body)


def _find_sentence(body: dict[str, Any]) -> str:
    error, detail, messages = body.get("error"), body.get("detail"), body.get("messages")
    candidates = (
        error.get("message") if isinstance(error, dict) else error,
        body.get("error_message"),
        _join(messages) if isinstance(messages, list) else messages,
        _join(detail) if isinstance(detail, list) else detail,
        body.get("message"),
    )
    return next((text for text in candidates if isinstance(text, str) and text), "")


def _join(items: list[Any]) -> str:
    return "; ".join(_describe(item) for item in items[:_MOST_MESSAGES])


def _describe(item: Any) -> str:
    """One of several messages; an item of a 422's `detail` says where and what."""
    if not isinstance(item, dict) or "msg" not in item:
        return _to_text(item)
    location = item.get("loc")
    place = ".".join(map(_to_text, location[:_MOST_MESSAGES])) if isinstance(location, list) else ""
    return f"{place}: {_to_text(item['msg'])}".removeprefix(": ")


def _to_text(value: Any) -> str:
    try:
        return str(value)[:_LONGEST_READ]
    except RecursionError:
        # JSON can be nested just so deep that it can be read and not be written.
        return "…"


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
