"""Which paid work counts for which job, in a real ledger, and what is noted beside it before it moves."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from recorded import accept, complete, fail, hold_missing, make_job, make_ready, open_ledger, record, refuse, send
from test_run_recovery import Asked

from hedra_batch.errors import LedgerError, WriteError
from hedra_batch.folder import RunFolder
from hedra_batch.inputs import Inputs, Spellings
from hedra_batch.job import Job
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.records import LatestAttempt, Reassignment
from hedra_batch.ledger.renames import Rename, Renames
from hedra_batch.planning.plan import counts_for, find_standing
from hedra_batch.planning.recognition import PAGE_JOBS, Recognition, Recognized
from hedra_batch.run.renaming import finish_renames, rename_results
from hedra_batch.state import PAID, State

A, B = "A storm", "A calm"


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    opened = await open_ledger(tmp_path)
    yield opened
    await opened.close()


async def recognize(ledger: Ledger, *jobs: Job) -> Recognized:
    recognition = Recognition(Asked(jobs))
    await ledger.look(recognition.look)
    return await ledger.look(recognition.settle)


async def take_over(ledger: Ledger, folder: Path, *jobs: Job) -> dict[str, str]:
    """Commit what is recognised; returns by each job that took something over the one that it is from."""
    recognized = await recognize(ledger, *jobs)
    await rename_results(ledger, RunFolder(folder), recognized.reassignment)
    return {job_id: old for (_, job_id), old in recognized.formerly.items()}


async def rename_first(ledger: Ledger, folder: Path, old: Job) -> None:
    done, new = await complete(ledger, old), make_job("stall")
    latest = LatestAttempt.of(done)
    change = Reassignment([(latest, new)], {latest.identity: None, new.identity: done.key})
    await rename_results(ledger, RunFolder(folder), change)


async def list_standing(ledger: Ledger, *ids: str) -> list[tuple[str, str, int]]:
    found = await ledger.look(lambda reader: list(reader.find_all([("", job_id) for job_id in ids])))
    return sorted((each.job_id, each.bought_as, each.number) for each in found)


def stand(key: int, state: State, prompt: str) -> LatestAttempt:
    return LatestAttempt(key, "", "scene", key, state, Inputs(prompt).digest, None, None)


@pytest.mark.parametrize(
    ("attempts", "wanted", "standing"),
    [
        ([(State.DONE, A), (State.DONE, B)], A, 1),
        ([(State.DONE, A), (State.DONE, B)], B, 2),
        ([(State.DONE, A), (State.ACCEPTED, B)], A, 1),
        ([(State.DONE, A), (State.FAILED, B)], A, 1),
        ([(State.DONE, A), (State.NEW, B)], A, 1),
        ([(State.DONE, A), (State.DONE, A)], A, 2),
        ([(State.DONE, A), (State.ACCEPTED, A)], A, 1),
        ([(State.DONE, A), (State.DONE, B)], "A frost", 2),
        ([(State.ACCEPTED, A), (State.FAILED, A)], A, 1),
        ([(State.ACCEPTED, A), (State.DONE, B)], A, 1),
        ([(State.FAILED, A), (State.DONE, B)], A, 2),
        ([(State.ABANDONED, A), (State.REFUSED, A)], A, 2),
        ([], A, None),
    ],
)
def test_a_job_stands_by_what_is_done_for_it_then_by_what_is_paid_for_it_then_by_the_newest(
    attempts: Sequence[tuple[State, str]], wanted: str, standing: int | None
) -> None:
    newest = len(attempts)
    rows = [
        stand(key, state, prompt)._replace(latest=int(key == newest)) for key, (state, prompt) in enumerate(attempts, 1)
    ]
    found = find_standing(make_job("scene", wanted), rows)
    assert (found and found.attempt_key) == standing


@pytest.mark.parametrize("newest", [State.DONE, State.REFUSED, State.NEW])
def test_an_edit_is_held_against_what_the_job_stood_by(newest: State) -> None:
    rows = [stand(1, State.DONE, A), stand(2, newest, B)._replace(latest=0)]
    assert find_standing(make_job("scene", "A frost"), rows) == rows[0]
    # What it stood by has gone over to another job.
    assert find_standing(make_job("scene", "A frost"), rows[1:]) == rows[1]


def test_what_a_person_has_kept_and_what_was_sent_under_another_name_counts() -> None:
    spellings = Spellings({"Grok": "fal/grok", "id-1": "fal/grok", "fal/grok": "fal/grok"})
    named, slugged, foreign = (Inputs(A, model=name) for name in ("GROK", "fal/grok", "fal/kling"))
    job = Job("scene", "", named, "v.mp4", model_names=spellings.find("GROK"))
    sent = stand(1, State.DONE, B)._replace(sent_digest=slugged.digest)
    kept = stand(1, State.DONE, B)._replace(kept_digest=named.digest)
    other = stand(1, State.DONE, B)._replace(sent_digest=foreign.digest)
    assert [counts_for(job, each) for each in (sent, kept, other)] == [True, True, False]
    assert spellings.find("unheard") == spellings.find(None) == ()


async def bring_to(ledger: Ledger, state: State) -> None:
    job = make_job("chair", A)
    steps = {
        State.NEW: record,
        State.SENDING: send,
        State.ACCEPTED: accept,
        State.READY: make_ready,
        State.DONE: complete,
        State.REFUSED: refuse,
        State.HELD_MISSING: hold_missing,
    }
    await steps[state](ledger, job)


@pytest.mark.parametrize(
    "state",
    [State.NEW, State.SENDING, State.ACCEPTED, State.READY, State.DONE, State.REFUSED, State.HELD_MISSING],
)
async def test_only_what_may_be_paid_for_is_taken_over(ledger: Ledger, tmp_path: Path, state: State) -> None:
    await bring_to(ledger, state)
    taken = await take_over(ledger, tmp_path, make_job("stool", A))
    assert taken == ({"stool": "chair"} if state in PAID else {})


@pytest.mark.parametrize(
    ("jobs", "taken"),
    [
        ([make_job("stool", A)], {"stool": "chair"}),
        ([make_job("chair", B), make_job("stool", A)], {"stool": "chair"}),
        ([make_job("chair", A), make_job("stool", A)], {}),
        ([make_job("stool", B)], {}),
        ([make_job("stool", A, "june")], {}),
        ([make_job("stool", A), make_job("table", A)], {"stool": "chair"}),
    ],
)
async def test_it_is_taken_over_from_a_job_that_no_longer_asks_for_it(
    ledger: Ledger, jobs: list[Job], taken: dict[str, str]
) -> None:
    await complete(ledger, make_job("chair", A))
    recognition = Recognition(Asked(jobs, jobs[0].edition))
    await ledger.look(recognition.look)
    recognized = await ledger.look(recognition.settle)
    assert {job_id: old for (_, job_id), old in recognized.formerly.items()} == taken


async def test_who_asks_under_the_id_that_was_bought_comes_first_wherever_it_stands(
    ledger: Ledger, tmp_path: Path
) -> None:
    for job_id in ("a", "b"):
        await complete(ledger, make_job(job_id, A))
    await take_over(ledger, tmp_path, make_job("x", A), make_job("y", A))
    many = [make_job(f"other-{number}", f"Scene {number}") for number in range(PAGE_JOBS)]
    taken = await take_over(ledger, tmp_path, make_job("new", A), *many, make_job("a", A))
    assert taken == {"a": "x", "new": "y"}


async def test_an_older_purchase_of_a_job_that_is_gone_is_taken_over_too(ledger: Ledger, tmp_path: Path) -> None:
    await complete(ledger, make_job("chair", A))
    await record(ledger, make_job("chair", B), 2)
    assert await take_over(ledger, tmp_path, make_job("stool", A)) == {"stool": "chair"}
    assert await list_standing(ledger, "chair", "stool") == [("chair", "chair", 2), ("stool", "chair", 1)]


async def test_what_is_recognised_once_stays_so(ledger: Ledger, tmp_path: Path) -> None:
    await complete(ledger, make_job("chair", A))
    await take_over(ledger, tmp_path, make_job("stool", A))
    assert not await recognize(ledger, make_job("stool", A))


async def test_with_an_empty_ledger_nothing_is_looked_up(ledger: Ledger) -> None:
    assert not await recognize(ledger, *(make_job(f"job-{number}", A) for number in range(PAGE_JOBS + 1)))


async def test_a_number_is_never_used_twice_under_an_id(ledger: Ledger, tmp_path: Path) -> None:
    first = await complete(ledger, make_job("chair", A))
    await take_over(ledger, tmp_path, make_job("stool", A))
    again = await record(ledger, make_job("chair", A))
    assert again.number == 2
    assert ledger.keys.of_attempt(again) != first.request_key


async def test_a_failure_of_what_was_taken_over_is_followed_by_a_number_above_it(
    ledger: Ledger, tmp_path: Path
) -> None:
    await accept(ledger, make_job("chair", A))
    await take_over(ledger, tmp_path, make_job("stool", A))
    [latest] = await ledger.look(lambda reader: list(reader.find_all([("", "stool")])))
    await fail(ledger, await ledger.attempt(latest.attempt_key))
    following = await record(ledger, make_job("stool", A), 2)
    assert (following.bought_as, following.number) == ("stool", 2)
    assert await list_standing(ledger, "stool") == [("stool", "stool", 2)]


async def test_every_move_is_on_disk_beside_the_identity(ledger: Ledger, tmp_path: Path) -> None:
    done = await complete(ledger, make_job("chair", A))
    await take_over(ledger, tmp_path, make_job("stool", A))
    await take_over(ledger, tmp_path, make_job("seat", A))
    lines = [json.loads(line) for line in (tmp_path / "renames.jsonl").read_text().splitlines()]
    bought = {"edition": "", "bought_as": "chair", "number": 1, "digest": done.digest}
    assert lines == [{**bought, "job_id": "stool"}, {**bought, "job_id": "seat"}]


async def test_a_move_that_was_noted_and_never_committed_is_taken_back(tmp_path: Path) -> None:
    ledger = await open_ledger(tmp_path)
    done = await complete(ledger, make_job("chair", A))
    await ledger.close()
    noted = Rename("", "chair", 1, done.digest, "stool")
    Renames(tmp_path / "renames.jsonl").append([noted])
    for _ in range(2):
        ledger = await open_ledger(tmp_path)
        renames = ledger.read_renames()
        await ledger.close()
    assert [rename.job_id for rename in renames] == ["stool", "chair"]


def test_a_piece_of_a_line_spoils_no_other(tmp_path: Path) -> None:
    renames, rename = Renames(tmp_path / "renames.jsonl"), Rename("", "a", 1, "v1:0", "b")
    renames.append([rename])
    with (tmp_path / "renames.jsonl").open("a") as file:
        file.write('{"edition": ""')
    size = renames.append([rename])
    assert (renames.read(), size) == ([rename, rename], renames.read_size())


class Swapped:
    """Two videos in a ledger whose swap was begun and not ended."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger = ledger
        self.videos = folder / "videos"
        self.folder = RunFolder(folder)

    async def begin(self) -> None:
        """Claim the names, and do no more."""
        self.videos.mkdir()
        for job_id, prompt in (("a", A), ("b", B)):
            await complete(self.ledger, make_job(job_id, prompt))
            (self.videos / f"{job_id}.mp4").write_text(prompt)
        recognized = await recognize(self.ledger, make_job("a", B), make_job("b", A))
        await self.ledger.reassign(recognized.reassignment, {1: "videos/b.mp4", 2: "videos/a.mp4"})

    async def finish(self) -> dict[str, str]:
        await finish_renames(self.ledger, self.folder)
        assert await self.ledger.look(lambda reader: reader.find_moves()) == []
        outputs = await self.ledger.look(lambda reader: {file.job_id: file.output for file in reader.files()})
        assert outputs == {"a": "videos/a.mp4", "b": "videos/b.mp4"}
        return {path.name: path.read_text() for path in self.videos.iterdir()}


