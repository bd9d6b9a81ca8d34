"""The jobs of a manifest as it states them: every prompt with every image, and single ones, each with its id.

A prompt and an image are what the matrix is made of; what else a job asks for is carried along by the table of fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hedra_batch.inputs import FIXING_FIELDS, MEDIA_FIELDS, FieldValues
from hedra_batch.manifest.document import Tree
from hedra_batch.manifest.faults import MOST_FAULTS, Fault, Loc, render_key, shown
from hedra_batch.manifest.files import ALLOWED_KINDS, Search, find_images, is_pattern, may_be_picture
from hedra_batch.manifest.names import collision_key, glob_name, image_name, pair_id, prompt_slug
from hedra_batch.manifest.schema import JobFields, ManifestEntry

#: More is a slip; a real batch of this size is several manifests.
MOST_JOBS = 200_000
#: Each looks through folders.
MOST_PATTERNS = 1_000


class Named(NamedTuple):
    """A prompt or an image of the matrix, with the name that it brings into ids."""

    name: str
    value: str
    loc: Loc
    #: Whether a pattern found it.
    is_found: bool = False


#: Stands for the side of the matrix that a manifest leaves out.
_NONE = Named("", "", ())


class JobSpec(NamedTuple):
    """A job with all its variations, before its files are read."""

    id: str
    prompt_id: str
    image_id: str
    prompt: str
    image: str
    #: What it asks for by the names of the fields, files by their sources; prompt and image stand above these.
    values: FieldValues
    variations: int
    #: What it is made of: one entry of jobs, or an image and a prompt.
    origin: tuple[Loc, ...]


@dataclasses.dataclass
class Sources:
    """The files and URLs that a manifest names."""

    #: All of them, and where each is named first.
    places: dict[str, Loc] = dataclasses.field(default_factory=dict)
    #: Those that are named by themselves, and not by a pattern only.
    named: set[str] = dataclasses.field(default_factory=set)
    #: Why a picture that a pattern found cannot be used, where its name tells that.
    unusable: dict[str, str] = dataclasses.field(default_factory=dict)
    #: What patterns find that is no picture.
    left_out: list[Fault] = dataclasses.field(default_factory=list)


class SpecBuilder:
    """Builds the specs of one manifest, and gathers what is wrong on the way."""

    def __init__(self, entry: ManifestEntry, tree: Tree, folder: Path, *, has_all_jobs: bool) -> None:
        self._entry = entry
        self._defaults = entry.defaults.values
        self._variations = entry.defaults.variations or 1
        self._tree = tree
        self._folder = folder
        self._search = Search(folder)
        #: False when faults found before keep some jobs unknown, so that nothing is said of what seems absent.
        self._has_all_jobs = has_all_jobs
        self.faults: list[Fault] = []
        #: Faults of files, which are told once the text has none.
        self.file_faults: list[Fault] = []
        self.sources = Sources()

    def build(self) -> list[JobSpec]:
        """Build the spec of every job, in the order of the manifest."""
        if not self._is_in_bounds(len(self._entry.prompts), len(self._entry.images)):
            return []
        prompts = self._take_distinct(self._name_prompts())
        images = self._take_distinct(self._name_images())
        self._add_sources(self._defaults, ("defaults",))
        for key, override in self._entry.overrides.items():
            given = {name: value for name, value in override.values.items() if value is not None}
            self._add_sources(given, ("overrides", key))
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
                self._add_source(source, loc)
                yield Named(name or image_name(source), source, loc)

    def _find(self, pattern: str, loc: Loc) -> Iterator[Named]:
        try:
            found = find_images(pattern, self._folder, self._search)
        except ValueError as error:
            self.file_faults.append(Fault(loc, str(error)))
            return
        pictures = [source for source in found if may_be_picture(source, self._folder)]
        if not pictures:
            what = f"{shown(pattern)} finds no picture, only {shown(found[0])}"
            self.file_faults.append(Fault(loc, f"{what} (allowed: {ALLOWED_KINDS})"))
        self.sources.left_out += [
            Fault(loc, f"{shown(source)} is no picture, so it is left out") for source in sorted({*found} - {*pictures})
        ]
        for source in pictures:
            self.sources.places.setdefault(source, loc)
            yield Named(glob_name(pattern, source), source, loc, is_found=True)

    def _add_source(self, source: str, loc: Loc) -> None:
        self.sources.places.setdefault(source, loc)
        self.sources.named.add(source)

    def _take_distinct(self, named: Iterable[Named]) -> list[Named]:
        first: dict[str, Named] = {}
        for one in named:
            other = first.setdefault(collision_key(one.name), one)
            if other is one:
                continue
            if one.is_found and other.is_found and _is_alike(one.value, other.value):
                self._hold_both(one, other)
            elif len(self.faults) <= MOST_FAULTS:
                self._refuse(one.loc, self._describe_clash(one, other))
        return list(first.values())

    def _hold_both(self, one: Named, other: Named) -> None:
        """Have two pictures wait that differ by their endings only: nobody can tell which of them is meant."""
        named = f"'{one.name}': {other.value}" if one.name.isprintable() else "NAME: FILE"
        for mine, theirs in ((one.value, other.value), (other.value, one.value)):
            self.sources.unusable[mine] = (
                f"{shown(mine)} has the same name as {shown(theirs)}; name the one that is meant under images "
                f"({{{named}}}), or move the other one away"
            )

    def _describe_clash(self, one: Named, other: Named) -> str:
        # A pattern finds many images, and then the place alone does not say which is meant.
        is_image = one.loc[0] == "images"
        mine = f"{shown(one.value)} " if is_image else ""
        theirs = f"{shown(other.value)} of " if is_image else ""
        line = self._tree.find_position(other.loc).line
        rule = "give each a name of its own; upper and lower case count as the same"
        return f"{mine}has the name {shown(one.name)}, like {theirs}{render_key(other.loc)} on line {line} ({rule})"

    def _add_sources(self, values: FieldValues, loc: Loc) -> None:
        for field in MEDIA_FIELDS:
            source, place = _get_text(values, field.name), (*loc, field.key)
            if source and is_pattern(source, self._folder):
                allowed = f"write one {field.medium}; patterns belong under {field.medium}s"
                self._refuse(place, f"{shown(source)} is a pattern ({allowed})")
            elif source:
                self._add_source(source, place)

    def _is_in_bounds(self, prompts: int, images: int) -> bool:
        pairs = max(prompts, 1) * max(images, 1) if prompts or images else 0
        count = pairs * self._variations + sum(job.variations or self._variations for job in self._entry.jobs)
        if count > MOST_JOBS:
            self._refuse((), f"asks for {count:,} videos (at most {MOST_JOBS:,} in one manifest)")
        return count <= MOST_JOBS

    def _pair(self, prompts: list[Named], images: list[Named]) -> Iterator[JobSpec]:
        default_prompt, default_image = _get_text(self._defaults, "prompt"), _get_text(self._defaults, "image")
        if images and not prompts and not default_prompt:
            if self._has_all_jobs:
                self._refuse(("images",), "has no prompt to go with (add prompts, or a prompt under defaults)")
            return
        if images or prompts:
            self._check_variations(self._entry.defaults, ("defaults",), self._defaults, self._variations)
        for image in images or [_NONE] * bool(prompts):
            source = image.value or default_image
            image_id = image.name or (image_name(source) if source else "")
            for prompt in prompts or [_NONE]:
                origin = tuple(side.loc for side in (image, prompt) if side.loc)
                job_id = pair_id(image.name, prompt.name)
                text = prompt.value or default_prompt
                yield JobSpec(job_id, prompt.name, image_id, text, source, self._defaults, self._variations, origin)

    def _read_jobs(self) -> Iterator[JobSpec]:
        for index, job in enumerate(self._entry.jobs):
            loc: Loc = ("jobs", index)
            own = job.values
            self._add_sources(own, loc)
            values, variations = {**self._defaults, **own}, job.variations or self._variations
            self._check_variations(job, loc, values, variations)
            prompt, image = _get_text(values, "prompt"), _get_text(values, "image")
            if not prompt:
                self._refuse((*loc, "prompt"), "is missing (give the job a prompt, or write one under defaults)")
                continue
            image_id = image_name(image) if image else ""
            origin: Loc = (*loc, "id") if job.id else loc
            job_id = job.id or _make_id(own, prompt)
            yield JobSpec(job_id, "", image_id, prompt, image, values, variations, (origin,))

    def _check_variations(self, part: JobFields, loc: Loc, values: FieldValues, variations: int) -> None:
        """Refuse several variations of a job where a field makes all of them alike, at the place that is its own."""
        fixing = (field for field in FIXING_FIELDS if field.name in values) if variations > 1 else ()
        for field in fixing:
            is_own = field.name in part.values
            if part.variations and not is_own:
                what = (
                    f"asks for {variations} videos, which the {field.key} under defaults makes alike: the same video "
                    f"would be paid for {variations} times (write variations: 1, or remove that {field.key})"
                )
                self._refuse((*loc, "variations"), what)
            else:
                what = (
                    f"makes all {variations} variations alike: the same video would be paid for {variations} times "
                    f"(remove the {field.key}, or write variations: 1)"
                )
                self._refuse((*loc, field.key) if is_own else ("defaults", field.key), what)

    def _refuse(self, loc: Loc, what: str) -> None:
        self.faults.append(Fault(loc, what))


def _entries(key: str, values: Mapping[str, str] | list[str]) -> Iterator[tuple[Loc, str, str]]:
    """Yield where each value stands, its name (empty in a list), and the value."""
    if isinstance(values, Mapping):
        yield from (((key, name), name, value) for name, value in values.items())
    else:
        yield from (((key, index), "", value) for index, value in enumerate(values))


def _is_alike(one: str, another: str) -> bool:
    return PurePosixPath(one).with_suffix("") == PurePosixPath(another).with_suffix("")


def _make_id(own: FieldValues, prompt: str) -> str:
    """Name a job by what is its own; by its prompt where all of it comes from the defaults."""
    own_image, own_prompt = _get_text(own, "image"), _get_text(own, "prompt")
    job_id = pair_id(image_name(own_image) if own_image else "", prompt_slug(own_prompt) if own_prompt else "")
    return job_id or prompt_slug(prompt)


def _get_text(values: FieldValues, name: str) -> str:
    """Return the value of a field that is a text; empty where it is not given."""
    value = values.get(name, "")
    return value if isinstance(value, str) else ""
