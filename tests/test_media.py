"""Downloads from hosts that lie, stall, never end or lead elsewhere, each one a real socket."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from hedra_batch.api.addresses import PrivateAddressError, SocketFactory, is_loopback, is_public, parse_networks
from hedra_batch.api.media import Download, MediaClient
from hedra_batch.errors import ConfigurationError, DownloadError, Obstacle

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SIGNED = "/video.mp4?Signature=SECRET"


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes that are sent, others when they are asked for, then some for ever or the connection held, then its end.

    That is a farewell or a reset.
    """

    content: bytes
    later: bytes | None = None
    repeated: bytes = b""
    pause_seconds: float = 0.0
    is_held: bool = False
    is_reset: bool = False

    async def send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        writer.write(self.content)
        await writer.drain()
        if self.later is not None:
            await gate.wait()
            writer.write(self.later)
        while self.repeated:
            writer.write(self.repeated)
            await writer.drain()
            await asyncio.sleep(self.pause_seconds)
        if self.is_held:
            await reader.read()
        if self.is_reset:
            # With no time to linger, a close is a reset.
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()


@dataclass(slots=True)
class Host:
    """A media host that sends what it is told to, also what no server should."""

    #: What a path is answered; `*` stands for all others, `Range` for every request of a part.
    answers: dict[str, Answer]
    port: int = 0
    requests: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    handlers: set[asyncio.Task[None] | None] = field(default_factory=set)

    def link(self, name: str = "127.0.0.1", path: str = SIGNED) -> str:
        return f"http://{name}:{self.port}{path}"

    @property
    def paths(self) -> list[str]:
        return [request.split(" ")[1] for request in self.requests]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.handlers.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            place = "Range" if "\r\nRange:" in self.requests[-1] else self.paths[-1]
            await self.answers.get(place, self.answers["*"]).send(reader, writer, self.gate)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def serve(answer: Answer | bytes, answers: dict[str, bytes] | None = None) -> AsyncIterator[Host]:
    usual = answer if isinstance(answer, Answer) else Answer(answer)
    host = Host({"*": usual} | {path: Answer(content) for path, content in (answers or {}).items()})
    server = await asyncio.start_server(host.handle, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    async with server:
        yield host
    await asyncio.gather(*(handler for handler in host.handlers if handler))


async def fetch(link: str, **settings: Any) -> bytes:
    async with MediaClient(**{"allows_private_hosts": True, **settings}) as media, media.open(link) as download:
        return await read(download)


async def read(download: Download) -> bytes:
    return b"".join([chunk async for chunk in download.chunks])


async def refuse(host: Host, link: str = "", **settings: Any) -> DownloadError:
    """Fetch in vain, and see that the error bears nothing of the link."""
    with pytest.raises(DownloadError) as caught:
        await fetch(link or host.link(), **settings)
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    assert not [part for part in ("SECRET", "video.mp4", "127.0.0.1", str(host.port)) if part in f"{error} {error!r}"]
    return error


def redirect(place: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()


def with_length(content: bytes) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % len(content) + content


# Where a link may lead

PRIVATE = [
    *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "100.127.255.255", "0.0.0.0", "0.1.2.3", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1"),
    *("255.255.255.255", "::", "::1", "::127.0.0.1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1"),
    *("ff02::1", "ff0e::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::127.0.0.1"),
    *("64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "2001::1", "2001:db8::1", "4000::1"),
    *("2130706433", "0x7f.1", "127.1", "0177.0.0.1", "１２７.0.0.1", "localhost", ""),
]
PUBLIC = [
    *("8.8.8.8", "172.32.0.1", "100.128.0.1", "192.169.0.1", "223.255.255.1", "2606:4700::1", "2a00:1450:4001::1"),
    *("::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_in_plain_spelling_is_private(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


def test_a_socket_is_made_for_a_public_address_only() -> None:
    kind = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
    SocketFactory()((*kind, ("8.8.8.8", 443))).close()
    with pytest.raises(PrivateAddressError):
        SocketFactory()((*kind, ("10.0.0.1", 443)))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("198.18.0.7", "198.18.0.0/15"),
        ("198.19.255.255", "198.18.0.0/15"),
        ("100.80.1.2", "100.64.0.0/10"),
        ("10.1.2.3", "10.0.0.0/8"),
        ("192.168.7.7", "192.168.0.0/16"),
        ("240.0.0.1", "240.0.0.0/4"),
        ("fc00::5", "fc00::/7"),
        ("::ffff:198.18.0.7", "198.18.0.0/15"),
        ("64:ff9b::198.18.0.7", "198.18.0.0/15"),
    ],
)
def test_an_address_of_a_network_that_is_allowed_gets_a_socket(address: str, network: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    info = (family, socket.SOCK_STREAM, 0, "", (address, 443))
    with pytest.raises(PrivateAddressError) as refused:
        SocketFactory(parse_networks("198.51.100.0/24"))(info)
    assert str(refused.value.network) == network
    SocketFactory(parse_networks(f"198.51.100.0/24, {network}"))(info).close()


async def test_a_network_that_is_allowed_is_connected_to_and_no_other() -> None:
    async with serve(with_length(b"video")) as host:
        allowed, others = parse_networks("127.0.0.0/8"), parse_networks("198.18.0.0/15")
        assert await fetch(host.link(), allows_private_hosts=False, allowed_networks=allowed) == b"video"
        await refuse(host, allows_private_hosts=False, allowed_networks=others)
    assert len(host.requests) == 1


async def test_fake_addresses_are_named_with_what_to_do() -> None:
    with pytest.raises(DownloadError) as caught:
        await fetch("http://198.18.0.7:9/video.mp4?Signature=SECRET", allows_private_hosts=False)
    told = str(caught.value)
    assert "private network (198.18.0.0/15)" in told
    assert "a proxy or VPN" in told
    assert told.endswith("set HEDRA_MEDIA_NETWORKS=198.18.0.0/15 and run again.")
    assert caught.value.obstacle is Obstacle.ADDRESS


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("  ", 0), ("198.18.0.0/15", 1), ("10.0.0.1", 1), ("198.18.0.0/15, fc00::/18", 2)]
)
def test_networks_stand_with_commas_between_them(text: str, count: int) -> None:
    assert len(parse_networks(text)) == count


MALFORMED = ["198.18", "198.18.0.0/33", "198.18.0.1/15", "198.18.0.0/15;10.0.0.0/8", "198.18.0.0/15,", "all", "5", "*"]


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_no_list_of_networks_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="no list of networks"):
        parse_networks(text)


NAMES = [
    *("127.0.0.1", "localhost", "LOCALHOST", "2130706433", "0x7f.1", "0x7f000001", "127.1", "0177.0.0.1", "0"),
    *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "user:password@127.0.0.1", "127.0.0.1.", "１２７.0.0.1"),
]


