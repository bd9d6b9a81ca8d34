"""Files that were uploaded, each content once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from test_ledger import opened

from hedra_batch.ledger.uploads import Uploads


@pytest.fixture
async def uploads(tmp_path: Path) -> AsyncIterator[Uploads]:
    async with opened(tmp_path) as ledger:
        yield ledger.uploads


async def test_an_asset_is_found_by_its_content_until_it_is_gone(uploads: Uploads) -> None:
    await uploads.record("image", "00ff", "asset-1", name="hero.png")
    found = await uploads.find("image", "00ff")
    await uploads.record_gone("asset-1")
    assert (found, await uploads.find("image", "00ff")) == ("asset-1", None)


async def test_a_file_of_another_kind_is_another_upload(uploads: Uploads) -> None:
    await uploads.record("image", "00ff", "asset-1", name="hero.png")
    await uploads.record("audio", "00ff", "asset-2", name="hero.wav")
    assert [await uploads.find(kind, "00ff") for kind in ("image", "audio", "video")] == ["asset-1", "asset-2", None]


async def test_an_upload_that_has_expired_is_not_found_and_can_be_replaced(uploads: Uploads) -> None:
    await uploads.record("image", "00ff", "asset-1", name="hero.png", expires_at="2026-01-01T00:00:00.000Z")
    expired = await uploads.find("image", "00ff")
    await uploads.record("image", "00ff", "asset-2", name="hero.png", expires_at="2999-01-01T00:00:00.000Z")
    assert (expired, await uploads.find("image", "00ff")) == (None, "asset-2")
