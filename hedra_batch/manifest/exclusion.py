"""Which ids the patterns of `exclude` mean. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable

from hedra_batch.manifest.naming import has_wildcard

#: Each is tried on every id, so their number is bounded; plain ids are free.
MOST_WILDCARDS = 100


def find_excluded(patterns: Iterable[str], ids: Collection[str]) -> set[str]:
    """Find the ids that are left out; case counts."""
    patterns = list(patterns)
    excluded = {pattern for pattern in patterns if pattern in ids}
    wildcards = [fnmatch.translate(pattern) for pattern in patterns if has_wildcard(pattern)]
    if wildcards:
        matches = re.compile("|".join(wildcards)).match
        excluded.update(one for one in ids if matches(one))
    return excluded
