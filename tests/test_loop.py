"""The event loop of a command."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from conftest import Desk

JOBS = "jobs: [{id: scene, prompt: A calm sea}]"
HAS_UVLOOP = find_spec("uvloop") is not None


@pytest.mark.parametrize("name", ["", "asyncio", "uvloop"])
async def test_a_run_is_on_uvloop_where_that_is_installed_and_on_the_loop_that_is_asked_for(
    desk: Desk, name: str
) -> None:
    if name == "uvloop" and not HAS_UVLOOP:
        pytest.skip("uvloop is not installed: it comes with the extra `fast`")
    desk.write_manifest(JOBS)
    finished = await desk.call("run", "batch.yaml", "-v", HEDRA_EVENT_LOOP=name)
    used = name or ("uvloop" if HAS_UVLOOP else "asyncio")
    assert (finished.code, f" on {used}, run 1" in finished.err) == (0, True)


@pytest.mark.parametrize("command", ["run", "retry", "fetch"])
async def test_a_loop_that_is_not_there_is_refused_before_anything_is_sent(desk: Desk, command: str) -> None:
    desk.write_manifest(JOBS)
    assert (await desk.call("run", "batch.yaml", "-q")).code == 0
    finished = await desk.call(command, "batch.yaml", HEDRA_EVENT_LOOP="trio")
    assert (finished.code, finished.err.count("\n"), "HEDRA_EVENT_LOOP is 'trio'" in finished.err) == (78, 1, True)
