"""How messages speak of what others wrote: on one line, clipped, harmless to a terminal, and never a credential."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

from hedra_batch.manifest.credentials import holds_credential

_LONGEST_SHOWN = 60
#: Comparing words is slow, so it is done among so many at most.
_MOST_COMPARED = 500
_MOST_LOOKED_AT = 20_000
_LONGEST_COMPARED = 250


def shown(value: object) -> str:
    """Show a value of the file the way Python quotes it, which escapes whatever a terminal could act on."""
    if not isinstance(value, str):
        return kind(value)
    if holds_credential(value):
        return "(hidden)"
    return repr(value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + "…")


def shown_path(path: str) -> str:
    """Show a path as it was typed, unless that would not be safe to print."""
    return path if path.isprintable() else repr(path)[1:-1]


def kind(value: object) -> str:
    """Say what YAML made of a value."""
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return "text"
    return "a mapping" if isinstance(value, dict) else "a list"


def suggestion(word: str, candidates: Iterable[str]) -> str:
    """Ask whether one of the candidates was meant, as the end of a clause; empty when none is close."""
    candidates = islice(candidates, _MOST_LOOKED_AT)
    near = islice((one for one in candidates if abs(len(one) - len(word)) <= 3), _MOST_COMPARED)
    closest = get_close_matches(word, list(near), n=1, cutoff=0.7) if len(word) <= _LONGEST_COMPARED else []
    return f"; did you mean {shown(closest[0])}?" if closest else ""
