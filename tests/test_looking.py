"""Looking at a run that has ended: plan, status, results, and what is in its folder."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import SPEED, Desk

from hedra_batch.ledger.records import RESULT_COLUMNS
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

JOBS = """jobs:
  - {id: good, prompt: A scene, model: fal/grok-video-t2v, duration: 5s}
  - {id: bad, prompt: Something forbidden}"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A desk with a run that has ended."""
    with asyncio.Runner() as runner:
        return runner.run(finish_a_run(tmp_path_factory.mktemp("finished")))


async def finish_a_run(path: Path) -> Desk:
    async with Simulator(SimulatorSettings(speed=SPEED, folder=path / "api")) as service:
        desk = Desk(path, service.url)
        desk.write_manifest(JOBS)
        await desk.run_here()
    return desk


@pytest.fixture
def folder(desk: Desk) -> Path:
    return desk.folder / "batch.out"


async def read_results(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (await desk.call("results", "batch.yaml")).out.splitlines()]


async def test_plan_says_what_a_run_would_do_without_network(desk: Desk) -> None:
    desk.write_manifest(f"name: batch\n{JOBS}\n  - {{id: later, prompt: A later scene}}", name="longer.yaml")
    planned = await desk.call("plan", "longer.yaml", HEDRA_API_KEY="", HEDRA_BASE_URL="http://127.0.0.1:1")
    assert planned.out.splitlines() == ["done     good", "failed   bad", "new      later"]
    assert "1 new video, 1 done, 1 failed\n" in planned.err
    assert planned.code == 0


async def test_plan_names_changed_jobs(desk: Desk) -> None:
    desk.write_manifest(f"name: batch\n{JOBS}".replace("A scene", "Another scene"), name="edited.yaml")
    assert "changed  good" in (await desk.call("plan", "edited.yaml")).out


async def test_status_counts_and_says_whether_a_run_is_going(desk: Desk) -> None:
    status = await desk.call("status", "batch.yaml")
    assert status.out.splitlines()[0] == "done=1 failed=1 running=0 held=0 unknown=0 new=0"
    assert (status.code, "no run is going" in status.err) == (0, True)


@pytest.mark.parametrize("command", ["status", "results", "verify"])
async def test_what_is_broken_below_the_name_keeps_nobody_from_looking(desk: Desk, command: str) -> None:
    desk.write_manifest("name: batch\nprompts: [P", name="broken.yaml")
    looked = await desk.call(command, "broken.yaml")
    whole = await desk.call(command, "batch.yaml")
    assert (looked.code, looked.out, looked.err) == (0, whole.out, whole.err.replace("batch.yaml", "broken.yaml"))


async def test_results_in_a_pipe_are_json_lines_with_every_column(desk: Desk) -> None:
    rows = await read_results(desk)
    assert [tuple(row) for row in rows] == [RESULT_COLUMNS, RESULT_COLUMNS]
    good, bad = rows
    assert (good["state"], good["output"], good["credits_charged"]) == ("done", "videos/good.mp4", 35)
    assert (good["duration_ms"], good["model"]) == (5000, "fal/grok-video-t2v")
    assert (bad["state"], bad["error_code"], bad["credits_charged"]) == ("failed", "moderation_failed", None)


async def test_results_as_csv_have_the_same_columns(desk: Desk) -> None:
    text = (await desk.call("results", "batch.yaml", "--format", "csv")).out
    header, *rows = list(csv.reader(io.StringIO(text)))
    assert (tuple(header), [row[0] for row in rows]) == (RESULT_COLUMNS, ["good", "bad"])


async def test_results_as_a_table_are_for_reading(desk: Desk) -> None:
    lines = (await desk.call("results", "batch.yaml", "--format", "table")).out.splitlines()
    assert (lines[0].split()[:2], lines[1].split()[:2], lines[2].split()[:2]) == (
        ["ID", "STATE"],
        ["good", "done"],
        ["bad", "failed"],
    )


async def test_the_results_agree_with_the_files_and_the_bill(desk: Desk, folder: Path) -> None:
    good, _ = await read_results(desk)
    [charge] = [json.loads(line) for line in (desk.folder / "api" / "billing.jsonl").read_text().splitlines()]
    assert good["bytes"] == (folder / good["output"]).stat().st_size
    assert (charge["generation_id"], charge["credits"]) == (good["generation_id"], good["credits_charged"])


def test_the_view_can_be_queried_by_others(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "ledger.sqlite3")) as connection:
        rows = connection.execute("SELECT id, state FROM results ORDER BY id").fetchall()
    assert rows == [("bad", "failed"), ("good", "done")]


def test_the_summary_agrees_with_the_last_line(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["exit_code"], summary["counts"]["done"], summary["counts"]["failed"]) == (1, 1, 1)
    assert summary["credits"] == {"estimated": 35, "charged": 35, "may_be_charged": 35, "unpriced": 0}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", summary["ended_at"])


def test_the_folder_says_that_deleting_it_means_paying_again(folder: Path) -> None:
    assert "PAYING AGAIN" in (folder / "README.txt").read_text()
