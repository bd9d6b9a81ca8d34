"""Quantities as people write them."""

from __future__ import annotations

import pytest

from hedra_batch.money import Money
from hedra_batch.units import Rate, parse_duration_ms, parse_money, parse_rate, write_duration


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("5s", 5000), ("5000ms", 5000), ("1.5s", 1500), ("50m", 3_000_000), ("10 min", 600_000), ("2h", 7_200_000)],
)
def test_a_duration_has_a_unit(text: str, milliseconds: int) -> None:
    assert parse_duration_ms(text) == milliseconds


@pytest.mark.parametrize("text", ["5", "5000", "0s", "-5s", "5 parsecs", "", "1.0001ms", "s", "nan s"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is"):
        parse_duration_ms(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0.0, "0 s"), (0.25, "0.2 s"), (1.0, "1 s"), (9.96, "10 s"), (27.9, "28 s"), (119.0, "119 s")),
        *((119.6, "2 min"), (594.0, "10 min"), (7200.0, "2 h"), (9000.0, "2.5 h"), (86_400.0, "24 h")),
    ],
)
def test_a_duration_is_written_as_exact_as_it_matters(seconds: float, text: str) -> None:
    assert write_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "interval_seconds"), [("10/min", 6.0), ("1/s", 1.0), ("300/h", 12.0), ("0.5/s", 2.0), ("2 / minute", 30.0)]
)
def test_a_rate_is_an_interval(text: str, interval_seconds: float) -> None:
    assert parse_rate(text).interval_seconds == interval_seconds


@pytest.mark.parametrize("text", ["10", "0/s", "-1/s", "10/day", "fast", ""])
def test_anything_else_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(text)


def test_a_rate_is_written_as_it_is_read() -> None:
    assert [str(parse_rate(str(rate))) for rate in (Rate(10, 60), Rate(0.5, 1))] == ["10/min", "0.5/s"]


def test_credits_are_whole_and_have_their_unit() -> None:
    assert parse_money("500 credits") == Money(500)


@pytest.mark.parametrize("text", ["500", "5.5 credits", "$5", "-1 credits"])
def test_anything_else_is_no_sum_of_credits(text: str) -> None:
    with pytest.raises(ValueError, match="500 credits"):
        parse_money(text)
