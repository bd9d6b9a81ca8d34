"""The one way into a manifest: a file becomes checked jobs, or an error with everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hedra_batch.errors import InputFileError, ManifestError, UsageError
from hedra_batch.job import ImageInput, Inputs, Job
from hedra_batch.manifest.composer import compose
from hedra_batch.manifest.drafts import Draft
from hedra_batch.manifest.expansion import Expansion, expand
from hedra_batch.manifest.fields import read_manifest_name
from hedra_batch.manifest.images import read_image
from hedra_batch.manifest.mending import hides_jobs, is_real, mend
from hedra_batch.manifest.naming import NAME_RULE, is_name, make_manifest_name
from hedra_batch.manifest.problems import MOST_FAULTS, Fault, render_faults
from hedra_batch.manifest.schema import ManifestEntry, check_shape, find_cut_prompts
from hedra_batch.manifest.text import read_text
from hedra_batch.manifest.tree import Tree
from hedra_batch.manifest.wording import shown
from hedra_batch.quantity import Limits


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest asks for, checked as far as it can be without the API."""

    name: str
    path: Path
    #: Every variation of every job, in the order of the manifest.
    jobs: tuple[Job, ...]
    limits: Limits
    #: The most that one edition may cost; None where the manifest does not say.
    budget_credits: int | None
    #: Attempts of a job that are made without a person.
    attempts: int
    on_unknown: Literal["resend", "hold"]
    quiet_window_seconds: float


def load_manifest(path: Path, *, edition: str = "") -> Manifest:
    """Load a manifest for one edition.

    Raises ManifestError with all faults of the text, then InputFileError with all faults of its files, and
    UsageError for an edition that cannot be part of a file's name.
    """
    if edition and not is_name(edition):
        raise UsageError(f"The edition {shown(edition)} cannot be part of a file's name. Allowed: {NAME_RULE}.")
    tree = _read(path)
    entry, expansion = _check(tree, path.parent, edition)
    images = _read_images(expansion, tree, path.parent)
    return Manifest(
        name=entry.name or make_manifest_name(path.stem),
        path=path,
        jobs=tuple(_make_jobs(expansion, images, edition)),
        limits=Limits(**dict(entry.limits)),
        budget_credits=entry.budget,
        attempts=entry.attempts,
        on_unknown=entry.on_unknown,
        quiet_window_seconds=entry.quiet_window_ms / 1000,
    )


def load_name(path: Path) -> str:
    """Read only what names the run folder, so that a ledger can be looked at beside a manifest with faults."""
    values = _read(path).values
    try:
        return read_manifest_name(values.get("name") if isinstance(values, dict) else None)
    except ValueError:
        # What cannot name a folder is a fault that a run tells; here the file's own name is the best guess.
        return make_manifest_name(path.stem)


def _read(path: Path) -> Tree:
    tree = compose(read_text(path))
    if tree.is_broken:
        raise ManifestError(render_faults(tree.faults, tree))
    return tree


def _check(tree: Tree, folder: Path, edition: str) -> tuple[ManifestEntry, Expansion]:
    entry, shape_faults = check_shape(tree.values, tree)
    if entry is None and len(shape_faults) <= MOST_FAULTS:
        entry, _ = check_shape(mend(tree.values, shape_faults), tree)
    expansion = (
        expand(entry, tree, folder, edition, has_all_jobs=not hides_jobs(shape_faults)) if entry else Expansion()
    )
    faults = [*tree.faults, *find_cut_prompts(tree), *shape_faults, *filter(is_real, expansion.faults)]
    if entry is None or faults:
        raise ManifestError(render_faults(faults, tree))
    return entry, expansion


def _read_images(expansion: Expansion, tree: Tree, folder: Path) -> dict[str, ImageInput]:
    images = {}
    faults = list(expansion.file_faults)
    for source, loc in expansion.images.items():
        try:
            images[source] = read_image(source, folder)
        except ValueError as error:
            faults.append(Fault(loc, str(error)))
            if len(faults) > MOST_FAULTS:
                break
    if faults:
        raise InputFileError(render_faults(faults, tree))
    return images


def _make_jobs(expansion: Expansion, images: Mapping[str, ImageInput], edition: str) -> Iterator[Job]:
    drafted: Draft | None = None
    for job_id, draft in expansion.drafts.items():
        if draft is not drafted:
            # Its variations follow one another and share what they ask for.
            drafted, inputs = draft, _make_inputs(draft, images)
        yield Job(job_id, edition, inputs, expansion.outputs[job_id], draft.prompt_id, draft.image_id)


def _make_inputs(draft: Draft, images: Mapping[str, ImageInput]) -> Inputs:
    settings = draft.settings
    return Inputs(
        prompt=draft.prompt,
        model=settings.model or None,
        image=images.get(draft.image),
        end_image=images.get(settings.end_image),
        aspect_ratio=settings.aspect_ratio or None,
        resolution=settings.resolution or None,
        duration_ms=settings.duration_ms or None,
    )
