"""How many generations are read: by the list as long as it can be trusted, else each by itself."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from aiohttp import web
from conftest import SPEED
from scripted import make_item, make_list, make_page, open_api, open_scripted

from hedra_batch import errors
from hedra_batch.api.protocol import Api, Phase, Reading
from hedra_batch.api.v2.reader import LIST_FAILURES_LIMIT, LIST_LAG_SECONDS
from hedra_batch.money import Money
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

A, B, C = "aaaaaaaa", "bbbbbbbb", "cccccccc"
NEW, OLD = 1.0, LIST_LAG_SECONDS + 1

Outcomes = dict[str, Reading | errors.HedraBatchError]


async def read(api: Api, ids: Iterable[str], age_seconds: float = NEW) -> Outcomes:
    return {remote_id: found async for remote_id, found in api.read(dict.fromkeys(ids, age_seconds))}


async def submit(api: Api, prompt: str = "A scene") -> str:
    return (await api.submit(api.write_request(str(uuid.uuid4()), {"prompt": prompt}, {}))).remote_id


async def read_to_its_end(api: Api, remote_id: str) -> Reading:
    while True:
        found = (await read(api, [remote_id])).get(remote_id)
        if isinstance(found, Reading) and found.phase is not Phase.RUNNING:
            return found
        await asyncio.sleep(0.01)


def count_reads(simulator: Simulator, ending: str) -> int:
    return sum(1 for request in simulator.requests if request.method == "GET" and request.path.endswith(ending))


def answer_status(request: web.Request) -> dict[str, Any]:
    return make_item(request.match_info["id"])


async def test_many_generations_are_read_with_one_request(simulator: Simulator) -> None:
    async with open_api(simulator.url) as api:
        ids = [await submit(api) for _ in range(60)]
        outcomes = await read(api, ids)
    assert list(outcomes) == ids
    assert all(isinstance(found, Reading) for found in outcomes.values())
    assert (count_reads(simulator, "/generations"), count_reads(simulator, "/status")) == (1, 0)


async def test_the_charge_and_the_link_come_with_the_end(simulator: Simulator) -> None:
    async with open_api(simulator.url) as api:
        reading = await read_to_its_end(api, await submit(api))
    assert (reading.phase, reading.charged) == (Phase.COMPLETE, Money(simulator.billing[0].credits))
    assert reading.link


async def test_an_error_of_the_server_is_an_end(simulator: Simulator) -> None:
    async with open_api(simulator.url) as api:
        reading = await read_to_its_end(api, await submit(api, "A doomed scene"))
    assert (reading.phase, reading.error_code) == (Phase.FAILED, "internal")


async def test_a_server_that_does_not_filter_by_ids_is_read_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    settings = SimulatorSettings(speed=SPEED, understands_ids=False)
    async with Simulator(settings) as simulator, open_api(simulator.url) as api:
        wanted, _newer = await submit(api), await submit(api)
        assert (await read(api, [wanted]), api.reads_together) == ({}, 1)
        assert list(await read(api, [wanted])) == [wanted]
        assert (count_reads(simulator, "/generations"), count_reads(simulator, "/status")) == (1, 1)
    assert (
        caplog.messages.count("the API does not list generations by their ids, so each is read by itself from now on")
        == 1
    )


async def test_what_is_listed_comes_before_what_is_read_by_itself() -> None:
    async with open_scripted(list=lambda _: make_list(make_item(B)), status=answer_status) as (api, service):
        assert list(await read(api, [A, B, C])) == [B, A, C]
    assert (service.counts["list"], service.counts["status"]) == (1, 2)


async def test_what_the_service_does_not_know_is_told_as_such() -> None:
    async with open_scripted(list=lambda _: make_list(make_item(A))) as (api, _):
        outcomes = await read(api, [A, B])
        assert isinstance(outcomes[B], errors.NotFoundError)
        assert api.reads_together > 1


async def test_a_404_that_is_not_the_services_own_says_nothing_of_the_generation() -> None:
    page = web.Response(status=404, text="<html>No such page</html>")
    async with open_scripted(list=lambda _: make_list(), status=lambda _: page) as (api, _):
        assert isinstance((await read(api, [A]))[A], errors.UnavailableError)


@pytest.mark.parametrize(
    ("age_seconds", "answer", "lists"),
    [
        # Kept back though it is old: noticed after some reads.
        (OLD, make_list(), LIST_FAILURES_LIMIT),
        # It may be too new for the list.
        (NEW, make_list(), 9),
        # Something else, or more than was asked for, or a refusal: noticed at once.
        (NEW, make_list(make_item(C)), 1),
        (NEW, make_list(make_item(A), make_item(A)), 1),
        (NEW, 422, 1),
    ],
)
async def test_a_list_that_does_not_show_what_it_is_asked_for_is_given_up(
    age_seconds: float, answer: object, lists: int
) -> None:
    async with open_scripted(list=lambda _: answer, status=answer_status) as (api, service):
        first, *others = [await read(api, [A], age_seconds) for _ in range(9)]
    assert service.counts["list"] == lists
    # Given up for what it shows, it has told nothing, and the same is due again at once.
    assert (bool(first), all(others)) == (lists > 1, True)


async def test_what_the_list_shows_again_is_not_counted_as_kept_back() -> None:
    answers = iter([make_list(), make_list(), make_list(make_item(A)), *[make_list()] * 2])
    async with open_scripted(list=lambda _: next(answers), status=answer_status) as (api, _):
        for _ in range(5):
            await read(api, [A], OLD)
        assert api.reads_together > 1


async def test_when_only_the_list_is_broken_each_is_read_by_itself() -> None:
    async with open_scripted(list=lambda _: 503, status=answer_status) as (api, service):
        for _ in range(LIST_FAILURES_LIMIT - 1):
            outcomes = await read(api, [A, B, C])
            assert [type(found) for found in outcomes.values()] == [Reading] + [errors.UnavailableError] * 2
        # The others are due again at once, each by itself.
        assert (list(await read(api, [A, B, C])), api.reads_together) == ([A], 1)
        assert isinstance((await read(api, [B]))[B], Reading)
    assert (service.counts["list"], service.counts["status"]) == (LIST_FAILURES_LIMIT, LIST_FAILURES_LIMIT + 1)


@pytest.mark.parametrize(
    ("list_status", "status", "kind"),
    [
        # All of it is away.
        (503, lambda _: 503, errors.UnavailableError),
        # It asks to slow down, which is no fault of the list.
        (429, answer_status, Reading),
    ],
)
async def test_a_list_is_not_given_up_for_what_is_not_its_fault(
    list_status: int, status: Callable[[web.Request], object], kind: type
) -> None:
    async with open_scripted(list=lambda _: list_status, status=status) as (api, _):
        for _ in range(LIST_FAILURES_LIMIT + 1):
            outcomes = await read(api, [A, B])
            assert (list(outcomes), type(outcomes[A])) == ([A, B], kind)
        assert api.reads_together > 1


async def test_only_failures_in_a_row_count() -> None:
    answers = iter([503, 503, make_list(make_item(A)), 503, 503])
    async with open_scripted(list=lambda _: next(answers), status=answer_status) as (api, _):
        for _each in range(5):
            await read(api, [A])
        assert api.reads_together > 1


async def test_lists_that_fail_together_fail_once() -> None:
    async with open_scripted(list=lambda _: 503, status=answer_status) as (api, service):
        await asyncio.gather(*(read(api, [f"{number:08}"]) for number in range(LIST_FAILURES_LIMIT + 1)))
        assert api.reads_together > 1
    assert service.counts["list"] == LIST_FAILURES_LIMIT + 1


async def test_an_account_without_credits_is_read_later() -> None:
    async with open_scripted(list=lambda _: 402, status=lambda _: 402) as (api, _):
        outcomes = await read(api, [A, B])
    assert [type(found) for found in outcomes.values()] == [errors.OutOfCreditsError] * 2


async def test_a_key_that_is_refused_ends_the_reading() -> None:
    async with open_scripted(list=lambda _: 401, status=lambda _: 401) as (api, _):
        assert await read(api, [A]) == {}
        with pytest.raises(errors.KeyRefusedError):
            await read(api, [A])


@pytest.mark.parametrize("refusal", [401, 403])
async def test_a_list_that_alone_is_forbidden_ends_nothing(refusal: int) -> None:
    async with open_scripted(list=lambda _: refusal, status=answer_status) as (api, _):
        assert (await read(api, [A, B]), api.reads_together) == ({}, 1)
        assert isinstance((await read(api, [B]))[B], Reading)


@pytest.mark.parametrize("status", [302, 401, 403, 404, 502])
async def test_a_page_of_a_gateway_is_no_word_of_the_service(status: int) -> None:
    def page(_request: web.Request) -> web.Response:
        return make_page(status)

    async with open_scripted(list=page, status=page) as (api, _):
        outcomes = await read(api, [A])
    assert isinstance(outcomes[A], errors.UnavailableError)


async def test_a_word_that_nobody_knows_is_told_once_and_followed(caplog: pytest.LogCaptureFixture) -> None:
    words = {A: "Polishing", B: "polishing", C: "moderating"}
    items = [make_item(remote_id, word) for remote_id, word in words.items()]
    async with open_scripted(list=lambda _: make_list(*items, make_item("dddddddd", "other"))) as (api, _):
        for _ in range(2):
            outcomes = await read(api, words)
    assert {found.phase for found in outcomes.values() if isinstance(found, Reading)} <= {Phase.RUNNING}
    assert [message.split("'")[1] for message in caplog.messages if "its documents" in message] == [
        "polishing",
        "moderating",
    ]


async def test_one_status_that_cannot_be_read_keeps_nobody_else_waiting() -> None:
    async with open_scripted(
        list=lambda _: make_list(),
        status=lambda request: {"id": 7} if request.match_info["id"] == A else answer_status(request),
    ) as (api, _):
        outcomes = await read(api, [A, B])
    assert [type(found) for found in outcomes.values()] == [errors.GarbledError, Reading]
