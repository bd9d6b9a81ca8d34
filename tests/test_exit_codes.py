"""Each row of the table of exit codes, with the real command, and the table itself."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import SPEED, Desk, wait_until

from hedra_batch import errors
from hedra_batch.cli.execution import execute
from hedra_batch.cli.main import guard
from hedra_batch.cli.options import RunOptions
from hedra_batch.errors import EXIT_CODES, HedraBatchError
from hedra_batch.folder import RunFolder
from hedra_batch.planning.result import find_exit_code
from hedra_batch.run.settings import RunSettings
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

ONE_JOB = "jobs: [{id: scene, prompt: A calm sea, model: fal/grok-video-t2v}]"


def count_posts(simulator: Simulator) -> int:
    return sum(1 for request in simulator.requests if request.method == "POST")


@pytest.fixture
async def poor_desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with Simulator(SimulatorSettings(speed=SPEED, credits=40)) as service:
        yield Desk(tmp_path, service.url)


async def test_0_when_all_is_done(desk: Desk) -> None:
    desk.write_manifest(ONE_JOB)
    assert (await desk.call("run", "batch.yaml")).code == 0


async def test_1_when_some_jobs_failed_for_good(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: Something forbidden}]")
    assert (await desk.call("run", "batch.yaml")).code == 1


@pytest.mark.parametrize(
    "words", [("fly",), ("run",), ("run", "batch.yaml", "--submit", "fast"), ("run", "a", "--nope")]
)
async def test_2_for_a_wrong_command_line(desk: Desk, words: tuple[str, ...]) -> None:
    assert (await desk.call(*words)).code == 2


async def test_2_when_no_job_has_the_id_that_was_asked_for(desk: Desk) -> None:
    desk.write_manifest(ONE_JOB)
    finished = await desk.call("run", "batch.yaml", "--id", "sceen")
    assert (finished.code, "No job has an id like sceen" in finished.err) == (2, True)


async def test_3_when_the_time_is_up_and_jobs_are_still_running(desk: Desk) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: An endless scene}]")
    finished = await desk.call("run", "batch.yaml", "--max-runtime", "1500ms")
    assert (finished.code, finished.last_line.startswith("batch: done=0 failed=0 ")) == (3, True)


async def test_4_when_a_paid_job_was_edited(desk: Desk) -> None:
    desk.write_manifest(ONE_JOB)
    await desk.call("run", "batch.yaml")
    desk.write_manifest(ONE_JOB.replace("calm", "wild"))
    assert (await desk.call("run", "batch.yaml")).code == 4


async def test_5_when_the_account_is_out_of_credits_and_what_was_paid_for_arrives(poor_desk: Desk) -> None:
    jobs = "\n".join(f"  - {{id: job-{number}, prompt: Scene {number}}}" for number in range(4))
    poor_desk.write_manifest(f"defaults: {{model: fal/grok-video-t2v, duration: 5s}}\njobs:\n{jobs}")
    finished = await poor_desk.call("run", "batch.yaml")
    assert finished.last_line.startswith("batch: done=1 failed=0 running=0 held=0 new=3 exit=5")
    assert finished.err.count("out of credits") == 1
    assert finished.err.endswith("\n  Once the account has credits again, run the same line again to go on.\n")


async def test_a_retry_out_of_credits_says_what_goes_on_with_it(poor_desk: Desk) -> None:
    priced = "defaults: {model: fal/grok-video-t2v, duration: 5s}\nattempts: 1"
    poor_desk.write_manifest(f"{priced}\njobs: [{{id: a, prompt: A doomed scene}}, {{id: b, prompt: A scene}}]")
    await poor_desk.run_here(ids=("a",))
    await poor_desk.run_here(ids=("b",))
    finished = await poor_desk.call("retry", "batch.yaml", "--budget", "500")
    assert (finished.code, "run the same line again" in finished.err) == (5, False)
    assert finished.err.endswith(
        "\n  Once the account has credits again, to go on:\n      hedra-batch run batch.yaml --budget 500 --id a\n"
    )


def test_6_stands_for_the_budget() -> None:
    assert find_exit_code(Counter(new=1), closed_by=errors.BudgetReachedError("reached")) == 6


async def test_65_for_a_manifest_with_errors_and_nothing_is_sent(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: scene, promt: A calm sea, duration: 5}]")
    finished = await desk.call("run", "batch.yaml")
    assert (finished.code, len(simulator.requests)) == (65, 0)
    assert len(re.findall(r"^(?:hedra-batch: )?batch\.yaml:3:\d+: ", finished.err, re.MULTILINE)) >= 2


async def test_65_for_a_model_name_that_the_api_does_not_have(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: A calm sea, model: Grok Vidio T2V}]")
    finished = await desk.call("run", "batch.yaml")
    assert (finished.code, count_posts(simulator)) == (65, 0)
    assert "Did you mean 'Grok Video T2V' or" in finished.err


async def test_66_for_a_missing_manifest(desk: Desk) -> None:
    assert (await desk.call("run", "nowhere.yaml")).code == 66


async def test_66_for_a_missing_image_and_nothing_is_sent(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: A calm sea, image: nowhere.png}]")
    assert ((await desk.call("run", "batch.yaml")).code, len(simulator.requests)) == (66, 0)


def test_69_when_the_host_cannot_be_reached(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        free_port = taken.getsockname()[1]
    monkeypatch.setenv("HEDRA_API_KEY", "key-of-the-tests")
    options = RunOptions(desk.write_manifest(ONE_JOB), base_url=f"http://127.0.0.1:{free_port}/web-app/public")
    assert execute(options, settings=RunSettings(first_answer_seconds=0.3, first_pause_seconds=0.05)) == 69


def test_a_host_is_tried_for_30_seconds_before_its_first_answer_and_15_minutes_after() -> None:
    assert (RunSettings().first_answer_seconds, RunSettings().outage_seconds) == (30.0, 900.0)


def test_70_for_an_internal_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard(lambda: 1 // 0) == 70
    assert "Please report" in capsys.readouterr().err


async def test_73_when_the_folder_cannot_be_created(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(ONE_JOB)
    desk.write("batch.out", "a file in the way")
    finished = await desk.call("run", "batch.yaml")
    assert (finished.code, len(simulator.requests)) == (73, 0)


async def test_74_when_the_ledger_cannot_be_written_and_nothing_is_sent(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(ONE_JOB)
    finished = await desk.call("run", "batch.yaml", file_limit_bytes=16_384)
    assert (finished.code, count_posts(simulator), "cannot be" in finished.err) == (74, 0, True)


async def test_74_when_the_disk_is_full_in_the_middle_and_every_charge_has_its_row(
    desk: Desk, simulator: Simulator
) -> None:
    jobs = "\n".join(f"  - {{id: job-{number}, prompt: Scene {number}}}" for number in range(40))
    desk.write_manifest(f"jobs:\n{jobs}")
    stopped = await desk.call("run", "batch.yaml", file_limit_bytes=300_000)
    charged = {record.generation_id for record in simulator.billing}
    again = await desk.call("run", "batch.yaml", "--quiet-window", "100ms")
    assert (stopped.code, 0 < len(charged) < 40) == (74, True)
    assert (again.code, len(simulator.billing)) == (0, 40)


async def test_75_when_another_run_holds_the_folder_and_it_says_who(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: An endless scene}]")
    first = await desk.start("run", "batch.yaml")
    await wait_until(lambda: count_posts(simulator) >= 1)
    second = await desk.call("run", "batch.yaml")
    quiet = await desk.call("run", "batch.yaml", "-q")
    first.kill()
    await first.communicate()
    assert (second.code, f"process {first.pid} on" in second.err) == (75, True)
    assert (quiet.code, quiet.out + quiet.err) == (75, "")


def test_76_when_the_api_breaks_its_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (sys.executable, "-m", "hedra_batch", "simulate", "--port", "0", "--fault", "garbage=1")
    with subprocess.Popen([*words, "--folder", str(tmp_path / "api")], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout
        base_url = service.stdout.readline().split()[-1]
        monkeypatch.setenv("HEDRA_API_KEY", "key-of-the-tests")
        options = RunOptions(Desk(tmp_path, base_url).write_manifest(ONE_JOB), base_url=base_url)
        code = execute(options, settings=RunSettings(first_pause_seconds=0.01))
        service.terminate()
    assert (code, "POST" in (tmp_path / "api" / "requests.jsonl").read_text()) == (76, False)


async def test_77_for_a_refused_key_after_one_request(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(ONE_JOB)
    finished = await desk.call("run", "batch.yaml", HEDRA_API_KEY="wrong-key")
    assert (finished.code, len(simulator.requests)) == (77, 1)


async def test_78_without_a_key(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(ONE_JOB)
    finished = await desk.call("run", "batch.yaml", HEDRA_API_KEY="")
    assert (finished.code, len(simulator.requests), "HEDRA_API_KEY_FILE" in finished.err) == (78, 0, True)


async def test_78_for_the_folder_of_another_manifest(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(ONE_JOB)
    desk.write_manifest(ONE_JOB, name="other.yaml")
    await desk.call("run", "batch.yaml", "--folder", "shared")
    before = len(simulator.requests)
    finished = await desk.call("run", "other.yaml", "--folder", "shared")
    assert (finished.code, len(simulator.requests)) == (78, before)


async def test_a_renamed_manifest_uses_its_folder_again_by_the_line_that_is_advised(desk: Desk) -> None:
    desk.write_manifest(ONE_JOB, name="2024.yaml")
    await desk.call("run", "2024.yaml", "--folder", "shared")
    (desk.folder / "2024.yaml").rename(desk.folder / "other.yaml")
    refused = await desk.call("run", "other.yaml", "--folder", "shared")
    [line] = [line.strip() for line in refused.err.splitlines() if line.startswith("    name: ")]
    desk.write_manifest(f"{line}\n{ONE_JOB}", name="other.yaml")
    assert (line, (await desk.call("run", "other.yaml", "--folder", "shared")).code) == ('name: "2024"', 0)


async def test_78_for_names_that_the_locale_cannot_write_and_nothing_is_sent(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest("jobs: [{id: straße, prompt: A street}]")
    finished = await desk.call("run", "batch.yaml", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (finished.code, "C.UTF-8" in finished.err, len(simulator.requests)) == (78, True, 0)


@pytest.mark.parametrize("address", ["http://api.example.com"])
async def test_78_for_an_address_that_the_key_must_not_go_to(desk: Desk, address: str) -> None:
    desk.write_manifest(ONE_JOB)
    assert (await desk.call("run", "batch.yaml", "--base-url", address)).code == 78


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_128_and_the_number_of_the_signal_that_stopped_it(
    desk: Desk, simulator: Simulator, number: signal.Signals
) -> None:
    desk.write_manifest("jobs: [{id: scene, prompt: An endless scene}]")
    process = await desk.start("run", "batch.yaml")
    await wait_until(lambda: count_posts(simulator) >= 1)
    process.send_signal(number)
    _, err = await process.communicate()
    assert process.returncode == 128 + number
    assert f"running=1 held=0 exit={128 + number}" in err.decode()


def list_error_classes(root: type[HedraBatchError] = HedraBatchError) -> list[type[HedraBatchError]]:
    return [root, *(found for child in root.__subclasses__() for found in list_error_classes(child))]


def test_every_code_on_an_error_class_is_in_the_table() -> None:
    listed = {code for code, _ in EXIT_CODES}
    assert {str(kind.exit_code) for kind in list_error_classes()} <= listed


def test_every_code_of_the_table_from_64_on_stands_on_a_class() -> None:
    used = {kind.exit_code for kind in list_error_classes()}
    assert {int(code) for code, _ in EXIT_CODES if code.isdigit() and int(code) > 3} <= used


@pytest.mark.parametrize(
    ("counts", "reasons", "code"),
    [
        (Counter(done=3), {}, 0),
        (Counter(done=3, failed=1), {}, 1),
        (Counter(failed=1, running=1), {}, 3),
        (Counter(failed=1, new=1), {}, 3),
        (Counter(unknown=1), {}, 3),
        (Counter(failed=1, running=1, held=1), {}, 4),
        (Counter(done=1, changed=1), {}, 4),
        (Counter(held=1), {"closed_by": errors.OutOfCreditsError("dry")}, 5),
        (Counter(held=1, new=1), {"stopped_by": errors.KeyRefusedError("no")}, 77),
        (Counter(held=1), {"stopped_by": errors.LedgerError("full"), "signal_number": 15}, 143),
    ],
)
def test_the_first_that_applies_is_the_code(counts: Counter[str], reasons: dict[str, object], code: int) -> None:
    assert find_exit_code(counts, **reasons) == code  # type: ignore[arg-type]  # a table of cases


def test_the_lock_is_free_again_when_its_holder_ends(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.lock():
        assert folder.is_locked()
    assert not folder.is_locked()


async def test_where_the_summary_cannot_be_written_the_ledger_agrees_with_the_exit_code(desk: Desk) -> None:
    desk.write_manifest(ONE_JOB)
    await desk.call("run", "batch.yaml")
    (desk.folder / "batch.out" / "summary.json.part").mkdir()
    finished = await desk.call("run", "batch.yaml")
    with closing(sqlite3.connect(desk.folder / "batch.out" / "ledger.sqlite3")) as connection:
        ended = connection.execute("SELECT exit_code FROM runs ORDER BY number").fetchall()
    assert (finished.code, ended) == (74, [(0,), (74,)])
