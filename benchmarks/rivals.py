"""The rivals: short scripts that trust everybody, beside which the program is measured.

They keep no ledger, forget everything when they die, and take each answer at its word.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import uuid
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import aiohttp

PAGE_ITEMS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What a script is told."""

    base_url: str
    folder: str
    jobs: int
    in_flight: int
    downloads: int
    #: From one list to the next, or from one status of a job to its next.
    pause_seconds: float

    @classmethod
    def make(
        cls, base_url: str, folder: Path, *, jobs: int, in_flight: int, downloads: int, pause_seconds: float
    ) -> Self:
        """Make an errand whose videos go into a folder of their own."""
        videos = folder / "videos"
        videos.mkdir()
        return cls(
            base_url=base_url,
            folder=str(videos),
            jobs=jobs,
            in_flight=in_flight,
            downloads=downloads,
            pause_seconds=pause_seconds,
        )

    def to_json(self) -> str:
        """Write it as the argument of a script."""
        return json.dumps(asdict(self))


class Script:
    """Submits on a fresh connection each; reads and downloads on connections that are kept."""

    def __init__(self, errand: Errand) -> None:
        self.errand = errand
        self.url = errand.base_url + "/generations"
        self._sessions = AsyncExitStack()
        self._slots = asyncio.Semaphore(errand.in_flight)
        self._room = asyncio.Semaphore(errand.downloads)

    async def __aenter__(self) -> Self:
        headers = {"X-API-Key": os.environ["HEDRA_API_KEY"]}
        fresh = aiohttp.TCPConnector(limit=0, force_close=True)
        enter = self._sessions.enter_async_context
        self.api = await enter(aiohttp.ClientSession(headers=headers))
        self._paid = await enter(aiohttp.ClientSession(headers=headers, connector=fresh))
        self._media = await enter(aiohttp.ClientSession(read_bufsize=2**20))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._sessions.aclose()

    async def make_all(self) -> None:
        """Make so many videos."""
        await asyncio.gather(*(self._make(number) for number in range(self.errand.jobs)))

    async def wait_for_link(self, generation_id: str) -> str:
        """Return the link of a video once it is there."""
        raise NotImplementedError

    async def _make(self, number: int) -> None:
        async with self._slots:
            link = await self.wait_for_link(await self._submit(number))
        async with self._room, self._media.get(link) as response:
            await self.save(response, Path(self.errand.folder) / f"{number}.mp4")

    async def save(self, response: aiohttp.ClientResponse, path: Path) -> None:
        """Write a video to its file."""
        content = await response.read()
        await asyncio.to_thread(_save, path, content)

    async def _submit(self, number: int) -> str:
        inputs = {
            "text_prompt": f"A scene number {number} with a long enough text to be like a real one",
            "aspect_ratio": "16:9",
            "resolution": "720p",
            "duration_ms": 5000,
        }
        request = {
            "type": "video",
            "generation_id": str(uuid.uuid4()),
            "model_slug": "fal/grok-video-t2v",
            "generated_video_inputs": inputs,
            "batch_size": 1,
        }
        async with self._paid.post(self.url, json=request) as response:
            return str((await response.json())["id"])


class BareScript(Script):
    """Makes the requests that the program makes: one list for all that run."""

    def __init__(self, errand: Errand) -> None:
        super().__init__(errand)
        self._waiting: dict[str, asyncio.Future[str]] = {}

    async def make_all(self) -> None:
        """Make so many videos, and read the oldest that run at an even pace meanwhile."""
        reading = asyncio.create_task(self._read_all())
        await super().make_all()
        reading.cancel()

    async def wait_for_link(self, generation_id: str) -> str:
        """Wait until a list has it."""
        self._waiting[generation_id] = asyncio.get_running_loop().create_future()
        return await self._waiting[generation_id]

    async def _read_all(self) -> None:
        while True:
            await asyncio.sleep(self.errand.pause_seconds)
            if ids := list(self._waiting)[:PAGE_ITEMS]:
                query = {"ids": ",".join(ids), "limit": str(PAGE_ITEMS)}
                async with self.api.get(self.url, params=query) as response:
                    answer = await response.json()
                for item in answer["data"]:
                    self._note(item)

    def _note(self, item: dict[str, Any]) -> None:
        waiting = self._waiting.pop(item["id"])
        if item["status"] == "complete":
            waiting.set_result(item["asset"]["asset"]["download_url"])
        else:
            # To the end of the line.
            self._waiting[item["id"]] = waiting


class HashingScript(BareScript):
    """Streams large files, and hashes them on their way."""

    async def save(self, response: aiohttp.ClientResponse, path: Path) -> None:
        """Hash and write piece after piece; whatever else runs waits for the disk meanwhile."""
        content_hash = hashlib.sha256()
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            async for piece in response.content.iter_chunked(2**20):
                content_hash.update(piece)
                file.write(piece)
            await asyncio.to_thread(_publish, part, path, file)


class VendorScript(Script):
    """Reads each job by itself, again and again, as the vendor's guide shows it."""

    async def wait_for_link(self, generation_id: str) -> str:
        """Ask for its status until it is complete."""
        while True:
            await asyncio.sleep(self.errand.pause_seconds)
            async with self.api.get(f"{self.url}/{generation_id}/status") as response:
                answer = await response.json()
            if answer["status"] == "complete":
                return str(answer["download_url"])


def _save(path: Path, content: bytes) -> None:
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(content)
        _publish(part, path, file)


def _publish(part: Path, path: Path, file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


async def _run(name: str, told: dict[str, Any]) -> None:
    kind = {"bare": BareScript, "hashing": HashingScript, "vendor": VendorScript}[name]
    async with kind(Errand(**told)) as script:
        await script.make_all()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], json.loads(sys.argv[2])))
