"""The bodies of requests, as bytes that are stored and sent unchanged. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

_write_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_KEYFRAMES = ("start_keyframe", "end_keyframe")


def build_video_request(
    fields: Mapping[str, str | int],
    *,
    generation_id: str,
    model: Mapping[str, str],
    keyframes: Mapping[str, str],
) -> bytes:
    """Write the body of POST /generations for one video.

    `fields` are a job's canonical inputs, `model` the field that names the model, `keyframes` the fields
    `start_keyframe_id`, `end_keyframe_url` and their like. Variations are jobs, so `batch_size` is always 1.
    """
    inputs = {"text_prompt": fields["prompt"]}
    inputs |= {name: fields[name] for name in ("aspect_ratio", "resolution", "duration_ms") if name in fields}
    request = {
        "type": "video",
        "generation_id": generation_id,
        **model,
        **keyframes,
        "generated_video_inputs": inputs,
        "batch_size": 1,
    }
    return _write_json(request).encode()


@dataclass(frozen=True, slots=True)
class RequestIds:
    """The ids that a stored body names."""

    generation_id: str
    asset_ids: frozenset[str]


def read_ids(body: bytes) -> RequestIds:
    """Find the ids in a stored body again."""
    request = json.loads(body)
    assets = frozenset(request[f"{name}_id"] for name in _KEYFRAMES if f"{name}_id" in request)
    return RequestIds(request["generation_id"], assets)