@pytest.mark.parametrize("name", NAMES)
async def test_no_spelling_of_this_machine_is_connected_to(name: str) -> None:
    async with serve(with_length(b"internal")) as host:
        await refuse(host, host.link(name), allows_private_hosts=False)
    assert host.requests == []


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_this_machine_is_connected_to_where_that_is_allowed(name: str) -> None:
    async with serve(with_length(b"video")) as host:
        assert await fetch(host.link(name)) == b"video"


async def test_a_private_network_is_named_as_the_reason() -> None:
    async with serve(b"") as host:
        assert "private network" in str(await refuse(host, allows_private_hosts=False))


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [("http://127.0.0.1:80/web", True), ("http://localhost", True), ("https://[::1]:1", True)]
    + [(url, False) for url in ("https://api.hedra.com", "https://127.0.0.1.example.com", "https://10.0.0.1")],
)
def test_an_api_on_this_machine_is_known_by_its_address(base_url: str, expected: bool) -> None:
    assert is_loopback(base_url) is expected


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:,x", "ws:{rest}", "http://["])
async def test_a_redirect_to_anything_but_http_is_refused(place: str) -> None:
    async with serve(with_length(b"video")) as host:
        rest = host.link().removeprefix("http:")
        host.answers["/first"] = Answer(redirect(place.format(rest=rest)))
        await refuse(host, host.link(path="/first"))
    assert host.paths == ["/first"]


