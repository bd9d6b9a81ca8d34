"""The shape of a manifest: which keys stand where, what is wrong with any other shape, and the JSON Schema."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError
from pydantic_core import ErrorDetails

from hedra_batch.manifest.faults import MOST_FAULTS, Fault, Loc
from hedra_batch.manifest.output import DEFAULT_TEMPLATE
from hedra_batch.manifest.tree import Tree
from hedra_batch.manifest.values import (
    AspectRatio,
    Attempts,
    Budget,
    DurationMs,
    ImageSource,
    Limit,
    ManifestName,
    ModelName,
    Name,
    OutputTemplate,
    Pattern,
    Prompt,
    QuietWindowMs,
    RequestRate,
    Resolution,
    Variations,
    Version,
)
from hedra_batch.manifest.wording import kind, shown, suggestion
from hedra_batch.units import Limits

#: Of one list; a fault in each of them is found in two seconds.
_MOST_ENTRIES = 100_000
#: Finding out what an unknown key may have meant is slow.
_MOST_SUGGESTIONS = 200
_LIMITS = Limits()


def _tell_shape(value: object) -> str | None:
    return "mapping" if isinstance(value, dict) else "list" if isinstance(value, list) else None


class _Part(BaseModel):
    """A part of a manifest; a key left out has an empty value, which none that stands there can have."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class JobFields(_Part):
    """What a job asks for; in `defaults`, what every job asks for that does not say otherwise."""

    prompt: Prompt = ""
    image: ImageSource = ""
    end_image: ImageSource = ""
    model: ModelName = ""
    aspect_ratio: AspectRatio = ""
    resolution: Resolution = ""
    duration_ms: DurationMs = Field(0, alias="duration")
    variations: Variations = 0

    def over(self, defaults: JobFields) -> JobFields:
        """Return the defaults with this job's own fields over them."""
        own = {name: value for name in JobFields.model_fields if (value := getattr(self, name))}
        return defaults.model_copy(update=own)


class JobEntry(JobFields):
    """A single job."""

    id: Name = ""


class LimitsEntry(_Part):
    """How much a run does at once, and how fast."""

    submit: RequestRate = Field(default_factory=lambda: _LIMITS.submit, description=f"Submissions: {_LIMITS.submit}.")
    in_flight: Limit = Field(_LIMITS.in_flight, description="Generations that the server works on at once.")
    uploads: Limit = Field(_LIMITS.uploads, description="Images that are uploaded at once.")
    downloads: Limit = Field(_LIMITS.downloads, description="Videos that are downloaded at once.")
    poll: RequestRate = Field(default_factory=lambda: _LIMITS.poll, description=f"Read requests: {_LIMITS.poll}.")


_SOME = Field(min_length=1, max_length=_MOST_ENTRIES)
Prompts = Annotated[
    Annotated[dict[Name, Prompt], _SOME, Tag("mapping")] | Annotated[list[Prompt], _SOME, Tag("list")],
    Discriminator(_tell_shape),
]
Images = Annotated[
    Annotated[dict[Name, ImageSource], _SOME, Tag("mapping")] | Annotated[list[ImageSource], _SOME, Tag("list")],
    Discriminator(_tell_shape),
]


