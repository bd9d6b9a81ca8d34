"""How the service says no: one function for each refusal, and the words that make a prompt misbehave on request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Problem = dict[str, Any]
GenerationError = dict[str, str | None]


class RefusalError(Exception):
    """Ends the handling of a request with an error answer."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = headers or {}


def refuse(status: int, code: str, *messages: str) -> RefusalError:
    return RefusalError(status, {"code": code, "error_code": code, "messages": list(messages)})


def malformed(problems: Iterable[Problem]) -> RefusalError:
    """Refuse what does not have the published shape, with every problem at once."""
    return RefusalError(422, {"detail": list(problems)})


def problem(kind: str, message: str, *location: str | int) -> Problem:
    return {"type": kind, "loc": list(location), "msg": message}


def wrong_key() -> RefusalError:
    return refuse(401, "UNAUTHORIZED", "Invalid API key.")


def no_credits(needed: int, available: int) -> RefusalError:
    text = f"Insufficient credits: {needed} are needed and {available} are available."
    return refuse(402, "INSUFFICIENT_BALANCE", text)


def not_found(noun: str, name: str) -> RefusalError:
    return refuse(404, "NOT_FOUND", f"{noun} {name} was not found.")


def unknown_model(name: str, known: Iterable[str]) -> RefusalError:
    """Refuse a model, and say that the real service may well have it."""
    message = (
        f"Model {name} was not found. Only the simulated API lacks it, which has none but these: {', '.join(known)}."
    )
    return refuse(404, "NOT_FOUND", message)


def already(code: str, noun: str, name: str) -> RefusalError:
    return refuse(409, code, f"{noun} {name} exists already.")


def invalid(*messages: str) -> RefusalError:
    """Refuse what has the published shape and cannot be served."""
    return refuse(422, "INVALID_ARGUMENT", *messages)


def moderated() -> RefusalError:
    return refuse(422, "MODERATION_FAILED", "The prompt was refused by content moderation.")


def throttled(message: str, retry_after_seconds: int | None = None) -> RefusalError:
    refusal = refuse(429, "RESOURCE_EXHAUSTED", message)
    if retry_after_seconds is not None:
        refusal.headers["Retry-After"] = str(retry_after_seconds)
    return refusal


def internal() -> RefusalError:
    return refuse(500, "INTERNAL", "Internal server error.")


def unavailable() -> RefusalError:
    return refuse(503, "UNAVAILABLE", "The service is temporarily unavailable.")


_LIKENESS: GenerationError = {
    "type": "MODERATION_FAILED",
    "reason_code": "MODERATION_LIKENESS",
    "message": "The result shows the likeness of a real person.",
}
_OVERDRAWN: GenerationError = {
    "type": "INSUFFICIENT_BALANCE",
    "reason_code": None,
    "message": "The account has no credits left.",
}
_INTERNAL: GenerationError = {"type": "INTERNAL", "reason_code": None, "message": "The model failed."}


@dataclass(frozen=True, slots=True)
class MagicWord:
    """What a prompt with the word meets; without any of the fields, its generation never ends."""

    explanation: str
    #: The refusal of the submission.
    refusal: Callable[[], RefusalError] | None = None
    #: The error that an accepted generation ends with.
    error: GenerationError | None = None


#: Every magic word; it counts as a whole word, in any case, and the first in a prompt decides.
MAGIC_WORDS: dict[str, MagicWord] = {
    "forbidden": MagicWord("refused by moderation at submission", refusal=moderated),
    "unpayable": MagicWord("refused for want of credits", refusal=lambda: no_credits(1, 0)),
    "invalid": MagicWord("refused as an invalid argument", refusal=lambda: invalid("The prompt cannot be used.")),
    "likeness": MagicWord("accepted, then ends with a moderation error and a refund", error=_LIKENESS),
    "doomed": MagicWord("accepted, then ends with an internal error and a refund", error=_INTERNAL),
    "overdrawn": MagicWord("accepted, then ends for want of credits, with a refund", error=_OVERDRAWN),
    "flaky": MagicWord("as doomed the first time that the prompt is tried, later a video", error=_INTERNAL),
    "endless": MagicWord("accepted and never ends"),
}

_WORD = re.compile(rf"\b({'|'.join(MAGIC_WORDS)})\b", re.IGNORECASE)


def magic_word(prompt: str) -> str | None:
    """Find the first magic word of a prompt, in lower case."""
    match = _WORD.search(prompt)
    return match[1].lower() if match else None
