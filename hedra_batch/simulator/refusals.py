"""The refusals of the API: one function for each, with the status and body it is answered with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Problem = dict[str, Any]


class RefusalError(Exception):
    """Ends the handling of a request with an error answer."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = headers or {}


def refuse(status: int, code: str, *messages: str) -> RefusalError:
    """Make the ordinary error body of the service."""
    return RefusalError(status, {"code": code, "error_code": code, "messages": list(messages)})


def malformed(problems: Iterable[Problem]) -> RefusalError:
    """Refuse what has not the published shape; tell every problem at once."""
    return RefusalError(422, {"detail": list(problems)})


def problem(kind: str, message: str, *place: str | int) -> Problem:
    """Describe one fault of the shape of a request."""
    return {"type": kind, "loc": list(place), "msg": message}


def wrong_key() -> RefusalError:
    """Refuse a key, or none."""
    return refuse(401, "UNAUTHORIZED", "Invalid API key.")


def no_credits(needed: int, available: int) -> RefusalError:
    """Refuse what the balance does not cover."""
    text = f"Insufficient credits: {needed} are needed and {available} are available."
    return refuse(402, "INSUFFICIENT_BALANCE", text)


def not_found(noun: str, name: str) -> RefusalError:
    """Refuse a name that stands for nothing here."""
    return refuse(404, "NOT_FOUND", f"{noun} {name} was not found.")


def already(code: str, noun: str, name: str) -> RefusalError:
    """Refuse an id that is taken."""
    return refuse(409, code, f"{noun} {name} exists already.")


def invalid(*messages: str) -> RefusalError:
    """Refuse what has the published shape and cannot be served all the same."""
    return refuse(422, "INVALID_ARGUMENT", *messages)


def moderated() -> RefusalError:
    """Refuse a prompt for what it says."""
    return refuse(422, "MODERATION_FAILED", "The prompt was refused by content moderation.")


def throttled(message: str, retry_after_seconds: int | None = None) -> RefusalError:
    """Refuse for now; nothing was accepted."""
    refusal = refuse(429, "RESOURCE_EXHAUSTED", message)
    if retry_after_seconds is not None:
        refusal.headers["Retry-After"] = str(retry_after_seconds)
    return refusal


def internal() -> RefusalError:
    """Fail, for no reason that the sender could mend."""
    return refuse(500, "INTERNAL", "Internal server error.")


def unavailable() -> RefusalError:
    """Refuse before anything was looked at."""
    return refuse(503, "UNAVAILABLE", "The service is temporarily unavailable.")
