"""From specs to what a manifest asks for: every variation with its own id and output, less what is excluded.

Each job is made at the moment when it is asked for: a large batch has more than should be held.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from hedra_batch.inputs import MEDIA_FIELDS, Inputs, MediaInput, Spellings
from hedra_batch.job import UNUSABLE, WAITING, Job
from hedra_batch.manifest.document import Tree
from hedra_batch.manifest.faults import MOST_FAULTS, Fault, Loc, render_key, shown, suggestion
from hedra_batch.manifest.names import collision_key, count_allowed, find_excluded, has_wildcard, variation_ids
from hedra_batch.manifest.output import DEFAULT_TEMPLATE, find_empty_field, find_fault, fit_output, settle_edition
from hedra_batch.manifest.overrides import apply_overrides
from hedra_batch.manifest.schema import ManifestEntry
from hedra_batch.manifest.specs import JobSpec, Sources, SpecBuilder

#: Each looks at every id.
_MOST_SUGGESTIONS = 20


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a job waits for its picture."""

    what: str
    #: Whether the picture may still be on its way here, so that the next run finds it whole.
    is_fresh: bool = False


@dataclass(frozen=True, slots=True)
class Jobs:
    """Every variation of every job, in the order of the manifest; to iterate again makes them again."""

    edition: str
    _specs: Mapping[str, JobSpec]
    _outputs: Mapping[str, str]
    _media: Mapping[str, MediaInput]
    #: Jobs that cannot be made now, since a picture of theirs cannot be used; they exist all the same.
    waiting: Mapping[str, Wait] = field(default_factory=dict)
    _spellings: Spellings = field(default_factory=Spellings)

    def with_spellings(self, spellings: Spellings) -> Jobs:
        """Return the same jobs with all names of their models that are known."""
        return replace(self, _spellings=spellings)

    def __len__(self) -> int:
        return len(self._specs)

    def __iter__(self) -> Iterator[Job]:
        last: JobSpec | None = None
        for job_id, spec in self._specs.items():
            if job_id in self.waiting:
                continue
            if spec is not last:
                # Its variations follow one another and share what they ask for.
                last, inputs = spec, self._make_inputs(spec)
            yield self._make(job_id, spec, inputs)

    def is_waiting(self, job_id: str) -> bool:
        """Tell whether the manifest asks for a job that cannot be made now."""
        return job_id in self.waiting

    def count_waiting(self, is_selected: Callable[[str], bool]) -> Mapping[str, int]:
        """Count the jobs that cannot be made now, and those of them whose pictures a person must see to."""
        waits = [wait for job_id, wait in self.waiting.items() if is_selected(job_id)]
        return {WAITING: len(waits), UNUSABLE: sum(not wait.is_fresh for wait in waits)} if waits else {}

    def find(self, job_id: str) -> Job | None:
        spec = None if job_id in self.waiting else self._specs.get(job_id)
        return self._make(job_id, spec, self._make_inputs(spec)) if spec else None

    def outputs(self) -> Iterator[tuple[str, str]]:
        return iter(self._outputs.items())

    def _make(self, job_id: str, spec: JobSpec, inputs: Inputs) -> Job:
        names = self._spellings.find(inputs.model)
        return Job(job_id, self.edition, inputs, self._outputs[job_id], spec.prompt_id, spec.image_id, spec.id, names)

    def _make_inputs(self, spec: JobSpec) -> Inputs:
        own = {"prompt": spec.prompt, "image": spec.image or None}
        values: dict[str, Any] = {**spec.values, **own}
        for media_field in MEDIA_FIELDS:
            if source := values.get(media_field.name):
                values[media_field.name] = self._media[str(source)]
        return Inputs(**values)


@dataclass
class Expansion:
    """Every job by its id, in the order of the manifest, and what is wrong with them."""

    specs: dict[str, JobSpec] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    sources: Sources = field(default_factory=Sources)
    faults: list[Fault] = field(default_factory=list)
    #: Faults of files, which are told once the text has none.
    file_faults: list[Fault] = field(default_factory=list)
    #: What may be a slip, and keeps nothing from being made.
    warnings: list[Fault] = field(default_factory=list)


def expand(entry: ManifestEntry, tree: Tree, folder: Path, edition: str, *, has_all_jobs: bool = True) -> Expansion:
    """Work out the jobs of a manifest; without `has_all_jobs` nothing is said of jobs that seem absent."""
    builder = SpecBuilder(entry, tree, folder, has_all_jobs=has_all_jobs)
    specs = builder.build()
    expansion = Expansion(sources=builder.sources, faults=builder.faults, file_faults=builder.file_faults)
    has_all_jobs = has_all_jobs and not expansion.faults and not expansion.file_faults
    _number(specs, expansion, tree)
    faults = list(apply_overrides(entry.overrides, expansion.specs, tree))
    # What is matched by nothing may mean a job that is not known yet.
    expansion.faults += faults if has_all_jobs else [fault for fault in faults if len(fault.loc) > 2]
    _exclude(entry.exclude, expansion, has_all_jobs=has_all_jobs)
    _place(entry.output, edition, expansion)
    if has_all_jobs and not specs:
        expansion.faults.append(Fault((), "asks for no video (add prompts, images or jobs)"))
    return expansion


