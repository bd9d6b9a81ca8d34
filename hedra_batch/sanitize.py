"""Text from elsewhere, made safe to print: no control characters, no signed links, no endless lines."""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from functools import lru_cache

#: Longest text of a server's that a message repeats.
MESSAGE_LENGTH = 400
#: Shorter texts stand in ordinary words too.
SHORTEST_SECRET = 8
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
#: A link and its query; without one it matches too, so that a row of links is not read again for each of them.
_LINK = re.compile(r"(https?://[^\s?\"'<>]*)(\?[^\s\"'<>]*)?", re.IGNORECASE)
#: What signs, also where its link was torn apart, has no host, or is quoted within another link.
_SIGNATURE = re.compile(
    r"((?:signature|credential|token|policy|\bsig)(?:=|%(?:25)?3D|\\u003d))[^\s&\"'<>]+", re.IGNORECASE
)


def to_line(text: str, length: int) -> str:
    """Write a text on one line of at most this length, without what could steer a terminal."""
    line = _CONTROL.sub(" ", text).encode("utf-8", "replace").decode().strip()
    return line if len(line) <= length else line[: length - 1] + "…"


def to_yaml(text: str) -> str:
    """Write a text as a value of a manifest: in quotes, since 2024, yes or null would be no text without them."""
    return json.dumps(text, ensure_ascii=False)


def clean(text: str) -> str:
    """Write a message of the server's on one line, without control characters or signatures, short enough for a log."""
    return to_line(hide_signatures(text), MESSAGE_LENGTH)


def hide_secret(text: str, secret: str) -> str:
    """Take a secret out of a text, also as JSON, links and Base64 spell it.

    What is too short to be one, as a made-up key for a trial may be, stays.
    """
    plain, spellings = _find_spellings(secret.strip())
    if "%" not in text and "\\" not in text:
        # Then it can stand there as it is only, which is cheap to exclude.
        folded = text.casefold()
        if not any(each in folded for each in plain):
            return text
    for spelling in spellings:
        text = spelling.sub("[key]", text)
    return text


@lru_cache(maxsize=8)
def _find_spellings(secret: str) -> tuple[list[str], list[re.Pattern[str]]]:
    """Find what a secret looks like in plain text, without regard to case, and with every letter spelled in any way."""
    if len(secret) < SHORTEST_SECRET:
        return [], []
    encoded = {encode(secret.encode()).decode().rstrip("=") for encode in (b64encode, urlsafe_b64encode)}
    texts = (secret, *encoded)
    return [text.casefold() for text in texts], [re.compile("".join(map(_spell, text))) for text in texts]


def _spell(letter: str) -> str:
    # Each way begins with a letter of its own, so that the search skips fast to where a secret can begin.
    code = f"(?i:{ord(letter):02x})"
    ways = [rf"\\\\{{0,2}}(?i:{re.escape(letter)}|u00{code})", f"%(?:25)?{code}"]
    return f"(?:{'|'.join([*ways, *map(re.escape, {letter.lower(), letter.upper()})])})"


def hide_signatures(text: str) -> str:
    """Take the queries out of links, since that is where signatures are, and signatures out of the rest."""
    if "://" in text:
        text = _LINK.sub(lambda link: f"{link[1]}?[signed]" if link[2] else link[1], text)
    is_signable = "=" in text or "%" in text or "\\" in text
    return _SIGNATURE.sub(r"\1[signed]", text) if is_signable else text
