"""Asking the API for models and balance on their own, once and within a time: nothing is locked, written or sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from hedra_batch.batch.preview import Market
from hedra_batch.errors import NoAnswerError
from hedra_batch.run.wiring import ApiAccount, open_api
from hedra_batch.units import write_duration

T = TypeVar("T")

#: For all of it together.
ASKING_LIMIT_SECONDS = 5.0


class _SingleTries:
    """Sends each request once and at once: a person waits for the answers."""

    async def until_answered(self, request: Callable[[], Awaitable[T]], *, is_paced: bool = True) -> T:
        return await self.once(request, is_paced=is_paced)

    async def once(self, request: Callable[[], Awaitable[T]], *, is_paced: bool = True) -> T:
        del is_paced
        return await request()


async def ask_market(account: ApiAccount, limit_seconds: float = ASKING_LIMIT_SECONDS) -> Market:
    """Ask for all that prices depend on, and for the balance. Raises HedraBatchError where there is no such answer."""
    try:
        async with asyncio.timeout(limit_seconds), open_api(account, _SingleTries()) as api:
            _, balance = await asyncio.gather(api.load_models(), api.read_balance())
    except TimeoutError as error:
        raise NoAnswerError(f"The API did not answer within {write_duration(limit_seconds)}.") from error
    return Market(api.estimate, api.find_usual_seconds, api.check_models, balance)
