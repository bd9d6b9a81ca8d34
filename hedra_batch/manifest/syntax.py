"""What the YAML parser complains of, in the words of someone who writes prompts."""

from __future__ import annotations

import yaml

from hedra_batch.manifest.faults import Fault, Loc

_QUOTES = "put the text in quotes"
_INDENT = "mend the indentation"

#: A part of the parser's complaint (in C or in Python), what it most often means, and what to do.
_EXPLANATIONS: tuple[tuple[str, str, str], ...] = (
    ("mapping values are not allowed", "': ' begins a value of its own", f"{_QUOTES}, or {_INDENT}"),
    ("cannot start any token", "a tab, '%', '@' or '`' cannot begin a value", f"{_QUOTES}, or indent with spaces"),
    ("alphabetic or numeric character", "'*' begins an alias and '&' an anchor", _QUOTES),
    ("escape c", "'\\' begins an escape in double quotes", "double it, or use single quotes"),
    ("',' or ']'", "a '[' is not closed, or a ',' is missing", f"if it is a text, {_QUOTES}"),
    ("',' or '}'", "a '{' is not closed, or a ',' is missing", f"if it is a text, {_QUOTES}"),
    ("unexpected end of stream", "a quotation mark is never closed", "close it"),
    ("expected ':'", "a key has no ': ' after it", f"add it, or if it is a text, {_QUOTES}"),
    ("expected comment or line break", "'>' and '|' begin a block of lines", _QUOTES),
    ("chomping or indentation", "'>' and '|' begin a block of lines", _QUOTES),
    ("incompatible YAML document", "this version of YAML is not known", "allowed: %YAML 1.2, or no such line"),
)
_OTHERWISE = ("this does not belong here", f"if it is a text, {_QUOTES}; if not, {_INDENT}")


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
    return Fault(loc, f"is not YAML from here on: {cause} ({remedy})", offset)
