"""How much at once: the generations in flight, as many as the API runs together, and the gate to them."""

from __future__ import annotations

import asyncio
import logging

from hedra_batch.errors import SubmittingClosedError

logger = logging.getLogger(__name__)

#: Submissions that the API accepts in a row, at least, before one more at once is tried.
ACCEPTED_IN_A_ROW = 5


class ConcurrencyLimit:
    """The generations that the server works on at once; as a gate of the submit pace it is on while there is no room.

    Attempts that an earlier run left in flight take their slots without asking, so there can be more of them
    than the limit; new ones wait until there is room. Where the server runs fewer at once than the limit, that is
    what counts, and from time to time one more is tried.
    """

    def __init__(self, size: int) -> None:
        self.size = self._cap = size
        self._taken: set[int] = set()
        self._accepted_in_a_row = 0
        self._changed = asyncio.Condition()
        self.is_closed = False

    @property
    def is_on(self) -> bool:
        """Whether nothing more may be submitted now."""
        return self.is_closed or len(self._taken) >= self._cap

    @property
    def taken(self) -> int:
        """How many slots are taken."""
        return len(self._taken)

    @property
    def cap(self) -> int:
        """How many the API runs at once, as far as the run has found out."""
        return self._cap

    async def wait(self) -> None:
        """Return when there is room. Raises SubmittingClosedError once nothing more is submitted."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.is_closed or not self.is_on)
        if self.is_closed:
            raise SubmittingClosedError

    def take(self, key: int) -> None:
        """Take a slot, for what is sent at once or is in flight already."""
        self._taken.add(key)

    async def leave(self, key: int) -> None:
        """Give the slot back; harmless for one that was never taken."""
        if key not in self._taken:
            return
        async with self._changed:
            self._taken.discard(key)
            self._changed.notify_all()

    async def shrink(self, refused_key: int) -> bool:
        """Give back the slot of what the server refused to run beside the others, and let no more in than those.

        Returns whether there are others: else whatever the server runs is not ours, and no end of it will be seen.
        """
        await self.leave(refused_key)
        self._accepted_in_a_row = 0
        if self._taken and len(self._taken) < self._cap:
            self._cap = len(self._taken)
            logger.info(
                "the API runs no more than %d generations at once now: the next is submitted when one ends", self._cap
            )
        return bool(self._taken)

    async def on_accepted(self) -> None:
        """The server runs one more: below the limit, that happens only after another has ended."""
        self._accepted_in_a_row += 1
        if self._cap == self.size or self._accepted_in_a_row < max(self._cap, ACCEPTED_IN_A_ROW):
            return
        logger.info(
            "%d generations at once are tried now: %d in a row were accepted", self._cap + 1, self._accepted_in_a_row
        )
        async with self._changed:
            self._cap += 1
            self._accepted_in_a_row = 0
            self._changed.notify_all()

    async def close(self) -> None:
        """Let nobody in any more, and send away those who wait."""
        async with self._changed:
            self.is_closed = True
            self._changed.notify_all()
