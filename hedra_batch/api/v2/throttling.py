"""When the API takes the next request, by the headers of an answer. Pure but for the clock.

v2's document says nothing of them; v3's names `Retry-After` and `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

#: What is read of an answer for this.
HEADERS = ("Retry-After", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Date")
#: No wish of the API's is followed for longer.
LONGEST_SECONDS = 3600.0
#: An `X-RateLimit-Reset` below this is no second since 1970, but a number of seconds from now.
_FIRST_EPOCH_SECOND = 1e8
#: From here on it is a thousandth of a second since 1970, and from a thousand times as much on a millionth.
_FIRST_EPOCH_MILLISECOND = 1e11
#: The server's own clock is told in whole seconds; it counts only where ours is off by more.
_CLOCKS_DIFFER_SECONDS = 2.0


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Read for how long a Retry-After header asks to wait, as seconds or as a date; at most an hour."""
    text = headers.get("Retry-After", "")
    seconds = _read_number(text)
    if seconds is None and (instant := _read_date(text)) is not None:
        seconds = instant - _read_now(headers)
    return _bound(seconds)


def read_reset_seconds(headers: Mapping[str, str]) -> float | None:
    """Read how long it is until the window of the limit resets; at most an hour."""
    reset = _read_number(headers.get("X-RateLimit-Reset", ""))
    while reset is not None and math.isfinite(reset) and reset >= _FIRST_EPOCH_MILLISECOND:
        reset /= 1000
    return _bound(reset - _read_now(headers) if reset is not None and reset >= _FIRST_EPOCH_SECOND else reset)


def read_exhausted_seconds(headers: Mapping[str, str]) -> float | None:
    """Read for how long the API takes no more requests, when it says that this was the last one of its window."""
    remaining = _read_number(headers.get("X-RateLimit-Remaining", ""))
    return read_reset_seconds(headers) or None if remaining is not None and remaining <= 0 else None


def _read_now(headers: Mapping[str, str]) -> float:
    """Read the clock that instants of the server's are to be compared with."""
    now = time.time()
    told = _read_date(headers.get("Date", ""))
    return now if told is None or abs(told - now) <= _CLOCKS_DIFFER_SECONDS else told


def _read_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _read_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _bound(seconds: float | None) -> float | None:
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_SECONDS)
