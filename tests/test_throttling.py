"""What the API bears: its limits are found out, kept, and tried again. Judged by its own logs and the run's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from conftest import IMPATIENT, SPEED, Desk

from hedra_batch import errors
from hedra_batch.api.protocol import RequestGroup
from hedra_batch.api.v2.client import HedraClient
from hedra_batch.api.v2.pricing import Catalogue
from hedra_batch.api.v2.refusals import read_refusal
from hedra_batch.api.v2.requests import write_request
from hedra_batch.api.v2.throttling import read_exhausted_seconds
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

NOON = 1_800_000_000
AT_NOON = {"Date": formatdate(NOON, usegmt=True)}
IN_TWO_MINUTES = formatdate(NOON + 120, usegmt=True)
#: The API's own window is a second long, which no setting of a test can shorten.
AT_HALF = "submit: 30/s, in_flight: 50, downloads: 8, poll: 100/s"
WIDE = "submit: 100/s, in_flight: 8, poll: 100/s"


def make_body(number: int) -> bytes:
    fields: dict[str, str | int] = {"prompt": "A storm", "duration_ms": 5000, "model": "fal/grok-video-t2v"}
    return write_request(f"0b0e4bb7-5a4c-5d4c-9b39-0b7b8a3a9d{number:02}", fields, {}, Catalogue([]).name_on_wire)


@asynccontextmanager
async def open_desk(folder: Path, limits: str, jobs: int, **settings: Any) -> AsyncIterator[tuple[Desk, Simulator]]:
    async with Simulator(SimulatorSettings(**{"speed": SPEED, **settings})) as simulator:
        desk = Desk(folder, simulator.url)
        scenes = "".join(f"  - {{id: scene-{number}, prompt: Scene {number}}}\n" for number in range(jobs))
        desk.write("batch.yaml", f"version: 1\nlimits: {{{limits}}}\njobs:\n{scenes}")
        yield desk, simulator


def list_posts(simulator: Simulator) -> list[int | None]:
    return [each.status for each in simulator.requests if each.method == "POST"]


def list_charged(simulator: Simulator) -> set[str]:
    return {record.generation_id for record in simulator.billing}


def read_log(desk: Desk) -> str:
    (path,) = (desk.folder / "batch.out" / "logs").glob("*.log")
    return path.read_text("utf-8")


async def test_where_three_run_at_once_no_more_are_kept_in_flight(tmp_path: Path) -> None:
    async with open_desk(tmp_path, WIDE, 30, concurrency=3, generation_seconds=300) as (desk, simulator):
        code = await desk.run_here(is_confirmed=True)
        posts, log = list_posts(simulator), read_log(desk)
        assert (code, len(simulator.billing), len(list_charged(simulator)), posts.count(200)) == (0, 30, 30, 30)
    # Those that were under way together at first, and then one for every five that were accepted.
    assert 1 <= posts.count(429) <= 5 + 30 / 5
    assert "the API runs no more than 3 generations at once now: the next is submitted when one ends" in log
    assert "4 generations at once are tried now: 5 in a row were accepted" in log
    assert ("pace goes" in log, "submissions pause" in log) == (False, False)


async def test_whoever_waits_for_an_end_that_is_not_ours_asks_again_after_a_pause(tmp_path: Path) -> None:
    async with open_desk(tmp_path, WIDE, 1, concurrency=1, generation_seconds=1000) as (desk, simulator):
        async with HedraClient(simulator.url, "key-of-the-tests") as somebody:
            await somebody.submit(make_body(1))
        assert (await desk.run_here(), len(list_charged(simulator))) == (0, 2)
    assert "submissions pause for 0.1 s: the API runs other generations of this account" in read_log(desk)


async def test_a_window_that_is_used_up_is_waited_for(tmp_path: Path) -> None:
    async with open_desk(tmp_path, AT_HALF, 45, window_submissions=15) as (desk, simulator):
        assert await desk.run_here(is_confirmed=True) == 0
        posts = list_posts(simulator)
        assert (len(simulator.billing), len(list_charged(simulator)), posts.count(200)) == (45, 45, 45)
    # Only what was under way when the last of a window was answered.
    assert posts.count(429) < 15
    assert ": the API says that it takes no more for now (X-RateLimit-Remaining: 0)" in read_log(desk)


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ("POST /generations", "the submit pace goes from 100/s to 50/s: the API asks to slow down (Too many requests)"),
        ("GET /models", "the poll pace goes from 100/s to 50/s: the API asks to slow down (Too many requests)"),
    ],
)
async def test_the_pace_of_what_was_refused_is_cut(tmp_path: Path, route: str, words: str) -> None:
    async with open_desk(tmp_path, WIDE, 1) as (desk, simulator):
        simulator.plan_fault("429", route=route)
        assert (await desk.run_here(), len(simulator.billing)) == (0, 1)
    assert [line for line in read_log(desk).splitlines() if "goes" in line and words not in line] == []
    assert read_log(desk).count(words) == 1


async def test_a_pace_that_was_cut_comes_back(tmp_path: Path) -> None:
    async with open_desk(tmp_path, WIDE, 28) as (desk, simulator):
        simulator.plan_fault("429")
        # Some may be under way when the refusal comes, and their acceptance counts for nothing.
        assert (await desk.run_here(is_confirmed=True), len(simulator.billing)) == (0, 28)
    for words in ("from 50/s to 60/s: 10 requests in a row", "from 60/s to 70/s: 10 requests in a row"):
        assert read_log(desk).count(f"the submit pace goes {words}") == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": IN_TWO_MINUTES, **AT_NOON}, 120.0),
        ({"Retry-After": formatdate(NOON - 5, usegmt=True), **AT_NOON}, 0.0),
        ({"Retry-After": formatdate(NOON + 90_000, usegmt=True), **AT_NOON}, 3600.0),
        ({"Retry-After": "0.5", "X-RateLimit-Reset": "9"}, 0.5),
        ({"Retry-After": "soon", "X-RateLimit-Reset": "9"}, 9.0),
        ({"X-RateLimit-Reset": f"{NOON + 30}", **AT_NOON}, 30.0),
        ({"X-RateLimit-Reset": f"{NOON - 30}", **AT_NOON}, 0.0),
        ({"X-RateLimit-Reset": f"{NOON + 30}000", **AT_NOON}, 30.0),
        ({"X-RateLimit-Reset": f"{NOON + 30}500.0", **AT_NOON}, 30.5),
        ({"X-RateLimit-Reset": f"{NOON + 30}000000", **AT_NOON}, 30.0),
        ({"X-RateLimit-Reset": f"{NOON - 30}000", **AT_NOON}, 0.0),
        ({"X-RateLimit-Reset": "inf"}, 3600.0),
        ({"X-RateLimit-Reset": "99999"}, 3600.0),
        ({"X-RateLimit-Reset": "nan"}, None),
        ({"Retry-After": "Fri, 99 Foo 2027 08:00:00 GMT"}, None),
    ],
)
def test_the_pause_of_a_429_is_read_from_its_headers(headers: dict[str, str], seconds: float | None) -> None:
    refusal = read_refusal(429, headers, "")
    assert isinstance(refusal, errors.ThrottledError)
    assert refusal.retry_after_seconds == seconds


def test_the_window_of_a_limit_says_nothing_of_an_outage() -> None:
    refusal = read_refusal(503, {"X-RateLimit-Reset": "600"}, "")
    assert isinstance(refusal, errors.UnavailableError)
    assert refusal.retry_after_seconds is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "12"}, 12.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{NOON + 9}", **AT_NOON}, 9.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{NOON + 9}000", **AT_NOON}, 9.0),
        ({"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "12"}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{NOON - 9}", **AT_NOON}, None),
        ({"X-RateLimit-Remaining": "0"}, None),
        ({"X-RateLimit-Remaining": "none", "X-RateLimit-Reset": "12"}, None),
        ({"X-RateLimit-Reset": "12"}, None),
    ],
)
def test_the_last_request_of_a_window_is_told_by_its_headers(headers: dict[str, str], seconds: float | None) -> None:
    assert read_exhausted_seconds(headers) == seconds


@pytest.mark.parametrize(
    ("message", "is_at_once"),
    [
        ("Too many concurrent generations: at most 3 run at once.", True),
        ("Your plan allows 4 simultaneous jobs.", True),
        ("You have 3 generations in progress", True),
        ("A job is already running", True),
        ("Too many concurrent requests", False),
        ("Too many requests", False),
        ("At most 10 generations a minute", False),
        ("", False),
    ],
)
def test_a_limit_of_what_runs_at_once_is_told_from_one_of_requests(message: str, is_at_once: bool) -> None:
    refusal = read_refusal(429, {"Retry-After": "3"}, f'{{"messages": ["{message}"]}}')
    assert isinstance(refusal, errors.ThrottledError)
    assert (isinstance(refusal, errors.TooManyAtOnceError), refusal.retry_after_seconds) == (is_at_once, 3.0)


async def test_an_answer_that_uses_a_window_up_is_told_and_a_refusal_tells_it_itself() -> None:
    # Windows of decades: this one is far from its end.
    settings = SimulatorSettings(speed=SPEED, window_submissions=2, window_seconds=1e9)
    told: list[tuple[RequestGroup, float]] = []
    async with (
        Simulator(settings) as simulator,
        HedraClient(simulator.url, "key-of-the-tests", on_used_up=lambda *used_up: told.append(used_up)) as client,
    ):
        await client.submit(make_body(1))
        assert told == []
        await client.submit(make_body(2))
        with pytest.raises(errors.ThrottledError, match="2 submissions") as refused:
            await client.submit(make_body(3))
    assert (told, refused.value.retry_after_seconds) == ([(RequestGroup.SUBMISSIONS, 3600.0)], 3600.0)


async def test_the_simulated_api_can_be_told_what_it_bears(tmp_path: Path) -> None:
    words = ("--rate", "2/h", "--concurrency", "1", "--generation-time", "10h", "--eta-noise", "0")
    process = await Desk(tmp_path, "").start("simulate", "--port", "0", *words)
    assert process.stdout
    url = (await process.stdout.readline()).decode().split()[-1]
    async with HedraClient(url, "key-of-the-tests") as client:
        assert (await client.submit(make_body(1))).eta_seconds == pytest.approx(36_000, rel=0.5)
        with pytest.raises(errors.TooManyAtOnceError, match="at most 1 run at once"):
            await client.submit(make_body(2))
        with pytest.raises(errors.ThrottledError, match="2 submissions in 3600 s"):
            await client.submit(make_body(3))
    process.terminate()
    assert await process.wait() == 0


async def test_results_that_are_ready_go_before_new_submissions(tmp_path: Path) -> None:
    limits = "submit: 100/s, in_flight: 2, downloads: 1, poll: 100/s"
    async with open_desk(tmp_path, limits, 12) as (desk, simulator):
        simulator.plan_fault("cut-download", times=4)
        assert await desk.run_here(replace(IMPATIENT, first_pause_seconds=0.1)) == 0
        kinds = [each.method if "/web-app" in each.path else "media" for each in simulator.requests]
        cut = [index for index, each in enumerate(simulator.requests) if each.fault == "cut-download"]
        waiting = kinds[cut[1] : cut[-1]]
    # One more may be under way when the second result begins to wait for the first.
    assert waiting.count("POST") <= 1
