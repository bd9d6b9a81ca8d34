"""Instants as they are stored: aware, UTC, ISO 8601 with milliseconds and a Z."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Read the clock: aware, in UTC."""
    return datetime.now(UTC)


def to_text(instant: datetime) -> str:
    """Write an instant so that texts sort as instants do."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """Read an instant that `to_text` wrote."""
    return datetime.fromisoformat(text)


def age_seconds(text: str) -> float:
    """Count the seconds since an instant that `to_text` wrote."""
    return (utc_now() - from_text(text)).total_seconds()


def now_text() -> str:
    """Write the present instant as it is stored."""
    return to_text(utc_now())
