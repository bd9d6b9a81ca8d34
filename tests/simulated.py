"""A simulated service whose clock stands still, and a client that retries nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

KEY = {"X-API-Key": "secret-key"}
#: A PNG of 16x9 pixels, as far as its size can be read.
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0\0\0\x10" + b"\0\0\0\x09" + b"\x08\x02\0\0\0" + bytes(12)
LONG_AFTER = 1000.0


@dataclass
class Answer:
    """What came back, read to its end."""

    status: int
    headers: Any
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Service:
    """A running simulator, its clock, and a client that retries nothing."""

    simulator: Simulator
    session: aiohttp.ClientSession
    clock: Clock

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        return await self.request("POST", path, **options)

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        url = path if "://" in path else self.simulator.url + path
        async with self.session.request(method, url, **{"headers": KEY, **options}) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def submit(self, prompt: str = "a fox", **fields: Any) -> Answer:
        return await self.post("/generations", json=video_request(prompt, **fields))

    async def status(self, generation_id: str) -> Any:
        return (await self.get(f"/generations/{generation_id}/status")).json

    async def upload(self, content: bytes = PNG) -> tuple[str, Answer]:
        asset_id = (await self.post("/assets", json={"name": "start.png", "type": "image"})).json["id"]
        form = aiohttp.FormData()
        form.add_field("file", content, filename="start.png")
        return asset_id, await self.post(f"/assets/{asset_id}/upload", data=form)

    async def finished(self, prompt: str = "a fox", **fields: Any) -> Any:
        """Submit, wait until long after the end, and read the status."""
        generation_id = (await self.submit(prompt, **fields)).json["id"]
        self.clock.now += LONG_AFTER
        return await self.status(generation_id)

    async def download(self, url: str, **headers: str) -> Answer:
        return await self.get(url, headers=headers)


INPUT_NAMES = ("aspect_ratio", "resolution", "duration_ms", "negative_prompt", "seed")


def video_request(prompt: str, **fields: Any) -> dict[str, Any]:
    inputs = {name: fields.pop(name) for name in INPUT_NAMES if name in fields}
    return {"type": "video", "generated_video_inputs": {"text_prompt": prompt, **inputs}, **fields}


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Service]:
    clock = Clock()
    async with (
        Simulator(SimulatorSettings(**{"clock": clock, **settings})) as simulator,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        yield Service(simulator, session, clock)


def charges(service: Service) -> list[tuple[str, int]]:
    return [(record.kind, record.credits) for record in service.simulator.billing]
