"""Ids and error codes as a person names them, by patterns of the shell; apart, so that `verify` loads no plan."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


def matches(text: str, patterns: Sequence[str]) -> bool:
    """Tell whether a text is like one of the patterns, or there are none."""
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns)
