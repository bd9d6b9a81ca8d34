"""A machine and a folder that misbehave: links in the way, clocks that jump, processes that are suspended."""

from __future__ import annotations

import shutil
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import IMPATIENT, Desk, wait_until
from test_faults import TWO_JOBS, count_states, list_charged, run

from hedra_batch.clock import CLOCK, Clock
from hedra_batch.errors import WriteError
from hedra_batch.simulator.service import Simulator


class LeapingClock(Clock):
    """A wall clock that somebody sets a day ahead whenever it is read."""

    days = 0

    def now(self) -> datetime:
        self.days += 1
        return datetime.now(UTC) + timedelta(days=self.days)


class RestartedClock(Clock):
    """The clock of a machine that has just been started, for the so-many-th time."""

    def __init__(self, starts: int, seconds: float) -> None:
        self._starts = starts
        self._seconds = seconds

    def boot_id(self) -> str:
        return f"start-{self._starts}"

    def boot_seconds(self) -> float:
        return self._seconds


async def test_a_link_in_the_way_of_the_results_is_refused_before_anything_is_sent(
    desk: Desk, simulator: Simulator
) -> None:
    desk.write_manifest(TWO_JOBS)
    (desk.folder / "elsewhere").mkdir()
    (desk.folder / "batch.out").mkdir()
    (desk.folder / "batch.out" / "videos").symlink_to(desk.folder / "elsewhere")
    refused = await desk.call("run", "batch.yaml")
    assert (refused.code, "videos is a symbolic link" in refused.err, list_charged(simulator)) == (74, True, [])


async def test_nothing_is_written_through_a_link_in_the_place_of_a_part_file(desk: Desk) -> None:
    desk.write_manifest(TWO_JOBS)
    videos = desk.folder / "batch.out" / "videos"
    await run(desk, "first")
    (videos / "second.mp4.part").symlink_to(desk.write("precious.txt", "mine"))
    assert await run(desk) == 74
    assert (desk.folder / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["run.lock", "logs", "README.txt", "identity.json.part"])
async def test_nothing_is_written_through_a_link_in_the_place_of_a_file_of_ours(desk: Desk, name: str) -> None:
    desk.write_manifest(TWO_JOBS)
    precious = desk.write("precious.txt", "mine")
    (desk.folder / "batch.out").mkdir()
    (desk.folder / "batch.out" / name).symlink_to(precious if name != "logs" else desk.folder)
    refused = await desk.call("run", "batch.yaml")
    assert refused.code in (2, 73, 74)
    assert (precious.read_text(), list(desk.folder.glob("*.log"))) == ("mine", [])


async def test_a_link_that_appears_during_the_run_is_not_followed(desk: Desk) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk, "first")
    (desk.folder / "batch.out" / "videos").rename(desk.folder / "elsewhere")
    (desk.folder / "batch.out" / "videos").symlink_to(desk.folder / "elsewhere")
    with pytest.raises(WriteError, match="symbolic link"):
        await desk.run_here()


async def test_everything_in_the_run_folder_is_for_its_owner_only(desk: Desk) -> None:
    desk.write_manifest(TWO_JOBS)
    (desk.folder / "batch.out").mkdir(mode=0o755)
    assert (await desk.call("run", "batch.yaml")).code == 0
    folder = desk.folder / "batch.out"
    assert not [path for path in (folder, *folder.rglob("*")) if stat.S_IMODE(path.lstat().st_mode) & 0o077]


async def test_a_clock_that_is_set_ahead_does_not_shorten_the_quiet_window(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(TWO_JOBS)
    await run(desk, "first")
    simulator.plan_fault("lost-request")
    leaping = replace(IMPATIENT, clock=LeapingClock())
    assert await desk.run_here(leaping, quiet_window_seconds=3600.0, max_runtime_seconds=1.0) == 3
    assert (count_states(desk)["unknown"], len(list_charged(simulator))) == (1, 1)


@pytest.mark.parametrize(("seconds_since_start", "is_over"), [(30.0, False), (700.0, True)])
def test_after_a_restart_of_the_machine_only_the_time_since_then_is_sure(
    seconds_since_start: float, is_over: bool
) -> None:
    mark = RestartedClock(1, 50_000.0).mark()
    assert (RestartedClock(2, seconds_since_start).least_seconds_since(mark) > 600) is is_over


class NamelessClock(RestartedClock):
    """The clock of a machine that does not tell its starts apart."""

    def boot_id(self) -> str:
        return "process-of-now"


def test_without_a_name_for_the_start_only_the_time_of_the_process_is_sure() -> None:
    since_start = CLOCK.boot_seconds()
    passed = NamelessClock(1, since_start).least_seconds_since("process-of-then 0.000")
    assert passed < since_start


def test_the_time_since_a_mark_of_this_start_is_counted_exactly() -> None:
    mark = RestartedClock(1, 100.0).mark()
    assert RestartedClock(1, 700.5).least_seconds_since(mark) == 600.5


async def test_a_process_that_is_suspended_in_the_middle_goes_on_where_it_was(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(TWO_JOBS)
    process = await desk.start("run", "batch.yaml")
    await wait_until(lambda: len(simulator.billing) >= 1)
    process.send_signal(signal.SIGSTOP)
    await wait_until(lambda: is_stopped(process.pid))
    # Everything at the server ends meanwhile, and the connections stand idle.
    ended_at = simulator.billing[0].at + 1
    await wait_until(lambda: simulator.settings.clock() > ended_at)
    process.send_signal(signal.SIGCONT)
    await process.communicate()
    assert (process.returncode, len(list_charged(simulator))) == (0, 2)


def is_stopped(process_id: int) -> bool:
    return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "T"


NO_LOCKS = """
#include <errno.h>
int flock(int descriptor, int operation) { errno = ENOLCK; return -1; }
"""


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux and a C compiler")
async def test_a_file_system_without_locks_is_told_as_that_also_when_quiet(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(TWO_JOBS)
    source, library = desk.write("flock.c", NO_LOCKS), desk.folder / "flock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)  # noqa: ASYNC221
    for flags in ((), ("-q",)):
        ended = await desk.call("run", "batch.yaml", *flags, LD_PRELOAD=str(library))
        told = "batch.out/run.lock cannot be locked: No locks available. Nothing was sent"
        assert (ended.code, told in ended.err, simulator.billing) == (74, True, [])
    assert (await desk.call("run", "batch.yaml")).code == 0
    status = await desk.call("status", "batch.yaml", LD_PRELOAD=str(library))
    assert (status.code, "whether a run is going cannot be told" in status.err) == (0, True)
