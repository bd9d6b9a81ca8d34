"""What can be asked for in one job: the table of fields, and the inputs that a job gives for them. Pure.

A further field is a row here: its value goes into the digest, the request, the editor's schema and every message by it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, urlsplit, urlunsplit

#: Stands before every digest, so that a later way of taking it never makes all jobs look changed.
DIGEST_VERSION = "v1"

#: What stands in a URI as it is: what has a meaning there, and what is escaped already (RFC 3986, 2).
_KEPT_IN_URI = "/?%:@!$&'()*+,;=~[]"

#: The kind of request of a job that names none.
DEFAULT_KIND = "video"

#: The canonical value of a field: a file by its content, a URL by its text.
FieldValue = str | int
#: The canonical values of a job by the names of their fields.
FieldValues = dict[str, FieldValue]
#: The values that a price depends on, as pairs: many jobs share few of these.
PriceKey = tuple[tuple[str, FieldValue], ...]


class ValueType(StrEnum):
    """What the value of a field may be; the manifest has a reader for each."""

    TEXT = "text"
    #: One line of text.
    LINE = "line"
    ASPECT_RATIO = "aspect ratio"
    RESOLUTION = "resolution"
    #: Kept as whole milliseconds.
    DURATION = "duration"
    WHOLE_NUMBER = "whole number"
    #: A file or an https URL.
    MEDIA = "media"


class Medium(StrEnum):
    """What kind of file a media field takes."""

    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that a job can ask for."""

    #: In the ledger, in the digest and in messages.
    name: str
    type: ValueType
    #: Where it stands in a request, with dots between the levels; the API's adapter knows what to make of it.
    wire: str
    description: str
    examples: tuple[str, ...] = ()
    medium: Medium | None = None
    #: The key in a manifest, where it is not the name.
    manifest_key: str = ""
    has_price: bool = False
    #: Whether it makes all variations of a job alike, so that several would be one video paid for several times.
    fixes_result: bool = False

    @property
    def key(self) -> str:
        return self.manifest_key or self.name


FIELDS: tuple[Field, ...] = (
    Field(
        "prompt",
        ValueType.TEXT,
        "generated_video_inputs.text_prompt",
        "What the video shows. '{{' is reserved.",
        examples=("A woman walking through a busy market at golden hour",),
    ),
    Field("image", ValueType.MEDIA, "start_keyframe", "The image that the video starts with.", medium=Medium.IMAGE),
    Field("end_image", ValueType.MEDIA, "end_keyframe", "The image that the video ends with.", medium=Medium.IMAGE),
    Field(
        "model",
        ValueType.LINE,
        "model",
        "The model: its slug, id or name.",
        examples=("fal/grok-video-i2v",),
        has_price=True,
    ),
    Field(
        "aspect_ratio",
        ValueType.ASPECT_RATIO,
        "generated_video_inputs.aspect_ratio",
        "Width to height; needs no quotes.",
        examples=("16:9",),
        has_price=True,
    ),
    Field(
        "resolution",
        ValueType.RESOLUTION,
        "generated_video_inputs.resolution",
        "The resolution.",
        examples=("720p",),
        has_price=True,
    ),
    Field(
        "duration_ms",
        ValueType.DURATION,
        "generated_video_inputs.duration_ms",
        "The length of a video, with its unit; at most 10m.",
        examples=("5s", "5000ms"),
        manifest_key="duration",
        has_price=True,
    ),
    Field(
        "negative_prompt",
        ValueType.TEXT,
        "generated_video_inputs.negative_prompt",
        "What the video should not show, for models that take it. '{{' is reserved.",
        examples=("text, watermarks",),
    ),
    Field(
        "seed",
        ValueType.WHOLE_NUMBER,
        "generated_video_inputs.seed",
        "A whole number that makes a result reproducible, for models that take one; not with several variations.",
        fixes_result=True,
    ),
)

FIELDS_BY_NAME = {field.name: field for field in FIELDS}
_SORTED_NAMES = sorted(FIELDS_BY_NAME)
MEDIA_FIELDS = tuple(field for field in FIELDS if field.medium)
FIXING_FIELDS = tuple(field for field in FIELDS if field.fixes_result)


