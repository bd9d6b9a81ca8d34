"""Why a connection failed is said in plain words, of requests to the API and of downloads alike: on real sockets."""

from __future__ import annotations

import asyncio
import errno
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from test_client import BODY
from test_media import OK, Answer, fetch, serve

from hedra_batch.api.failures import describe_failure
from hedra_batch.api.v2.client import HedraClient
from hedra_batch.errors import DownloadError, NotSentError, UnknownOutcomeError
from hedra_batch.simulator.service import Simulator

CERTIFICATES = Path(__file__).parent / "certificates"
#: Longer than any name that can be looked up, so that no network is needed for the answer.
NO_NAME = ".".join(["x" * 60] * 5)


@asynccontextmanager
async def serve_securely(certificate: str) -> AsyncIterator[str]:
    """Offer a secure connection; yields the address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / certificate)
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def submit(url: str) -> str:
    async with HedraClient(url, "key-of-the-tests", submit_timeout_seconds=0.2) as client:
        with pytest.raises((NotSentError, UnknownOutcomeError)) as caught:
            await client.submit(BODY)
    return str(caught.value)


async def download(url: str) -> str:
    with pytest.raises(DownloadError) as caught:
        await fetch(url, stall_timeout_seconds=0.2)
    return str(caught.value)


async def say_both(url: str) -> tuple[str, str]:
    """Say what the paid request came to, and what the download did."""
    return await submit(url), await download(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", "connection refused"),
        ("http://localhost:1", "connection refused"),
        (f"https://{NO_NAME}", "the host's name cannot be found (is there a network?)"),
    ],
)
async def test_a_host_that_cannot_be_reached_is_named_with_the_reason(url: str, words: str) -> None:
    assert await say_both(url) == (f"No connection to {url}: {words}.", f"The download failed: {words}.")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(b""), "the connection was cut"),
        (Answer(OK + b"Content-Length: 9\r\n\r\n{"), "the connection was cut"),
        (Answer(b"Good day.\r\n\r\n"), "the answer cannot be read"),
        (Answer(b"", is_held=True), "timed out"),
    ],
)
async def test_an_answer_that_does_not_come_whole_is_told_with_the_reason(answer: Answer, words: str) -> None:
    async with serve(answer) as host:
        assert await say_both(host.link(path="")) == (
            f"No answer from the API: {words}.",
            f"The download failed: {words}.",
        )


async def test_a_host_that_speaks_no_https_is_said_to_speak_none(simulator: Simulator) -> None:
    url = simulator.url.replace("http:", "https:")
    words = "it does not speak https."
    assert await say_both(url) == (f"No connection to {url}: {words}", f"The download failed: {words}")


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted() -> None:
    async with serve_securely("elsewhere.pem") as url:
        words = "its certificate is not trusted."
        assert await say_both(url) == (f"No connection to {url}: {words}", f"The download failed: {words}")


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        ("elsewhere.pem", "its certificate is for another host"),
        ("expired.pem", "its certificate has expired, or the clock of this machine is wrong"),
    ],
)
async def test_a_certificate_that_does_not_fit_is_told_with_the_reason(certificate: str, words: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(CERTIFICATES / certificate)
    async with serve_securely(certificate) as url, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError) as caught:
            await session.get(url, ssl=context)
    assert describe_failure(caught.value) == words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENETUNREACH, "x"), "there is no network"),
        (OSError(errno.EHOSTUNREACH, "x"), "the host cannot be reached"),
        (OSError(errno.ECONNRESET, "x"), "the connection was cut"),
        (OSError(errno.EMFILE, "x"), "too many open files"),
        (OSError("Multiple exceptions: [Errno 101] a, [Errno 111] b"), "connection refused"),
        (ssl.SSLError(1, "[SSL] x"), "no secure connection could be made"),
        (aiohttp.InvalidURL("https://h/?Signature=SECRET"), "the address is not valid"),
        (aiohttp.ClientError("the key"), "the connection failed"),
    ],
)
def test_what_seldom_happens_has_its_words_too_and_none_of_its_own_text(error: Exception, words: str) -> None:
    assert describe_failure(error) == words
