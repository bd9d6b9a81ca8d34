"""The words that make a prompt misbehave on request, in one table."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from hedra_batch.simulator import refusals
from hedra_batch.simulator.refusals import RefusalError

GenerationError = dict[str, str | None]

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
    "forbidden": MagicWord("refused by moderation at submission", refusal=refusals.moderated),
    "unpayable": MagicWord("refused for want of credits", refusal=lambda: refusals.no_credits(1, 0)),
    "invalid": MagicWord(
        "refused as an invalid argument", refusal=lambda: refusals.invalid("The prompt cannot be used.")
    ),
    "likeness": MagicWord("accepted, then ends with a moderation error and a refund", error=_LIKENESS),
    "doomed": MagicWord("accepted, then ends with an internal error and a refund", error=_INTERNAL),
    "overdrawn": MagicWord("accepted, then ends for want of credits, with a refund", error=_OVERDRAWN),
    "flaky": MagicWord("as doomed the first time that the prompt is tried, later a video", error=_INTERNAL),
    "endless": MagicWord("accepted and never ends"),
}

_WORD = re.compile(rf"\b({'|'.join(MAGIC_WORDS)})\b", re.IGNORECASE)


def magic_word(prompt: str) -> str | None:
    """Find the first magic word of a prompt."""
    match = _WORD.search(prompt)
    return match[1].lower() if match else None
