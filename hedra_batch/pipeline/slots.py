"""How much at once: the generations in flight, and the door to them."""

from __future__ import annotations

import asyncio

from hedra_batch.errors import SubmittingClosedError


class Slots:
    """The generations that the server works on at once, and the door to it.

    Attempts that an earlier run left in flight take their slots without asking, so there can be more of them
    than the limit; new ones wait until there is room.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken: set[int] = set()
        self._room = asyncio.Condition()
        self.is_closed = False

    def take_over(self, key: int) -> None:
        """Note an attempt that is in flight already."""
        self._taken.add(key)

    async def enter(self, key: int) -> None:
        """Wait for room, then take a slot. Raises SubmittingClosedError once nothing more is submitted."""
        async with self._room:
            await self._room.wait_for(lambda: self.is_closed or key in self._taken or len(self._taken) < self._size)
            if self.is_closed:
                raise SubmittingClosedError
            self._taken.add(key)

    async def leave(self, key: int) -> None:
        """Give the slot back; harmless for one that was never taken."""
        async with self._room:
            self._taken.discard(key)
            self._room.notify()

    async def close(self) -> None:
        """Let nobody in any more, and send away those who wait."""
        async with self._room:
            self.is_closed = True
            self._room.notify_all()
