"""Quantities with a unit, as people write them: durations, rates, money. Pure; raises ValueError with a sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hedra_batch.money import CREDITS, Money

_MS_PER_UNIT = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h)")
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|sec|second|min|m|minute|h|hour)")
_SECONDS_PER_RATE_UNIT = {"s": 1, "min": 60, "m": 60, "h": 3600, "sec": 1, "second": 1, "minute": 60, "hour": 3600}
_MONEY = re.compile(r"(\d+)\s*credits?")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in so many seconds, spread evenly."""

    count: float
    per_seconds: float

    @property
    def interval_seconds(self) -> float:
        """The pause from one request to the next."""
        return self.per_seconds / self.count

    def __str__(self) -> str:
        unit = {1: "s", 60: "min", 3600: "h"}[int(self.per_seconds)]
        return f"{self.count:g}/{unit}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a run does at once, and how fast."""

    #: Submissions, spread evenly.
    submit: Rate = Rate(10, 60)
    #: Generations that the server works on at once.
    in_flight: int = 4
    #: Images that are uploaded at once.
    uploads: int = 2
    #: Videos that are downloaded at once.
    downloads: int = 4
    #: Read requests, spread evenly.
    poll: Rate = Rate(1, 1)


def parse_duration_ms(text: str) -> int:
    """Read `5s`, `5000ms`, `50m` or `2h` as whole milliseconds."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a duration (write a number and its unit: 5s, 5000ms, 50m, 2h)")
    milliseconds = float(match[1]) * _MS_PER_UNIT[match[2]]
    if milliseconds < 1 or milliseconds != int(milliseconds):
        raise ValueError(f"{text!r} is not a whole number of milliseconds above 0 (write 5s, say)")
    return int(milliseconds)


def write_duration(seconds: float) -> str:
    """Write a time as people say it, as exact as it matters: `0.5 s`, `28 s`, `10 min`, `2 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7170 else f"{seconds / 3600:.1f}".removesuffix(".0") + " h"


def spell_duration(seconds: float) -> str:
    """Write a time exactly, and so that `parse_duration_ms` reads it again: `600s`, `1500ms`."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"


def parse_rate(text: str) -> Rate:
    """Read `10/min`, `1/s` or `300/h`."""
    match = _RATE.fullmatch(text.strip())
    if not match or float(match[1]) <= 0:
        raise ValueError(f"{text!r} is not a rate (write how many in what time: 10/min, 1/s, 300/h)")
    return Rate(float(match[1]), _SECONDS_PER_RATE_UNIT[match[2]])


def parse_money(text: str) -> Money:
    """Read `500 credits` as a whole number of credits."""
    match = _MONEY.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a sum of credits (write a whole number and its unit: 500 credits)")
    return Money(int(match[1]), CREDITS)
