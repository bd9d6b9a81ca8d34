"""The media host of the simulated service: whole files, parts of them, and links that expire."""

from __future__ import annotations

from simulated import KEY, Service, running


async def test_a_finished_video_is_found_by_its_asset(service: Service) -> None:
    answer = await service.finished(duration_ms=6000)
    (asset,) = (await service.get("/assets", params={"type": "video", "ids": answer["asset_id"]})).json
    assert asset["asset"]["duration_ms"] == 6000
    assert (await service.download(asset["asset"]["download_url"])).status == 200


async def test_a_finished_video_can_be_downloaded(service: Service) -> None:
    answer = await service.finished()
    movie = await service.download(answer["download_url"])
    assert (movie.status, movie.headers["Content-Type"]) == (200, "video/mp4")
    assert int(movie.headers["Content-Length"]) == len(movie.content)
    assert movie.content[4:8] == b"ftyp"
    assert answer["id"].encode() in movie.content
    assert answer["streaming_url"] != answer["download_url"]
    assert (await service.download(answer["streaming_url"])).status == 404
    assert (await service.download(service.simulator.media_url)).content.startswith(b"<?xml")


async def test_videos_can_be_as_large_as_real_ones() -> None:
    async with running(video_bytes=3_000_000) as service:
        movie = await service.download((await service.finished())["download_url"])
    assert len(movie.content) == 3_000_000


async def test_a_part_of_a_video_can_be_downloaded(service: Service) -> None:
    url = (await service.finished())["download_url"]
    whole = (await service.download(url)).content
    part = await service.download(url, Range="bytes=4-7")
    assert (part.status, part.content) == (206, b"ftyp")
    assert part.headers["Content-Range"] == f"bytes 4-7/{len(whole)}"
    for wrong in (f"bytes={len(whole)}-", "bytes=x"):
        assert (await service.download(url, Range=wrong)).status == 416


async def test_a_part_is_sent_only_of_the_version_that_it_is_wanted_of(service: Service) -> None:
    url = (await service.finished())["download_url"]
    tag = (await service.download(url)).headers["ETag"]
    statuses = []
    for wanted in (tag, f"W/{tag}", '"another"', "Thu, 26 Nov 2026 12:00:00 GMT"):
        answer = await service.download(url, **{"Range": "bytes=4-7", "If-Range": wanted})
        statuses.append(answer.status)
        assert answer.headers["ETag"] == tag
    assert statuses == [206, 200, 200, 200]


async def test_a_media_host_can_lie_about_parts_and_versions(service: Service) -> None:
    url = (await service.finished())["download_url"]
    whole = await service.download(url)
    service.simulator.plan_fault("ignored-range")
    assert (await service.download(url, Range="bytes=8-")).content == whole.content
    service.simulator.plan_fault("new-version")
    assert (await service.download(url)).headers["ETag"] != whole.headers["ETag"]
    service.simulator.plan_fault("wrong-range", times=20)
    told = set()
    for _ in range(20):
        part = await service.download(url, Range="bytes=8-15")
        assert (part.status, part.content) == (206, whole.content[4:12])
        told.add(part.headers["Content-Range"].partition("/")[0])
    assert told == {"bytes 8-15", "bytes 4-11"}


async def test_the_media_host_refuses_a_key_and_records_it(service: Service) -> None:
    url = (await service.finished())["download_url"]
    assert not url.startswith(service.simulator.url.removesuffix("/web-app/public"))
    assert url.startswith(service.simulator.media_url)
    assert (await service.download(url, **KEY)).status == 400
    record = service.simulator.requests[-1]
    assert record.path.startswith("/media/")
    assert record.key is not None


async def test_a_media_link_expires(service: Service) -> None:
    url = (await service.finished())["download_url"]
    service.clock.now += 3600
    answer = await service.download(url)
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (403, "application/xml")
    assert answer.content.startswith(b"<?xml")
    assert (await service.download(url.replace("Expires=1", "Expires=2"))).status == 403
