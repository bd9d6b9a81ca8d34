"""What is wrong with a manifest, and how it is said: `file:line:column: key: what is wrong (what is allowed)`.

What others wrote is shown on one line, clipped, harmless to a terminal, and never where it looks like a credential.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from typing import NamedTuple, Protocol

import yaml

from hedra_batch.manifest.names import is_name

#: Nobody reads on beyond so many, and finding more can take long.
MOST_FAULTS = 1_000

WHY_REFUSED = (
    "looks like a key or a password, which does not belong in a manifest "
    "(remove it; set HEDRA_API_KEY, or HEDRA_API_KEY_FILE to the name of a file that holds the key)"
)

#: Names that mean a credential wherever they stand, without case and punctuation.
_NAMES = frozenset(
    {"accesskey", "accesstoken", "apisecret", "apitoken", "authorization", "authtoken", "clientsecret", "hedrakey"}
    | {"passwd", "privatekey", "secretkey", "xapitoken"}
)
#: Names that mean one as a field, but may well name a prompt: a secret garden, a token that falls.
_ORDINARY_WORDS = frozenset({"bearer", "credential", "credentials", "password", "secret", "token"})

_SHAPE = re.compile(r"(?<![A-Za-z0-9])(sk|pk|key|api|hedra)[-_]([A-Za-z0-9_-]{16,})", re.IGNORECASE)
_SHORTEST = len("sk-") + 16

#: Control characters, those that turn the direction of writing, and halves of characters.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_LONGEST_SHOWN = 60
#: Comparing words is slow, so it is done among so many at most.
_MOST_COMPARED = 500
_MOST_LOOKED_AT = 20_000
_LONGEST_COMPARED = 250

_QUOTES = "put the text in quotes"
_INDENT = "correct the indentation"

#: A part of the parser's complaint (in C or in Python), what it most often means, and what to do.
_EXPLANATIONS: tuple[tuple[str, str, str], ...] = (
    (
        "mapping values are not allowed",
        "a ':' does not fit here",
        f"{_QUOTES}, or {_INDENT}, or put a space after the ':' on the line above",
    ),
    ("cannot start any token", "a tab, '%', '@' or '`' cannot begin a value", f"{_QUOTES}, or indent with spaces"),
    ("alphabetic or numeric character", "a text cannot begin with '*' or '&'", _QUOTES),
    ("escape c", "'\\' has a meaning of its own in double quotes", "write it twice, or use single quotes"),
    ("',' or ']'", "a '[' is not closed, or a ',' is missing", f"if it is a text, {_QUOTES}"),
    ("',' or '}'", "a '{' is not closed, or a ',' is missing", f"if it is a text, {_QUOTES}"),
    ("unexpected end of stream", "a quotation mark is never closed", "close it"),
    ("expected ':'", "a key has no ': ' after it", f"add it, or if it is a text, {_QUOTES}"),
    ("expected comment or line break", "a text cannot begin with '>' or '|'", _QUOTES),
    ("chomping or indentation", "a text cannot begin with '>' or '|'", _QUOTES),
    ("incompatible YAML document", "this version of YAML is not known", "write %YAML 1.2, or remove the line"),
)
_OTHERWISE = ("this does not fit here", f"if it is a text, {_QUOTES}; if not, {_INDENT}")

#: The way from the root of the manifest to a value: keys and positions.
Loc = tuple[str | int, ...]


class Position(NamedTuple):
    """Where something stands, counted from 1."""

    #: Its name as it was typed, safe to print.
    file: str
    line: int
    column: int


class Fault(NamedTuple):
    """One thing that is wrong; `what` is the end of a sentence that begins with the key."""

    loc: Loc
    what: str
    #: Where it stands, as an offset into the text; None for where the value at `loc` stands.
    offset: int | None = None
    #: Whether other faults of the same value stay untold, since they could show it.
    is_secret: bool = False


class Positions(Protocol):
    """Knows where things stand in one file."""

    @property
    def file(self) -> str:
        """The file's name as it was typed, safe to print."""

    def find_position(self, loc: Loc, offset: int | None = None) -> Position:
        """Find the position of an offset, or of the value at `loc`, or of the innermost mapping that should have it."""


