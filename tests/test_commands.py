"""The commands that only look, what a run leaves in its folder, and what it says."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import stat
from pathlib import Path

import pytest
from conftest import Desk, wait_until

from hedra_batch.cli.main import COMMANDS, cli
from hedra_batch.simulator.service import Simulator

JOBS = """jobs:
  - {id: good, prompt: A scene, model: fal/grok-video-t2v, duration: 5s}
  - {id: bad, prompt: Something forbidden}"""
SECRET = "a-secret-canary-key-1234567890"


@pytest.mark.parametrize("command", ["status", "results"])
async def test_before_the_first_run_there_is_nothing_to_see(desk: Desk, command: str) -> None:
    desk.write_manifest(JOBS)
    finished = await desk.call(command, "batch.yaml")
    assert (finished.code, finished.out, "no run has been here yet" in finished.err) == (0, "", True)


@pytest.mark.parametrize("command", ["status", "results", "verify"])
async def test_before_the_first_run_it_is_said_how_to_begin(desk: Desk, command: str) -> None:
    desk.write_manifest(JOBS)
    finished = await desk.call(command, "batch.yaml")
    assert finished.err.endswith("To see what a run would do, at no cost:\n    hedra-batch plan batch.yaml\n")


async def test_where_there_was_a_trial_only_it_is_said_how_to_look_at_it(desk: Desk) -> None:
    desk.write_manifest(JOBS)
    await desk.run_here(folder=desk.folder / "batch.sim")
    assert "There was a trial: add --simulate to look at it.\n" in (await desk.call("status", "batch.yaml")).err
    assert "trial" not in (await desk.call("status", "batch.yaml", "--simulate")).err


async def test_a_ledger_without_a_job_is_said_to_be_so(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: good, prompt: A scene}]")
    await desk.call("run", "batch.yaml", HEDRA_API_KEY="wrong-key")
    finished = await desk.call("results", "batch.yaml")
    assert (finished.code, finished.out, finished.err.startswith("The ledger has no job yet")) == (0, "", True)


async def test_open_jobs_that_are_not_shown_are_counted(desk: Desk, simulator: Simulator) -> None:
    jobs = "\n".join(f"  - {{id: slow-{number}, prompt: Endless scene {number}}}" for number in range(52))
    desk.write_manifest(f"jobs:\n{jobs}")
    process = await desk.start("run", "batch.yaml", "--in-flight", "52", "--submit", "1000/s")
    await wait_until(lambda: len(simulator.billing) == 52)
    process.terminate()
    await process.communicate()
    status = await desk.call("status", "batch.yaml")
    assert "… and 2 more open jobs; all of them:\n    hedra-batch results batch.yaml\n" in status.err


async def test_a_stop_says_how_many_videos_are_at_the_server(desk: Desk) -> None:
    desk.write_manifest("jobs:\n  - {id: a, prompt: An endless scene}\n  - {id: b, prompt: Another endless one}")
    process = await desk.start("run", "batch.yaml", "-vv")
    assert process.stderr
    submitted, line = 0, b""
    # What is read was counted as running before.
    while submitted < 2 or b"GET /generations ->" not in line:
        line = await process.stderr.readline()
        submitted += b"submitted as" in line
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert "nothing is lost. 2 videos are still at the server: run the same line again to go on.\n" in err.decode()


async def test_the_end_of_the_time_says_how_many_videos_are_at_the_server(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: An endless scene}]")
    finished = await desk.call("run", "batch.yaml", "--max-runtime", "1500ms")
    assert "Stopping: the time of --max-runtime is up. " in finished.err
    assert "1 video is still at the server: run the same line again to go on.\nbatch: done=0" in finished.err


async def test_the_key_is_in_no_file_and_no_output(desk: Desk) -> None:
    desk.write_manifest(JOBS)
    finished = await desk.call("run", "batch.yaml", "-vv", HEDRA_API_KEY=SECRET)
    written = [path.read_bytes() for path in (desk.folder / "batch.out").rglob("*") if path.is_file()]
    assert len(written) > 5
    assert not [text for text in (*written, finished.out.encode(), finished.err.encode()) if SECRET.encode() in text]


async def test_the_folder_is_for_its_owner_only(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: good, prompt: A scene}]")
    await desk.call("run", "batch.yaml")
    folder = desk.folder / "batch.out"
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (folder, *folder.rglob("*"))}
    assert modes == {0}


async def test_no_signed_link_is_in_any_file_or_output(desk: Desk) -> None:
    desk.write_manifest(JOBS)
    finished = await desk.call("run", "batch.yaml", "-vv")
    written = [path.read_bytes() for path in (desk.folder / "batch.out").rglob("*") if path.is_file()]
    assert not [text for text in (*written, finished.err.encode()) if b"ignature=" in text or b"Expires=" in text]


async def test_the_key_may_come_from_a_file(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: good, prompt: A scene}]")
    desk.write("key.txt", f"{SECRET}\n")
    finished = await desk.call("run", "batch.yaml", HEDRA_API_KEY="", HEDRA_API_KEY_FILE=str(desk.folder / "key.txt"))
    assert finished.code == 0


@pytest.mark.parametrize(
    ("content", "words"), [(None, "cannot be read"), ("", "is empty"), ("two words", "characters")]
)
async def test_an_unusable_key_file_is_said_to_be_so(desk: Desk, content: str | None, words: str) -> None:
    desk.write_manifest(JOBS)
    if content is not None:
        desk.write("key.txt", content)
    finished = await desk.call("run", "batch.yaml", HEDRA_API_KEY="", HEDRA_API_KEY_FILE="key.txt")
    assert (finished.code, words in finished.err) == (78, True)


async def test_quiet_prints_nothing_when_all_is_well(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: good, prompt: A scene}]")
    finished = await desk.call("run", "batch.yaml", "-q")
    assert (finished.code, finished.out + finished.err) == (0, "")


async def test_quiet_stays_quiet_when_the_weather_is_bad(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: good, prompt: A scene}]")
    simulator.plan_fault("5xx-before", route="GET /models")
    simulator.plan_fault("garbage", route="GET /generations")
    finished = await desk.call("run", "batch.yaml", "-q")
    assert (finished.code, finished.out + finished.err) == (0, "")


async def test_status_tells_of_a_run_that_is_going(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: An endless scene}]")
    process = await desk.start("run", "batch.yaml")
    await wait_until(lambda: len(simulator.billing) >= 1)
    status = await desk.call("status", "batch.yaml")
    process.kill()
    await process.communicate()
    assert f"a run is going (process {process.pid} on" in status.err
    assert re.search(r"^scene +running +1 ", status.out, re.MULTILINE)


async def test_quiet_prints_the_summary_when_something_failed(desk: Desk) -> None:
    desk.write_manifest(JOBS)
    finished = await desk.call("run", "batch.yaml", "-q")
    assert finished.err.splitlines()[0].startswith("batch: done=1 failed=1 ")


async def test_words_are_dated_lines_one_a_change_and_go_to_stderr(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: good, prompt: A scene}]")
    finished = await desk.call("run", "batch.yaml")
    *lines, last = finished.err.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in lines)
    assert (finished.out, last) == ("", finished.last_line)


async def test_a_terminal_that_goes_away_stops_the_run_in_order(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: An endless scene}]")
    screen, terminal = pty.openpty()
    process = await desk.spawn(("run", "batch.yaml"), {"TERM": "xterm", "COLUMNS": "100"}, stderr=terminal)
    os.close(terminal)
    drawn = b""
    while b"generating" not in drawn:
        drawn += await asyncio.to_thread(os.read, screen, 4096)
    os.close(screen)
    process.send_signal(signal.SIGHUP)
    await process.communicate()
    summary = json.loads((desk.folder / "batch.out" / "summary.json").read_text())
    assert (process.returncode, summary["exit_code"], summary["counts"]["running"]) == (129, 129, 1)


async def test_thirty_logs_are_kept(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: good, prompt: A scene}]")
    for number in range(40):
        desk.write(f"batch.out/logs/2020-01-01T0000{number:02}000Z.log", "old")
    await desk.call("run", "batch.yaml")
    names = sorted(path.name for path in (desk.folder / "batch.out" / "logs").iterdir())
    assert (len(names), names[0], names[-1][:2]) == (30, "2020-01-01T000011000Z.log", "20")


async def test_today_is_an_edition_with_the_local_date(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: good, prompt: A scene}]")
    await desk.call("run", "batch.yaml", "--edition", "today")
    [folder] = (desk.folder / "batch.out" / "videos").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", folder.name)


@pytest.mark.parametrize("label", ["../up", "a/b", ".hidden", "a b"])
async def test_an_edition_that_is_no_label_is_refused(desk: Desk, label: str) -> None:
    desk.write_manifest(JOBS)
    assert (await desk.call("run", "batch.yaml", "--edition", label)).code == 2


async def test_jobs_of_an_older_edition_that_were_not_sent_are_not_started(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs:\n  - {id: a, prompt: One}\n  - {id: b, prompt: Two}")
    interrupted = await desk.start("run", "batch.yaml", "--edition", "old", "--submit", "1/h")
    await wait_until(lambda: len(simulator.billing) >= 1)
    interrupted.kill()
    await interrupted.communicate()
    finished = await desk.call("run", "batch.yaml", "--edition", "new", "--id", "a")
    assert (finished.code, len(simulator.billing)) == (0, 2)


async def test_a_manifest_may_be_looked_at_though_its_images_are_gone(desk: Desk) -> None:
    desk.add_image("hero.png")
    desk.write_manifest("images: [hero.png]\ndefaults: {prompt: Wind, model: fal/grok-video-i2v}")
    await desk.call("run", "batch.yaml")
    (desk.folder / "hero.png").unlink()
    assert (await desk.call("results", "batch.yaml")).code == (await desk.call("status", "batch.yaml")).code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run",), "The manifest is missing, as in spring.yaml. Help: `hedra-batch run --help`"),
        (("run", "a.yaml", "--nope"), "No such option '--nope'."),
        (("batch.yaml",), "Say first what to do with batch.yaml, as in `hedra-batch plan batch.yaml`."),
        (("run", "a.yaml", "--first", "0"), "Invalid value for '--first': '0' is no count (write a whole number from"),
        (("resolve", "a.yaml", "--abandon"), "Say which jobs you mean, as in --id market; --id '*' means all of them."),
    ],
)
async def test_a_wrong_command_line_is_one_sentence(desk: Desk, words: tuple[str, ...], said: str) -> None:
    finished = await desk.call(*words)
    assert (finished.code, len(finished.err.splitlines())) == (2, 1)
    assert finished.err.startswith(f"hedra-batch: {said}")


async def test_a_command_that_is_misspelt_is_named(desk: Desk) -> None:
    assert "No such command 'statu'. Did you mean 'status'?" in (await desk.call("statu", "batch.yaml")).err


def test_every_command_is_a_module_of_its_name() -> None:
    assert {command.callback.__module__ for command in cli.commands.values() if command.callback} == {
        f"hedra_batch.cli.{name}" for name in COMMANDS
    }


async def test_the_simulated_api_lists_its_faults(desk: Desk) -> None:
    finished = await desk.call("simulate", "--fault", "help")
    assert (finished.code, "lost-answer" in finished.out) == (0, True)


async def test_an_unknown_fault_is_refused(desk: Desk) -> None:
    finished = await desk.call("simulate", "--fault", "gremlins=1")
    assert (finished.code, "lost-answer" in finished.err) == (2, True)


def test_the_package_is_typed() -> None:
    assert (Path(__file__).parents[1] / "hedra_batch" / "py.typed").exists()
