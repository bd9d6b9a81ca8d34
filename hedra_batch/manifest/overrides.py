"""What single jobs ask for otherwise: `overrides`, by the id of a job or by a pattern of ids."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby

from hedra_batch.inputs import FIXING_FIELDS, FieldValue
from hedra_batch.manifest.document import Tree
from hedra_batch.manifest.faults import MOST_FAULTS, Fault, shown, suggestion
from hedra_batch.manifest.names import count_allowed, has_wildcard
from hedra_batch.manifest.schema import Override
from hedra_batch.manifest.specs import JobSpec

#: Each looks at every id.
_MOST_SUGGESTIONS = 20


def apply_overrides(overrides: Mapping[str, Override], specs: dict[str, JobSpec], tree: Tree) -> Iterator[Fault]:
    """Change the specs of the jobs that are meant, and yield what is wrong.

    Patterns come first, in their order, then the id that variations share, then the id of a job itself.
    """
    if not overrides:
        return
    patterns = {key: re.compile(fnmatch.translate(key)).match for key in overrides if has_wildcard(key)}
    if len(patterns) > (most := count_allowed(specs)):
        yield Fault(("overrides",), f"has too many patterns with '*', '?' or '[' (at most {most})")
        return
    met: dict[str, None] = {}
    changed: dict[str, JobSpec] = {}
    for job_id, spec in specs.items():
        keys = list(_find_keys(job_id, spec, overrides, patterns))
        met.update(dict.fromkeys(keys))
        if keys:
            changed[job_id] = _change(
                spec, {name: value for key in keys for name, value in overrides[key].values.items()}
            )
    specs.update(changed)
    yield from _find_unmatched([key for key in overrides if key not in met], specs, tree)
    yield from _find_alike(changed, overrides)
    yield from _find_without_prompt(changed, overrides)


def _find_keys(
    job_id: str, spec: JobSpec, overrides: Mapping[str, Override], patterns: Mapping[str, Callable[[str], object]]
) -> Iterator[str]:
    """Yield the keys that are about a job, the one that counts most last."""
    yield from (key for key, matches in patterns.items() if matches(job_id))
    yield from (key for key in dict.fromkeys((spec.id, job_id)) if key in overrides and key not in patterns)


def _change(spec: JobSpec, values: Mapping[str, FieldValue | None]) -> JobSpec:
    merged = {**spec.values, "prompt": spec.prompt, "image": spec.image, **values}
    given = {name: value for name, value in merged.items() if value not in (None, "")}
    return spec._replace(prompt=str(given.get("prompt", "")), image=str(given.get("image", "")), values=given)


def _find_unmatched(keys: list[str], specs: Mapping[str, JobSpec], tree: Tree) -> Iterator[Fault]:
    for count, key in enumerate(keys[: MOST_FAULTS + 1]):
        meant = suggestion(key, specs) if count < _MOST_SUGGESTIONS else ""
        what = "matches the id of no job" if has_wildcard(key) else "is not the id of a job"
        loc = ("overrides", key)
        yield Fault(loc, f"{what}{meant} (write an id, or a pattern such as *--storm)", tree.key_offset(loc))


def _find_without_prompt(changed: Mapping[str, JobSpec], overrides: Mapping[str, Override]) -> Iterator[Fault]:
    if any(not spec.prompt for spec in changed.values()):
        key = next(key for key, override in overrides.items() if override.values.get("prompt", "") is None)
        yield Fault(("overrides", key, "prompt"), "takes the prompt away, and each job needs one (write one)")


def _find_alike(changed: Mapping[str, JobSpec], overrides: Mapping[str, Override]) -> Iterator[Fault]:
    """Find variations that a field makes alike: one video would be paid for several times."""
    for family, members in groupby(changed.values(), lambda spec: spec.id):
        specs = list(members)
        for field in FIXING_FIELDS:
            values = [spec.values[field.name] for spec in specs if field.name in spec.values]
            if len(values) > len(set(values)):
                key = next(key for key, one in overrides.items() if field.name in one.values)
                what = f"makes variations of {shown(family)} alike: the same video would be paid for several times"
                yield Fault(("overrides", key, field.key), f"{what} (give each its own {field.key}, or none)")
                return
