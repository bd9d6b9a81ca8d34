"""The bodies of paid requests, as bytes that are stored and sent unchanged. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hedra_batch.inputs import FIELDS, MEDIA_FIELDS, Field, FieldValue, find_request_kind, to_uri

#: The kinds of request whose result can be given a name. That of `voice_clone` is the voice's own.
_NAMED_KINDS = frozenset({"video", "image", "text_to_speech"})
_LONGEST_NAME = 255
_write_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
#: What stands at the top of a request comes before what is nested, and files come last there.
_ORDERED_FIELDS = sorted(FIELDS, key=lambda field: ("." in field.wire, field.medium is not None))


def write_request(
    key: str,
    fields: Mapping[str, FieldValue],
    media: Mapping[str, str],
    name_model: Callable[[str], dict[str, str]],
    name: str = "",
) -> bytes:
    """Write the body of POST /generations for one video.

    Each field goes where its row in the table of fields says; `media` has the handle or the https URL of each file, and
    `name_model` makes the field that names a model. Variations are jobs, so `batch_size` is always 1. `name` shows the
    result in the account's library.
    """
    kind = find_request_kind(fields)
    request: dict[str, Any] = {"type": kind, "generation_id": key}
    if name and kind in _NAMED_KINDS:
        request["name"] = name[:_LONGEST_NAME]
    for field in _ORDERED_FIELDS:
        if field.name not in fields:
            continue
        if field.wire == "model":
            request |= name_model(str(fields[field.name]))
        elif field.medium:
            request |= _name_file(field, media[field.name])
        else:
            _put(request, field.wire, fields[field.name])
    request["batch_size"] = 1
    return _write_json(request).encode()


def _name_file(field: Field, source: str) -> dict[str, str]:
    if source[:8].lower() == "https://":
        return {f"{field.wire}_url": to_uri(source)}
    return {f"{field.wire}_id": source}


def _put(request: dict[str, Any], wire: str, value: FieldValue) -> None:
    *groups, name = wire.split(".")
    for group in groups:
        request = request.setdefault(group, {})
    request[name] = value


@dataclass(frozen=True, slots=True)
class RequestIds:
    """The ids that a stored body names."""

    generation_id: str
    asset_ids: frozenset[str]


def read_ids(body: bytes) -> RequestIds:
    request = json.loads(body)
    assets = frozenset(request[f"{field.wire}_id"] for field in MEDIA_FIELDS if f"{field.wire}_id" in request)
    return RequestIds(request["generation_id"], assets)