async def test_three_redirects_are_followed() -> None:
    chain = {"/1": redirect("/2"), "/2": redirect("/3"), "/3": redirect("/4")}
    async with serve(with_length(b"video"), chain) as host:
        assert await fetch(host.link(path="/1")) == b"video"
    assert host.paths == ["/1", "/2", "/3", "/4"]


async def test_a_fourth_redirect_is_not() -> None:
    async with serve(redirect(SIGNED)) as host:
        await refuse(host)
    assert host.paths == [SIGNED] * 4


async def test_links_and_redirects_are_sent_as_they_were_signed() -> None:
    first, second = "/a%2Fb?s=%2B+%2f", "/c%2Fd?s=%7E+%2b"
    async with serve(with_length(b"video"), {first: redirect(second)}) as host:
        await fetch(host.link(path=first))
    assert host.paths == [first, second]


async def test_a_host_that_nobody_listens_at_is_told_without_its_name() -> None:
    async with serve(b"") as host:
        pass
    await refuse(host)


# What arrives

BROKEN = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "bytes": bytes(range(256)),
    "another version": b"HTTP/9.9 200 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "expired": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nexpired",
    "a part": b"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\nabc",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc",
    "a redirect to nowhere": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    "a redirect of bytes": b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe/\r\nContent-Length: 0\r\n\r\n",
    "a redirect too long for a name": redirect(f"http://{'a' * 70}.example/"),
    "a long header": OK + b"X: " + b"y" * 100_000 + b"\r\nContent-Length: 3\r\n\r\nabc",
    "many headers": OK + b"X: y\r\n" * 10_000 + b"Content-Length: 3\r\n\r\nabc",
    "a header with NUL": OK + b"X: \x00\r\nContent-Length: 3\r\n\r\nabc",
    "a negative length": OK + b"Content-Length: -1\r\n\r\nabc",
    "a length in words": OK + b"Content-Length: three\r\n\r\nabc",
    "a length of 400 digits": OK + b"Content-Length: " + b"9" * 400 + b"\r\n\r\nabc",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a length and chunks": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "fewer bytes than told": OK + b"Content-Length: 9\r\n\r\nabc",
    "no length at all": OK + b"\r\nabc",
    "an old server": b"HTTP/1.0 200 OK\r\n\r\nabc",
    "more bytes than told": OK + b"Content-Length: 3\r\n\r\nabcdef",
    "chunks inside of another coding": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "a coding that sounds like chunks": OK + b"Transfer-Encoding: xchunked\r\n\r\nabc",
    "no last chunk": CHUNKED + b"3\r\nabc\r\n",
    "half of the last chunk": CHUNKED + b"3\r\nabc\r\n0\r\n",
    "half of a chunk": CHUNKED + b"5\r\nabc",
    "a chunk of words": CHUNKED + b"three\r\nabc\r\n0\r\n\r\n",
    "a negative chunk": CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
    "a chunk beyond all numbers": CHUNKED + b"f" * 20 + b"\r\nabc\r\n0\r\n\r\n",
    "a chunk longer than told": CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n",
    "a long trailer": CHUNKED + b"3\r\nabc\r\n0\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_a_broken_answer_is_a_download_error(answer: bytes) -> None:
    async with serve(answer) as host:
        await refuse(host)


