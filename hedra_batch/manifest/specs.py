"""The jobs of a manifest as it states them: every prompt with every image, and single ones, each with its id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from hedra_batch.manifest.faults import MOST_FAULTS, Fault, Loc, render_key
from hedra_batch.manifest.files import find_images, is_pattern
from hedra_batch.manifest.names import collision_key, glob_name, image_name, pair_id, prompt_slug
from hedra_batch.manifest.patterns import Search
from hedra_batch.manifest.schema import JobEntry, JobFields, ManifestEntry
from hedra_batch.manifest.tree import Tree
from hedra_batch.manifest.wording import shown

#: More is a slip; a real batch of this size is several manifests.
MOST_JOBS = 200_000
#: Each looks through folders.
MOST_PATTERNS = 1_000


class Named(NamedTuple):
    """A prompt or an image of the matrix, with the name that it brings into ids."""

    name: str
    value: str
    loc: Loc


#: Stands for the side of the matrix that a manifest leaves out.
_NONE = Named("", "", ())


class JobSpec(NamedTuple):
    """A job with all its variations, before its image is read."""

    id: str
    prompt_id: str
    image_id: str
    prompt: str
    image: str
    settings: JobFields
    #: What it is made of: one entry of jobs, or an image and a prompt.
    origin: tuple[Loc, ...]


class Drafting:
    """Drafts the jobs of one manifest, and gathers what is wrong on the way."""

    def __init__(self, entry: ManifestEntry, tree: Tree, folder: Path, *, has_all_jobs: bool) -> None:
        self._entry = entry
        self._tree = tree
        self._folder = folder
        self._search = Search(folder)
        #: False when faults found before keep some jobs unknown, so that nothing is said of what seems absent.
        self._has_all_jobs = has_all_jobs
        self.faults: list[Fault] = []
        #: Faults of files, which are told once the text has none.
        self.file_faults: list[Fault] = []
        #: Every image that the manifest names, and where it does so first.
        self.images: dict[str, Loc] = {}

    def draft(self) -> list[JobSpec]:
        """JobSpec every job, in the order of the manifest."""
        if not self._is_in_bounds(len(self._entry.prompts), len(self._entry.images)):
            return []
        prompts = self._take_distinct(self._name_prompts())
        images = self._take_distinct(self._name_images())
        self._note_images(self._entry.defaults, ("defaults",))
        # Patterns have brought in more.
        if not self._is_in_bounds(len(prompts), len(images)):
            return []
        return [*self._pair(prompts, images), *self._read_jobs()]

    def _name_prompts(self) -> Iterator[Named]:
        for loc, name, prompt in _entries("prompts", self._entry.prompts):
            yield Named(name or prompt_slug(prompt), prompt, loc)

    def _name_images(self) -> Iterator[Named]:
        patterns = 0
        for loc, name, source in _entries("images", self._entry.images):
            if is_pattern(source, self._folder):
                patterns += 1
                if patterns > MOST_PATTERNS:
                    self._refuse(("images",), f"has too many patterns (at most {MOST_PATTERNS:,})")
                    return
                yield from self._find(source, loc)
            else:
                self.images.setdefault(source, loc)
                yield Named(name or image_name(source), source, loc)

    def _find(self, pattern: str, loc: Loc) -> Iterator[Named]:
        try:
            found = find_images(pattern, self._folder, self._search)
        except ValueError as error:
            self.file_faults.append(Fault(loc, str(error)))
            return
        for source in found:
            self.images.setdefault(source, loc)
            yield Named(glob_name(pattern, source), source, loc)

    def _take_distinct(self, named: Iterable[Named]) -> list[Named]:
        first: dict[str, Named] = {}
        for one in named:
            other = first.setdefault(collision_key(one.name), one)
            if other is not one and len(self.faults) <= MOST_FAULTS:
                self._refuse(one.loc, self._tell_clash(one, other))
        return list(first.values())

    def _tell_clash(self, one: Named, other: Named) -> str:
        # A pattern finds many images, and then the place alone does not say which is meant.
        is_image = one.loc[0] == "images"
        mine = f"{shown(one.value)} " if is_image else ""
        theirs = f"{shown(other.value)} of " if is_image else ""
        line = self._tree.place(other.loc).line
        rule = "names must differ in more than upper and lower case"
        return f"{mine}has the name {shown(one.name)}, as has {theirs}{render_key(other.loc)} on line {line} ({rule})"

    def _note_images(self, fields: JobFields, loc: Loc) -> None:
        for key in ("image", "end_image"):
            source: str = getattr(fields, key)
            if source and is_pattern(source, self._folder):
                self._refuse((*loc, key), f"{shown(source)} is a pattern (allowed: one image; patterns go into images)")
            elif source:
                self.images.setdefault(source, (*loc, key))

    def _is_in_bounds(self, prompts: int, images: int) -> bool:
        defaults = self._entry.defaults
        pairs = max(prompts, 1) * max(images, 1) if prompts or images else 0
        count = pairs * max(defaults.variations, 1)
        count += sum(max(job.variations or defaults.variations, 1) for job in self._entry.jobs)
        if count > MOST_JOBS:
            self._refuse((), f"asks for {count:,} videos (at most {MOST_JOBS:,} in one manifest)")
        return count <= MOST_JOBS

    def _pair(self, prompts: list[Named], images: list[Named]) -> Iterator[JobSpec]:
        defaults = self._entry.defaults
        if images and not prompts and not defaults.prompt:
            if self._has_all_jobs:
                self._refuse(("images",), "has no prompt to go with (add prompts, or a prompt to defaults)")
            return
        for image in images or [_NONE] * bool(prompts):
            source = image.value or defaults.image
            image_id = image.name or (image_name(source) if source else "")
            for prompt in prompts or [_NONE]:
                origin = tuple(side.loc for side in (image, prompt) if side.loc)
                job_id = pair_id(image.name, prompt.name)
                text = prompt.value or defaults.prompt
                yield JobSpec(job_id, prompt.name, image_id, text, source, defaults, origin)

    def _read_jobs(self) -> Iterator[JobSpec]:
        for index, job in enumerate(self._entry.jobs):
            loc: Loc = ("jobs", index)
            self._note_images(job, loc)
            settings = job.over(self._entry.defaults)
            if not settings.prompt:
                self._refuse((*loc, "prompt"), "is missing (give the job a prompt, or put one into defaults)")
                continue
            image_id = image_name(settings.image) if settings.image else ""
            origin: Loc = (*loc, "id") if job.id else loc
            job_id = job.id or _make_id(job, settings)
            yield JobSpec(job_id, "", image_id, settings.prompt, settings.image, settings, (origin,))

    def _refuse(self, loc: Loc, what: str) -> None:
        self.faults.append(Fault(loc, what))


def _entries(key: str, values: Mapping[str, str] | list[str]) -> Iterator[tuple[Loc, str, str]]:
    """Yield where each value stands, its name (empty in a list), and the value."""
    if isinstance(values, Mapping):
        yield from (((key, name), name, value) for name, value in values.items())
    else:
        yield from (((key, index), "", value) for index, value in enumerate(values))


def _make_id(job: JobEntry, settings: JobFields) -> str:
    """Name a job by what is its own; by its prompt where all of it comes from the defaults."""
    image = image_name(job.image) if job.image else ""
    prompt = prompt_slug(job.prompt) if job.prompt else ""
    return pair_id(image, prompt) or prompt_slug(settings.prompt)
