"""Doing several things at once, of which the first that fails ends the others."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from hedra_batch.errors import HedraBatchError, StopRunError

T = TypeVar("T")


async def do_together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do all at once and return what came of each. Raises the error that says most where one fails."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except BaseExceptionGroup as errors:
        raise choose_error(errors) from errors
    return [task.result() for task in tasks]


def choose_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Choose the error to report of several that ended a run together: a stop before others, the first of its kind."""
    flat: list[BaseException] = []
    pending: list[BaseException] = [errors]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending += error.exceptions
        else:
            flat.append(error)
    for kind in (StopRunError, HedraBatchError):
        for error in flat:
            if isinstance(error, kind):
                return error
    return flat[0]
