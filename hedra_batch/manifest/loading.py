"""The one way into a manifest: a file becomes checked jobs, or an error with everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hedra_batch.errors import InputFileError, ManifestError, UsageError
from hedra_batch.inputs import MediaInput
from hedra_batch.manifest.composer import compose_whole
from hedra_batch.manifest.document import Tree, read_text
from hedra_batch.manifest.faults import MOST_FAULTS, Fault, render_faults, shown
from hedra_batch.manifest.files import is_fresh, read_image
from hedra_batch.manifest.jobs import Expansion, Jobs, Wait, expand, list_sources
from hedra_batch.manifest.names import NAME_RULE, is_name, make_manifest_name
from hedra_batch.manifest.schema import ManifestEntry
from hedra_batch.manifest.shape import check_shape, find_cut_texts, hides_jobs, is_real, mend
from hedra_batch.manifest.shorthand import expand_shorthand
from hedra_batch.money import Budgets
from hedra_batch.units import Limits


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest asks for, checked as far as it can be without the API."""

    name: str
    path: Path
    jobs: Jobs
    limits: Limits
    budgets: Budgets
    #: Attempts of a job that are made without a person.
    attempts: int
    on_unknown: Literal["resend", "hold"]
    quiet_window_seconds: float
    #: What may be a slip, a line each.
    warnings: Sequence[str] = ()
    #: What is left out and was hardly meant, a line each.
    notes: Sequence[str] = ()


def load_manifest(path: Path, *, edition: str = "") -> Manifest:
    """Load a manifest for one edition.

    Raises ManifestError with all faults of the text, then InputFileError with all faults of its files, and
    UsageError for an edition that cannot be part of a file's name.
    """
    if edition and not is_name(edition):
        raise UsageError(f"The edition {shown(edition)} cannot be part of a file's name. Allowed: {NAME_RULE}.")
    tree = compose_whole(read_text(path))
    expand_shorthand(tree, path.parent)
    entry, expansion = _check(tree, path.parent, edition)
    media, waits = _read_files(expansion, tree, path.parent)
    told = [
        Fault(expansion.sources.places[source], f"{wait.what}; what is made of it waits")
        for source, wait in waits.items()
    ]
    return Manifest(
        name=entry.name or make_manifest_name(path.stem),
        path=path,
        jobs=Jobs(edition, expansion.specs, expansion.outputs, media, _find_waiting(expansion, waits)),
        limits=Limits(**dict(entry.limits)),
        budgets=entry.budget,
        attempts=entry.attempts,
        on_unknown=entry.on_unknown,
        quiet_window_seconds=entry.quiet_window_ms / 1000,
        warnings=render_faults([*expansion.warnings, *told], tree),
        notes=render_faults(expansion.sources.left_out, tree),
    )


def _check(tree: Tree, folder: Path, edition: str) -> tuple[ManifestEntry, Expansion]:
    entry, shape_faults = check_shape(tree.values, tree)
    if entry is None and len(shape_faults) <= MOST_FAULTS:
        entry, _ = check_shape(mend(tree.values, shape_faults), tree)
    expansion = (
        expand(entry, tree, folder, edition, has_all_jobs=not hides_jobs(shape_faults)) if entry else Expansion()
    )
    faults = [*tree.faults, *find_cut_texts(tree), *shape_faults, *filter(is_real, expansion.faults)]
    if entry is None or faults:
        raise ManifestError(render_faults(faults, tree))
    return entry, expansion


def _read_files(expansion: Expansion, tree: Tree, folder: Path) -> tuple[dict[str, MediaInput], dict[str, Wait]]:
    """Read the pictures of the jobs that are not excluded, and say why some that patterns found cannot be used.

    Raises InputFileError for those that the manifest names by themselves.
    """
    media, waits, faults, sources = {}, {}, list(expansion.file_faults), expansion.sources
    used = {source for spec in expansion.specs.values() for source in list_sources(spec)}
    for source, loc in sources.places.items():
        if source not in used:
            continue
        if source not in sources.named and (what := sources.unusable.get(source)):
            waits[source] = Wait(what)
            continue
        try:
            media[source] = read_image(source, folder)
        except ValueError as error:
            if source not in sources.named:
                waits[source] = Wait(str(error), is_fresh=is_fresh(source, folder))
                continue
            faults.append(Fault(loc, str(error)))
            if len(faults) > MOST_FAULTS:
                break
    if faults:
        raise InputFileError(render_faults(faults, tree))
    return media, waits


def _find_waiting(expansion: Expansion, waits: Mapping[str, Wait]) -> dict[str, Wait]:
    """Find the jobs that wait for a picture."""
    found = (
        (job_id, next((waits[source] for source in list_sources(spec) if source in waits), None))
        for job_id, spec in (expansion.specs.items() if waits else ())
    )
    return {job_id: wait for job_id, wait in found if wait}
