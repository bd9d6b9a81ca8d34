"""What a request of the published shape means: the video that is ordered, and the page of a list."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hedra_batch.simulator import refusals, schema
from hedra_batch.simulator.account import Asset
from hedra_batch.simulator.catalog import IMAGE_TO_VIDEO, MODELS, TEXT_TO_VIDEO, Model, dimensions, find_model
from hedra_batch.simulator.refusals import MAGIC_WORDS, magic_word, malformed, problem
from hedra_batch.simulator.schema import check_value

_DEFAULT_DURATION_MS = 5000

#: Items of a page when the query names no number, and the most it can have.
PAGE_ITEMS = 100

_ANY_TYPE = schema.one_of(dict.fromkeys((*schema.ASSET_TYPES, *schema.GENERATION_TYPES)))

#: Finds an asset that has its content.
FindAsset = Callable[[str], Asset | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRequest:
    """A request that can be accepted, with every choice made."""

    #: The published fields as they were sent.
    input: dict[str, Any]
    prompt: str
    width: int
    height: int
    duration_ms: int
    #: The price of one video.
    credits: int
    batch_size: int
    #: The ids that the sender wants; empty, or one for each video.
    generation_ids: tuple[str, ...]
    asset_ids: tuple[str, ...]

    @property
    def word(self) -> str | None:
        return magic_word(self.prompt)


def reserved_ids(request: dict[str, Any], one: str = "generation_id", many: str = "generation_ids") -> tuple[str, ...]:
    """Read the ids that the sender reserved, in the canonical form that answers have."""
    values = [request[one]] if request.get(one) else request.get(many) or []
    return tuple(str(uuid.UUID(value)) for value in values)


def read_video_request(request: dict[str, Any], find_asset: FindAsset) -> VideoRequest:
    """Resolve every choice that the schema leaves open, or raise a refusal."""
    inputs = request["generated_video_inputs"]
    model = _model(request)
    _check_ids(request)
    _check_frames(request, model, find_asset)
    _check_prompt(inputs["text_prompt"], model)
    aspect_ratio = inputs.get("aspect_ratio") or model.aspect_ratios[0]
    resolution = inputs.get("resolution") or model.default_resolution
    duration_ms = inputs.get("duration_ms") or _DEFAULT_DURATION_MS
    _check_choices(model, aspect_ratio, resolution, duration_ms)
    width, height = dimensions(aspect_ratio, resolution)
    return VideoRequest(
        input=request,
        prompt=inputs["text_prompt"],
        width=width,
        height=height,
        duration_ms=duration_ms,
        credits=model.price(resolution, duration_ms),
        batch_size=request.get("batch_size", 1),
        generation_ids=reserved_ids(request),
        asset_ids=reserved_ids(request, "reserved_asset_id", "reserved_asset_ids"),
    )


def _model(request: dict[str, Any]) -> Model:
    inputs = request["generated_video_inputs"]
    slug = request.get("model_slug") or inputs.get("model_slug")
    model_id = request.get("ai_model_id") or inputs.get("ai_model_id")
    if not slug and not model_id:
        return IMAGE_TO_VIDEO if _has_frame(request, "start") else TEXT_TO_VIDEO
    model = find_model(slug=slug, model_id=model_id)
    if not model:
        raise refusals.unknown_model(slug or model_id, [one.slug for one in MODELS if one.type == "video"])
    if model.type != "video":
        raise refusals.invalid(f"Model {model.slug} makes no videos.")
    return model


def _has_frame(request: dict[str, Any], end: str) -> bool:
    return bool(request.get(f"{end}_keyframe_id") or request.get(f"{end}_keyframe_url"))


def _check_ids(request: dict[str, Any]) -> None:
    batch_size = request.get("batch_size", 1)
    for one, many in (("generation_id", "generation_ids"), ("reserved_asset_id", "reserved_asset_ids")):
        ids = reserved_ids(request, one, many)
        if request.get(one) and request.get(many):
            raise refusals.invalid(f"{one} and {many} exclude each other.")
        if ids and len(set(ids)) != batch_size:
            raise refusals.invalid(f"batch_size is {batch_size}, so there must be as many different {many}.")


def _check_frames(request: dict[str, Any], model: Model, find_asset: FindAsset) -> None:
    for field in ("start_keyframe_id", "end_keyframe_id"):
        if request.get(field):
            _check_frame(str(uuid.UUID(request[field])), find_asset)
    if model.requires_start_frame and not _has_frame(request, "start"):
        raise refusals.invalid(f"Model {model.slug} requires a start frame.")
    if model.requires_audio_input and not (request.get("audio_id") or request.get("audio_generation")):
        raise refusals.invalid(f"Model {model.slug} requires audio.")


def _check_frame(asset_id: str, find_asset: FindAsset) -> None:
    if not find_asset(asset_id):
        raise refusals.not_found("Asset", asset_id)


def _check_prompt(prompt: str, model: Model) -> None:
    if not prompt.strip():
        raise refusals.invalid("text_prompt is empty.")
    if model.max_prompt_length and len(prompt) > model.max_prompt_length:
        raise refusals.invalid(f"text_prompt is longer than {model.max_prompt_length} characters.")
    word = MAGIC_WORDS.get(magic_word(prompt) or "")
    if word and word.refusal:
        raise word.refusal()


def _check_choices(model: Model, aspect_ratio: str, resolution: str, duration_ms: int) -> None:
    problems = [
        *_unless_offered(model, "aspect_ratio", aspect_ratio, model.aspect_ratios),
        *_unless_offered(model, "resolution", resolution, model.resolutions),
    ]
    if not model.accepts_duration(duration_ms):
        problems.append(f"Model {model.slug} does not offer duration_ms {duration_ms}.")
    if problems:
        raise refusals.invalid(*problems)


def _unless_offered(model: Model, name: str, value: str, offered: Collection[str]) -> list[str]:
    return [] if value in offered else [f"Model {model.slug} does not offer {name} {value}: {', '.join(offered)}."]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """One page of GET /generations."""

    limit: int
    offset: int
    type: str | None
    #: None when the query does not filter by ids.
    ids: tuple[str, ...] | None
    prompt_part: str
    created_after: float
    created_before: float


def read_list_query(query: Mapping[str, str]) -> ListQuery:
    kind = query.get("type")
    if kind is not None:
        check_value(_ANY_TYPE, kind, "query", "type")
    return ListQuery(
        limit=min(_count(query, "limit", PAGE_ITEMS), PAGE_ITEMS),
        offset=_count(query, "offset", 0),
        type=kind,
        ids=read_ids(query),
        prompt_part=query.get("prompt_query", "").lower(),
        created_after=_instant(query, "created_after", float("-inf")),
        created_before=_instant(query, "created_before", float("inf")),
    )


def read_ids(query: Mapping[str, str]) -> tuple[str, ...] | None:
    """Read ids that are separated by commas; each counts once."""
    if "ids" not in query:
        return None
    ids = (part.strip().lower() for part in query["ids"].split(","))
    return tuple(dict.fromkeys(part for part in ids if part))


def _count(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal():
        raise malformed([problem("int_parsing", "Input should be a valid integer from 0", "query", name)])
    return int(text)


def _instant(query: Mapping[str, str], name: str, default: float) -> float:
    if name not in query:
        return default
    try:
        instant = datetime.fromisoformat(query[name])
    except ValueError as error:
        raise malformed([problem("datetime_parsing", "Input should be a valid datetime", "query", name)]) from error
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
