"""What becomes of the generations of the simulated service."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest
from simulated import LONG_AFTER, Service, charges, running


async def test_a_generation_passes_through_all_statuses(service: Service) -> None:
    generation_id = (await service.submit()).json["id"]
    seen: list[tuple[str, float]] = []
    while not seen or seen[-1][0] != "complete":
        answer = await service.status(generation_id)
        seen.append((answer["status"], answer["progress"]))
        service.clock.now += 2
    assert list(dict(seen)) == ["queued", "processing", "finalizing", "complete"]
    assert seen == sorted(seen, key=lambda pair: pair[1])
    assert 60 <= 2 * len(seen) <= 184


async def test_speed_divides_the_time_of_a_generation() -> None:
    async with running(speed=1000) as service:
        generation_id = (await service.submit()).json["id"]
        service.clock.now += 0.18
        assert (await service.status(generation_id))["status"] == "complete"


async def test_estimates_are_near_and_sometimes_missing(service: Service) -> None:
    # The same ids each time, since it is drawn by them.
    ids = [str(UUID(int=number)) for number in range(40)]
    etas = [(await service.submit(generation_id=each)).json["eta_sec"] for each in ids]
    assert None in etas
    assert all(30 <= eta <= 270 for eta in etas if eta is not None)


async def test_the_same_seed_and_id_take_the_same_time() -> None:
    fields = {"generation_id": str(uuid4())}
    etas = []
    for seed in (1, 1, 2):
        async with running(seed=seed, eta_noise=0) as service:
            await service.submit(**fields)
            service.clock.now += 60
            etas.append((await service.status(fields["generation_id"]))["progress"])
    assert etas[0] == etas[1] != etas[2]


async def test_ids_can_be_ignored() -> None:
    async with running(honours_ids=False) as service:
        wanted = str(uuid4())
        answers = [await service.submit(generation_id=wanted) for _ in range(2)]
        assert len({wanted, *(answer.json["id"] for answer in answers)}) == 3
        listed = (await service.get("/generations")).json["data"]
        assert {item["input"]["generation_id"] for item in listed} == {wanted}


@pytest.mark.parametrize(("kind", "statuses"), [("video", [200, 409]), ("image", [200, 200])])
async def test_ids_can_be_honoured_for_some_kinds_of_request_only(kind: str, statuses: list[int]) -> None:
    async with running(honours_ids=frozenset({kind})) as service:
        wanted = str(uuid4())
        answers = [await service.submit(generation_id=wanted) for _ in range(2)]
        assert [answer.status for answer in answers] == statuses
        assert (answers[0].json["id"] == wanted) is (kind == "video")


async def test_ignored_ids_need_not_be_echoed() -> None:
    async with running(honours_ids=False, echoes_ids=False) as service:
        await service.submit(generation_id=str(uuid4()))
        assert "generation_id" not in (await service.get("/generations")).json["data"][0]["input"]


async def test_likeness_ends_with_a_moderation_error_and_a_refund(service: Service) -> None:
    answer = await service.finished("the likeness of a fox")
    assert answer["status"] == "error"
    assert answer["error"]["type"] == "MODERATION_FAILED"
    assert answer["error"]["reason_code"] == "MODERATION_LIKENESS"
    assert charges(service) == [("charge", 35), ("refund", 35)]


async def test_flaky_fails_the_first_time_only(service: Service) -> None:
    answers = [await service.finished("a flaky fox") for _ in range(2)]
    assert [answer["status"] for answer in answers] == ["error", "complete"]
    assert answers[0]["error"]["type"] == "INTERNAL"


async def test_endless_never_ends(service: Service) -> None:
    answer = await service.finished("an endless fox")
    assert (answer["status"], answer["progress"]) == ("processing", 0.85)


async def test_too_many_generations_at_once_are_refused() -> None:
    async with running(concurrency=2) as service:
        answers = [await service.submit() for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert "concurrent" in answers[2].json["messages"][0]
        service.clock.now += LONG_AFTER
        assert (await service.submit()).status == 200


async def test_ids_need_not_be_understood() -> None:
    async with running(understands_ids=False) as service:
        ids = [(await service.submit()).json["id"] for _ in range(2)]
        answer = await service.get("/generations", params={"ids": ids[0]})
        assert [item["id"] for item in answer.json["data"]] == [ids[1], ids[0]]


async def test_a_new_generation_cannot_be_read_at_once() -> None:
    async with running(read_lag_seconds=5) as service:
        generation_id = (await service.submit()).json["id"]
        assert (await service.get(f"/generations/{generation_id}/status")).status == 404
        assert (await service.get("/generations")).json["data"] == []
        service.clock.now += 5
        assert (await service.status(generation_id))["id"] == generation_id
        assert len((await service.get("/generations")).json["data"]) == 1


async def test_a_charge_that_a_kill_kept_from_the_log_is_made_up_for(tmp_path: Path) -> None:
    async with running(folder=tmp_path) as service:
        await service.submit()
    (tmp_path / "billing.jsonl").unlink()
    async with running(folder=tmp_path) as service:
        assert charges(service) == [("charge", 35)]


async def test_a_result_can_be_lost_and_found_again(service: Service) -> None:
    lost, other = [await service.finished() for _ in range(2)]
    service.simulator.lose_result(lost["id"])
    assert (await service.get(f"/generations/{lost['id']}/status")).status == 404
    assert (await service.download(lost["download_url"])).status == 404
    assert [item["id"] for item in (await service.get("/generations")).json["data"]] == [other["id"]]
    assert [item["id"] for item in (await service.get("/assets?type=video")).json] == [other["asset_id"]]
    assert (await service.submit(generation_id=lost["id"])).status == 409
    assert charges(service) == [("charge", 35)] * 2
    service.simulator.find_result_again(lost["id"])
    assert (await service.status(lost["id"]))["status"] == "complete"


@pytest.mark.parametrize(("eta_share", "estimated"), [(0.0, 0), (1.0, 20)])
async def test_as_many_generations_get_an_estimate_as_asked_for(eta_share: float, estimated: int) -> None:
    async with running(eta_share=eta_share) as service:
        etas = [(await service.submit()).json["eta_sec"] for _ in range(20)]
    assert len([eta for eta in etas if eta is not None]) == estimated
