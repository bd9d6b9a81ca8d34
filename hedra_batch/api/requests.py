"""The bodies of requests, as bytes that are stored and sent unchanged. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

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
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()


def list_asset_ids(body: bytes) -> frozenset[str]:
    """Name the assets that a stored body refers to."""
    request = json.loads(body)
    return frozenset(request[f"{name}_id"] for name in _KEYFRAMES if f"{name}_id" in request)
