"""Buying stops when nothing can be fetched: what is paid for stays at the server, and the next run fetches it."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from conftest import IMPATIENT, Desk
from scripted import make_item, serve
from test_failures import NO_NAME, serve_securely
from test_faults import count_states, list_charged, open_desk
from test_media import OK, Answer, encode, redirect
from test_media import serve as serve_media

from hedra_batch.errors import Obstacle
from hedra_batch.run.unfetched import UnfetchedCount
from hedra_batch.simulator.movie import make_movie
from hedra_batch.simulator.service import Simulator

TWO_AT_ONCE = "version: 1\nlimits: {submit: 100/s, in_flight: 2, downloads: 2, poll: 100/s}\n"
#: Three that cannot be fetched, two that are being fetched by then and two in flight, however slow each step is.
MOST_BOUGHT = 7
TOLD = "finished videos in a row could not be fetched"


def write_jobs(count: int) -> str:
    return (
        TWO_AT_ONCE
        + "jobs:\n"
        + "".join(f"  - {{id: job-{number}, prompt: Scene {number}}}\n" for number in range(count))
    )


# Counting

NAME, REFUSAL = Obstacle.NAME, Obstacle.REFUSAL


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([(1, NAME), (2, NAME), (3, NAME)], [3]),
        ([(1, NAME), (2, NAME), (3, NAME), (4, NAME), (5, REFUSAL)], [3]),
        ([(1, NAME), (1, NAME), (1, NAME), (2, NAME)], []),
        ([(1, NAME), (2, NAME), None, (3, NAME), (4, NAME)], []),
        ([(1, NAME), (2, NAME), None, (3, NAME), (4, NAME), (1, NAME)], [6]),
        ([(1, None), (2, None), (3, None), (4, None)], []),
        ([(1, NAME), (2, None), (3, NAME), (4, NAME)], [4]),
        ([(1, NAME), (2, NAME), (3, REFUSAL)], []),
        ([(1, NAME), (2, REFUSAL), (3, NAME), (4, REFUSAL), (5, NAME)], [5]),
    ],
)
def test_three_jobs_in_a_row_with_one_obstacle_are_told_once(events: list[Any], expected: list[int]) -> None:
    count, told = UnfetchedCount(), []
    for place, event in enumerate(events, 1):
        if event is None:
            count.on_fetched()
        elif count.on_unfetched(("", f"job-{event[0]}"), event[1]):
            told.append(place)
    assert told == expected


@pytest.mark.parametrize("obstacle", Obstacle)
def test_each_obstacle_is_told_with_what_to_check(obstacle: Obstacle) -> None:
    count = UnfetchedCount()
    [told] = [reason for job in "abc" if (reason := count.on_unfetched(("", job), obstacle))]
    assert re.fullmatch(
        r"3 finished videos in a row could not .*: .*\. Nothing more .*\. (Check|If|Log|Wait) .*\. .*", str(told)
    )
    assert str(obstacle) in str(told)


# Whole runs


async def test_no_more_is_bought_than_shows_that_nothing_arrives(
    tmp_path: Path,
) -> None:
    faults = {"expired-link": 1.0}
    async with open_desk(tmp_path, faults=faults) as (desk, simulator):
        desk.write("batch.yaml", write_jobs(12))
        assert await desk.run_here() == 4
        assert len(list_charged(simulator)) <= MOST_BOUGHT
        faults.clear()
        # The next run begins at 0: it fetches what was bought, and buys the rest.
        assert (await desk.run_here(), len(list_charged(simulator))) == (0, 12)


@pytest.mark.parametrize("flags", [(), ("-q",)])
async def test_it_is_said_once(tmp_path: Path, flags: tuple[str, ...]) -> None:
    async with open_desk(tmp_path, faults={"expired-link": 1.0}) as (desk, simulator):
        desk.write("batch.yaml", write_jobs(12).replace("in_flight: 2", "in_flight: 3"))
        ended = await desk.call("run", "batch.yaml", *flags)
    assert (ended.code, ended.err.count(TOLD)) == (4, 1)
    assert "the media host refuses to give them" in ended.err
    assert "Once videos can be fetched again, run the same line again to go on." in ended.err
    assert 3 <= len(list_charged(simulator)) <= MOST_BOUGHT + 1


async def test_what_one_file_alone_suffers_stops_nothing(tmp_path: Path) -> None:
    async with open_desk(tmp_path, faults={"cut-download": 1.0}) as (desk, simulator):
        desk.write("batch.yaml", write_jobs(6))
        assert await desk.run_here(replace(IMPATIENT, download_tries=2)) == 3
        assert len(list_charged(simulator)) == 6


async def test_links_that_a_fresh_one_mends_stop_nothing(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as (desk, simulator):
        simulator.plan_fault("expired-link", times=4)
        desk.write("batch.yaml", write_jobs(6))
        assert (await desk.run_here(), len(list_charged(simulator))) == (0, 6)
        assert count_states(desk) == {"done": 6}


class Seller:
    """A service that makes every video at once, under a link that a test chooses."""

    def __init__(self, link: str) -> None:
        self.link = link
        self.bought: list[str] = []

    async def generate(self, request: web.Request) -> dict[str, Any]:
        self.bought.append((await request.json())["generation_id"])
        return make_item(self.bought[-1], "queued")

    def read(self, request: web.Request) -> dict[str, Any]:
        return make_item(request.match_info["id"], "complete", download_url=self.link)

    async def run(self, folder: Path, count: int = 12) -> int:
        given = {"models": lambda _: [], "balance": lambda _: {"remaining": 1000}}
        async with serve(generate=self.generate, status=self.read, **given) as service:
            desk = Desk(folder, service.url)
            desk.write("batch.yaml", write_jobs(count))
            return await desk.run_here(replace(IMPATIENT, download_tries=2), is_confirmed=True)


@pytest.mark.parametrize("link", [f"http://{NO_NAME}/a.mp4", "http://127.0.0.1:1/a.mp4"])
async def test_a_host_that_cannot_be_reached_sells_no_more(tmp_path: Path, link: str) -> None:
    seller = Seller(link)
    assert await seller.run(tmp_path) == 4
    assert len(seller.bought) <= MOST_BOUGHT


async def test_a_host_with_a_certificate_that_nobody_trusts_sells_no_more(tmp_path: Path) -> None:
    async with serve_securely("expired.pem") as url:
        seller = Seller(f"{url}/a.mp4")
        assert await seller.run(tmp_path) == 4
    assert len(seller.bought) <= MOST_BOUGHT


def refuse(status: int) -> bytes:
    return f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("status", [401, 403, 407, 429, 503, 511])
async def test_a_host_that_refuses_sells_no_more(tmp_path: Path, status: int) -> None:
    async with serve_media(refuse(status)) as host:
        seller = Seller(host.link())
        assert await seller.run(tmp_path) == 4
    assert len(seller.bought) <= MOST_BOUGHT


async def test_a_host_that_refuses_after_a_redirect_sells_no_more(tmp_path: Path) -> None:
    async with serve_media(refuse(403)) as refusing, serve_media(redirect(refusing.link())) as host:
        seller = Seller(host.link())
        assert await seller.run(tmp_path) == 4
    assert len(seller.bought) <= MOST_BOUGHT


HOTEL = OK + b"Content-Type: text/html\r\nContent-Length: 28\r\n\r\n<html>Room and name?</html>\n"


async def test_a_web_page_in_the_place_of_each_video_sells_no_more(tmp_path: Path) -> None:
    async with serve_media(HOTEL) as host:
        seller = Seller(host.link())
        assert await seller.run(tmp_path) == 4
    assert len(seller.bought) <= MOST_BOUGHT


async def test_redirects_to_a_web_page_sell_no_more(tmp_path: Path) -> None:
    async with serve_media(HOTEL) as hotel, serve_media(redirect(hotel.link(path="/login"))) as host:
        seller = Seller(host.link())
        assert await seller.run(tmp_path) == 4
    assert len(seller.bought) <= MOST_BOUGHT


@pytest.mark.parametrize("is_reset", [False, True])
async def test_connections_that_are_cut_before_an_answer_sell_no_more(tmp_path: Path, is_reset: bool) -> None:
    async with serve_media(Answer(b"", is_reset=is_reset)) as host:
        seller = Seller(host.link())
        assert await seller.run(tmp_path) == 4
    assert len(seller.bought) <= MOST_BOUGHT


@pytest.mark.parametrize("answer", [refuse(404), refuse(410), refuse(451), OK + b"Content-Length: 4\r\n\r\nabcd"])
async def test_a_file_that_is_gone_or_no_video_stops_nothing(tmp_path: Path, answer: bytes) -> None:
    async with serve_media(answer) as host:
        seller = Seller(host.link())
        assert (await seller.run(tmp_path, count=6), len(seller.bought)) == (3, 6)


@pytest.mark.parametrize("value", ["198.18", "198.18.0.0/15;100.64.0.0/10"])
async def test_networks_that_cannot_be_read_are_refused_before_anything_is_sent(
    desk: Desk, simulator: Simulator, value: str
) -> None:
    desk.write("batch.yaml", write_jobs(1))
    refused = await desk.call("run", "batch.yaml", HEDRA_MEDIA_NETWORKS=value)
    assert (refused.code, simulator.requests) == (78, [])
    assert f"HEDRA_MEDIA_NETWORKS: '{value}' is no list of networks." in refused.err


async def test_networks_that_can_be_read_are_no_matter_of_a_run_that_needs_none(desk: Desk) -> None:
    desk.write("batch.yaml", write_jobs(1))
    assert (await desk.call("run", "batch.yaml", HEDRA_MEDIA_NETWORKS="198.18.0.0/15, 100.64.0.0/10")).code == 0


@pytest.mark.parametrize("coding", [b"aws-chunked", b"utf-8", b"gzip", b"deflate"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "packed"])
async def test_a_video_arrives_whatever_it_is_said_to_be_encoded_as(
    tmp_path: Path, coding: bytes, pack: Callable[[bytes], bytes]
) -> None:
    movie = make_movie(160, 90, 1000, "scene")
    async with serve_media(encode(pack(movie), coding)) as host:
        seller = Seller(host.link())
        is_lost = pack is gzip.compress and coding in (b"aws-chunked", b"utf-8")
        assert await seller.run(tmp_path, count=1) == (3 if is_lost else 0)
    if not is_lost:
        assert (tmp_path / "batch.out" / "videos" / "job-0.mp4").read_bytes() == movie


@pytest.mark.parametrize(
    "dead", [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", OK + b"Content-Length: 6\r\n\r\nno mp4"]
)
@pytest.mark.parametrize("place", ["status", "assets"])
async def test_where_one_link_is_dead_another_is_taken(tmp_path: Path, place: str, dead: bytes) -> None:
    movie = make_movie(320, 180, 1000, "a fox")
    good = OK + b"Content-Length: %d\r\n\r\n" % len(movie) + movie
    ids: list[str] = []

    async def generate(request: web.Request) -> dict[str, Any]:
        ids.append((await request.json())["generation_id"])
        return make_item(ids[-1], "queued", asset_id="a1")

    async with serve_media(good, {"/dead.mp4": dead}) as host:
        bad, right = host.link(path="/dead.mp4"), host.link(path="/good.mp4")
        item = {"asset_id": "a1", "download_url": bad, **({"url": right} if place == "status" else {})}
        scripts: dict[str, Callable[[web.Request], Any]] = {
            "generate": generate,
            "list": lambda _: {"data": [make_item(each, "complete", **item) for each in ids]},
            "status": lambda _: make_item(ids[0], "complete", **item),
            "assets": lambda _: [{"id": "a1", "asset": {"url": right}}],
            "models": lambda _: [],
            "balance": lambda _: {"remaining": 100},
        }
        async with serve(**scripts) as service:
            desk = Desk(tmp_path, service.url)
            desk.write("batch.yaml", "version: 1\njobs: [{id: a, prompt: A fox}]\n")
            assert (await desk.run_here(), service.counts["generate"]) == (0, 1)
