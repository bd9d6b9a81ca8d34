"""The published shape of answers, made from records."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from hedra_batch.simulator.account import Account, Asset
from hedra_batch.simulator.catalog import Voice
from hedra_batch.simulator.generations import Generation
from hedra_batch.simulator.media_host import VideoLinks

Json = dict[str, Any]

#: As the document shows a wallet of dollars.
CREDITS_PER_DOLLAR = 140
#: What there is beside a wallet of the API.
OTHER_CREDITS = 5000
WORKSPACE_ID = "6f1f8a52-6d0c-4b9e-8a54-0f5b8f6f3c22"


def instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def voice(each: Voice) -> Json:
    labels = [{"name": name, "value": value} for name, value in each.labels.items()]
    content = {"type": "voice", "external_id": None, "labels": labels, "preview_url": None, "source": "simulator"}
    return {"id": each.id, "type": "voice", "name": each.name, "created_at": instant(0), "asset": content}


def created_asset(asset: Asset, request: Json) -> Json:
    return {"workspace_id": None, "reserved_asset_id": None, **request, "id": asset.id, "upload_url": None}


def image(asset: Asset, url: str) -> Json:
    content = {"type": "uploaded_image", "width": asset.width, "height": asset.height, "url": url}
    return {
        "id": asset.id,
        "type": asset.type,
        "name": asset.name,
        "thumbnail_url": url,
        "created_at": instant(asset.created_at),
        "asset": content,
    }


def video(generation: Generation, links: VideoLinks) -> Json:
    content = {
        "type": "generated_video",
        "width": generation.width,
        "height": generation.height,
        "duration_ms": generation.duration_ms,
        "url": links.file,
        "download_url": links.file,
        "streaming_url": links.streaming,
        "preview_url": links.preview,
        "generated_video_inputs": generation.input["generated_video_inputs"],
        "keyframe_start": None,
        "audio": None,
    }
    return {
        "id": generation.asset_id,
        "type": "video",
        "name": generation.input.get("name") or generation.prompt[:80],
        "thumbnail_url": None,
        "created_at": instant(generation.created_at),
        "asset": content,
    }


def accepted(generations: list[Generation], etas_seconds: list[int | None]) -> Json:
    """Answer POST /generations; for the same generations the answer is the same at any time."""
    results = [_result(each, eta) for each, eta in zip(generations, etas_seconds, strict=True)]
    return {
        **generations[0].input,
        **results[0],
        "batch_generation_id": generations[0].batch_id,
        "batch_results": results,
    }


def _result(generation: Generation, eta_seconds: int | None) -> Json:
    return {
        "id": generation.id,
        "asset_id": generation.asset_id,
        "created_at": instant(generation.created_at),
        "status": "queued",
        "progress": 0.0,
        "error": None,
        "eta_sec": eta_seconds,
    }


def status(generation: Generation, now: float, links: VideoLinks | None) -> Json:
    return {
        **_common_fields(generation, now),
        "asset_id": generation.asset_id,
        "url": links.file if links else None,
        "download_url": links.file if links else None,
        "streaming_url": links.streaming if links else None,
        "workspace_id": None,
    }


def listed(generation: Generation, now: float, eta_seconds: int | None, links: VideoLinks | None, cost: int) -> Json:
    return {
        **_common_fields(generation, now),
        "input": generation.input,
        "eta_sec": eta_seconds,
        "estimated_completion_at": None if eta_seconds is None else instant(now + eta_seconds),
        "credit_cost": cost,
        "batch_generation_id": generation.batch_id,
        "asset": video(generation, links) if links else None,
        "audio_start_ms": None,
    }


def _common_fields(generation: Generation, now: float) -> Json:
    standing = generation.status(now)
    return {
        "id": generation.id,
        "type": "video",
        "status": standing,
        "progress": round(generation.progress(now), 4),
        "created_at": instant(generation.created_at),
        "error": generation.error if standing == "error" else None,
        "error_message": None,
    }


def balance(account: Account, *, has_api_wallet: bool) -> Json:
    """Show what is left; where the API is paid from a wallet of its own, `remaining` is another one."""
    if not has_api_wallet:
        return {"remaining": account.remaining, "expiring": 0, "used": account.used}
    micros = math.ceil(account.remaining * 10**6 / CREDITS_PER_DOLLAR)
    usage = {
        "used": 0,
        "allocated": OTHER_CREDITS,
        "available": OTHER_CREDITS,
        "api_usd_micros": micros,
        "api_credits": account.remaining,
        "api_consumed_usd_micros": account.used * 10**6 // CREDITS_PER_DOLLAR,
    }
    return {"remaining": OTHER_CREDITS, "expiring": 0, "used": 0, "workspace_credit_pool": {WORKSPACE_ID: usage}}
