"""Which ids the patterns of `exclude` mean. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable

from hedra_batch.manifest.names import has_wildcard

MOST_WILDCARDS = 100
#: Each pattern with a wildcard is tried on every id; plain ids are free.
MOST_TRIES = 1_000_000
LONGEST_PATTERN = 250


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
