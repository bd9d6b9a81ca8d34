"""What the published document says of requests: routes, fields and types of values; `requests` says what they mean."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hedra_batch.simulator.refusals import Problem, invalid, malformed, problem

#: The path that the API stands under.
BASE_PATH = "/web-app/public"


class Route(StrEnum):
    """Method and path; the paths of the API are relative to `BASE_PATH`."""

    LIST_MODELS = "GET /models"
    LIST_VOICES = "GET /voices"
    LIST_ASSETS = "GET /assets"
    CREATE_ASSET = "POST /assets"
    UPLOAD_ASSET = "POST /assets/{id}/upload"
    LIST_GENERATIONS = "GET /generations"
    CREATE_GENERATION = "POST /generations"
    READ_STATUS = "GET /generations/{id}/status"
    READ_CREDITS = "GET /billing/credits"
    #: On the media host, without `BASE_PATH`.
    READ_MEDIA = "GET /media/{name}"

    @property
    def method(self) -> str:
        return self.value.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.value.partition(" ")[2]


API_ROUTES = frozenset(Route) - {Route.READ_MEDIA}

ASSET_TYPES = ("text", "image", "audio", "video", "voice", "three_d", "rich_text")
GENERATION_TYPES = (
    "image",
    "video",
    "text_to_speech",
    "speech_to_speech",
    "voice_clone",
    "audio_isolation",
    "video_stitching",
    "video_upscale",
    "video_to_video",
    "image_upscale",
    "agent_response",
    "audio_from_video",
    "text_to_sound",
    "assets_to_image_text_prompt",
    "assets_to_audio_text_prompt",
)
#: What the `type` of POST /generations can be.
REQUEST_TYPES = (
    "video",
    "text_to_speech",
    "text_to_sound",
    "image",
    "image_to_image",
    "image_upscale",
    "video_upscale",
    "audio_isolation",
    "speech_to_speech",
    "voice_clone",
    "video_to_video",
    "motion_control",
)

_MOST_NAME_CHARACTERS = 255
_MOST_URL_CHARACTERS = 2083
_MOST_VARIATIONS = 8


@dataclass(frozen=True, slots=True)
class FieldType:
    """A type of value, and what the answer says when something else came."""

    error: str
    message: str
    accepts: Callable[[Any], bool]


def is_uuid(value: object) -> bool:
    try:
        uuid.UUID(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return True


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list_of_uuids(value: object) -> bool:
    return isinstance(value, list) and all(is_uuid(item) for item in value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MOST_NAME_CHARACTERS


def _is_url(value: object) -> bool:
    return isinstance(value, str) and "://" in value and len(value) <= _MOST_URL_CHARACTERS


def _is_batch_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_VARIATIONS


def one_of(values: Iterable[str]) -> FieldType:
    allowed = tuple(values)
    message = f"Input should be {', '.join(repr(value) for value in allowed)}"
    return FieldType("enum", message, lambda value: value in allowed)


TEXT = FieldType("string_type", "Input should be a valid string", lambda value: isinstance(value, str))
NAME = FieldType("string_too_long", "Input should be a string of at most 255 characters", _is_name)
UUID = FieldType("uuid_parsing", "Input should be a valid UUID", is_uuid)
UUIDS = FieldType("list_type", "Input should be a list of valid UUIDs", _is_list_of_uuids)
ONE_OR_MORE_UUIDS = FieldType(
    "uuid_parsing", "Input should be one or more valid UUIDs", lambda v: is_uuid(v) or _is_list_of_uuids(v)
)
URL = FieldType("url_parsing", "Input should be a valid URL", _is_url)
INTEGER = FieldType("int_type", "Input should be a valid integer", _is_integer)
NUMBER = FieldType("float_type", "Input should be a valid number", lambda v: _is_integer(v) or isinstance(v, float))
BOOLEAN = FieldType("bool_type", "Input should be a valid boolean", lambda value: isinstance(value, bool))
LIST = FieldType("list_type", "Input should be a valid list", lambda value: isinstance(value, list))
OBJECT = FieldType("model_attributes_type", "Input should be a valid object", lambda value: isinstance(value, dict))
OBJECT_OR_LIST = FieldType("dict_type", "Input should be a valid object or list", lambda v: isinstance(v, dict | list))
BATCH = FieldType("int_range", "Input should be an integer from 1 to 8", _is_batch_size)

ASSET_FIELDS = {"name": TEXT, "type": one_of(ASSET_TYPES), "workspace_id": TEXT, "reserved_asset_id": UUID}
VIDEO_FIELDS = {
    "workspace_id": TEXT,
    "agent_thread_id": UUID,
    "generation_id": UUID,
    "generation_ids": UUIDS,
    "reserved_asset_id": UUID,
    "reserved_asset_ids": UUIDS,
    "type": TEXT,
    "name": NAME,
    "ai_model_id": UUID,
    "model_slug": TEXT,
    "start_keyframe_id": UUID,
    "start_keyframe_url": URL,
    "end_keyframe_id": UUID,
    "end_keyframe_url": URL,
    "audio_id": ONE_OR_MORE_UUIDS,
    "audio_generation": OBJECT,
    "audio_start_ms": INTEGER,
    "reference_audio_ids": UUIDS,
    "reference_image_ids": UUIDS,
    "reference_video_ids": UUIDS,
    "video_id": UUID,
    "generated_video_inputs": OBJECT,
    "batch_size": BATCH,
}
VIDEO_INPUT_FIELDS = {
    "text_prompt": TEXT,
    "ai_model_id": UUID,
    "model_slug": TEXT,
    "resolution": TEXT,
    "aspect_ratio": TEXT,
    "duration_ms": INTEGER,
    "generate_audio": BOOLEAN,
    "seed": INTEGER,
    "negative_prompt": TEXT,
    "bounding_box_target": OBJECT_OR_LIST,
    "character_orientation": one_of(("video", "image")),
    "enhance_prompt": BOOLEAN,
    "multi_prompt": LIST,
    "shot_type": one_of(("customize",)),
    "cfg_scale": NUMBER,
}

#: The optional fields that cannot be null; all others can.
NEVER_NULL = frozenset({"batch_size", "enhance_prompt"})


def check_asset_request(body: object) -> dict[str, Any]:
    request = _object(body)
    problems = list(_problems(request, ASSET_FIELDS, ("name", "type"), ("body",)))
    if problems:
        raise malformed(problems)
    return _known(request, ASSET_FIELDS)


def check_video_request(body: object) -> dict[str, Any]:
    """Return the published fields of a body of POST /generations, or raise a refusal that names every problem."""
    request = _object(body)
    _check_tag(request)
    inputs = request.get("generated_video_inputs")
    problems = list(_problems(request, VIDEO_FIELDS, ("generated_video_inputs",), ("body", "video")))
    if isinstance(inputs, dict):
        location = ("body", "video", "generated_video_inputs")
        problems += _problems(inputs, VIDEO_INPUT_FIELDS, ("text_prompt",), location)
    if problems:
        raise malformed(problems)
    known_inputs = _known(request["generated_video_inputs"], VIDEO_INPUT_FIELDS)
    return {**_known(request, VIDEO_FIELDS), "generated_video_inputs": known_inputs}


def check_value(field_type: FieldType, value: object, *location: str | int) -> None:
    if not field_type.accepts(value):
        raise malformed([problem(field_type.error, field_type.message, *location)])


def _object(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise malformed([problem(OBJECT.error, OBJECT.message, "body")])
    return body


def _check_tag(request: Mapping[str, Any]) -> None:
    """Check the `type` first: it decides which shape is meant, so nothing else can be told when it is wrong."""
    tag = request.get("type")
    if tag is None:
        raise malformed([problem("union_tag_not_found", "Unable to extract tag using discriminator 'type'", "body")])
    if tag not in REQUEST_TYPES:
        message = f"Input tag {tag!r} does not match any of the expected tags: {', '.join(REQUEST_TYPES)}"
        raise malformed([problem("union_tag_invalid", message, "body")])
    if tag != "video":
        raise invalid(f"This is a simulator that makes only videos, not {tag}.")


def _problems(
    values: Mapping[str, Any],
    field_types: Mapping[str, FieldType],
    required: tuple[str, ...],
    location: tuple[str, ...],
) -> Iterator[Problem]:
    for name in required:
        if name not in values:
            yield problem("missing", "Field required", *location, name)
    for name, field_type in field_types.items():
        is_nullable = name not in required and name not in NEVER_NULL
        if name in values and not (field_type.accepts(values[name]) or (values[name] is None and is_nullable)):
            yield problem(field_type.error, field_type.message, *location, name)


def _known(values: Mapping[str, Any], field_types: Mapping[str, FieldType]) -> dict[str, Any]:
    """Leave out what is not published, as the service does without a word."""
    return {name: value for name, value in values.items() if name in field_types}
