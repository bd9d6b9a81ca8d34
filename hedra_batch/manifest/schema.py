"""Which keys stand where in a manifest, and with which values: for the check of a manifest and for the JSON Schema.

The fields of a job come from the table of fields, and are nowhere written out.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetPydanticSchema,
    PlainValidator,
    Tag,
    TypeAdapter,
    WithJsonSchema,
    create_model,
)

from hedra_batch.inputs import FIELDS, FIELDS_BY_NAME, FieldValue, FieldValues
from hedra_batch.inputs import Field as JobField
from hedra_batch.manifest.names import LONGEST_NAME, LONGEST_PATTERN, NAME_RULE
from hedra_batch.manifest.output import DEFAULT_TEMPLATE, LONGEST_TEMPLATE
from hedra_batch.manifest.values import (
    BUDGET_KEYS,
    MOST_AT_ONCE,
    MOST_ATTEMPTS,
    MOST_VARIATIONS,
    TIME_PATTERN,
    describe_field,
    read_attempts,
    read_budget,
    read_field,
    read_limit,
    read_manifest_name,
    read_name,
    read_output,
    read_pattern,
    read_quiet_window_ms,
    read_rate,
    read_variations,
    read_version,
)
from hedra_batch.money import NO_BUDGETS, Budgets
from hedra_batch.units import Limits, Rate

#: Of one list; a fault in each of them is found in two seconds.
MOST_ENTRIES = 100_000
_LIMITS = Limits()
_PROMPT = FIELDS_BY_NAME["prompt"]


def _described(kind_of_json: str, description: str, **more: object) -> WithJsonSchema:
    return WithJsonSchema({"type": kind_of_json, "description": description, **more})


def _reader(field: JobField) -> PlainValidator:
    return PlainValidator(partial(read_field, field=field))


Version = Annotated[int, PlainValidator(read_version), WithJsonSchema({"const": 1})]
Name = Annotated[
    str,
    PlainValidator(read_name),
    # Looser than the rule: what \w means differs from one validator to the next.
    _described("string", f"A name: {NAME_RULE}.", maxLength=LONGEST_NAME, pattern=r"^[^\s/_.-][^\s/]*$"),
]
ManifestName = Annotated[
    str,
    PlainValidator(read_manifest_name),
    _described("string", "Names the run folder; the file's stem if left out.", maxLength=LONGEST_NAME),
]
QuietWindowMs = Annotated[
    int,
    PlainValidator(read_quiet_window_ms),
    _described(
        "string",
        "How long a request of unknown outcome must stay unseen before it is settled; at most 24h.",
        pattern=TIME_PATTERN,
        examples=["10m"],
    ),
]
Variations = Annotated[
    int | None,
    PlainValidator(read_variations),
    _described(
        "integer",
        "How many videos are made of each job; raising it buys only the new ones.",
        minimum=1,
        maximum=MOST_VARIATIONS,
    ),
]
Limit = Annotated[
    int,
    PlainValidator(read_limit),
    _described("integer", "How many at once.", minimum=1, maximum=MOST_AT_ONCE),
]
Attempts = Annotated[
    int,
    PlainValidator(read_attempts),
    _described(
        "integer",
        "How many attempts of a job are made without a person, where the server ends one for a passing reason.",
        minimum=1,
        maximum=MOST_ATTEMPTS,
    ),
]
RequestRate = Annotated[
    Rate,
    PlainValidator(read_rate),
    _described("string", "How many in a unit of time, spread evenly.", examples=["10/min", "1/s", "300/h"]),
]
_SUM = {"type": "string", "pattern": "^[0-9]+ *credits?$"}
Budget = Annotated[
    Budgets,
    PlainValidator(read_budget),
    WithJsonSchema(
        {
            "description": "The most that may be spent, refunds not taken off: on one edition, or by what it is for.",
            "anyOf": [
                _SUM,
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": False,
                    "properties": {key: {**_SUM, "description": text} for key, text in BUDGET_KEYS.items()},
                },
            ],
            "examples": ["500 credits", {"edition": "500 credits", "month": "800 credits", "total": "2000 credits"}],
        }
    ),
]
Pattern = Annotated[
    str,
    PlainValidator(read_pattern),
    _described(
        "string",
        "An id, or a pattern of ids (*, ?, [).",
        minLength=1,
        maxLength=LONGEST_PATTERN,
        examples=["hero--storm", "*--storm"],
    ),
]
OutputTemplate = Annotated[
    str,
    PlainValidator(read_output),
    _described(
        "string",
        "Where each video goes inside the run folder, by {id}, {image}, {prompt} and {edition}.",
        maxLength=LONGEST_TEMPLATE,
        pattern=r"\.mp4$",
        examples=["videos/{id}.mp4", "{edition}/{image}/{prompt}.mp4"],
    ),
]
Prompt = Annotated[str, _reader(_PROMPT), WithJsonSchema(describe_field(_PROMPT))]
ImageSource = Annotated[
    str,
    _reader(FIELDS_BY_NAME["image"]),
    _described(
        "string",
        "An image: a path relative to the manifest, an https URL, or a pattern of paths (*, ?, [, **).",
        examples=["photos/hero.jpg", "https://example.com/hero.jpg", "photos/*/front.png"],
    ),
]


class _Part(BaseModel):
    """A part of a manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class JobFields(_Part):
    """What a job asks for; in `defaults`, what every job asks for that does not say otherwise."""

    variations: Variations = None

    @property
    def values(self) -> FieldValues:
        """The fields that are given, by their names."""
        return {name: value for name in FIELDS_BY_NAME if (value := getattr(self, name)) is not None}


