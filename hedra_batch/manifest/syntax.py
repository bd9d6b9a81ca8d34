"""What the YAML parser complains of, in the words of someone who writes prompts."""

from __future__ import annotations

import yaml

from hedra_batch.manifest.problems import Fault, Loc

_QUOTES = "put the text in quotes"
_INDENT = "mend the indentation"

#: A part of the parser's complaint (in C, in Python), and what it most often means.
_EXPLANATIONS: tuple[tuple[str, str], ...] = (
    ("mapping values are not allowed", f"is no YAML here: ': ' begins a value: {_QUOTES}, or {_INDENT}"),
    ("cannot start any token", f"is no YAML here: a tab, '%', '@' or '`' begins nothing: {_QUOTES}, or use spaces"),
    ("alphabetic or numeric character", f"is no YAML here: '*' and '&' have a meaning: {_QUOTES}"),
    ("unknown escape character", "is no YAML here: '\\' begins an escape in \"…\": double it, or use '…'"),
    ("escape code", "is no YAML here: '\\' begins an escape in \"…\": double it, or use '…'"),
    ("',' or ']'", f"is no YAML here: a '[' is not closed, or a ',' is missing: if it is a text, {_QUOTES}"),
    ("',' or '}'", f"is no YAML here: a '{{' is not closed, or a ',' is missing: if it is a text, {_QUOTES}"),
    ("unexpected end of stream", "is no YAML: a quotation mark that opens here or before is never closed"),
    ("expected ':'", f"is no YAML here: a key without ': ' after it: if it goes on with a text, {_QUOTES}"),
    ("expected comment or line break", f"is no YAML here: '>' and '|' begin a block of lines: {_QUOTES}"),
    ("chomping or indentation", f"is no YAML here: '>' and '|' begin a block of lines: {_QUOTES}"),
    ("incompatible YAML document", "is not YAML 1.2 (allowed: %YAML 1.2, or no such line)"),
)
_OTHERWISE = f"is no YAML here: if it is a text, {_QUOTES}; if not, {_INDENT}"


def explain_syntax_error(error: yaml.YAMLError, loc: Loc) -> Fault:
    """Say where the YAML breaks off and what to do. The parser's own words are not shown: they quote the text."""
    problem = str(getattr(error, "problem", ""))
    mark = getattr(error, "problem_mark", None)
    offset = int(mark.index) if mark is not None else int(getattr(error, "position", 0))
    what = next((meaning for part, meaning in _EXPLANATIONS if part in problem), _OTHERWISE)
    return Fault(loc, what, offset)
