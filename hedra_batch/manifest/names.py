"""Names and ids: which may be written, how they are made where none is, when two are the same, which a pattern means.

An id is made of what its job is, never of where it stands, so that moving lines about buys nothing again.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePath, PurePosixPath
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

LONGEST_NAME = 100
#: What stands for the standard input in the place of a manifest's path.
STANDARD_INPUT = "-"
MOST_WILDCARDS = 100
#: Each pattern with a wildcard is tried on every id; plain ids are free.
MOST_TRIES = 1_000_000
LONGEST_PATTERN = 250
_LONGEST_PROMPT_SLUG = 32
_HASH_DIGITS = 6

NAME_RULE = f"up to {LONGEST_NAME} letters, digits, '_', '.' and '-', beginning with a letter or a digit"
_NAME = re.compile(r"[^\W_][\w.-]*")
_MANIFEST_NAME = re.compile(r"[^\W_][\w .-]*")
_WORD = re.compile(r"[^\W_]+")
_NOT_IN_NAMES = re.compile(r"[^\w.-]+")
_WILDCARD = re.compile(r"[*?\[]")


def is_name(text: str) -> bool:
    return len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None


def is_manifest_name(text: str) -> bool:
    """Tell whether a text can name a manifest and its run folder; unlike an id it may have spaces."""
    return len(text) <= LONGEST_NAME and _MANIFEST_NAME.fullmatch(text) is not None


def has_wildcard(text: str) -> bool:
    return _WILDCARD.search(text) is not None


def is_url(source: str) -> bool:
    """Tell whether an image is a URL, which the server fetches, and not a path."""
    return source[:8].lower() == "https://"


def collision_key(name: str) -> str:
    """Return what two names share when a file system may take them for one."""
    return normalize("NFC", normalize("NFC", name).casefold())


def slug(text: str) -> str:
    """Make a name out of any text, keeping its case; texts without a letter or digit are named by their hash."""
    dashed = _NOT_IN_NAMES.sub("-", normalize("NFC", text)).lstrip("_.-").rstrip("-")
    if not dashed:
        return _hash(text)
    return dashed if len(dashed) <= LONGEST_NAME else f"{dashed[: LONGEST_NAME - 1 - _HASH_DIGITS]}-{_hash(text)}"


def is_standard_input(path: PurePath) -> bool:
    return str(path) == STANDARD_INPUT


def make_manifest_name(stem: str) -> str:
    """Name a manifest by its file without the ending; `-` is the standard input."""
    name = "stdin" if stem == STANDARD_INPUT else normalize("NFC", stem)
    return name if is_manifest_name(name) else slug(stem)


def prompt_slug(prompt: str) -> str:
    """Name a prompt by its first words and the hash of all of it."""
    words = "-".join(_WORD.findall(normalize("NFC", prompt).lower()))
    start = words[:_LONGEST_PROMPT_SLUG].rstrip("-")
    return f"{start}-{_hash(prompt)}" if start else _hash(prompt)


def image_name(source: str) -> str:
    """Name an image by the stem of its file, or of the last part of its URL."""
    path = unquote(urlsplit(source).path) if is_url(source) else source
    return slug(PurePosixPath(path).stem or source)


def glob_name(pattern: str, found: str) -> str:
    """Name an image that a pattern found: its path from the first wildcard on, without extension."""
    parts = PurePosixPath(pattern).parts
    first = next(index for index, part in enumerate(parts) if has_wildcard(part))
    return slug("-".join(PurePosixPath(found).with_suffix("").parts[first:]))


def pair_id(image: str, prompt: str) -> str:
    """Name a pair so that files sort by image; either side may be missing."""
    return f"{image}--{prompt}" if image and prompt else image or prompt


def variation_ids(job_id: str, variations: int) -> Iterator[str]:
    """Yield the ids of all variations of a job; the first keeps the job's own, so that more can be added later."""
    yield job_id
    for number in range(2, variations + 1):
        yield f"{job_id}.v{number}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]


def count_allowed(ids: Collection[str]) -> int:
    """Count how many patterns with a wildcard there may be for so many ids."""
    return min(MOST_WILDCARDS, MOST_TRIES // max(len(ids), 1))


def find_excluded(patterns: Iterable[str], ids: Collection[str]) -> set[str]:
    """Find the ids that are left out; case counts."""
    patterns = list(patterns)
    excluded = {pattern for pattern in patterns if pattern in ids}
    wildcards = [fnmatch.translate(pattern) for pattern in patterns if has_wildcard(pattern)]
    if wildcards:
        matches = re.compile("|".join(wildcards)).match
        excluded.update(one for one in ids if matches(one))
    return excluded