class JobEntry(JobFields):
    """A single job."""

    id: Name = ""


_Model = TypeVar("_Model", bound=JobFields)


def _add_fields(part: type[_Model]) -> type[_Model]:
    """Add the table of fields to a part; mypy goes on knowing it as it is written."""
    fields: dict[str, Any] = {
        field.name: (
            Annotated[Any, _reader(field), WithJsonSchema(describe_field(field))],
            Field(None, alias=field.key),
        )
        for field in FIELDS
    }
    bases: Any = (part, create_model("Fields", __base__=_Part, **fields))
    return cast("type[_Model]", create_model(part.__name__, __base__=bases, __doc__=part.__doc__))


DEFAULTS_MODEL, JOB_MODEL = _add_fields(JobFields), _add_fields(JobEntry)


def _read_or_remove(value: object, field: JobField) -> object:
    return None if value is None else read_field(value, field)


class Override(_Part):
    """What some jobs ask for otherwise; a key without a value takes a field away."""

    @property
    def values(self) -> dict[str, FieldValue | None]:
        """The fields that are given, by their names; None for those that are taken away."""
        return {name: getattr(self, name) for name in FIELDS_BY_NAME if name in self.model_fields_set}


_OVERRIDE_FIELDS: dict[str, Any] = {
    field.name: (
        Annotated[
            Any,
            PlainValidator(partial(_read_or_remove, field=field)),
            WithJsonSchema({"anyOf": [describe_field(field), {"type": "null"}], "description": field.description}),
        ],
        Field(None, alias=field.key),
    )
    for field in FIELDS
}
OVERRIDE_MODEL = create_model("Override", __base__=Override, __doc__=Override.__doc__, **_OVERRIDE_FIELDS)


class LimitsEntry(_Part):
    """How much a run does at once, and how fast."""

    submit: RequestRate = Field(default_factory=lambda: _LIMITS.submit, description=f"Submissions: {_LIMITS.submit}.")
    in_flight: Limit = Field(_LIMITS.in_flight, description="Generations that the server works on at once.")
    uploads: Limit = Field(_LIMITS.uploads, description="Images that are uploaded at once.")
    downloads: Limit = Field(_LIMITS.downloads, description="Videos that are downloaded at once.")
    poll: RequestRate = Field(default_factory=lambda: _LIMITS.poll, description=f"Read requests: {_LIMITS.poll}.")


def _describe_shape(value: object) -> str | None:
    return "mapping" if isinstance(value, dict) else "list" if isinstance(value, list) else None


_SOME = Field(min_length=1, max_length=MOST_ENTRIES)
Prompts = Annotated[
    Annotated[dict[Name, Prompt], _SOME, Tag("mapping")] | Annotated[list[Prompt], _SOME, Tag("list")],
    Discriminator(_describe_shape),
]
Images = Annotated[
    Annotated[dict[Name, ImageSource], _SOME, Tag("mapping")] | Annotated[list[ImageSource], _SOME, Tag("list")],
    Discriminator(_describe_shape),
]


class ManifestEntry(_Part):
    """Prompts and images, and the videos that a batch makes of them."""

    model_config = ConfigDict(title="hedra-batch manifest")

    version: Version = Field(description="The version of this format: 1.")
    name: ManifestName = ""
    budget: Budget = NO_BUDGETS
    attempts: Attempts = 2
    defaults: Annotated[JobFields, GetPydanticSchema(lambda _, handle: handle(DEFAULTS_MODEL))] = DEFAULTS_MODEL()
    prompts: Prompts = Field(default_factory=list, description="Every prompt goes with every image.")
    images: Images = Field(default_factory=list, description="Every image goes with every prompt.")
    overrides: dict[Pattern, Annotated[Override, GetPydanticSchema(lambda _, handle: handle(OVERRIDE_MODEL))]] = Field(
        default_factory=dict,
        max_length=MOST_ENTRIES,
        description="What jobs ask for otherwise, by id or a pattern of ids; an id beats patterns.",
    )
    exclude: list[Pattern] = Field(
        default_factory=list, max_length=MOST_ENTRIES, description="Jobs that are left out, by id."
    )
    jobs: list[Annotated[JobEntry, GetPydanticSchema(lambda _, handle: handle(JOB_MODEL))]] = Field(
        default_factory=list, max_length=MOST_ENTRIES, description="Single jobs."
    )
    limits: LimitsEntry = Field(default_factory=LimitsEntry)
    output: OutputTemplate = DEFAULT_TEMPLATE
    on_unknown: Literal["resend", "hold"] = Field(
        "resend", description="What becomes of a request whose outcome is still unknown after the quiet window."
    )
    quiet_window_ms: QuietWindowMs = Field(600_000, alias="quiet_window")


def manifest_schema() -> dict[str, Any]:
    schema = ManifestEntry.model_json_schema()
    for key, item in (("prompts", Prompt), ("images", ImageSource)):
        # A single one may stand where a list could.
        shapes = schema["properties"][key]
        (choice,) = [name for name in ("anyOf", "oneOf") if name in shapes]
        schema["properties"][key] = {
            "anyOf": [*shapes.pop(choice), TypeAdapter(item).json_schema()],
            "description": shapes["description"],
        }
    for part in [schema, *schema["$defs"].values()]:
        for field in part["properties"].values():
            # The default says how a key left out is kept, not what could be written; the title repeats the key.
            field.pop("default", None)
            field.pop("title", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
