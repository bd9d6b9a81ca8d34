"""The assets that were uploaded, each content once."""

from __future__ import annotations

from hedra_batch.clock import Clock
from hedra_batch.ledger.writer import Writer


class Assets:
    """Which image is at the server under which id; durable when a method returns."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock

    async def find(self, sha256: str) -> str | None:
        """Find the server's id of an image with this content, if one was uploaded and is still there."""
        statement = "SELECT asset_id FROM assets WHERE sha256 = ? AND gone_at IS NULL"
        row = await self._writer.run(lambda db: db.execute(statement, (sha256,)).fetchone())
        return str(row[0]) if row else None

    async def record(self, sha256: str, asset_id: str, name: str) -> None:
        """Record that an image is uploaded, whole."""
        statement = "INSERT INTO assets (sha256, asset_id, name, uploaded_at) VALUES (?, ?, ?, ?)"
        values = (sha256, asset_id, name, self._clock.now_text())
        await self._writer.run(lambda db: db.execute(statement, values).rowcount)

    async def record_gone(self, asset_id: str) -> None:
        """Record that the server does not know an asset any more, so that its image is uploaded again."""
        statement = "UPDATE assets SET gone_at = ? WHERE asset_id = ? AND gone_at IS NULL"
        await self._writer.run(lambda db: db.execute(statement, (self._clock.now_text(), asset_id)).rowcount)
