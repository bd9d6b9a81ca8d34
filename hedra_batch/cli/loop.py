"""The event loop that a command runs on: uvloop's where the extra `fast` has installed it, else Python's own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from hedra_batch.errors import ConfigurationError

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
P = ParamSpec("P")
T = TypeVar("T")

#: Chooses the loop by its name, for a comparison, or where uvloop is at odds with something.
VARIABLE = "HEDRA_EVENT_LOOP"
STANDARD, FAST = "asyncio", "uvloop"


def run_on_loop(work: Callable[P, Coroutine[Any, Any, T]], *values: P.args, **named: P.kwargs) -> T:
    """Run to the end. Raises ConfigurationError for a loop that is not there."""
    with asyncio.Runner(loop_factory=_find_factory(os.environ.get(VARIABLE, ""))) as runner:
        return runner.run(work(*values, **named))


def name_loop() -> str:
    """Name the loop that runs, as the variable does."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def _find_factory(name: str) -> LoopFactory | None:
    if name == STANDARD:
        return None
    try:
        import uvloop
    except ImportError:
        if not name:
            return None
    else:
        if name in ("", FAST):
            factory: LoopFactory = uvloop.new_event_loop
            return factory
    raise ConfigurationError(
        f"{VARIABLE} is {name!a}, which cannot be used here. Leave it out, or write {STANDARD}; {FAST} needs "
        "pip install 'hedra-batch[fast]'."
    )