def list_sources(spec: JobSpec) -> Iterator[str]:
    """Yield the files and URLs that a job is made of."""
    for media_field in MEDIA_FIELDS:
        if source := spec.image if media_field.name == "image" else spec.values.get(media_field.name):
            yield str(source)


def _number(specs: list[JobSpec], expansion: Expansion, tree: Tree) -> None:
    taken: dict[str, JobSpec] = {}
    for spec in specs:
        for job_id in variation_ids(spec.id, spec.variations):
            other = taken.setdefault(collision_key(job_id), spec)
            if other is not spec:
                if len(expansion.faults) > MOST_FAULTS:
                    return
                expansion.faults.append(Fault(spec.origin[0], _describe_clash(job_id, spec, other, tree)))
                break
            expansion.specs[job_id] = spec


def _describe_clash(job_id: str, spec: JobSpec, other: JobSpec, tree: Tree) -> str:
    mine, theirs = (
        " with ".join(f"{render_key(loc)} on line {tree.find_position(loc).line}" for loc in one.origin)
        for one in (spec, other)
    )
    rule = "give one of them another id or name; upper and lower case count as the same"
    return f"{shown(job_id)} is the id of two jobs: {theirs}, and {mine} ({rule})"


def _exclude(patterns: list[str], expansion: Expansion, *, has_all_jobs: bool) -> None:
    most = count_allowed(expansion.specs)
    if sum(map(has_wildcard, patterns)) > most:
        what = f"has too many patterns with '*', '?' or '[' (at most {most} for {len(expansion.specs):,} jobs)"
        expansion.faults.append(Fault(("exclude",), what))
        return
    excluded = find_excluded(patterns, expansion.specs.keys())
    if has_all_jobs:
        expansion.faults += islice(_find_unmatched(patterns, excluded, expansion), MOST_FAULTS + 1)
        expansion.warnings += _find_idle(patterns, excluded)
    if excluded and len(excluded) == len(expansion.specs):
        expansion.faults.append(Fault(("exclude",), "leaves no job to make (remove some of it)"))
    for job_id in excluded:
        del expansion.specs[job_id]


def _find_unmatched(patterns: list[str], excluded: set[str], expansion: Expansion) -> Iterator[Fault]:
    unmatched = [one for one in enumerate(patterns) if one[1] not in excluded and not has_wildcard(one[1])]
    for count, (index, pattern) in enumerate(unmatched):
        meant = suggestion(pattern, expansion.specs) if count < _MOST_SUGGESTIONS else ""
        what = f"{shown(pattern)} is not the id of a job{meant} (write an id, or a pattern such as *--storm)"
        yield Fault(("exclude", index), what)


def _find_idle(patterns: list[str], excluded: set[str]) -> Iterator[Fault]:
    """Find the patterns with a wildcard that leave out nothing."""
    for index, pattern in enumerate(patterns):
        if has_wildcard(pattern) and not find_excluded([pattern], excluded):
            yield Fault(("exclude", index), f"{shown(pattern)} matches no job, so it leaves out nothing")


def _place(template: str, edition: str, expansion: Expansion) -> None:
    # What the default lacks only a name can have brought in, so the fault is told there.
    is_default = template == DEFAULT_TEMPLATE
    try:
        template = settle_edition(template, edition)
    except ValueError as error:
        expansion.faults.append(Fault(("output",), str(error)))
        return
    for fault, ids in _fill(template, expansion).items():
        loc: Loc = expansion.specs[ids[0]].origin[0] if is_default else ("output",)
        more = f" and {len(ids) - 1:,} more" if len(ids) > 1 else ""
        expansion.faults.append(Fault(loc, f"the file of {shown(ids[0])}{more} would {fault}"))


def _fill(template: str, expansion: Expansion) -> dict[str, list[str]]:
    """Give each job its output. Returns the ids by fault, so that one of thousands of jobs is told once."""
    faulty: dict[str, list[str]] = defaultdict(list)
    owners: dict[str, str] = {}
    for job_id, spec in expansion.specs.items():
        output = fit_output(template.format(id=job_id, image=spec.image_id, prompt=spec.prompt_id))
        fault = find_empty_field(template, spec.image_id, spec.prompt_id) or find_fault(output)
        if not fault and (owner := owners.setdefault(collision_key(output), job_id)) is not job_id:
            fault = f"also be the file of {shown(owner)} (write {{id}} into it, and each has its own)"
        if fault:
            faulty[fault].append(job_id)
        else:
            expansion.outputs[job_id] = output
    return faulty
