"""Answers that are none of the documents', met by a whole run: what was paid for arrives all the same."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from conftest import IMPATIENT, Desk
from scripted import make_item, make_list, make_page, refuse, serve
from test_faults import list_charged, open_desk, read_results

from hedra_batch.simulator.service import Simulator

ONE_JOB = "jobs: [{id: scene, prompt: One scene}]"


async def test_a_long_pause_of_submissions_keeps_no_finished_video_from_being_fetched(tmp_path: Path) -> None:
    # Windows of decades: the third submission may go when this one ends.
    async with open_desk(tmp_path, window_submissions=2, window_seconds=1e9) as (desk, _):
        scenes = "".join(f"  - {{id: scene-{number}, prompt: Scene {number}}}\n" for number in range(3))
        desk.write_manifest(f"jobs:\n{scenes}")
        ended = await desk.call("run", "batch.yaml", "--max-runtime", "6s")
    assert sorted(row["state"] for row in read_results(desk)) == ["done", "done", "new"], ended.err


async def test_a_result_without_a_link_holds_no_slot_of_the_downloads(tmp_path: Path) -> None:
    limits = "limits: {submit: 100/s, in_flight: 2, downloads: 1, poll: 100/s}"
    faults = {"cut-download": 1.0}
    async with open_desk(tmp_path, faults=faults) as (desk, simulator):
        desk.write("batch.yaml", f"version: 1\n{limits}\njobs:\n  - {{id: a, prompt: A}}\n  - {{id: b, prompt: B}}\n")
        assert await desk.run_here(replace(IMPATIENT, download_tries=1)) == 3
        lost = next(row["generation_id"] for row in read_results(desk) if row["id"] == "a")
        simulator.lose_result(lost)
        faults.clear()
        before = len(simulator.requests)
        assert await desk.run_here(replace(IMPATIENT, download_tries=3, first_pause_seconds=0.3)) == 3
        paths = [each.path for each in simulator.requests[before:]]
    looks = [index for index, path in enumerate(paths) if path.endswith(f"/{lost}/status")]
    [download] = [index for index, path in enumerate(paths) if path.startswith("/media/")]
    # It was fetched between two looks for the one that is lost.
    assert (len(looks), download < looks[1]) == (3, True)


async def run_scripted(folder: Path, generate: Any, **scripts: Any) -> tuple[int, dict[str, Any]]:
    """Run one job with a service that answers as it is told; returns the exit code and the job's line of `results`."""
    given = {"models": lambda _: [], "balance": lambda _: {"remaining": 100}, **scripts}
    async with serve(generate=generate, **given) as service:
        desk = Desk(folder, service.url)
        desk.write_manifest(ONE_JOB)
        code = await desk.run_here(quiet_window_seconds=0.1)
    [row] = read_results(desk)
    return code, row


async def accept(request: web.Request) -> dict[str, Any]:
    return make_item((await request.json())["generation_id"], "queued")


async def test_what_a_refusal_is_about_stands_in_the_results(tmp_path: Path) -> None:
    error = {
        "type": "INVALID_ARGUMENT",
        "message": "The request cannot be served.",
        "param": "text_prompt",
        "violations": [{"field": "text_prompt", "message": "too short"}, {"field": "seed", "message": "not taken"}],
    }
    refusal = json.dumps({"error": error})
    code, row = await run_scripted(
        tmp_path, lambda _: web.Response(status=422, text=refusal, content_type="application/json")
    )
    assert (code, row["state"]) == (1, "failed")
    assert row["error"] == "The request cannot be served (text_prompt: too short; seed: not taken)"


@pytest.mark.parametrize("word", ["failed", "Canceled", "EXPIRED"])
async def test_an_end_under_a_word_that_is_not_published_buys_nothing_again(tmp_path: Path, word: str) -> None:
    error = {"type": "INTERNAL", "message": "No.", "credits_needed": 5, "credits_available": 1}
    bought: list[str] = []

    async def generate(request: web.Request) -> dict[str, Any]:
        accepted = await accept(request)
        bought.append(accepted["id"])
        return accepted

    code, row = await run_scripted(
        tmp_path, generate, list=lambda _: make_list(*(make_item(each, word, error=error) for each in bought))
    )
    assert (code, row["error_code"], len(bought)) == (1, word.lower(), 1)
    assert row["error"] == "No (credits needed: 5; credits available: 1)"


@pytest.mark.parametrize("status", [401, 403, 404, 429, 200])
async def test_a_page_in_place_of_an_acceptance_is_looked_for_and_found(tmp_path: Path, status: int) -> None:
    ids: list[str] = []

    async def generate(request: web.Request) -> web.Response:
        ids.append((await accept(request))["id"])
        return make_page(status)

    code, row = await run_scripted(
        tmp_path, generate, status=lambda request: make_item(request.match_info["id"], "error")
    )
    assert (code, row["state"], len(ids), row["generation_id"]) == (1, "failed", 1, ids[0])


@pytest.mark.parametrize("answer", [lambda: web.json_response(refuse(403), status=403), lambda: make_page(403)])
async def test_a_balance_and_a_list_that_alone_are_forbidden_end_nothing(tmp_path: Path, answer: Any) -> None:
    code, row = await run_scripted(
        tmp_path,
        accept,
        balance=lambda _: answer(),
        list=lambda _: answer(),
        status=lambda request: make_item(request.match_info["id"], "error"),
    )
    assert (code, row["state"]) == (1, "failed")


def read_bodies(desk: Desk) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(desk.folder / "batch.out" / "ledger.sqlite3")) as connection:
        return [json.loads(body) for (body,) in connection.execute("SELECT body FROM attempts ORDER BY attempt_key")]


async def test_a_job_is_named_and_its_file_has_an_id_of_ours(desk: Desk, simulator: Simulator) -> None:
    desk.add_image("hero.png")
    desk.write_manifest("jobs: [{id: chair--turn, prompt: Wind, image: hero.png, model: fal/grok-video-i2v}]")
    assert await desk.run_here() == 0
    [body] = read_bodies(desk)
    first = body["start_keyframe_id"]
    assert body["name"] == "chair--turn"
    # Lost with the server's memory, the same file is uploaded under another id.
    simulator.forget_assets()
    desk.write_manifest("jobs: [{id: other, prompt: Rain, image: hero.png, model: fal/grok-video-i2v}]")
    assert await desk.run_here() == 0
    assert read_bodies(desk)[-1]["start_keyframe_id"] != first
    assert len(list_charged(simulator)) == 2
