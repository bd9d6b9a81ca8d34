"""How many generations are read: together by the account's list, or each by its status where no list can be trusted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence

from hedra_batch.api.protocol import Calls, Reading
from hedra_batch.api.v2.client import PAGE_SIZE, HedraClient
from hedra_batch.errors import (
    ForbiddenError,
    HedraBatchError,
    JobError,
    KeyRefusedError,
    OutOfCreditsError,
    RetryError,
    ThrottledError,
)

logger = logging.getLogger(__name__)

#: What fails like this can be read later: an account without credits can read all the same.
LATER = (RetryError, OutOfCreditsError)
#: Lists in a row that fail, or keep something back, while a status can be read; then lists are taken for broken.
LIST_FAILURES_LIMIT = 3
#: For so long, a generation that was just accepted may be missing from the list.
LIST_LAG_SECONDS = 120.0


class Reader:
    """Reads generations by their ids; several reads may be under way together."""

    def __init__(self, client: HedraClient, calls: Calls) -> None:
        self._client = client
        self._calls = calls
        #: Whether the server filters its list by ids; once it is given up, it stays so for the run.
        self._lists_by_ids = True
        self._list_failures = 0
        self._list_failed_time = float("-inf")
        self._list_misses = 0

    @property
    def reads_together(self) -> int:
        return PAGE_SIZE if self._lists_by_ids else 1

    async def read(self, ages_seconds: Mapping[str, float]) -> AsyncIterator[tuple[str, Reading | HedraBatchError]]:
        """Yield what was listed first: to read the others by themselves may take long."""
        ids = list(ages_seconds)
        listed: dict[str, Reading] | None = {}
        if self._lists_by_ids:
            try:
                listed = await self._list(ids)
            except LATER as error:
                async for probed in self._probe(ids, error):
                    yield probed
                return
        if listed is None:
            return
        for remote_id in sorted(ids, key=lambda each: each not in listed):
            found = listed.get(remote_id) or await self._read_one(remote_id)
            if isinstance(found, Reading):
                self._on_listed(is_listed=remote_id in listed, age_seconds=ages_seconds[remote_id])
            yield remote_id, found

    async def _list(self, ids: Sequence[str]) -> dict[str, Reading] | None:
        """Read many with one request; None where the list turns out not to be one of what was asked for."""
        began_time = asyncio.get_running_loop().time()
        try:
            listed = await self._calls.once(lambda: self._client.list_generations(ids))
        except LATER as error:
            logger.debug("the list of generations cannot be read now: %s", error)
            self._on_list_failure(error, began_time)
            raise
        except (JobError, ForbiddenError, KeyRefusedError):
            # A key that is refused altogether is refused by the next status too.
            listed = None
        self._list_failures = 0
        if listed is None or len(listed) > len(ids) or not {item.remote_id for item in listed} <= set(ids):
            self._give_up_lists()
            return None
        return {item.remote_id: item for item in listed}

    async def _probe(
        self, ids: Sequence[str], error: HedraBatchError
    ) -> AsyncIterator[tuple[str, Reading | HedraBatchError]]:
        """Find out by one status whether it is the API that is away, or only its list that is broken."""
        probe, *others = ids
        found = await self._read_one(probe)
        yield probe, found
        if isinstance(found, Reading) and self._list_failures >= LIST_FAILURES_LIMIT:
            self._give_up_lists()
            return
        for remote_id in others:
            yield remote_id, error

    async def _read_one(self, remote_id: str) -> Reading | HedraBatchError:
        """Read by itself what a list did not have: just accepted, it may be in neither place yet."""
        try:
            return await self._calls.once(lambda: self._client.read_status(remote_id))
        except (JobError, *LATER) as error:
            return error

    def _on_list_failure(self, error: HedraBatchError, began_time: float) -> None:
        """Count the failures of the list itself, those of requests that were under way together once."""
        if began_time > self._list_failed_time and not isinstance(error, ThrottledError):
            self._list_failed_time = asyncio.get_running_loop().time()
            self._list_failures += 1

    def _on_listed(self, *, is_listed: bool, age_seconds: float) -> None:
        """Notice a list that keeps back what a status shows, though it is not new any more."""
        if is_listed:
            self._list_misses = 0
        elif age_seconds > LIST_LAG_SECONDS:
            self._list_misses += 1
        if self._list_misses >= LIST_FAILURES_LIMIT:
            self._give_up_lists()

    def _give_up_lists(self) -> None:
        if self._lists_by_ids:
            logger.warning("the API does not list generations by their ids, so each is read by itself from now on")
        self._lists_by_ids = False
