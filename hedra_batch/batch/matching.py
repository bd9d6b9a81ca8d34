"""Ids and error codes as a person names them, by patterns of the shell; apart, so that `verify` loads no plan."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from unicodedata import normalize


def matches(text: str, patterns: Sequence[str]) -> bool:
    """Tell whether a text is like one of the patterns, or there are none."""
    return not patterns or any(fnmatchcase(text, _compose(pattern)) for pattern in patterns)


def _compose(pattern: str) -> str:
    """Write a pattern in the Unicode form of ids: a terminal may give another one."""
    return pattern if pattern.isascii() else normalize("NFC", pattern)
