"""Values that are one line of text, the name of the manifest among them; read without the schema, slow to import."""

from __future__ import annotations

from unicodedata import normalize

from hedra_batch.manifest.names import NAME_RULE, is_manifest_name
from hedra_batch.manifest.wording import kind, shown

LONGEST_LINE = 2_000


def read_line(value: object) -> str:
    """Take one line of text, without the space around it."""
    if value is None:
        raise ValueError("has no value (give it one, or take the key out)")
    text = require_text(value, f"must be text, not {kind(value)} (put it in quotes)").strip()
    if not text:
        raise ValueError("is empty")
    if len(text) > LONGEST_LINE:
        raise ValueError(f"has {len(text):,} characters (at most {LONGEST_LINE:,})")
    if not text.isprintable():
        raise ValueError("has a line end, a tab or an invisible character (allowed: one line of text)")
    return text


def read_manifest_name(value: object) -> str:
    """Take the name of the manifest, which may have spaces."""
    name = normalize("NFC", read_line(value))
    if not is_manifest_name(name):
        raise ValueError(f"{shown(value)} cannot name a folder (allowed: {NAME_RULE}, and spaces)")
    return name


def require_text(value: object, refusal: str) -> str:
    """Return a value that is a text; refuse any other in the words given."""
    if not isinstance(value, str):
        raise ValueError(refusal)  # noqa: TRY004 - all readers refuse by ValueError, which pydantic takes for that
    return value
