"""What the simulated service writes down, and reads again after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from simulated import Service, running

from hedra_batch.errors import UsageError
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def test_every_answer_has_a_request_id(service: Service) -> None:
    answers = [await service.get("/nowhere"), await service.submit("invalid"), await service.get("/models")]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert ids == {record.request_id for record in service.simulator.requests}


async def test_requests_are_recorded_without_query_or_key(service: Service) -> None:
    wanted = str(uuid4())
    await service.submit(generation_id=wanted)
    await service.get("/generations?limit=1")
    first, second = service.simulator.requests
    assert (first.method, first.path, first.status) == ("POST", "/web-app/public/generations", 200)
    assert (first.generation_id, first.at) == (wanted, service.clock.now)
    assert (second.path, second.generation_id) == ("/web-app/public/generations", None)
    assert "secret" not in repr(service.simulator.requests)


async def test_a_sender_that_goes_away_in_the_middle_is_recorded(service: Service) -> None:
    port = int(service.simulator.url.split(":")[2].partition("/")[0])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"POST /web-app/public/generations HTTP/1.1\r\nHost: x\r\nX-API-Key: k\r\nContent-Length: 9\r\n\r\n"
    writer.write(head + b"{")
    writer.close()
    async with asyncio.timeout(5):
        while not [record for record in service.simulator.requests if record.method == "POST"]:
            await service.get("/voices")
    assert next(record.status for record in service.simulator.requests if record.method == "POST") is None


async def test_the_files_are_private_and_hold_no_key(tmp_path: Path) -> None:
    async with running(folder=tmp_path) as service:
        await service.upload()
        await service.submit()
    files = files_of(tmp_path)
    assert {path.name for path in files} == {"assets.jsonl", "generations.jsonl", "billing.jsonl", "requests.jsonl"}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert not any("secret-key" in path.read_text(encoding="utf-8") for path in files)


async def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    async with running(folder=tmp_path) as service:
        generation_id = (await service.submit()).json["id"]
    for path in files_of(tmp_path):
        path.write_bytes(path.read_bytes() + b'{"id": "torn')
    async with running(folder=tmp_path) as service:
        assert (await service.submit()).status == 200
    async with running(folder=tmp_path) as service:
        assert len((await service.get("/generations")).json["data"]) == 2
        assert (await service.status(generation_id))["status"] == "queued"


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "billing.jsonl").write_text('{"foreign": 1}\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"billing\.jsonl:1"):
        Simulator(SimulatorSettings(folder=tmp_path))
