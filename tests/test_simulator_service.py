"""The simulated service as a whole: its ports, its folder, and its end."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import aiohttp
import pytest
from simulated import KEY, LONG_AFTER, Service, charges, running, video_request

from hedra_batch.errors import CannotCreateError, UsageError
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings


async def test_a_port_that_is_taken_is_refused(service: Service) -> None:
    port = int(service.simulator.media_url.rpartition(":")[2])
    with pytest.raises(UsageError, match=str(port)):
        await Simulator(SimulatorSettings(port=port)).start()


async def test_a_restart_on_the_same_folder_goes_on(tmp_path: Path) -> None:
    async with running(folder=tmp_path / "state") as service:
        asset_id, _ = await service.upload()
        generation_id = (await service.submit("a flaky fox")).json["id"]
    async with running(folder=tmp_path / "state") as service:
        assert (await service.submit(start_keyframe_id=asset_id, generation_id=generation_id)).status == 409
        service.clock.now += LONG_AFTER
        assert (await service.status(generation_id))["status"] == "error"
        assert charges(service) == [("charge", 35), ("refund", 35)]
        assert (await service.finished("a flaky fox"))["status"] == "complete"
        assert (await service.get("/billing/credits")).json["remaining"] == 9965
        assert service.simulator.requests[0].path == "/web-app/public/assets"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotCreateError):
        Simulator(SimulatorSettings(folder=tmp_path / "file" / "state"))


_SERVE = """
import asyncio, pathlib, sys
from hedra_batch.simulator.service import Simulator, SimulatorSettings
async def main():
    async with Simulator(SimulatorSettings(folder=pathlib.Path(sys.argv[1]))) as simulator:
        print(simulator.url, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_that_it_answered(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVE, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    url = (await process.stdout.readline()).decode().strip()
    async with aiohttp.ClientSession(headers=KEY) as session:
        answers = [await session.post(f"{url}/generations", json=video_request("a fox")) for _ in range(3)]
        ids = {(await answer.json())["id"] for answer in answers}
    process.send_signal(signal.SIGKILL)
    await process.wait()
    simulator = Simulator(SimulatorSettings(folder=tmp_path))
    assert {record.generation_id for record in simulator.billing} == ids
    assert len(simulator.requests) == 3


async def test_answers_come_as_late_as_asked_for_though_the_request_was_taken_at_once() -> None:
    async with running(latency_seconds=0.2) as service:
        loop = asyncio.get_running_loop()
        began_time = loop.time()
        assert (await service.submit()).status == 200
    assert loop.time() - began_time >= 0.2
