"""The files that were uploaded, each content once."""

from __future__ import annotations

from hedra_batch.clock import Clock
from hedra_batch.ledger.backend import Backend, Tables


class Uploads:
    """Which file is at the server under which handle; durable when a method returns."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock

    async def find(self, kind: str, sha256: str) -> str | None:
        """Find the handle of a file of a kind with this content, if one was uploaded and is still there."""
        alive = {"kind": kind, "sha256": sha256, "gone_at": None}
        rows = await self._backend.transact(lambda tables: tables.find("uploads", ("handle", "expires_at"), alive))
        now = self._clock.now_text()
        return next((str(handle) for handle, expires_at in rows if expires_at is None or expires_at > now), None)

    async def count(self, kind: str, sha256: str) -> int:
        """Count how often a file of a kind with this content was uploaded."""
        content = {"kind": kind, "sha256": sha256}
        return len(await self._backend.transact(lambda tables: tables.find("uploads", ("handle",), content)))

    async def record(self, kind: str, sha256: str, handle: str, *, name: str, expires_at: str | None = None) -> None:
        """Record that a file is uploaded, whole; it takes the place of one that has expired."""
        now = self._clock.now_text()
        content = {"kind": kind, "sha256": sha256}
        row = {**content, "handle": handle, "name": name, "uploaded_at": now, "expires_at": expires_at}

        def operation(tables: Tables) -> None:
            tables.update("uploads", {**content, "gone_at": None}, {"gone_at": now})
            tables.insert("uploads", row)

        await self._backend.transact(operation)

    async def record_gone(self, handle: str) -> None:
        """Record that the server does not know a file any more, so that it is uploaded again."""
        now = self._clock.now_text()
        alive = {"handle": handle, "gone_at": None}
        await self._backend.transact(lambda tables: tables.update("uploads", alive, {"gone_at": now}))