@pytest.fixture
async def swapped(ledger: Ledger, tmp_path: Path) -> Swapped:
    started = Swapped(ledger, tmp_path)
    await started.begin()
    return started


async def test_a_swap_of_files_that_was_only_claimed_is_done(swapped: Swapped) -> None:
    assert await swapped.finish() == {"a.mp4": B, "b.mp4": A}


async def test_a_swap_that_was_killed_after_the_first_file_had_left_goes_on(swapped: Swapped) -> None:
    (swapped.videos / "a.mp4").rename(swapped.videos / "attempt-1.moving")
    assert await swapped.finish() == {"a.mp4": B, "b.mp4": A}


async def test_a_swap_that_was_killed_after_the_first_file_had_its_name_goes_on(swapped: Swapped) -> None:
    for key, name in ((1, "a.mp4"), (2, "b.mp4")):
        (swapped.videos / name).rename(swapped.videos / f"attempt-{key}.moving")
    await swapped.ledger.record_staged([1, 2])
    (swapped.videos / "attempt-1.moving").rename(swapped.videos / "b.mp4")
    assert await swapped.finish() == {"a.mp4": B, "b.mp4": A}


async def test_what_somebody_put_in_the_place_of_a_name_meanwhile_is_kept(swapped: Swapped) -> None:
    for key, name in ((1, "a.mp4"), (2, "b.mp4")):
        (swapped.videos / name).rename(swapped.videos / f"attempt-{key}.moving")
    (swapped.videos / "a.mp4").write_text("mine")
    assert await swapped.finish() == {"a.mp4": B, "b.mp4": A, "a.mp4.old": "mine"}


# Files that cannot be looked at


async def test_a_file_that_cannot_be_looked_at_is_named_and_not_the_ledger(ledger: Ledger, tmp_path: Path) -> None:
    # No file has so long a name, not even for root.
    old = make_job("a" * 300)
    (tmp_path / "videos").mkdir()
    with pytest.raises(WriteError, match=f"{old.output}: File name too long. No video is lost") as caught:
        await rename_first(ledger, tmp_path, old)
    assert not isinstance(caught.value, LedgerError)
    # The ledger stands as it did and goes on.
    assert await list_standing(ledger, old.id) == [(old.id, old.id, 1)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
async def test_a_folder_that_may_not_be_looked_into_is_told_so(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir(mode=0)
    with pytest.raises(WriteError, match=r"market\.mp4: Permission denied"):
        await rename_first(ledger, tmp_path, make_job())