HTML = b"Content-Type: text/html; charset=utf-8\r\n"
LOGIN = b"<html><body>Welcome to our hotel! Room and name, please.</body></html>"
PACKED_LOGIN = gzip.compress(LOGIN)
PAGES = {
    "said": OK + HTML + b"Content-Length: 6\r\n\r\nLog in",
    "said, without content": OK + HTML + b"Content-Length: 0\r\n\r\n",
    "said, of unknown length": b"HTTP/1.0 200 OK\r\n" + HTML + b"\r\n" + LOGIN,
    "not said": with_length(LOGIN),
    "not said, after space": with_length(b"\xef\xbb\xbf\r\n  <!DOCTYPE HTML>" + LOGIN * 100),
    "in chunks": CHUNKED + b"1\r\n<\r\n45\r\n" + LOGIN[1:] + b"\r\n0\r\n\r\n",
    "packed": OK
    + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(gzip.compress(LOGIN))
    + gzip.compress(LOGIN),
}


@pytest.mark.parametrize("answer", PAGES.values(), ids=PAGES)
async def test_a_web_page_is_told_from_a_broken_file(answer: bytes) -> None:
    async with serve(answer) as host:
        assert (await refuse(host)).obstacle is Obstacle.PAGE


async def test_a_video_that_is_said_to_be_a_page_is_a_video() -> None:
    movie = b"\0\0\0\x18ftypisom<html>"
    async with serve(OK + HTML + b"Content-Length: %d\r\n\r\n" % len(movie) + movie) as host:
        assert await fetch(host.link()) == movie


@pytest.mark.parametrize("answer", [Answer(b""), Answer(OK), Answer(b"", is_reset=True)], ids=["end", "half", "reset"])
async def test_a_cut_before_the_answer_is_told_from_one_in_a_file(answer: Answer) -> None:
    async with serve(answer) as host:
        assert (await refuse(host)).obstacle is Obstacle.CUT


@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_cut_in_a_file_is_its_own(is_reset: bool) -> None:
    async with serve(Answer(OK + b"Content-Length: 9\r\n\r\nabc", is_reset=is_reset)) as host:
        assert (await refuse(host)).obstacle is None