def render_faults(faults: Iterable[Fault], where: Positions) -> list[str]:
    """Write one line a fault, in the order of the file."""
    faults = list(faults)
    secrets = {fault.loc for fault in faults if fault.is_secret}
    told = (fault for fault in faults if fault.is_secret or not _is_within(fault.loc, secrets))
    # The same fault met twice, through an alias, is one line.
    placed = list({(where.find_position(fault.loc, fault.offset), fault.loc, fault.what) for fault in told})
    placed.sort(key=lambda one: (one[0], str(one[1:])))
    lines = [render_line(position, render_key(loc), what) for position, loc, what in placed[:MOST_FAULTS]]
    return (
        lines
        if len(placed) <= MOST_FAULTS
        else [*lines, f"{where.file}: these are the first {MOST_FAULTS:,}; there are more"]
    )


def render_line(position: Position, key: str, what: str) -> str:
    return f"{position.file}:{position.line}:{position.column}: {key}: {what}"


def render_key(loc: Loc) -> str:
    """Write a way from the root as people do: `jobs[2].duration`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif is_name(part) and not holds_credential(part):
            text += f".{part}" if text else part
        else:
            text += f"[{shown(part)}]"
    return text or "manifest"


def _is_within(loc: Loc, others: set[Loc]) -> bool:
    return bool(others) and any(loc[:length] in others for length in range(len(loc) + 1))


def shown(value: object) -> str:
    """Show a value of the file the way Python quotes it, which escapes whatever a terminal could act on."""
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
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
        return f"the yes-or-no value {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return "text"
    return "a group of keys" if isinstance(value, dict) else "a list"


def suggestion(word: str, candidates: Iterable[str]) -> str:
    """Ask whether one of the candidates was meant, as the end of a clause; empty when none is close."""
    candidates = islice(candidates, _MOST_LOOKED_AT)
    near = islice((one for one in candidates if abs(len(one) - len(word)) <= 3), _MOST_COMPARED)
    closest = get_close_matches(word, list(near), n=1, cutoff=0.7) if len(word) <= _LONGEST_COMPARED else []
    return f"; did you mean {shown(closest[0])}?" if closest else ""


@lru_cache(maxsize=4096)
def names_credential(key: str, *, is_free_name: bool = False) -> bool:
    """Tell whether a key such as `X-API-Key` announces a credential; a free name is one that its author made up."""
    bare = re.sub(r"[\W_]", "", key.casefold())
    return bare.endswith("apikey") or bare in _NAMES or (not is_free_name and bare in _ORDINARY_WORDS)


def holds_credential(text: str) -> bool:
    """Tell whether a text has something of the shape of an API key in it."""
    if len(text) < _SHORTEST or not ("-" in text or "_" in text):
        return False
    return any(
        match[1].lower() in {"sk", "pk"} or any(map(_looks_random, re.split("[-_]", match[2])))
        for match in _SHAPE.finditer(text)
    )


def describe_unsafe(text: str) -> str:
    """Say which character of a text nobody can see; empty where there is none."""
    unsafe = None if text.isprintable() else _UNSAFE.search(text)
    return f"holds the invisible character U+{ord(unsafe[0]):04X} (remove it)" if unsafe else ""


def _looks_random(part: str) -> bool:
    # `key-visual-for-the-summer.jpg` has the shape of a key too, but none of its parts looks drawn by lot.
    return len(part) >= 16 or (len(part) >= 12 and not part.isalpha() and not part.isdigit())


def find_depth_limit(error: yaml.YAMLError) -> int | None:
    """Find the offset at which the parser gave up because of a limit of its own on nesting, if that is the error."""
    mark = getattr(error, "problem_mark", None)
    is_limit = "maximum nesting depth" in str(getattr(error, "problem", ""))
    return int(mark.index) if is_limit and mark else None


def explain_syntax_error(error: yaml.YAMLError, loc: Loc) -> Fault:
    """Say where the YAML breaks off and what to do. The parser's own words are not shown: they quote the text."""
    problem = str(getattr(error, "problem", ""))
    mark = getattr(error, "problem_mark", None)
    offset = int(mark.index) if mark is not None else int(getattr(error, "position", 0))
    known = ((cause, remedy) for part, cause, remedy in _EXPLANATIONS if part in problem)
    cause, remedy = next(known, _OTHERWISE)
    return Fault(loc, f"cannot be read from here on: {cause} ({remedy})", offset)
