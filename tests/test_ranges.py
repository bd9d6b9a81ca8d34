"""Parts of files from real sockets: a download goes on only within the same version, whatever the host says."""

from __future__ import annotations

import asyncio

import pytest
from test_media import CHUNKED, OK, SIGNED, Answer, Host, read, redirect, serve, with_length

from hedra_batch.api.media import MediaClient
from hedra_batch.api.ranges import Part, Version
from hedra_batch.errors import DownloadError

WHOLE = b"0123456789"
PART = Part(Version('"v1"', 10), 4)
REST = b'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\nETag: "v1"\r\n\r\n456789'


def answer_whole(*lines: str) -> bytes:
    return with_length(WHOLE).replace(b"\r\n\r\n", "".join(f"\r\n{line}" for line in lines).encode() + b"\r\n\r\n", 1)


async def resume(host: Host, part: Part | None = PART, path: str = SIGNED) -> tuple[bytes, int, Version | None]:
    async with MediaClient(allows_private_hosts=True) as media, media.open(host.link(path=path), part) as download:
        return await read(download), download.offset_bytes, download.version


async def test_a_download_goes_on_where_the_host_has_the_same_version() -> None:
    async with serve(answer_whole(), {"Range": REST}) as host:
        assert await resume(host) == (b"456789", 4, PART.version)
    [request] = host.requests
    assert 'Range: bytes=4-\r\nIf-Range: "v1"\r\n' in request


async def test_it_goes_on_where_the_host_does_not_repeat_the_version() -> None:
    async with serve(answer_whole(), {"Range": REST.replace(b'ETag: "v1"\r\n', b"")}) as host:
        assert await resume(host) == (b"456789", 4, PART.version)


async def test_it_goes_on_under_another_link_too() -> None:
    async with serve(answer_whole(), {"/elsewhere": redirect(SIGNED)}) as host:
        host.answers["*"] = host.answers["/elsewhere"]
        async with serve(answer_whole(), {"Range": REST}) as other:
            host.answers["Range"] = type(host.answers["*"])(redirect(other.link(path="/other?s=1")))
            assert await resume(host, path="/elsewhere") == (b"456789", 4, PART.version)
    assert other.paths == ["/other?s=1"]
    assert 'If-Range: "v1"\r\n' in other.requests[0]


