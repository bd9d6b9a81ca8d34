"""Killed at every step while jobs are renamed: every video ends under its own name, and none is bought again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from forking import Action, Server, Strike, finish, name_errors, open_folder, serve, sweep, write_manifest
from test_kills import CHUNKS, LASTING

from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

#: Before and after: two swap their names, one follows another, one is new under an old name.
NAMED = {"one": "One scene", "two": "Another scene", "three": "A third scene", "four": "A fourth scene"}
RENAMED = {
    "two": "One scene",
    "one": "Another scene",
    "four": "A third scene",
    "five": "A fourth scene",
    "three": "Wind",
}
#: Steps that a run of renamed jobs makes at the least until all its files have their names.
RENAMING_STEPS = 30
#: Where a run is killed.
STRIKES = {"early": Strike(Action.KILL_BEFORE), "late": Strike(Action.KILL_AFTER, LASTING)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("moment", STRIKES)
async def test_killed_at_every_step_of_a_renaming_every_video_has_its_own_name(
    server: Server, moment: str, chunk: int
) -> None:
    assert await sweep(STRIKES[moment], 1 + chunk, CHUNKS, partial(is_killed, server)) > RENAMING_STEPS


async def is_killed(server: Server, strike: Strike) -> bool:
    with open_folder(write_jobs(NAMED)) as folder:
        async with Simulator(SimulatorSettings(speed=10_000)) as service:
            await finish(server, folder, service)
            before = read_videos(folder)
            write_manifest(folder, write_jobs(RENAMED))
            code = await server.run(folder, service.url, strike)
            assert code in (0, -signal.SIGKILL), name_errors(folder).read_text("utf-8")
            await finish(server, folder, service)
            charged = [record for record in service.billing if record.kind == "charge"]
        after = read_videos(folder)
    names = {text: job_id for job_id, text in RENAMED.items()}
    assert {job_id: after[names[text]] for job_id, text in NAMED.items()} == before
    assert (len(charged), len(after)) == (5, 5)
    return code < 0


def write_jobs(prompts: dict[str, str]) -> str:
    return "".join(f"  - {{id: {job_id}, prompt: {text}}}\n" for job_id, text in prompts.items())


def read_videos(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (folder / "batch.out" / "videos").iterdir()}
