"""Downloads that break off go on from the part that is there, and end as the same file as in one go."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from conftest import IMPATIENT, Desk, wait_until
from test_faults import count_states, list_charged, open_desk, read_results
from test_surroundings import RestartedClock

from hedra_batch.clock import CLOCK
from hedra_batch.errors import DownloadError
from hedra_batch.folder import RunFolder
from hedra_batch.run.part_file import OVERLAP_BYTES, PartFile
from hedra_batch.simulator.service import Simulator

ONE_JOB = "jobs: [{id: scene, prompt: A scene}]"
ONE_TRY = replace(IMPATIENT, download_tries=1)
#: With this one, a video that is cut had told its length, so that nothing asks for it.
SEED = 1
#: Smaller than what is written at once, and larger.
SIZES = (0, 3_000_000)


@pytest.fixture(params=SIZES)
async def cut(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Desk, Simulator]]:
    """A run that ended in the middle of its only download."""
    async with open_desk(tmp_path, video_bytes=request.param, seed=SEED) as (desk, simulator):
        await cut_in_the_middle(desk, simulator)
        yield desk, simulator


async def cut_in_the_middle(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(ONE_JOB)
    simulator.plan_fault("cut-download")
    assert await desk.run_here(ONE_TRY) == 3


def find_part(desk: Desk) -> Path:
    return desk.folder / "batch.out" / "videos" / "scene.mp4.part"


def list_answers(simulator: Simulator) -> list[int | None]:
    """List what the media host answered."""
    return [each.status for each in simulator.requests if each.path.startswith("/media/")]


async def is_whole(desk: Desk, simulator: Simulator) -> bool:
    """Tell whether the file is the server's, byte for byte, and recorded as what it is."""
    [row] = read_results(desk)
    content = (desk.folder / "batch.out" / row["output"]).read_bytes()
    assert (row["state"], row["sha256"], row["bytes"]) == ("done", hashlib.sha256(content).hexdigest(), len(content))
    async with aiohttp.ClientSession() as session:
        url = f"{simulator.url}/generations/{row['generation_id']}/status"
        status = await (await session.get(url, headers={"X-API-Key": "key-of-the-tests"})).json()
        served: bytes = await (await session.get(status["download_url"])).read()
    return bool(content == served)


def read_tags(desk: Desk) -> list[str | None]:
    with closing(sqlite3.connect(desk.folder / "batch.out" / "ledger.sqlite3")) as connection:
        return [tag for (tag,) in connection.execute("SELECT part_tag FROM attempts")]


@pytest.mark.parametrize("video_bytes", SIZES)
async def test_the_next_try_goes_on_where_the_connection_was_cut(tmp_path: Path, video_bytes: int) -> None:
    async with open_desk(tmp_path, video_bytes=video_bytes) as (desk, simulator):
        desk.write_manifest(ONE_JOB)
        simulator.plan_fault("cut-download", times=3)
        assert await desk.run_here() == 0
        assert (list_answers(simulator), await is_whole(desk, simulator)) == ([200, 206, 206, 206], True)
        assert (read_tags(desk), find_part(desk).exists(), len(list_charged(simulator))) == ([None], False, 1)


async def test_the_next_run_goes_on_too(cut: tuple[Desk, Simulator]) -> None:
    desk, simulator = cut
    size_bytes = find_part(desk).stat().st_size
    assert await desk.run_here() == 0
    assert (list_answers(simulator), await is_whole(desk, simulator)) == ([200, 206], True)
    assert size_bytes > OVERLAP_BYTES


@pytest.mark.parametrize("fault", ["ignored-range", "new-version"])
async def test_what_is_not_a_rest_is_fetched_from_its_beginning(cut: tuple[Desk, Simulator], fault: str) -> None:
    desk, simulator = cut
    simulator.plan_fault(fault)
    assert await desk.run_here() == 0
    assert (list_answers(simulator), await is_whole(desk, simulator)) == ([200, 200], True)


@pytest.mark.parametrize("seed", range(6))
async def test_a_part_that_begins_elsewhere_spoils_nothing_whether_it_says_so_or_not(tmp_path: Path, seed: int) -> None:
    async with open_desk(tmp_path, video_bytes=3_000_000, seed=seed) as (desk, simulator):
        await cut_in_the_middle(desk, simulator)
        simulator.plan_fault("wrong-range")
        assert await desk.run_here() == 0
        assert (list_answers(simulator)[-2:], await is_whole(desk, simulator)) == ([206, 200], True)


async def test_after_a_start_of_the_machine_nothing_unsynced_is_trusted(cut: tuple[Desk, Simulator]) -> None:
    desk, simulator = cut
    restarted = RestartedClock(2, CLOCK.boot_seconds())
    assert await desk.run_here(replace(IMPATIENT, clock=restarted)) == 0
    assert (list_answers(simulator), await is_whole(desk, simulator)) == ([200, 200], True)