NO_REST = {
    "another start": REST.replace(b"4-9/10", b"0-9/10"),
    "another end": REST.replace(b"4-9/10", b"4-8/10"),
    "another length": REST.replace(b"4-9/10", b"4-9/11"),
    "an unknown length": REST.replace(b"4-9/10", b"4-9/*"),
    "no place": REST.replace(b"Content-Range: bytes 4-9/10\r\n", b""),
    "another unit": REST.replace(b"bytes 4-9/10", b"seconds 4-9/10"),
    "several parts": REST.replace(b"Content-Range: bytes 4-9/10", b"Content-Type: multipart/byteranges; boundary=x"),
    "more than the rest": REST.replace(b"Length: 6", b"Length: 10").replace(b"456789", WHOLE),
    "less than the rest": REST.replace(b"Length: 6", b"Length: 5").replace(b"456789", b"45678"),
    "more than it says": REST.replace(b"Length: 6", b"Length: 5"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
    "another version": REST.replace(b'"v1"', b'"v2"'),
    "a weak version": REST.replace(b'"v1"', b'W/"v1"'),
    "a compressed part": REST.replace(b"ETag", b"Content-Encoding: gzip\r\nETag"),
    "a part that is compressed twice": REST.replace(b"ETag", b"Content-Encoding: gzip, gzip\r\nETag"),
    **{
        f"HTTP {status}": b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status
        for status in (400, 403, 404, 405, 412, 416, 500, 501, 503)
    },
}


@pytest.mark.parametrize("answer", NO_REST.values(), ids=NO_REST)
async def test_what_is_not_the_rest_is_begun_anew_in_the_same_try(answer: bytes) -> None:
    async with serve(answer_whole('ETag: "v2"'), {"Range": answer}) as host:
        assert await resume(host) == (WHOLE, 0, Version('"v2"', 10))
    # aiohttp asks once more where a connection that it had kept is cut.
    assert ["Range:" in request for request in host.requests][-2:] == [True, False]


async def test_a_host_that_resets_the_question_for_a_part_is_asked_for_the_whole() -> None:
    async with serve(answer_whole()) as host:
        host.answers["Range"] = Answer(b"", is_reset=True)
        assert (await resume(host))[:2] == (WHOLE, 0)


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, gzip"])
async def test_a_part_that_is_of_no_use_keeps_no_connection(coding: bytes) -> None:
    part = REST.replace(b"ETag", b"Content-Encoding: " + coding + b"\r\nETag").removesuffix(b"9")
    async with serve(answer_whole()) as host, MediaClient(allows_private_hosts=True) as media:
        host.answers["Range"] = Answer(part, is_held=True)
        async with media.open(host.link(), PART) as download:
            # The host ends once its connections are closed, and the client is still open.
            await asyncio.wait_for(asyncio.gather(*(handler for handler in host.handlers if handler)), 5)
            assert await read(download) == WHOLE


async def test_a_whole_that_is_compressed_twice_is_refused_for_that() -> None:
    whole = answer_whole("Content-Encoding: gzip, gzip")
    async with serve(whole, {"Range": REST.replace(b"ETag", b"Content-Encoding: gzip, gzip\r\nETag")}) as host:
        with pytest.raises(DownloadError, match="compressed more than once"):
            await resume(host)
    assert ["Range:" in request for request in host.requests] == [True, False]


async def test_a_host_that_sends_the_whole_is_asked_once() -> None:
    async with serve(answer_whole('ETag: "v2"')) as host:
        assert await resume(host) == (WHOLE, 0, Version('"v2"', 10))
    assert len(host.requests) == 1


@pytest.mark.parametrize("sent", [b"", b"45678"])
async def test_a_rest_that_is_cut_is_a_download_error(sent: bytes) -> None:
    async with serve(answer_whole(), {"Range": REST.replace(b"456789", sent)}) as host:
        with pytest.raises(DownloadError):
            await resume(host)


WRITTEN, SENT = "Last-Modified: Thu, 26 Nov 2026 12:00:00 GMT", "Date: Thu, 26 Nov 2026 12:00:01 GMT"
VERSIONS = {
    'ETag: "abc-1"': '"abc-1"',
    'ETag: ""': None,
    'ETag: W/"abc"': None,
    "ETag: abc": None,
    'ETag: "a b"': None,
    f"{WRITTEN}\r\n{SENT}": WRITTEN.partition(" ")[2],
    f"{WRITTEN}\r\n{SENT.replace('01 GMT', '00 GMT')}": None,
    WRITTEN: None,
    f"Last-Modified: yesterday\r\n{SENT}": None,
    f"Last-Modified: Thu, 26 Nov 2026 12:00:00\r\n{SENT}": None,
    f'ETag: W/"abc"\r\n{WRITTEN}\r\n{SENT}': None,
    'Content-Encoding: aws-chunked\r\nETag: "abc"': '"abc"',
    "": None,
}


@pytest.mark.parametrize(("lines", "validator"), VERSIONS.items())
async def test_only_what_is_strong_tells_a_version(lines: str, validator: str | None) -> None:
    async with serve(answer_whole(*filter(None, [lines]))) as host:
        version = (await resume(host, None))[2]
    assert version == (Version(validator, 10) if validator else None)
    assert version is None or Version.read(version.write()) == version


TOLD = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/10\r\nContent-Length: 1\r\n\r\n0"
TAGGED = b'\r\nETag: "v1"\r\n\r\n'
WITHOUT_LENGTH = {
    "to the end": OK + TAGGED.lstrip() + WHOLE,
    "chunked": CHUNKED.replace(b"\r\n\r\n", TAGGED) + b"a\r\n0123456789\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("answer", WITHOUT_LENGTH.values(), ids=WITHOUT_LENGTH)
async def test_a_length_that_was_asked_for_is_as_good(answer: bytes) -> None:
    async with serve(answer, {"Range": TOLD}) as host:
        assert await resume(host, None) == (WHOLE, 0, PART.version)


async def test_a_body_whose_length_nobody_knows_has_no_part() -> None:
    async with serve(WITHOUT_LENGTH["chunked"], {"Range": TOLD.replace(b"/10", b"/*")}) as host:
        assert await resume(host, None) == (WHOLE, 0, None)


@pytest.mark.parametrize(("sent", "is_good"), [(b"456789", True), (b"45678", False), (b"456789x", False)])
async def test_a_rest_without_a_length_is_measured_by_its_place(sent: bytes, is_good: bool) -> None:
    chunked = REST.replace(b"Content-Length: 6", b"Transfer-Encoding: chunked")
    ends = (
        chunked.replace(b"456789", b"%x\r\n%b\r\n0\r\n\r\n" % (len(sent), sent)),
        REST.replace(b"Content-Length: 6\r\n", b"").replace(b"456789", sent),
    )
    for answer in ends:
        async with serve(answer_whole(), {"Range": answer}) as host:
            if is_good:
                assert (await resume(host))[:2] == (sent, 4)
            else:
                with pytest.raises(DownloadError, match="arrived"):
                    await resume(host)


@pytest.mark.parametrize("text", ["", "10", 'ten "v1"', ' "v1"', '-1 "v1"'])
def test_what_no_version_was_written_as_is_none(text: str) -> None:
    assert Version.read(text) is None