LATE = {
    "the end": b"",
    "half of the last chunk": b"0\r\n",
    "half of a chunk": b"5\r\nabc",
    "a chunk of words": b"three\r\nabc\r\n0\r\n\r\n",
    "a negative chunk": b"-3\r\nabc\r\n0\r\n\r\n",
    "a chunk longer than told": b"3\r\nabcdef\r\n0\r\n\r\n",
    "a long trailer": b"0\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("later", LATE.values(), ids=LATE)
async def test_what_breaks_only_after_its_beginning_is_a_download_error(later: bytes) -> None:
    media = MediaClient(allows_private_hosts=True, stall_timeout_seconds=0.2)
    async with serve(Answer(CHUNKED + b"3\r\nabc\r\n", later)) as host, media, media.open(host.link()) as download:
        host.gate.set()
        with pytest.raises(DownloadError):
            await read(download)


ENDLESS = {
    "does not tell the length": [Answer(OK + b"\r\n", repeated=b"x" * 2**16)],
    "larger than": [
        Answer(CHUNKED, repeated=b"10000\r\n" + b"x" * 2**16 + b"\r\n"),
        Answer(CHUNKED, repeated=b"1\r\nx\r\n" * 1000),
    ],
    "The download failed: the answer cannot be read.": [
        Answer(b"", repeated=b"x" * 2**16),
        Answer(OK + b"X: ", repeated=b"x" * 2**16),
        Answer(OK, repeated=b"X: y\r\n" * 1000),
        Answer(CHUNKED + b"0\r\n", repeated=b"X: y\r\n" * 1000),
    ],
    "redirected more than 3 times": [
        Answer(redirect(SIGNED).replace(b"Length: 0", b"Length: 99999999999"), repeated=b"x" * 2**16)
    ],
}


@pytest.mark.parametrize(("answer", "reason"), [(answer, why) for why in ENDLESS for answer in ENDLESS[why]])
async def test_what_never_ends_is_given_up_for_its_size(answer: Answer, reason: str) -> None:
    async with serve(answer) as host:
        assert reason in str(await refuse(host, size_limit_bytes=2**18))


CRAWLING = {
    "a body": Answer(CHUNKED, repeated=b"1\r\nx\r\n", pause_seconds=0.01),
    "a header": Answer(OK + b"X: ", repeated=b"x", pause_seconds=0.01),
    "a chunk's extension": Answer(CHUNKED + b"5;", repeated=b"x", pause_seconds=0.01),
    "interim answers": Answer(b"", repeated=b"HTTP/1.1 100 Continue\r\n\r\n", pause_seconds=0.01),
}


@pytest.mark.parametrize("answer", CRAWLING.values(), ids=CRAWLING)
async def test_what_crawls_for_ever_is_given_up_for_its_time(answer: Answer) -> None:
    async with serve(answer) as host:
        assert "The download failed: timed out." in str(await refuse(host, total_timeout_seconds=0.2))


@pytest.mark.parametrize("content", [b"", OK, OK + b"Content-Length: 9\r\n\r\nabc", CHUNKED + b"3\r\nabc\r\n"])
async def test_what_stands_still_is_given_up(content: bytes) -> None:
    async with serve(Answer(content, is_held=True)) as host:
        assert "The download failed: timed out." in str(await refuse(host, stall_timeout_seconds=0.1))


async def test_a_length_beyond_the_bound_is_refused_before_the_body() -> None:
    async with serve(Answer(OK + b"Content-Length: 1000000\r\n\r\n", is_held=True)) as host:
        assert "larger than" in str(await refuse(host, size_limit_bytes=999_999))


# How it is encoded

MOVIE = b"\0\0\0\x18ftypisom" + bytes(range(256)) * 40
NO_CODINGS = [b"aws-chunked", b"", b" ", b"utf-8", b"identity", b"Identity, AWS-chunked", b"binary", b"none", b"\xff"]


def encode(content: bytes, coding: bytes) -> bytes:
    return OK + b"Content-Encoding: " + coding + b"\r\nContent-Length: %d\r\n\r\n" % len(content) + content


def deflate(content: bytes, *, window: int = 15) -> bytes:
    packer = zlib.compressobj(wbits=window)
    return packer.compress(content) + packer.flush()


@pytest.mark.parametrize("coding", [*NO_CODINGS, b"br", b"zstd"])
async def test_a_coding_that_is_none_is_ignored(coding: bytes) -> None:
    async with serve(encode(MOVIE, coding)) as host:
        assert await fetch(host.link()) == MOVIE
    assert "Accept-Encoding: identity\r\n" in host.requests[0]


@pytest.mark.parametrize("coding", [b"gzip", b"deflate", b"aws-chunked, gzip"])
async def test_a_video_that_is_only_said_to_be_encoded_is_taken_as_it_is(coding: bytes) -> None:
    async with serve(encode(MOVIE, coding)) as host:
        assert await fetch(host.link()) == MOVIE


ENCODED = {
    "gzip": (b"gzip", gzip.compress(MOVIE)),
    "another name": (b"X-GZip", gzip.compress(MOVIE)),
    "beside another word": (b"gzip,aws-chunked", gzip.compress(MOVIE)),
    "two members": (b"gzip", gzip.compress(MOVIE[:99]) + gzip.compress(MOVIE[99:])),
    "filled up": (b"gzip", gzip.compress(MOVIE) + bytes(99)),
    "deflate": (b"deflate", deflate(MOVIE)),
    "a bare stream": (b"deflate", deflate(MOVIE, window=-15)),
}


@pytest.mark.parametrize(("coding", "content"), ENCODED.values(), ids=ENCODED)
async def test_what_is_encoded_is_decoded(coding: bytes, content: bytes) -> None:
    async with serve(encode(content, coding)) as host:
        assert await fetch(host.link()) == MOVIE


@pytest.mark.parametrize(("coding", "content"), ENCODED.values(), ids=ENCODED)
async def test_it_is_decoded_from_chunks_of_one_byte(coding: bytes, content: bytes) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in content)
    head = CHUNKED.removesuffix(b"\r\n") + b"Content-Encoding: " + coding + b"\r\n\r\n"
    async with serve(head + chunks + b"0\r\n\r\n") as host:
        assert await fetch(host.link()) == MOVIE


