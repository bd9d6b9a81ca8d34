"""The order of system calls: what is on the disk before a request is paid for, and before a job is done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from forking import Action, Kind, Note, Server, Strike, open_folder, read_notes, serve

from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

#: One job a run, since what several do beside each other has no order; and how many paid requests it makes.
JOBS = {
    "text": ("  - {id: scene, prompt: One scene}\n", 1),
    "image": ("  - {id: scene, prompt: Wind, image: hero.png}\n", 1),
    "two attempts": ("  - {id: scene, prompt: A flaky scene}\n", 2),
}
PAID = "CONNECT for a paid request"
LEDGER = "ledger.sqlite3-wal"
VIDEO = "videos/scene.mp4"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(params=JOBS)
async def calls(server: Server, request: pytest.FixtureRequest) -> list[str]:
    """The calls of a run that is left alone, by their kinds and their targets in the run folder."""
    jobs, posts = JOBS[request.param]
    with open_folder(jobs) as folder:
        async with Simulator(SimulatorSettings(speed=10_000)) as service:
            assert await server.run(folder, service.url, Strike(Action.NOTE)) == 0
        notes = read_notes(folder)
        paid = {find_connection(notes, place) for place, note in enumerate(notes) if note.is_paid_post}
        assert len(paid) == posts
        return [PAID if place in paid else describe(note, folder / "batch.out") for place, note in enumerate(notes)]


def find_connection(notes: list[Note], sent: int) -> int:
    """Find where the connection was begun that something is sent over."""
    connections = (
        place
        for place in range(sent, -1, -1)
        if notes[place].kind is Kind.CONNECT and notes[place].descriptor == notes[sent].descriptor
    )
    return next(connections)


def describe(note: Note, folder: Path) -> str:
    if note.kind >= Kind.CONNECT:
        return f"{note.kind.name} {note.target}"
    is_folder_synced = note.kind is Kind.SYNC and Path(note.target).is_dir()
    return f"{note.kind.name} {'folder ' * is_folder_synced}{os.path.relpath(note.target, folder)}"


def find_first(calls: list[str], call: str) -> int:
    assert call in calls, f"there is no {call!r} among {calls}"
    return calls.index(call)


def find_last(calls: list[str], call: str) -> int:
    return len(calls) - 1 - find_first(calls[::-1], call)


def list_spans(calls: list[str]) -> list[list[str]]:
    """Cut the calls at each paid request: what stands before it and after the one before."""
    places = [place for place, call in enumerate(calls) if call == PAID]
    return [calls[start:end] for start, end in zip([0, *places], places, strict=False)]


def test_the_ledger_is_synced_after_its_last_write_before_each_paid_request(calls: list[str]) -> None:
    for span in list_spans(calls):
        find_first(span[find_last(span, f"WRITE {LEDGER}") :], f"SYNC {LEDGER}")


def test_the_identity_is_on_disk_before_each_attempt_is_written_down_and_paid_for(calls: list[str]) -> None:
    for span in list_spans(calls):
        renamed = find_last(span, "RENAME identity.json")
        written = find_last(span[:renamed], "WRITE identity.json.part")
        find_first(span[written:renamed], "SYNC identity.json.part")
        find_first(span[renamed : find_last(span, f"WRITE {LEDGER}")], "SYNC folder .")


def test_the_run_folder_itself_is_on_disk_before_anything_is_paid_for(calls: list[str]) -> None:
    find_first(calls[find_first(calls, "MAKE_FOLDER .") : find_first(calls, PAID)], "SYNC folder ..")


def test_a_video_is_synced_and_named_for_good_before_the_ledger_says_that_it_is_done(calls: list[str]) -> None:
    begin = next(place for place, call in enumerate(calls) if call.startswith("SEND GET /media/"))
    after = calls[begin:]
    written = find_last(after, f"WRITE {VIDEO}.part")
    steps = [f"SYNC {VIDEO}.part", f"RENAME {VIDEO}", "SYNC folder videos", f"WRITE {LEDGER}", f"SYNC {LEDGER}"]
    places = [written, *(find_first(after, step) for step in steps)]
    assert places == sorted(places), after


def test_the_folder_of_the_videos_is_on_disk_before_the_ledger_says_that_one_is_done(calls: list[str]) -> None:
    after = calls[find_first(calls, "MAKE_FOLDER videos") :]
    find_first(after[: find_first(after, f"WRITE {LEDGER}")], "SYNC folder .")
