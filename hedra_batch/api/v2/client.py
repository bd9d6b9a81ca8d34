"""The client of Hedra's v2 API: one method a request, one try each, the key sent to this host only."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import aiohttp

from hedra_batch import __version__
from hedra_batch.api.addresses import check_base_url
from hedra_batch.api.failures import describe_failure
from hedra_batch.api.media import CONNECT_TIMEOUT_SECONDS
from hedra_batch.api.protocol import Acceptance, Reading, RequestGroup
from hedra_batch.api.v2 import answers, throttling
from hedra_batch.api.v2.answers import AssetLinks, GenerationPage, Model
from hedra_batch.api.v2.refusals import extract_message, read_refusal, read_submission_refusal
from hedra_batch.api.v2.requests import read_ids
from hedra_batch.errors import (
    ForeignAnswerError,
    GarbledError,
    HedraBatchError,
    NoAnswerError,
    NotSentError,
    UnknownOutcomeError,
)
from hedra_batch.money import Money
from hedra_batch.sanitize import clean, hide_secret

logger = logging.getLogger(__name__)

#: Items of a page of a list: the published default.
PAGE_SIZE = 100
#: Largest answer that is read; a full page of 100 generations stays far below.
ANSWER_LIMIT_BYTES = 16 * 2**20
READ_TIMEOUT_SECONDS = 60.0
UPLOAD_TIMEOUT_SECONDS = 600.0
READ_HEADERS = ("x-request-id", "Location", *throttling.HEADERS)


class Answer(NamedTuple):
    """What a request got back, whatever its status; the headers are those that mean anything."""

    status: int
    headers: dict[str, str]
    text: str


class HedraClient:
    """Speaks the v2 API. Raises errors of `hedra_batch.errors`, and never anything of aiohttp's.

    `on_used_up` is called with the seconds for which the API takes no more requests of a group, when an answer says
    that it was the last one.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        submit_timeout_seconds: float = 60.0,
        on_used_up: Callable[[RequestGroup, float], None] = lambda _group, _seconds: None,
    ) -> None:
        self.base_url = check_base_url(base_url)
        self._api_key = api_key
        self._headers = {"X-API-Key": api_key, "User-Agent": f"hedra-batch/{__version__}", "Accept": "application/json"}
        self._submit_timeout_seconds = submit_timeout_seconds
        self._on_used_up = on_used_up
        #: The words for a condition that nobody knows, each told once.
        self._told_words: set[str] = set()

    async def __aenter__(self) -> Self:
        self._session = self._open_session(aiohttp.TCPConnector(limit=20))
        # A kept-alive connection that the server has just closed looks exactly like "processed, answer lost".
        self._submit_session = self._open_session(aiohttp.TCPConnector(limit=0, force_close=True))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()
        await self._submit_session.close()

    async def list_models(self) -> list[Model]:
        """GET /models, those for video."""
        return answers.read_models(await self._get("/models", types="video"))

    async def read_status(self, generation_id: str) -> Reading:
        """GET /generations/{id}/status. Raises NotFoundError when the service itself does not know the id."""
        reading = answers.read_generation(await self._get(f"/generations/{quote(generation_id, safe='')}/status"))
        if reading.remote_id != generation_id.lower():
            raise GarbledError("The API answered about another generation than the one that was asked for.")
        self._tell_word(reading)
        return reading

    async def list_generations(self, generation_ids: Iterable[str]) -> list[Reading]:
        """GET /generations for these ids: what came back may be less, more or other than what was asked for."""
        ids = list(generation_ids)
        answer = await self._get("/generations", ids=",".join(ids), limit=str(max(len(ids), 1)))
        listed = answers.read_generations(answer)
        for reading in listed:
            if reading.remote_id in ids:
                self._tell_word(reading)
        return listed

    async def list_recent(self, created_after: str | None, offset: int = 0) -> GenerationPage:
        """GET /generations, newest first: one page of all kinds of those made since an instant, or of all."""
        since = {"created_after": created_after} if created_after else {}
        answer = await self._get("/generations", limit=str(PAGE_SIZE), offset=str(offset), **since)
        return answers.read_generation_page(answer)

    async def read_balance(self) -> Money | None:
        """GET /billing/credits: what is left; None where the answer does not say."""
        return answers.read_balance(await self._get("/billing/credits"))

    async def list_asset_links(self, asset_id: str) -> AssetLinks:
        """GET /assets for one video: the assets that came back, each with a fresh download link, if it has one."""
        return answers.read_asset_links(await self._get("/assets", type="video", ids=asset_id))

    async def create_asset(self, name: str, kind: str, wanted_id: str = "") -> str | None:
        """POST /assets: announce a file; returns its id. Costs nothing, so it may be repeated.

        None where an id was wanted, and the file was taken without a word on which id it has.
        """
        wanted = {"reserved_asset_id": wanted_id} if wanted_id else {}
        body = json.dumps({"name": name, "type": kind, **wanted}).encode()
        answer = await self._request("POST", "/assets", data=body, headers={"Content-Type": "application/json"})
        try:
            return answers.read_asset_id(_parse(answer.text))
        except (GarbledError, ForeignAnswerError):
            if wanted_id:
                return None
            raise

    async def upload_asset(self, asset_id: str, content: bytes, name: str) -> None:
        """POST /assets/{id}/upload: send a file's bytes. Costs nothing, so it may be repeated."""
        form = aiohttp.FormData()
        form.add_field("file", content, filename=name, content_type="application/octet-stream")
        timeout = aiohttp.ClientTimeout(total=UPLOAD_TIMEOUT_SECONDS, sock_connect=CONNECT_TIMEOUT_SECONDS)
        await self._request("POST", f"/assets/{quote(asset_id, safe='')}/upload", data=form, timeout=timeout)

    async def submit(self, body: bytes) -> Acceptance:
        """POST /generations, once, on a fresh connection: the paid request.

        Raises NotSentError when no byte left, ThrottledError, OutOfCreditsError, KeyRefusedError, RefusedError or
        AlreadyExistsError when the server said that it did not accept, and UnknownOutcomeError for the rest.
        """
        ids = read_ids(body)
        status, headers, text = await self._send_paid(body)
        if not _is_success(status):
            raise read_submission_refusal(status, headers, text, ids)
        try:
            return answers.read_acceptance(_parse(text), headers.get("x-request-id"), ids.generation_id)
        except (GarbledError, ForeignAnswerError) as error:
            raise UnknownOutcomeError(str(error)) from error

    async def _send_paid(self, body: bytes) -> Answer:
        return await self._send(
            self._submit_session,
            RequestGroup.SUBMISSIONS,
            "POST",
            "/generations",
            lambda how: UnknownOutcomeError(f"No answer from the API: {how}."),
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=self._submit_timeout_seconds, sock_connect=CONNECT_TIMEOUT_SECONDS),
        )

    async def _get(self, route: str, **query: str) -> Any:
        return _parse((await self._request("GET", route, params=query)).text)

    async def _request(self, method: str, route: str, **options: Any) -> Answer:
        """One request that costs nothing: its success, or an error that says whether to try again."""
        answer = await self._send(
            self._session,
            RequestGroup.READS,
            method,
            route,
            lambda how: NoAnswerError(f"No answer from the API to {method} {route}: {how}."),
            **options,
        )
        if not _is_success(answer.status):
            raise read_refusal(*answer)
        return answer

    async def _send(
        self,
        session: aiohttp.ClientSession,
        group: RequestGroup,
        method: str,
        route: str,
        lose: Callable[[str], HedraBatchError],
        **options: Any,
    ) -> Answer:
        """Send one request. Raises NotSentError when no byte left, and what `lose` makes when no whole answer came."""
        try:
            async with session.request(method, self.base_url + route, allow_redirects=False, **options) as response:
                answer = Answer(response.status, self._read_head(response), await self._read_text(response))
        except aiohttp.ClientConnectorError as error:
            raise NotSentError(f"No connection to {self.base_url}: {describe_failure(error)}.") from error
        except aiohttp.ConnectionTimeoutError as error:
            raise NotSentError(f"No connection to {self.base_url}: {describe_failure(error)}.") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise lose(describe_failure(error)) from error
        logger.debug("%s %s -> %s", method, route, answer.status)
        # A 429 says by itself that the API takes no more, whichever request it was.
        if answer.status != 429 and (seconds := throttling.read_exhausted_seconds(answer.headers)):
            self._on_used_up(group, seconds)
        return answer

    def _tell_word(self, reading: Reading) -> None:
        word = reading.unknown_word
        if word and word not in self._told_words:
            self._told_words.add(word)
            logger.warning(
                "the API calls the state of a video '%s', which is not in its documents: it is followed like one that "
                "still runs, and nothing is bought again",
                clean(word),
            )

    def _read_head(self, response: aiohttp.ClientResponse) -> dict[str, str]:
        """Read the headers that mean anything, without the key should the server repeat it."""
        return {
            name: hide_secret(response.headers[name], self._api_key)
            for name in READ_HEADERS
            if name in response.headers
        }

    async def _read_text(self, response: aiohttp.ClientResponse) -> str:
        """Read the whole body, within a bound, and without the key should the server repeat it."""
        chunks: list[bytes] = []
        size_bytes = 0
        async for chunk in response.content.iter_chunked(2**16):
            size_bytes += len(chunk)
            if size_bytes > ANSWER_LIMIT_BYTES:
                raise ValueError("the answer is larger than any that is published")
            chunks.append(chunk)
        return hide_secret(b"".join(chunks).decode("utf-8", "replace"), self._api_key)

    def _open_session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=READ_TIMEOUT_SECONDS, sock_connect=CONNECT_TIMEOUT_SECONDS),
        )


def _is_success(status: int) -> bool:
    """Tell whether a request was taken: gateways and storage make a 201, 202 or 204 of a 200."""
    return 200 <= status < 300


def _parse(text: str) -> Any:
    """Read an answer. Raises ForeignAnswerError for a page that came in its place, GarbledError for the rest."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if text.lstrip("\ufeff \t\r\n").startswith("<"):
            title = extract_message(None, text) or "no title"
            raise ForeignAnswerError(f"A page came in place of the API's answer ({title[:100]}).") from error
        raise GarbledError(f"The API's answer is not JSON ({clean(text)[:40]!r}).") from error