@dataclass(frozen=True, slots=True)
class MediaInput:
    """A file that a job is made of: a local one, or an https URL that the server fetches."""

    #: As the manifest writes it: relative to the manifest, or a URL.
    source: str
    #: The file; None for a URL.
    path: Path | None = None
    #: SHA-256 of the file's bytes in hex; None for a URL.
    sha256: str | None = None

    @property
    def fingerprint(self) -> str:
        """What the digest of a job takes in its place."""
        return f"sha256:{self.sha256}" if self.sha256 else f"url:{self.source}"


def to_uri(url: str) -> str:
    """Write a URL as a request has it, in ASCII and without spaces (RFC 3987, 3.1); what is so already stays as it is.

    Raises ValueError for what is no URL.
    """
    if url.isascii() and " " not in url:
        return url
    parts = urlsplit(url)
    host = (parts.hostname or "").encode("idna").decode()
    netloc = host if parts.port is None else f"{host}:{parts.port}"
    path, query, fragment = (quote(part, safe=_KEPT_IN_URI) for part in (parts.path, parts.query, parts.fragment))
    return urlunsplit((parts.scheme, netloc, path, query, fragment))


class Inputs:
    """What one job asks for: the values that decide what is made and what it costs."""

    def __init__(self, prompt: str, **others: FieldValue | MediaInput | None) -> None:
        given = {"prompt": prompt, **others}
        #: In the order of the table, those that are given.
        self.values = {name: value for name in FIELDS_BY_NAME if (value := given.pop(name, None)) is not None}
        if given:
            raise TypeError(f"There is no field {next(iter(given))!r}.")

    def get_text(self, name: str) -> str | None:
        value = self.values.get(name)
        return value if isinstance(value, str) else None

    def get_media(self, name: str) -> MediaInput | None:
        value = self.values.get(name)
        return value if isinstance(value, MediaInput) else None

    @property
    def model(self) -> str | None:
        return self.get_text("model")

    def list_media(self) -> Iterator[tuple[Field, MediaInput]]:
        """Yield the files and URLs that are given, each with its field."""
        for field in MEDIA_FIELDS:
            if media := self.get_media(field.name):
                yield field, media

    @cached_property
    def fields(self) -> FieldValues:
        """The canonical values that are given, files by their content."""
        return {
            name: value.fingerprint if isinstance(value, MediaInput) else value for name, value in self.values.items()
        }

    @cached_property
    def digest(self) -> str:
        """Tells whether two sets of inputs ask for the same: `v1:` and a SHA-256 in hex."""
        return find_digest(self.fields)


class Spellings:
    """The names that lists of models have had for one and the same; more are learnt when a list is read."""

    def __init__(self, slugs: Mapping[str, str] = MappingProxyType({})) -> None:
        self.learn(slugs)

    def learn(self, slugs: Mapping[str, str]) -> None:
        """Take over what each spelling stands for."""
        #: By each spelling, without regard to case.
        self._slugs = {spelling.casefold(): slug for spelling, slug in slugs.items()}
        self._spellings: dict[str, list[str]] = {}
        for spelling, slug in slugs.items():
            self._spellings.setdefault(slug, [slug]).append(spelling)

    def __bool__(self) -> bool:
        return bool(self._slugs)

    def find(self, written: str | None) -> Sequence[str]:
        """Find all names of the model that is written so; none where no list had it."""
        slug = self._slugs.get(written.casefold()) if written else None
        return self._spellings[slug] if slug else ()


def respell(fields: FieldValues, model: str) -> FieldValues:
    """Name the model otherwise."""
    return {**fields, "model": model}


def find_digest(fields: Mapping[str, FieldValue]) -> str:
    """Take the digest of canonical values."""
    canonical = ",".join([_write_pair(name, fields[name]) for name in _SORTED_NAMES if name in fields])
    return f"{DIGEST_VERSION}:{hashlib.sha256(f'{{{canonical}}}'.encode()).hexdigest()}"


def find_price_key(fields: Mapping[str, FieldValue]) -> PriceKey:
    """Find what decides the price of a job and how long it takes."""
    return tuple((field.name, fields[field.name]) for field in FIELDS if field.has_price and field.name in fields)


def find_request_kind(fields: Mapping[str, FieldValue]) -> str:
    """Find the kind of request that a job is bought with: what a server shows of one tells nothing of another."""
    return str(fields.get("type", DEFAULT_KIND))


@lru_cache(maxsize=4096, typed=True)
def _write_pair(name: str, value: FieldValue) -> str:
    """Write a field as JSON; the jobs of a batch share most of theirs."""
    return f'"{name}":{json.dumps(value, ensure_ascii=False)}'
