"""Checks that a request has the published shape; what it means is left to `order`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hedra_batch.simulator import fields
from hedra_batch.simulator.fields import Kind
from hedra_batch.simulator.refusals import Problem, invalid, malformed, problem


def check_asset_request(body: object) -> dict[str, Any]:
    """Check the body of POST /assets; return its published fields."""
    request = _object(body)
    problems = list(_problems(request, fields.ASSET_FIELDS, ("name", "type"), ("body",)))
    if problems:
        raise malformed(problems)
    return _known(request, fields.ASSET_FIELDS)


def check_video_request(body: object) -> dict[str, Any]:
    """Check the body of POST /generations; return its published fields."""
    request = _object(body)
    _check_tag(request)
    inputs = request.get("generated_video_inputs")
    problems = list(_problems(request, fields.VIDEO_FIELDS, ("generated_video_inputs",), ("body", "video")))
    if isinstance(inputs, dict):
        place = ("body", "video", "generated_video_inputs")
        problems += _problems(inputs, fields.VIDEO_INPUT_FIELDS, ("text_prompt",), place)
    if problems:
        raise malformed(problems)
    known_inputs = _known(request["generated_video_inputs"], fields.VIDEO_INPUT_FIELDS)
    return {**_known(request, fields.VIDEO_FIELDS), "generated_video_inputs": known_inputs}


def check_value(kind: Kind, value: object, *place: str | int) -> None:
    """Check a single value of a path or a query."""
    if not kind.accepts(value):
        raise malformed([problem(kind.error, kind.message, *place)])


def _object(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise malformed([problem(fields.OBJECT.error, fields.OBJECT.message, "body")])
    return body


def _check_tag(request: Mapping[str, Any]) -> None:
    """Check the `type` first: it decides which shape is meant, so nothing else can be told when it is wrong."""
    tag = request.get("type")
    if tag is None:
        raise malformed([problem("union_tag_not_found", "Unable to extract tag using discriminator 'type'", "body")])
    if tag not in fields.REQUEST_TYPES:
        message = f"Input tag {tag!r} does not match any of the expected tags: {', '.join(fields.REQUEST_TYPES)}"
        raise malformed([problem("union_tag_invalid", message, "body")])
    if tag != "video":
        raise invalid(f"This is a simulator that makes only videos, not {tag}.")


def _problems(
    values: Mapping[str, Any], kinds: Mapping[str, Kind], required: tuple[str, ...], place: tuple[str, ...]
) -> Iterator[Problem]:
    for name in required:
        if name not in values:
            yield problem("missing", "Field required", *place, name)
    for name, kind in kinds.items():
        is_nullable = name not in required and name not in fields.NEVER_NULL
        if name in values and not (kind.accepts(values[name]) or (values[name] is None and is_nullable)):
            yield problem(kind.error, kind.message, *place, name)


def _known(values: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Leave out what is not published, as the service does without a word."""
    return {name: value for name, value in values.items() if name in kinds}