def tell_length(length_bytes: int, lines: bytes = b"") -> bytes:
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n" + lines
    return head + b"Content-Range: bytes 0-0/%d\r\n\r\nv" % length_bytes


async def test_the_length_of_what_is_encoded_is_asked_for() -> None:
    content = gzip.compress(MOVIE)
    answer = OK + b"Content-Encoding: gzip\r\n\r\n" + content
    for told, is_whole in ((len(content), True), (len(content) + 1, False)):
        async with serve(answer, {"Range": tell_length(told, b"Content-Encoding: gzip\r\n")}) as host:
            if is_whole:
                assert await fetch(host.link()) == MOVIE
            else:
                assert "bytes arrived" in str(await refuse(host))


@pytest.mark.parametrize("coding", [b"", b"Content-Encoding: deflate\r\n", b"Content-Encoding: gzip, gzip\r\n"])
async def test_a_length_in_another_coding_is_none_of_a_body_that_is_encoded_on_the_fly(coding: bytes) -> None:
    content = gzip.compress(MOVIE)
    head = CHUNKED.removesuffix(b"\r\n") + b"Content-Encoding: gzip\r\n\r\n"
    answer = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
    async with serve(answer, {"Range": tell_length(len(MOVIE), coding)}) as host:
        assert await fetch(host.link()) == MOVIE


async def test_a_length_of_what_is_encoded_is_none_of_a_plain_body() -> None:
    part = tell_length(99, b"Content-Encoding: gzip\r\n")
    async with serve(CHUNKED + b"5\r\nvideo\r\n0\r\n\r\n", {"Range": part}) as host:
        assert await fetch(host.link()) == b"video"


SPOILT = {
    "cut": (b"gzip", gzip.compress(MOVIE)[:-9]),
    "cut in its head": (b"gzip", gzip.compress(MOVIE)[:9]),
    "a wrong sum": (b"gzip", gzip.compress(MOVIE)[:-8] + bytes(8)),
    "words": (b"gzip", b"Sorry, there is no such video."),
    "something behind": (b"gzip", gzip.compress(MOVIE) + b"something"),
    "twice": (b"gzip, gzip", gzip.compress(gzip.compress(MOVIE))),
    "cut deflate": (b"deflate", deflate(MOVIE)[:-9]),
}


@pytest.mark.parametrize(("coding", "content"), SPOILT.values(), ids=SPOILT)
async def test_what_cannot_be_decoded_is_a_download_error(coding: bytes, content: bytes) -> None:
    async with serve(encode(content, coding)) as host:
        await refuse(host)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
async def test_what_unpacks_to_more_than_the_bound_is_given_up(coding: bytes) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    async with serve(encode(bomb, coding)) as host:
        assert "larger than" in str(await refuse(host, size_limit_bytes=1_000_000))


async def test_nothing_is_decoded_that_is_not_said_to_be_encoded() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    async with serve(with_length(bomb)) as host:
        assert await fetch(host.link(), size_limit_bytes=len(bomb)) == bomb


# How long it is

FIRST_BYTE = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/5\r\nContent-Length: 1\r\n\r\nv"
WITHOUT_LENGTH = {"to the end": OK + b"\r\nvideo", "chunked": CHUNKED + b"5\r\nvideo\r\n0\r\n\r\n"}


@pytest.mark.parametrize("answer", WITHOUT_LENGTH.values(), ids=WITHOUT_LENGTH)
async def test_a_length_that_is_missing_is_asked_for(answer: bytes) -> None:
    async with serve(answer, {"Range": FIRST_BYTE}) as host:
        assert await fetch(host.link()) == b"video"
    assert (len(host.requests), host.paths) == (2, [SIGNED, SIGNED])


