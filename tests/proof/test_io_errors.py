"""Each call that writes fails in its turn, once or from then on: the run ends in order, and the next one mends it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from checker import check
from forking import (
    CHANGES,
    KEY,
    Action,
    Kind,
    Note,
    Server,
    Strike,
    finish,
    name_errors,
    open_folder,
    read_notes,
    serve,
    sweep,
    write_manifest,
)

from hedra_batch.errors import EXIT_CODES, HedraBatchError
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

#: Parts that can run beside each other.
CHUNKS = 4
ONE_JOB = "  - {id: hero, prompt: Wind, image: hero.png}\n"
ANOTHER_JOB = "  - {id: one, prompt: One scene}\n"
FOUR_JOBS = "".join(f"  - {{id: job-{number}, prompt: Scene {number}}}\n" for number in range(4))
#: Fewer writes than a run of four jobs makes, and how many of them apart the calls are that fail.
LEAST_WRITES, STEP = 300, 9
ORDERLY_CODES = {int(code) for code, _ in EXIT_CODES if code.isdecimal()} - {HedraBatchError.exit_code}
#: What a disk without room refuses, and what one that was made read-only does.
GROWING = Kind.WRITE | Kind.TRUNCATE | Kind.RENAME | Kind.MAKE_FOLDER | Kind.CREATE
CHANGING = GROWING | Kind.UNLINK
OPENING = Kind.CREATE | Kind.OPEN
#: Each with the number of calls that a run makes at the least, so that none passes by striking nothing.
STRIKES = {
    "EIO once": (Strike(Action.FAIL_ONCE, CHANGES | Kind.OPEN, error=errno.EIO), 100),
    "EIO from then on": (Strike(Action.FAIL_FROM, CHANGES | Kind.OPEN, error=errno.EIO), 100),
    "ENOSPC once": (Strike(Action.FAIL_ONCE, GROWING, error=errno.ENOSPC), 80),
    "ENOSPC from then on": (Strike(Action.FAIL_FROM, GROWING, error=errno.ENOSPC), 80),
    "EROFS from then on": (Strike(Action.FAIL_FROM, CHANGING, error=errno.EROFS), 80),
    "EMFILE once": (Strike(Action.FAIL_ONCE, OPENING, error=errno.EMFILE), 20),
    "EMFILE from then on": (Strike(Action.FAIL_FROM, OPENING, error=errno.EMFILE), 20),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("name", STRIKES)
async def test_whatever_fails_the_run_ends_in_order_and_the_next_one_mends_it(
    server: Server, name: str, chunk: int
) -> None:
    strike, least = STRIKES[name]
    assert await sweep(strike, 1 + chunk, CHUNKS, partial(is_struck, server)) > least


async def is_struck(server: Server, strike: Strike) -> bool:
    """Have a call of a run fail, and a further run mend it; tells whether the run made so many calls."""
    with open_folder(ONE_JOB) as folder:
        async with Simulator(SimulatorSettings(speed=10_000)) as service:
            code = await server.run(folder, service.url, strike)
            failed = judge(code, folder)
            check(folder / "batch.out", service.billing, service.requests, is_over=False, secrets=[KEY])
            if not service.billing:
                # Where its one request is lost for good, another job must show that the service uses our ids.
                write_manifest(folder, ONE_JOB + ANOTHER_JOB)
            await finish(server, folder, service)
    return bool(failed)


def judge(code: int, folder: Path) -> list[Note]:
    """Judge how a run ended in which calls failed, and return these calls."""
    notes = read_notes(folder)
    failed = [note for note in notes if note.what == "failed"]
    what = f"exit code {code} after {failed[:1]}: {name_errors(folder).read_text('utf-8')}"
    assert code in ORDERLY_CODES, what
    assert count_sent_in_the_dark(notes) == 0, what
    return failed


def count_sent_in_the_dark(notes: list[Note]) -> int:
    """Count the paid requests after the first failure of the ledger: from then on nobody knows what is on the disk."""
    failures = (place for place, note in enumerate(notes) if note.what == "failed" and "ledger" in note.target)
    return sum(note.is_paid_post for note in notes[next(failures, len(notes)) :])


@pytest.mark.parametrize("start", range(1, STEP, 2))
async def test_once_the_ledger_has_failed_nothing_is_sent_but_what_is_under_way(server: Server, start: int) -> None:
    strike = Strike(Action.FAIL_ONCE, Kind.WRITE | Kind.SYNC, error=errno.EIO)
    for number in range(start, LEAST_WRITES, STEP):
        with open_folder(FOUR_JOBS, in_flight=1) as folder:
            async with Simulator(SimulatorSettings(speed=10_000)) as service:
                await server.run(folder, service.url, strike.at_call(number))
                assert count_sent_in_the_dark(read_notes(folder)) <= 1, f"call {number}"
