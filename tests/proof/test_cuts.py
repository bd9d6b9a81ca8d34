"""Every cut of a video, in every way in which HTTP can end a body: nothing but the whole file gets its final name."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hedra_batch.api.media import MediaClient
from hedra_batch.api.v2.adapter import HedraV2
from hedra_batch.api.v2.client import HedraClient
from hedra_batch.errors import DownloadError, UnfinishedError
from hedra_batch.folder import RunFolder
from hedra_batch.inputs import Inputs
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger import events
from hedra_batch.ledger.identity import Binding
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.money import Money
from hedra_batch.run.container import check_container
from hedra_batch.run.pacing.lane import Lane
from hedra_batch.run.pacing.outage import OutageGuard
from hedra_batch.run.pacing.rate import Backlog, Cooldown
from hedra_batch.run.pacing.retrying import RetryingClient
from hedra_batch.run.settings import RunSettings
from hedra_batch.run.stations.fetch import Fetcher
from hedra_batch.simulator.movie import make_movie
from hedra_batch.state import State
from hedra_batch.units import Rate

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

STEP_BYTES = 4096
PADDING_BYTES = 200 * 1024
ONE_TRY = RunSettings(download_tries=1, first_pause_seconds=0.0)


# Videos


def split_boxes(movie: bytes) -> Iterator[bytes]:
    while movie:
        length = int.from_bytes(movie[:4]) or len(movie)
        yield movie[:length]
        movie = movie[length:]


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


FTYP, MOOV, FREE, MDAT = split_boxes(make_movie(640, 360, 5000, "cuts"))
MOVIES = {
    # What is padded stands before the samples here, since the identity is written there.
    "padded": make_movie(640, 360, 5000, "x" * PADDING_BYTES),
    "trailing": FTYP + MOOV + FREE + MDAT + box(b"free", bytes(PADDING_BYTES)),
    "moov last": FTYP + MDAT + box(b"free", bytes(PADDING_BYTES)) + MOOV,
    "open end": FTYP + MOOV + FREE + bytes(4) + MDAT[4:] + bytes(PADDING_BYTES),
    "fragments": FTYP + MOOV + (box(b"moof", bytes(500)) + MDAT) * 8,
}
#: Those that can lose something behind the samples, or be cut inside of them, and still look whole.
DECEPTIVE = {"trailing", "open end", "fragments"}


def list_cuts(movie: bytes) -> list[int]:
    """Every 4 KiB, and the bytes around each border of a box."""
    cuts = set(range(0, len(movie), STEP_BYTES))
    border = 0
    for part in split_boxes(movie):
        border += len(part)
        cuts |= {border - 1, border, border + 1}
    return sorted(cut for cut in cuts if cut < len(movie))


# Ways to send a part of a body as if it were all


def head(*lines: str) -> bytes:
    return "\r\n".join(("HTTP/1.1 200 OK", "Connection: close", *lines, "", "")).encode()


def with_length(movie: bytes, cut: int) -> bytes:
    return head(f"Content-Length: {len(movie)}") + movie[:cut]


def without_length(movie: bytes, cut: int) -> bytes:
    return head() + movie[:cut]


def in_chunks(movie: bytes, cut: int) -> bytes:
    pieces = (movie[start : min(start + 5000, cut)] for start in range(0, cut, 5000))
    return head("Transfer-Encoding: chunked") + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def in_half_a_chunk(movie: bytes, cut: int) -> bytes:
    return head("Transfer-Encoding: chunked") + b"%x\r\n%b" % (len(movie), movie[:cut])


def in_ended_chunks(movie: bytes, cut: int) -> bytes:
    return in_chunks(movie, cut) + b"0\r\n\r\n"


Framing = Callable[[bytes, int], bytes]
FRAMINGS: list[Framing] = [with_length, without_length, in_chunks, in_half_a_chunk, in_ended_chunks]


@dataclass(slots=True)
class Host:
    """API and media host in one: a finished generation, and its file up to the cut."""

    movie: bytes
    frame: Framing
    #: Whether it answers requests for a part: that names the length of the whole.
    has_ranges: bool
    cut: int = 0
    url: str = ""
    handlers: set[asyncio.Task[None] | None] = field(default_factory=set)

    def heal(self) -> None:
        self.frame, self.cut = with_length, len(self.movie)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.handlers.add(asyncio.current_task())
        with suppress(ConnectionError):
            writer.write(self.answer((await reader.readuntil(b"\r\n\r\n")).decode()))
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    def answer(self, request: str) -> bytes:
        path = request.split(" ")[1]
        if path.endswith("/status"):
            link = f"{self.url}/video.mp4?Signature=abc"
            status = {"id": path.split("/")[-2], "status": "complete", "progress": 1, "download_url": link}
            body = json.dumps(status).encode()
            return head(f"Content-Length: {len(body)}") + body
        if "\r\nRange: bytes=0-0\r\n" in request and self.has_ranges:
            answer = head(f"Content-Range: bytes 0-0/{len(self.movie)}", "Content-Length: 1") + self.movie[:1]
            return answer.replace(b"200 OK", b"206 Partial Content")
        return self.frame(self.movie, self.cut)


@asynccontextmanager
async def serve(host: Host) -> AsyncIterator[Host]:
    server = await asyncio.start_server(host.handle, "127.0.0.1", 0)
    host.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield host
    await asyncio.gather(*(handler for handler in host.handlers if handler))


# The station


@asynccontextmanager
async def open_fetcher(folder: Path, host: Host) -> AsyncIterator[tuple[Fetcher, Ledger, Attempt]]:
    ledger = await Ledger.open(folder / "ledger.sqlite3", folder / "identity.json", Binding("cuts", host.url, "key"))
    attempt = await make_ready(ledger)
    client, media = HedraClient(host.url, "key"), MediaClient(allows_private_hosts=True)
    lane = Lane("poll", Rate(10_000, 1), ONE_TRY, OutageGuard(ONE_TRY), Cooldown())
    api = HedraV2(client, RetryingClient(ONE_TRY, lane))
    async with client, media:
        yield Fetcher(ledger, api, media, RunFolder(folder), Backlog(), ONE_TRY), ledger, attempt
    await ledger.close()


async def make_ready(ledger: Ledger) -> Attempt:
    [attempt] = await ledger.record([(Job("market", "", Inputs("A storm"), "videos/market.mp4"), 1)])
    request_key = ledger.keys.of_attempt(attempt)
    attempt = await ledger.apply(attempt, events.reserve(request_key, b"{}", Money(25)))
    attempt = await ledger.apply(attempt, events.begin_send(State.RESERVED, State.SENDING))
    attempt = await ledger.apply(attempt, events.accept(request_key))
    return await ledger.apply(attempt, events.make_ready([attempt.wanted_output], None, Money(25)))


def list_published(folder: Path) -> list[Path]:
    return [path for path in (folder / "videos").glob("*") if path.suffix != ".part"]


def read_hash(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "ledger.sqlite3")) as connection:
        return str(connection.execute("SELECT sha256 FROM results").fetchone()[0])


def list_cases() -> Iterator[tuple[str, Framing, bool]]:
    for name in MOVIES:
        for frame in FRAMINGS:
            # A body that is ended in due form by a host that tells no length is whole, as far as HTTP goes.
            if frame is not in_ended_chunks or name not in DECEPTIVE:
                yield name, frame, False
            # Who tells the length already is not asked for it.
            if frame is not with_length:
                yield name, frame, True


@pytest.mark.parametrize(("name", "frame", "has_ranges"), list(list_cases()))
async def test_no_cut_is_published_and_the_whole_file_is(
    tmp_path: Path, name: str, frame: Framing, has_ranges: bool
) -> None:
    movie = MOVIES[name]
    host = Host(movie, frame, has_ranges)
    async with serve(host), open_fetcher(tmp_path, host) as (fetcher, ledger, attempt):
        for host.cut in list_cuts(movie):
            with suppress(UnfinishedError):
                await fetcher.process(attempt, None)
            assert list_published(tmp_path) == [], f"cut at {host.cut} of {len(movie)}"
        assert (await ledger.attempt(attempt.key)).state is State.READY
        host.heal()
        assert (await fetcher.process(attempt, None)).state is State.DONE
    assert [path.read_bytes() for path in list_published(tmp_path)] == [movie]
    assert read_hash(tmp_path) == hashlib.sha256(movie).hexdigest()


@pytest.mark.parametrize("name", MOVIES)
def test_the_cuts_are_many_and_some_deceive_the_container_alone(tmp_path: Path, name: str) -> None:
    movie, path = MOVIES[name], tmp_path / "cut.mp4"
    passed = []
    for cut in list_cuts(movie):
        path.write_bytes(movie[:cut])
        with suppress(DownloadError), path.open("rb") as file:
            check_container(file)
            passed.append(cut)
    assert (len(list_cuts(movie)) > 10, bool(passed)) == (True, name in DECEPTIVE)
