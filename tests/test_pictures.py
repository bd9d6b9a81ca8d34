"""Pictures that are not whole, or cannot be told apart: their jobs wait, and all others are made."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from conftest import Desk
from manifests import GIF, JPEG, PNG, WEBP, add_file, file_faults, ids, load, make_png
from test_faults import list_charged

from hedra_batch.manifest.pictures import is_whole
from hedra_batch.simulator.service import Simulator

KINDS = {"png": PNG, "jpg": JPEG, "gif": GIF, "webp": WEBP}
HALF = make_png(9)[:-20]
ALL = "version: 1\nprompts: {turn: A turn}\nimages: photos/*\n"


def add_old(folder: Path, name: str, data: bytes) -> None:
    """Add a file that was copied long ago."""
    path = add_file(folder, name, data)
    os.utime(path, (time.time() - 60, time.time() - 60))


@pytest.mark.parametrize("data", KINDS.values(), ids=KINDS)
def test_a_picture_that_is_cut_anywhere_is_not_whole(data: bytes) -> None:
    assert is_whole(data)
    assert is_whole(data + b"what stands behind it")
    assert [length for length in range(12, len(data)) if is_whole(data[:length])] == []


@pytest.mark.parametrize("data", [JPEG[:2] + b"\xff\xff\xff" + JPEG[3:], JPEG.replace(b"data", b"\xff\0\xff\xd7")])
def test_what_fills_up_and_restarts_a_jpeg_is_no_end(data: bytes) -> None:
    assert is_whole(data)
    assert not is_whole(data[:-2])


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n" + b"\0" * 99, b"GIF89a" + b"\1" * 99, b"\xff\xd8\xff" + b"\1" * 99]
)
def test_what_only_begins_as_a_picture_is_none(data: bytes) -> None:
    assert not is_whole(data)


def test_one_that_is_named_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    add_file(tmp_path, "a.png", HALF)
    [line] = file_faults(tmp_path, "images: [a.png]")
    assert line == "m.yaml:3:10: images[0]: 'a.png' is not whole: its end is missing (copy it again, or save it anew)"


async def test_one_that_is_on_its_way_waits_for_the_next_run(desk: Desk, simulator: Simulator) -> None:
    desk.write("batch.yaml", ALL)
    add_file(desk.folder, "photos/a.png", make_png(8))
    add_file(desk.folder, "photos/b.png", HALF)
    first = await desk.call("run", "batch.yaml")
    assert (first.code, " waiting=1 exit=3 " in first.err, len(list_charged(simulator))) == (3, True, 1)
    add_file(desk.folder, "photos/b.png", make_png(9))
    assert ((await desk.call("run", "batch.yaml")).code, len(list_charged(simulator))) == (0, 2)


async def test_where_the_pattern_finds_nothing_else_it_waits_too(desk: Desk, simulator: Simulator) -> None:
    desk.write("batch.yaml", ALL)
    add_file(desk.folder, "photos/b.png", HALF)
    assert ((await desk.call("run", "batch.yaml")).code, simulator.billing) == (3, [])


@pytest.mark.parametrize("flags", [(), ("-q",)])
async def test_one_that_stays_broken_is_told_and_the_others_are_made(
    desk: Desk, simulator: Simulator, flags: tuple[str, ...]
) -> None:
    desk.write("batch.yaml", ALL)
    add_old(desk.folder, "photos/a.png", make_png(8))
    add_old(desk.folder, "photos/b.png", HALF)
    ended = await desk.call("run", "batch.yaml", *flags)
    assert (ended.code, len(list_charged(simulator))) == (66, 1)
    assert "  batch.yaml:3:9: images[0]: 'photos/b.png' is not whole: its end is missing " in ended.err
    planned = await desk.call("plan", "batch.yaml", "--exit-code")
    assert (planned.code, "waiting  b--turn  ('photos/b.png' is not whole" in planned.out) == (4, True)
    assert (await desk.call("run", "batch.yaml", "--id", "a--*")).code == 0
    assert (await desk.call("run", "batch.yaml", "--id", "b--turn")).code == 66
    assert len(list_charged(simulator)) == 1


async def test_what_is_no_picture_is_left_out_with_a_line_in_plan(desk: Desk, simulator: Simulator) -> None:
    desk.write("batch.yaml", ALL)
    add_file(desk.folder, "photos/a.png", make_png(8))
    add_file(desk.folder, "photos/Thumbs.db", b"\xd0\xcf\x11\xe0")
    planned = await desk.call("plan", "batch.yaml")
    assert "images[0]: 'photos/Thumbs.db' is no picture, so it is left out\n" in planned.err
    ended = await desk.call("run", "batch.yaml")
    assert (ended.code, "Thumbs" in ended.err, len(list_charged(simulator))) == (0, False, 1)


async def test_what_was_bought_stays_with_a_picture_that_cannot_be_read_now(desk: Desk, simulator: Simulator) -> None:
    desk.write("batch.yaml", ALL)
    picture = make_png(8)
    add_old(desk.folder, "photos/a.png", picture)
    assert (await desk.call("run", "batch.yaml")).code == 0
    add_old(desk.folder, "photos/a.png", picture[:-5])
    # A copy that asks for the same: it takes over nothing from the one that cannot be read.
    add_old(desk.folder, "photos/b.png", picture)
    ended = await desk.call("run", "batch.yaml")
    assert (ended.code, len(list_charged(simulator)), "renamed" in ended.err) == (66, 2, False)
    assert "left the manifest" not in ended.err
    add_old(desk.folder, "photos/a.png", picture)
    assert ((await desk.call("run", "batch.yaml")).code, len(list_charged(simulator))) == (0, 2)


async def test_two_that_differ_by_their_ending_only_wait_both(desk: Desk, simulator: Simulator) -> None:
    desk.write("batch.yaml", ALL)
    for name, data in (("a.png", make_png(8)), ("a.jpg", JPEG), ("b.png", make_png(9))):
        add_old(desk.folder, f"photos/{name}", data)
    ended = await desk.call("run", "batch.yaml")
    assert (ended.code, len(list_charged(simulator))) == (66, 1)
    assert "'photos/a.jpg' has the same name as 'photos/a.png'" in ended.err


def test_one_of_an_excluded_job_is_not_read(tmp_path: Path) -> None:
    add_file(tmp_path, "photos/a.png", make_png(8))
    add_old(tmp_path, "photos/b.png", HALF)
    manifest = load(tmp_path, "prompts: {turn: A turn}\nimages: photos/*\nexclude: ['b--*']")
    assert (ids(manifest), manifest.jobs.waiting, manifest.warnings) == (["a--turn"], {}, [])
    manifest = load(tmp_path, "prompts: {turn: A turn}\nimages: {a: photos/a.png, b: photos/no.png}\nexclude: ['b--*']")
    assert ids(manifest) == ["a--turn"]
