"""Text from elsewhere, made safe to print: no control characters, no signed links, no endless lines."""

from __future__ import annotations

import re

#: Longest text of a server's that a message repeats.
MESSAGE_LENGTH = 400
#: Shorter texts stand in ordinary words too.
SHORTEST_SECRET = 8
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_SIGNED_QUERY = re.compile(r"(https?://[^\s?\"'<>]*)\?[^\s\"'<>]*")


def to_line(text: str, length: int) -> str:
    """Write a text on one line of at most this length, without what could steer a terminal."""
    line = _CONTROL.sub(" ", text).encode("utf-8", "replace").decode().strip()
    return line if len(line) <= length else line[: length - 1] + "…"


def clean(text: str) -> str:
    """Write a message of the server's on one line, without control characters or signatures, short enough for a log."""
    return to_line(hide_signatures(text), MESSAGE_LENGTH)


def hide_secret(text: str, secret: str) -> str:
    """Take a secret out of a text; what is too short to be one, as a made-up key for a trial may be, stays."""
    return text.replace(secret, "[key]") if len(secret) >= SHORTEST_SECRET else text


def hide_signatures(text: str) -> str:
    """Take the queries out of links, since that is where their signatures are."""
    return _SIGNED_QUERY.sub(r"\1?[signed]", text)
