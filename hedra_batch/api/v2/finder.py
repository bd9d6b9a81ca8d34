"""Where a request is looked for whose outcome is unknown, and where a fresh link to a result is."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from datetime import timedelta
from typing import TypeVar

from hedra_batch.api.protocol import Acceptance, Calls, Phase, Reading, SentRequest, find_place
from hedra_batch.api.v2.client import HedraClient
from hedra_batch.clock import from_text, to_text
from hedra_batch.decide import Deduplication
from hedra_batch.errors import (
    DownloadError,
    ForbiddenError,
    JobError,
    KeyRefusedError,
    NotFoundError,
    OutOfCreditsError,
    RefusedError,
    ResultDeniedError,
    RetryError,
    UnfinishedError,
)

T = TypeVar("T")

logger = logging.getLogger(__name__)

#: By how much the server's clock may differ from ours, which may have a wrong time zone.
CLOCK_TOLERANCE = timedelta(days=1)
#: Pages of the account's list that are searched at most for the echo of one request.
ECHO_PAGES_LIMIT = 100
#: How often a list is tried where something else can be read in its place.
LIST_TRIES = 3


class Finder:
    """Looks in every place where the API may show a generation."""

    def __init__(self, client: HedraClient, calls: Calls) -> None:
        self._client = client
        self._calls = calls

    async def find(self, request: SentRequest) -> Acceptance | None:
        """Ask by id, then in the list: a generation just accepted may be in one of them only.

        On a server that is not known to use our ids it may be there under another one, and then the echo of the request
        shows it.
        """
        known_id = request.remote_id or request.key
        found: Reading | None
        try:
            found = await self._calls.until_answered(lambda: self._client.read_status(known_id))
        except NotFoundError:
            found = _find(known_id, await self._list(known_id))
        if found is None and request.deduplication is not Deduplication.PROVEN:
            found = await self._find_echo(request)
        return _accept(found, request.key)

    async def find_elsewhere(self, request: SentRequest) -> Acceptance | None:
        """Look once for the echo before anything is sent again: a server may have begun to give ids of its own."""
        try:
            return _accept(await self._find_echo(request), request.key)
        except (JobError, UnfinishedError) as error:
            logger.debug("%s: the account's list cannot be searched: %s", request.key, error)
            return None

    async def find_link(self, remote_id: str, asset_id: str | None, spent_places: Collection[str] = ()) -> str:
        """Ask in three places: a complete generation without a link in the first, or with a dead one, has been seen."""
        reading = await self._read_result(remote_id)
        links = _list_links(reading)
        if link := _choose(links, spent_places):
            return link
        listed = await self._find_listed(remote_id)
        links += _list_links(listed) if listed else []
        if link := _choose(links, spent_places):
            return link
        if known_id := reading.asset_id or (listed and listed.asset_id) or asset_id:
            is_denied = reading.phase is Phase.COMPLETE and not links
            links += await self._list_asset_links(known_id, is_denied_without=is_denied)
        link = _choose(links, spent_places) or next(iter(links), None)
        if not link:
            raise DownloadError("The server has the result, but gives no link to it yet.")
        return link

    async def _read_result(self, remote_id: str) -> Reading:
        """Read a generation that has ended well. Raises ResultDeniedError where the service says otherwise now."""
        try:
            reading = await self._calls.until_answered(lambda: self._client.read_status(remote_id))
        except JobError as error:
            if not isinstance(error, NotFoundError) and error.code != "gone":
                raise
            message = f"The server no longer knows it ({str(error).rstrip('.')})."
            raise ResultDeniedError(error.code, message, error.request_id) from error
        if reading.phase is Phase.FAILED:
            raise ResultDeniedError(
                "not_found", f"The server says now that it failed ({reading.error or 'no reason given'})."
            )
        return reading

    async def list_since(self, instant: str | None) -> AsyncIterator[Reading]:
        """Read the account's list to its end, by pages; a page that fails a few times running is given up.

        Raises UnfinishedError where it cannot be read to its end, JobError where it is refused.
        """
        since = to_text(from_text(instant) - CLOCK_TOLERANCE) if instant else None
        offset, unreadable = 0, 0
        for _ in range(ECHO_PAGES_LIMIT):
            page = await self._try(functools.partial(self._client.list_recent, since, offset))
            for reading in page.generations:
                yield reading
            offset += page.item_count
            unreadable += page.item_count - len(page.generations)
            if not page.item_count:
                break
        if unreadable or page.item_count:
            raise UnfinishedError(f"The account's list could not be searched to its end ({offset} were read).")

    async def _try(self, request: Callable[[], Awaitable[T]]) -> T:
        """Read a list by a few tries. Raises UnfinishedError where it is broken, or closed to this key."""
        for tries_left in reversed(range(LIST_TRIES)):
            try:
                return await self._calls.once(request)
            except ForbiddenError as error:
                raise _to_refusal(error) from error
            except KeyRefusedError as error:
                # A key that is refused altogether has been refused before.
                raise UnfinishedError(f"The account's list is not shown ({str(error).rstrip('.')}).") from error
            except (RetryError, OutOfCreditsError) as error:
                if not tries_left:
                    raise UnfinishedError(f"The account's list cannot be read ({str(error).rstrip('.')}).") from error
        raise AssertionError("it is tried at least once")

    async def _find_listed(self, remote_id: str) -> Reading | None:
        """Look into the list once: where it cannot be read, the next place may have the link all the same."""
        try:
            listed = await self._calls.once(lambda: self._client.list_generations([remote_id]))
        except (JobError, RetryError, OutOfCreditsError, KeyRefusedError) as error:
            # A key that is refused indeed is refused by the next request too.
            logger.debug("%s: its link is not listed: %s", remote_id, error)
            return None
        return next((item for item in listed if item.remote_id == remote_id), None)

    async def _list_asset_links(self, asset_id: str, *, is_denied_without: bool) -> list[str]:
        """List the links of an asset; where the list of assets cannot be read, that is the matter of this job alone."""
        try:
            links, item_count = await self._try(lambda: self._client.list_asset_links(asset_id))
        except UnfinishedError as error:
            logger.debug("%s: its asset is not listed: %s", asset_id, error)
            return []
        if is_denied_without and not item_count:
            raise ResultDeniedError("not_found", "The server has completed it, but no longer has the result.")
        return links.get(asset_id.lower(), [])

    async def _list(self, key: str) -> list[Reading]:
        """Read a list; one that the server refuses, or that is broken, has nothing in it: the answer by id stands."""
        try:
            return await self._try(lambda: self._client.list_generations([key]))
        except (JobError, UnfinishedError):
            return []

    async def _find_echo(self, request: SentRequest) -> Reading | None:
        """Search what the account has had made since the send, to its end: nothing else shows that it is not there.

        Raises UnfinishedError where the list cannot be read to its end, JobError where it is refused.
        """
        async for reading in self.list_since(request.submitted_at):
            if request.key in (reading.remote_id, reading.request_key):
                return reading
        return None


def _to_refusal(error: ForbiddenError) -> RefusedError:
    """Take a list that the account may not read for one that does not tell: the rest may go on."""
    return RefusedError("permission_denied", str(error))


def _list_links(reading: Reading) -> list[str]:
    return [reading.link, *reading.other_links] if reading.link else []


def _choose(links: Iterable[str], spent_places: Collection[str]) -> str | None:
    """Choose the first link that leads to a place which was not tried in vain."""
    return next((link for link in links if find_place(link) not in spent_places), None)


def _accept(found: Reading | None, key: str) -> Acceptance | None:
    """Take what was found for an acceptance: whether it has our key tells how the server uses keys."""
    if found is None:
        return None
    shown = Deduplication.PROVEN if found.remote_id == key else Deduplication.NONE
    return Acceptance(found.remote_id, found.asset_id, found.eta_seconds, None, shown)


def _find(key: str, listed: Iterable[Reading]) -> Reading | None:
    """Find the generation with this id, or whose echoed request asked for it."""
    return next((item for item in listed if key in (item.remote_id, item.request_key)), None)