async def test_a_length_that_is_there_is_not_asked_for() -> None:
    async with serve(with_length(b"video"), {"Range": FIRST_BYTE}) as host:
        assert await fetch(host.link()) == b"video"
    assert len(host.requests) == 1


NOTHING_TOLD = {
    "refused": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "an unknown length": FIRST_BYTE.replace(b"0-0/5", b"0-0/*"),
    "another part": FIRST_BYTE.replace(b"0-0/5", b"1-1/5"),
    "no part": FIRST_BYTE.replace(b"206", b"200"),
}


@pytest.mark.parametrize("told", NOTHING_TOLD.values(), ids=NOTHING_TOLD)
async def test_a_plain_body_whose_length_nobody_tells_is_refused(told: bytes) -> None:
    async with serve(WITHOUT_LENGTH["to the end"], {"Range": told}) as host:
        error = await refuse(host)
    assert ("does not tell the length" in str(error), error.obstacle) == (True, Obstacle.LENGTH)


WHOLE = {
    "passed on by a proxy": with_length(b"video").replace(b"200 OK", b"203 Non-Authoritative Information"),
    "a part that is all of it": b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/5\r\n"
    b"Content-Length: 5\r\n\r\nvideo",
}


@pytest.mark.parametrize("answer", WHOLE.values(), ids=WHOLE)
async def test_the_whole_is_taken_under_whatever_status_says_so(answer: bytes) -> None:
    async with serve(answer) as host:
        assert await fetch(host.link()) == b"video"


@pytest.mark.parametrize(
    ("status", "obstacle"),
    [
        (400, Obstacle.REFUSAL),
        (403, Obstacle.REFUSAL),
        (521, Obstacle.OUTAGE),
        (599, Obstacle.OUTAGE),
        (302, Obstacle.REDIRECT),
        (404, None),
        (410, None),
        (451, None),
    ],
)
async def test_a_status_tells_what_is_the_hosts_matter_and_what_one_files(
    status: int, obstacle: Obstacle | None
) -> None:
    async with serve(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status) as host:
        assert (await refuse(host)).obstacle is obstacle


async def test_a_host_that_says_nothing_is_silent_for_every_file() -> None:
    async with serve(Answer(b"", OK)) as host:
        assert (await refuse(host, stall_timeout_seconds=0.1)).obstacle is Obstacle.SILENCE
        host.gate.set()


async def test_a_message_instead_of_a_video_is_a_page() -> None:
    async with serve(with_length(b' {"error": "come back later"}')) as host:
        assert (await refuse(host)).obstacle is Obstacle.PAGE


async def test_a_plain_video_is_taken_however_often_it_is_said_to_be_compressed() -> None:
    movie = b"\0\0\0\x08ftyp" + b"plain"
    answer = OK + b"Content-Encoding: gzip, gzip\r\nContent-Length: %d\r\n\r\n" % len(movie) + movie
    async with serve(answer) as host:
        assert await fetch(host.link()) == movie


@pytest.mark.parametrize("told", NOTHING_TOLD.values(), ids=NOTHING_TOLD)
async def test_a_chunked_body_marks_its_own_end(told: bytes) -> None:
    async with serve(WITHOUT_LENGTH["chunked"], {"Range": told}) as host:
        assert await fetch(host.link()) == b"video"


async def test_an_empty_body_has_an_end_each_time() -> None:
    async with serve(with_length(b"")) as host:
        assert [await fetch(host.link()) for _ in range(3)] == [b""] * 3


def test_it_has_one_with_the_parser_in_python_too() -> None:
    """Where aiohttp is installed without its extensions, another parser makes the bodies."""
    test = f"{__file__}::{test_an_empty_body_has_an_end_each_time.__name__}"
    command = [sys.executable, "-m", "pytest", "--override-ini=addopts=", "--timeout=20", test]
    environment = {**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (finished.returncode, "1 passed" in finished.stdout) == (0, True)