def forget_tag(desk: Desk) -> None:
    with closing(sqlite3.connect(desk.folder / "batch.out" / "ledger.sqlite3")) as connection, connection:
        connection.execute("UPDATE attempts SET part_tag = NULL")


def shorten(desk: Desk) -> None:
    os.truncate(find_part(desk), OVERLAP_BYTES)


def lengthen(desk: Desk) -> None:
    os.truncate(find_part(desk), 10_000_000)


def exchange(desk: Desk) -> None:
    """Put as many other bytes there."""
    find_part(desk).write_bytes(b"x" * find_part(desk).stat().st_size)


def delete(desk: Desk) -> None:
    find_part(desk).unlink()


@pytest.mark.parametrize("spoil", [forget_tag, shorten, lengthen, exchange, delete])
async def test_a_part_that_is_not_known_or_not_as_it_was_left_is_begun_anew(
    cut: tuple[Desk, Simulator], spoil: Callable[[Desk], None]
) -> None:
    desk, simulator = cut
    spoil(desk)
    assert await desk.run_here() == 0
    assert (list_answers(simulator)[-1], await is_whole(desk, simulator)) == (200, True)


async def test_fetch_goes_on_with_a_file_that_was_lost(tmp_path: Path) -> None:
    async with open_desk(tmp_path, video_bytes=3_000_000, seed=SEED) as (desk, simulator):
        desk.write_manifest(ONE_JOB)
        assert await desk.run_here() == 0
        (desk.folder / "batch.out" / "videos" / "scene.mp4").unlink()
        simulator.plan_fault("cut-download")
        assert (await desk.fetch_here(ONE_TRY), await desk.fetch_here(ONE_TRY)) == (3, 0)
        assert (list_answers(simulator), await is_whole(desk, simulator)) == ([200, 200, 206], True)
        assert read_tags(desk) == [None]


async def test_after_a_full_disk_the_next_run_goes_on(tmp_path: Path) -> None:
    async with open_desk(tmp_path, video_bytes=5_000_000) as (desk, simulator):
        desk.write_manifest(ONE_JOB)
        stopped = await desk.call("run", "batch.yaml", file_limit_bytes=2_500_000)
        assert (stopped.code, find_part(desk).stat().st_size) == (74, 2_500_000)
        assert (await desk.call("run", "batch.yaml")).code == 0
        assert (list_answers(simulator), await is_whole(desk, simulator)) == ([200, 206], True)
        assert len(list_charged(simulator)) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_what_was_stopped_in_the_middle_of_a_download_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    async with open_desk(tmp_path, video_bytes=100_000_000) as (desk, simulator):
        desk.write_manifest(ONE_JOB)
        process = await desk.start("run", "batch.yaml")
        await wait_until(lambda: find_part(desk).exists() and find_part(desk).stat().st_size > 2_000_000)
        process.send_signal(number)
        await process.communicate()
        assert count_states(desk) == {"running": 1}
        assert (await desk.call("run", "batch.yaml")).code == 0
        assert (list_answers(simulator), await is_whole(desk, simulator)) == ([200, 206], True)


# The part file itself


@pytest.fixture
def make_part(tmp_path: Path) -> Callable[[], PartFile]:
    folder = RunFolder(tmp_path / "batch.out")
    folder.create()
    return lambda: PartFile(folder, "videos/scene.mp4")


BEGINNING = b"\0\0\0\x10ftypisom\0\0\0\0" + bytes(100)


def test_the_beginning_of_a_video_is_kept(make_part: Callable[[], PartFile]) -> None:
    part = make_part()
    part.append(BEGINNING[:3], BEGINNING[3:50])
    part.keep(BEGINNING[50:])
    assert (make_part().measure(), part.is_closed) == (len(BEGINNING), True)


@pytest.mark.parametrize("content", [b"<?xml the signed link", BEGINNING[:7], b""])
def test_what_begins_as_no_video_is_never_on_the_disk(make_part: Callable[[], PartFile], content: bytes) -> None:
    part = make_part()
    with pytest.raises(DownloadError, match="not an MP4 file"):
        part.append(content)
    assert make_part().measure() == 0


def test_what_begins_anew_leaves_nothing_of_an_old_part(make_part: Callable[[], PartFile]) -> None:
    make_part().keep(BEGINNING)
    part = make_part()
    part.append(BEGINNING[:20])
    part.close()
    assert make_part().measure() == 20


def test_a_rest_that_does_not_overlap_is_refused_with_what_is_there(make_part: Callable[[], PartFile]) -> None:
    make_part().keep(BEGINNING)
    part = make_part()
    part.resume(len(BEGINNING) - OVERLAP_BYTES)
    part.append(bytes(OVERLAP_BYTES - 1))
    with pytest.raises(DownloadError, match="another file than before"):
        part.append(b"other")
    assert (make_part().measure(), part.is_closed) == (0, True)
