"""Answers other than 200 as our errors, in one place. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from hedra_batch.api.v2.answers import read_request_id
from hedra_batch.api.v2.requests import RequestIds
from hedra_batch.api.v2.throttling import read_reset_seconds, read_retry_after
from hedra_batch.errors import (
    AlreadyExistsError,
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
    422: "invalid_argument",
}


def read_refusal(status: int, headers: Mapping[str, str], text: str) -> HedraBatchError:
    """Say what an answer other than 200 means for a read, an upload or a submission.

    Statuses of 3xx, 408 and 5xx come back as UnavailableError; for a paid request the caller makes them unknown.
    """
    body = _parse(text)
    message = extract_message(body, text).rstrip(".")
    code = extract_code(body) or _BY_STATUS.get(status, f"http_{status}")
    request_id = read_request_id(headers.get("x-request-id"))
    # First, whatever the body says: a gateway's answer tells nothing of what was done behind it.
    if status < 400 or status == 408 or status >= 500:
        said = f": {message}" if message else ""
        unavailable = UnavailableError(f"The API answered HTTP {status}{said}", read_retry_after(headers))
        unavailable.status = status
        return unavailable
    message = message or f"HTTP {status} without a message"
    if status == 429:
        return _read_throttling(message, headers)
    if stop := _read_stop(status, code, message):
        return stop
    if status == 409 or code in _ALREADY:
        return AlreadyExistsError(code, message, request_id)
    if status == 404:
        missing = NotFoundError(code, message, request_id)
        missing.is_from_service = isinstance(body, dict)
        return missing
    return RefusedError(code, message, request_id)


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
        return KeyRefusedError(
            f"The API refused the account: {message}. The plan may not include the API, or the account may have "
            "moved to Hedra's v3 API, which this program cannot use. Nothing more is sent."
        )
    return None


def read_submission_refusal(status: int, headers: Mapping[str, str], text: str, ids: RequestIds) -> HedraBatchError:
    """Say it for POST /generations, where only a clear no of the service means that nothing was accepted.

    A 404 is about something that the request names; a 5xx, and a 4xx that is not published, is unknown.
    """
    refusal = read_refusal(status, headers, text)
    if isinstance(refusal, NotFoundError | RefusedError) and not isinstance(_parse(text), dict):
        return UnknownOutcomeError(f"HTTP {status}, but not in the API's own words (a proxy's?): {refusal}")
    if isinstance(refusal, AlreadyExistsError):
        # In its own words: an echo of the whole request bears every id.
        refusal.bears_our_key = ids.generation_id in str(refusal).lower()
    elif isinstance(refusal, NotFoundError):
        gone = frozenset(asset_id for asset_id in ids.asset_ids if asset_id in text)
        if gone:
            return UploadGoneError(refusal.code, str(refusal), refusal.request_id, gone)
        return RefusedError(refusal.code, str(refusal), refusal.request_id)
    elif isinstance(refusal, UnavailableError) or not _is_clear(status, refusal):
        return UnknownOutcomeError(
            str(refusal) if isinstance(refusal, UnavailableError) else f"HTTP {status}: {refusal}"
        )
    return refusal


def _is_clear(status: int, refusal: HedraBatchError) -> bool:
    """Tell whether the service itself has said no, and not something between it and us."""
    is_published = status in (400, 422)
    return is_published or not isinstance(refusal, RefusedError) or refusal.code.startswith("moderation")


def extract_message(body: Any, text: str) -> str:
    """Find the sentence in the many forms of the API's errors, safe to print on one line."""
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
    places = (error.get("reason_code"), error.get("type")) if isinstance(error, dict) else ()
    for value in (*places, body.get("error_code"), body.get("code")):
        if isinstance(value, str) and re.fullmatch(r"[A-Za-z_]{3,40}", value):
            return value.lower()
    return None


def _find_message(body: Any) -> str:
    if not isinstance(body, dict):
        return ""
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