class ManifestEntry(_Part):
    """Prompts and images, and the videos that a batch makes of them."""

    model_config = ConfigDict(title="hedra-batch manifest")

    version: Version = Field(description="The version of this format: 1.")
    name: ManifestName = ""
    budget: Budget = None
    attempts: Attempts = 2
    defaults: JobFields = JobFields()
    prompts: Prompts = Field(default_factory=list, description="Every prompt goes with every image.")
    images: Images = Field(default_factory=list, description="Every image goes with every prompt.")
    exclude: list[Pattern] = Field(
        default_factory=list, max_length=_MOST_ENTRIES, description="Jobs that are left out, by id."
    )
    jobs: list[JobEntry] = Field(default_factory=list, max_length=_MOST_ENTRIES, description="Single jobs.")
    limits: LimitsEntry = Field(default_factory=LimitsEntry)
    output: OutputTemplate = DEFAULT_TEMPLATE
    on_unknown: Literal["resend", "hold"] = Field(
        "resend", description="What becomes of a request whose outcome is still unknown after the quiet window."
    )
    quiet_window_ms: QuietWindowMs = Field(600_000, alias="quiet_window")


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema of a manifest, for editors."""
    schema = ManifestEntry.model_json_schema()
    for part in [schema, *schema["$defs"].values()]:
        for field in part["properties"].values():
            # The default says how a key left out is kept, not what could be written; the title repeats the key.
            field.pop("default", None)
            field.pop("title", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def is_prompt(loc: Loc) -> bool:
    """Tell whether a prompt stands at a place."""
    match loc:
        case ("prompts", _) | ("defaults", "prompt") | ("jobs", int(), "prompt"):
            return True
        case _:
            return False


def find_cut_prompts(tree: Tree) -> list[Fault]:
    """Find prompts of which YAML took a part for something else."""
    cuts = ((loc, what) for loc, what in tree.cuts.items() if is_prompt(loc))
    return [Fault(loc, f"{what} (put the text in quotes)") for loc, what in islice(cuts, MOST_FAULTS + 1)]


def check_shape(values: object, tree: Tree) -> tuple[ManifestEntry | None, list[Fault]]:
    """Check values of a tree; without faults there is an entry."""
    try:
        return ManifestEntry.model_validate(values), []
    except ValidationError as error:
        details = error.errors(include_url=False)[: MOST_FAULTS + 1]
    return None, [
        _explain(detail, tree, is_suggesting=index < _MOST_SUGGESTIONS) for index, detail in enumerate(details)
    ]


def _explain(detail: ErrorDetails, tree: Tree, *, is_suggesting: bool) -> Fault:
    loc, value = _find_loc(detail["loc"]), detail["input"]
    if detail["type"] == "extra_forbidden":
        return Fault(loc, _explain_unknown(loc, value, is_suggesting=is_suggesting), tree.key_offset(loc))
    if detail["type"] == "value_error":
        is_key = detail["loc"][-1] == "[key]"
        return Fault(loc, str(detail["ctx"]["error"]), tree.key_offset(loc) if is_key else None)
    whats = {
        # The only key that must be there.
        "missing": "is missing (write 'version: 1' at the top)",
        "literal_error": f"{shown(value)} is not known here (allowed: {detail.get('ctx', {}).get('expected')})",
        "too_short": "is empty (give it an entry, or take the key out)",
        "too_long": f"has too many entries (at most {_MOST_ENTRIES:,})",
    }
    return Fault(loc, whats.get(detail["type"], f"is {kind(value)} (allowed: {_allowed_shape(loc)})"))


def _find_loc(loc: Loc) -> Loc:
    """Take out what only the model knows: which of two shapes was met, and that a key is meant."""
    if loc[:1] in {("prompts",), ("images",)}:
        loc = loc[:1] + loc[2:]
    return loc[:-1] if loc[-1:] == ("[key]",) else loc


def _explain_unknown(loc: Loc, value: object, *, is_suggesting: bool) -> str:
    allowed = [field.alias or name for name, field in _find_part(loc[:-1]).model_fields.items()]
    meant = suggestion(str(loc[-1]), allowed) if is_suggesting else ""
    if value is None and not meant and loc[0] in {"jobs", "defaults"}:
        return "is read by YAML as a key of its own (if it belongs to a text, put the text in quotes)"
    return f"is not known here{meant} (allowed: {', '.join(allowed)})"


def _find_part(loc: Loc) -> type[_Part]:
    parts: dict[str | int, type[_Part]] = {"defaults": JobFields, "jobs": JobEntry, "limits": LimitsEntry}
    return parts[loc[0]] if loc else ManifestEntry


def _allowed_shape(loc: Loc) -> str:
    match loc:
        case ("prompts" | "images",):
            return "a list, or a mapping with a name for each"
        case ("exclude",):
            return "a list of ids and patterns"
        case ("jobs",):
            return "a list of jobs"
        case ("jobs", _):
            return "a mapping, such as {prompt: …, image: …}"
        case _:
            return "a mapping of keys to values"
