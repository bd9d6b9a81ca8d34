"""Whatever the API answers, each method of the client returns its type or raises an error of ours: thousands by lot.

The answers are those of the simulated service, damaged in body, status, header or transfer and sent over a real socket.
"""

from __future__ import annotations

import asyncio
import copy
import gzip
import io
import itertools
import json
import random
import re
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from types import NoneType, UnionType
from typing import Any

import aiohttp
import pytest
from conftest import make_png

from hedra_batch import errors
from hedra_batch.api.protocol import Acceptance, Reading
from hedra_batch.api.v2.answers import AssetLinks, GenerationPage, Model
from hedra_batch.api.v2.client import ANSWER_LIMIT_BYTES, HedraClient
from hedra_batch.api.v2.pricing import Catalogue
from hedra_batch.api.v2.requests import write_request
from hedra_batch.errors import HedraBatchError
from hedra_batch.inputs import FieldValues
from hedra_batch.money import Money
from hedra_batch.simulator import refusals
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

CHUNKS = 8
KEY = "key-of-the-tests-0123456789"
BASE_PATH = "/web-app/public"
GENERATION_ID = "0b0e4bb7-5a4c-5d4c-9b39-0b7b8a3a9d11"
ASSET_ID = "b7f9e4bb-f4c3-4237-8c76-deae53cdd61d"
FIELDS: FieldValues = {"prompt": "A storm", "duration_ms": 5000, "resolution": "540p", "aspect_ratio": "16:9"}
FIELDS |= {"model": "fal/grok-video-i2v", "image": "sha256:00"}
PAID_BODY = write_request(GENERATION_ID, FIELDS, {"image": ASSET_ID}, Catalogue([]).name_on_wire)

Dice = random.Random


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server sends."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ((b"Content-Type", b"application/json"),)
    #: Lines of HTTP before the answer proper.
    preamble: bytes = b""
    #: What is sent after the headers instead of the body.
    transfer: bytes | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it must arrive as it is: HTTP is in order, and the body not too large to be read."""
        return self.transfer is None and not self.preamble and len(self.body) <= ANSWER_LIMIT_BYTES

    @property
    def raw(self) -> bytes:
        head = self.preamble + b"HTTP/1.1 %d Answer\r\n" % self.status
        lengths = () if self.transfer is not None else ((b"Content-Length", b"%d" % len(self.body)),)
        lines = b"".join(b"%b: %b\r\n" % pair for pair in (*lengths, *self.headers, (b"Connection", b"close")))
        return head + lines + b"\r\n" + (self.body if self.transfer is None else self.transfer)


# Answers as the service gives them.


async def collect_answers() -> dict[str, list[Answer]]:
    """Ask the simulated service for its answers by route; its clock makes them the same every time."""
    clock = itertools.count(1_800_000_000, 30)
    service = Simulator(SimulatorSettings(clock=lambda: next(clock)))
    async with service, aiohttp.ClientSession(service.url + "/", headers={"X-API-Key": KEY}) as session:
        announced = await ask(session, "POST assets", json={"name": "a.png", "type": "image"})
        asset_id = json.loads(announced)["id"].encode()
        uploaded = await ask(session, f"POST assets/{asset_id.decode()}/upload", data={"file": io.BytesIO(make_png(0))})
        accepted = await ask(session, "POST generations", data=PAID_BODY.replace(ASSET_ID.encode(), asset_id))
        reads = [await ask(session, f"GET generations/{GENERATION_ID}/status") for _ in range(9)]
        routes = ("GET models", "GET generations", "GET assets?type=video", "GET billing/credits")
        lists = {route.partition("?")[0]: [await ask(session, route)] for route in routes}
    own = {"POST assets": [announced], "POST upload": [uploaded], "POST generations": [accepted], "GET status": reads}
    return {
        route: [Answer(200, body.replace(asset_id, ASSET_ID.encode())) for body in bodies]
        for route, bodies in (own | lists).items()
    }


async def ask(session: aiohttp.ClientSession, route: str, **options: Any) -> bytes:
    method, _, path = route.partition(" ")
    async with session.request(method, path, **options) as response:
        assert response.status == 200
        return await response.read()


REFUSALS = [
    Answer(refusal.status, json.dumps(refusal.body).encode())
    for refusal in (
        refusals.wrong_key(),
        refusals.no_credits(9, 1),
        refusals.not_found("Model", "fal/none"),
        refusals.not_found("Asset", ASSET_ID),
        refusals.already("ALREADY_EXISTS", "Generation", GENERATION_ID),
        refusals.already("ALREADY_IN_PROGRESS", "Generation", GENERATION_ID),
        refusals.invalid("The duration is not offered.", "Nor is the ratio."),
        refusals.malformed([refusals.problem("missing", "Field required", "body", "type")]),
        refusals.moderated(),
        refusals.throttled("Too many requests."),
        refusals.internal(),
        refusals.unavailable(),
        refusals.refuse(400, "INVALID_ARGUMENT", "No."),
        refusals.refuse(403, "PERMISSION_DENIED", "The account has moved to v3."),
        refusals.refuse(404, "NOT_FOUND", f"No asset {ASSET_ID}."),
    )
]


# Damage.

ESCAPED_KEY = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
#: Stands for lists within lists, more than can be written as such.
DEEP = "@deep@"
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 0.5, -1e308, 10**15, 10**400, float("nan"), float("inf"), "", " ", [], {}, [{}]),
    *(DEEP, "x" * 5000, "\ud800", "a\udfffb", "\x1b[31mred\x07", "\0", "\u202etxt", "a\r\nb", "\x9b2J", "\u2028", "٣"),
    *(KEY, f"The key {KEY} is wrong", f"https://h/?key={KEY}", "https://h/v.mp4?X-Signature=s3cret", "data:", "//h"),
    *("NaN", "1e999", "-5", "true", "ALREADY_EXISTS", "UNAUTHORIZED", "INSUFFICIENT_BALANCE", "MODERATION_FAILED"),
    *("complete", "error", "queued", "paused", GENERATION_ID, GENERATION_ID.upper(), ASSET_ID, "../../models", "a?c#d"),
)
ODD_BODIES = (
    *(b"", b" ", b"null", b"0", b"[]", b"{}", b'"text"', b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"{"),
    *(b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}", b"\x1f\x8b\x08\0", b"\0\x1b[2J\x07"),
    *(b"<html><title>502 Bad Gateway</title></html>", b"upstream connect error", KEY.encode(), b'{"id": "\xc3\x28"}'),
    *(b'{"messages": ["' + KEY.encode() + b'"]}', b'{"messages": ["' + ESCAPED_KEY.encode() + b'"]}'),
    *(b'{"detail": "Not Found"}', b'{"data": [{}]}', b"http://" * 50_000),
)
ODD_STATUSES = (101, 201, 202, 204, 301, 302, 304, 307, 308, 402, 405, 408, 409, 410, 425, 429, 451, 500, 502, 503, 504)
ODD_HEADERS = (
    *((b"Retry-After", value) for value in (b"-1", b"nan", b"1e999", b"0", b"\xff", b"Fri, 31 Dec 1999 23:59:59 GMT")),
    *((b"x-request-id", value) for value in (b"r-1", b"", b"\xff\xfe", b"x" * 4000, b"a\tb", b"\xc2\x9b31m")),
    *((b"Location", value) for value in (b"/elsewhere", b"http://127.0.0.1:1/", b"//h", b"\xff", b"")),
    *((b"Content-Type", value) for value in (b"", b"text/html; charset=none", b"\xff", b"text/plain; charset=utf-16")),
    *((b"Set-Cookie", value) for value in (b"a=b", b"\xff=\xff; expires=never", b"=", b"x" * 4000)),
    *((b"Content-Encoding", value) for value in (b"none", b"identity", b"\xff")),
    *((b"WWW-Authenticate", b"Digest realm=x"), (b"Link", b"<x"), (b"Upgrade", b"h2c"), (b"Trailer", b"x")),
)
#: Ways to break HTTP: a header, and what follows in place of the body.
BROKEN = (
    (b"Content-Length", b"10", b"short"),
    (b"Content-Length", b"2", b"{} and more"),
    (b"Content-Length", b"-1", b"{}"),
    (b"Content-Length", b"1e3", b"{}"),
    (b"Content-Length", b"9" * 30, b"{}"),
    (b"Transfer-Encoding", b"chunked", b"5\r\nshort\r\n"),
    (b"Transfer-Encoding", b"chunked", b"zz\r\n{}\r\n0\r\n\r\n"),
    (b"Transfer-Encoding", b"chunked", b"2\r\n{}\r\n0\r\n\r\n"),
    (b"Transfer-Encoding", b"chunked", b"fffffffffffffff\r\n{}"),
    (b"Transfer-Encoding", b"rot13", b"{}"),
    (b"Content-Encoding", b"gzip", b"no gzip at all"),
    (b"Content-Encoding", b"gzip", gzip.compress(b" " * 20_000_000, 1)),
    (b"Content-Encoding", b"deflate", gzip.compress(b"{}")[:-4]),
    (b"X-Long", b"x" * 100_000, b"{}"),
    (b"X-Odd\0", b"y", b"{}"),
    (b"X-Fold", b"a\r\n b", b"{}"),
    (b"No colon\r\nX", b"y", b"{}"),
)
PREAMBLES = (
    *(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\n\r\n", b"HTTP/1.1 101 Up\r\nUpgrade: x\r\n\r\n"),
    *(b"\r\n", b"\0", b"<html>", b"ICY 200 OK\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n"),
    *(b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.0 200\r\n\r\n{}", b"HTTP/1.1 302 No\r\nLocation: /elsewhere\r\n\r\n"),
)


def find_spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Find every place of a tree, as a container and a key or an index."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from find_spots(value[key])


def spoil_values(dice: Dice, answer: Answer) -> Answer:
    """Change some things of what the JSON says."""
    root = [json.loads(answer.body)]
    for _ in range(dice.choice((1, 1, 2, 5, 20))):
        spoil_value(dice, *dice.choice(list(find_spots(root))))
    text = json.dumps(root[0] if root else None, ensure_ascii=dice.random() < 0.5)
    depth = dice.choice((3, dice.randint(850, 1000), 100_000))
    return replace(answer, body=text.replace(f'"{DEEP}"', "[" * depth + "]" * depth).encode("utf-8", "surrogatepass"))


def spoil_value(dice: Dice, container: Any, key: Any) -> None:
    match dice.randrange(8):
        case 0 if isinstance(container, dict):
            del container[key]
        case 1 if isinstance(container, dict):
            container[dice.choice((f"{key}s", key.upper(), "id", "error", "messages", "detail"))] = container.pop(key)
        case 2:
            container[key] = dice.choice(([container[key]], {"value": container[key]}, {"message": container[key]}))
        case 3 if isinstance(container, list):
            container += [container[key]] * dice.choice((1, 10))
        case _:
            container[key] = copy.deepcopy(dice.choice(ODD_VALUES))


def spoil_bytes(dice: Dice, answer: Answer) -> Answer:
    """Cut the text, or put in what is none."""
    place = dice.randrange(len(answer.body) + 1)
    if dice.random() < 0.4:
        return replace(answer, body=answer.body[:place])
    inserted = dice.choice((dice.randbytes(dice.randint(1, 9)), b"\x1b[2J", b"\\u001b", b'"', b",", b"\xed\xa0\x80"))
    return replace(answer, body=answer.body[:place] + inserted + answer.body[place:])


def break_transfer(dice: Dice, answer: Answer) -> Answer:
    if dice.random() < 0.5:
        return replace(answer, preamble=dice.choice(PREAMBLES))
    name, value, transfer = dice.choice(BROKEN)
    return replace(answer, headers=((name, value),), transfer=transfer)


DAMAGES: tuple[tuple[float, Callable[[Dice, Answer], Answer]], ...] = (
    (10, lambda _, answer: answer),
    (40, spoil_values),
    (10, spoil_bytes),
    (8, lambda dice, answer: replace(answer, body=dice.choice(ODD_BODIES))),
    (12, lambda dice, answer: replace(answer, status=dice.choice((*ODD_STATUSES, dice.randint(100, 599))))),
    (8, lambda dice, answer: replace(answer, headers=tuple(dice.sample(ODD_HEADERS, dice.randint(1, 3))))),
    (8, break_transfer),
    (0.3, lambda _, answer: replace(answer, body=b'{"messages": ["' + b"x" * 20_000_000 + b'"]}')),
)


def draw_answer(dice: Dice, own: list[Answer], others: list[Answer]) -> Answer:
    """Draw an answer of the service, and most often damage it."""
    answer = dice.choice(dice.choices((own, REFUSALS, others), (4, 4, 1))[0])
    (_, damage), *_ = dice.choices(DAMAGES, [weight for weight, _ in DAMAGES])
    return damage(dice, answer)


# The server.


@dataclass
class Host:
    """Answers every request with what was put there."""

    answer: Answer = field(default_factory=lambda: REFUSALS[0])
    url: str = ""
    #: Method, path and body of each request since the last look.
    requests: list[tuple[str, bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever hangs up has had enough.
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = head.lower().partition("content-length:")[2].partition("\r\n")[0]
            body = await reader.readexactly(int(length or 0))
            self.requests.append((head.partition(" HTTP/")[0], body))
            writer.write(self.answer.raw)
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def open_host() -> AsyncIterator[Host]:
    host = Host()
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    async with server:
        host.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{BASE_PATH}"
        yield host


# What is promised.


@dataclass(frozen=True, slots=True)
class Call:
    """A method of the client."""

    #: Whose answers are its own.
    route: str
    method: str
    path: str
    make: Callable[[HedraClient], Awaitable[object]]
    kind: type | UnionType


STATUS_PATH = f"/generations/{GENERATION_ID}/status"
UPLOAD_PATH = f"/assets/{ASSET_ID}/upload"
SUBMIT = Call("POST generations", "POST", "/generations", lambda client: client.submit(PAID_BODY), Acceptance)
CALLS = (
    Call("GET status", "GET", STATUS_PATH, lambda client: client.read_status(GENERATION_ID), Reading),
    Call("GET generations", "GET", "/generations?", lambda client: client.list_generations([GENERATION_ID]), list),
    Call("GET generations", "GET", "/generations?", lambda client: client.list_recent(None), GenerationPage),
    Call("GET models", "GET", "/models?", lambda client: client.list_models(), list),
    Call("GET assets", "GET", "/assets?", lambda client: client.list_asset_links(ASSET_ID), AssetLinks),
    Call("GET billing/credits", "GET", "/billing/credits", lambda client: client.read_balance(), Money | None),
    Call("POST assets", "POST", "/assets", lambda client: client.create_asset("a.png", "image"), str),
    Call("POST upload", "POST", UPLOAD_PATH, lambda client: client.upload_asset(ASSET_ID, b"x", "a.png"), NoneType),
)
#: What a clear refusal means by its status, and by the service's own words for it whatever the status.
BY_STATUS: dict[int, tuple[type[HedraBatchError], ...]] = {
    400: (errors.RefusedError,),
    401: (errors.KeyRefusedError,),
    402: (errors.OutOfCreditsError,),
    403: (errors.KeyRefusedError,),
    404: (errors.RefusedError,),
    409: (errors.AlreadyExistsError,),
    410: (errors.RefusedError,),
    412: (errors.RefusedError,),
    422: (errors.RefusedError,),
    429: (errors.ThrottledError,),
}
#: The enum of errors in the published document.
PUBLISHED_CODES = {
    *("UNKNOWN", "INVALID_ARGUMENT", "NOT_FOUND", "GONE", "ALREADY_EXISTS", "ALREADY_IN_PROGRESS", "UNAUTHORIZED"),
    *("PERMISSION_DENIED", "INSUFFICIENT_BALANCE", "MODERATION_FAILED", "FAILED_PRECONDITION", "DEADLINE_EXCEEDED"),
    *("RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL"),
}
#: Parts of an answer that are stored, logged or shown.
TOLD = frozenset({"remote_id", "asset_id", "request_id", "request_key", "error", "slug", "id", "name"})
STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
BY_WORD = {
    b"unauthorized": errors.KeyRefusedError,
    b"insufficient_balance": errors.OutOfCreditsError,
    b"already_": errors.AlreadyExistsError,
    b"moderation": errors.RefusedError,
}


def list_verdicts(answer: Answer) -> tuple[type, ...]:
    """List what may come of a paid request that is answered so."""
    unclear = errors.UnknownOutcomeError
    if 200 <= answer.status < 300:
        return (Acceptance, unclear)
    if answer.status == 408 or not 400 <= answer.status < 500:
        return (unclear,)
    verdicts = BY_STATUS.get(answer.status, (unclear,))
    if answer.is_whole and not is_own(answer.body):
        # A gateway's page, and not the service itself.
        return (unclear,)
    if answer.status == 429 or not answer.is_whole:
        return (*verdicts, unclear)
    body = answer.body.lower()
    return (*verdicts, *(kind for word, kind in BY_WORD.items() if word in body))


def is_own(body: bytes) -> bool:
    """Tell whether a refusal has what only the service itself writes: a published code, or a list of details."""
    try:
        told = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return False
    if not isinstance(told, dict):
        return False
    error = told.get("error")
    codes = [told.get("error_code"), told.get("code"), error.get("type") if isinstance(error, dict) else None]
    return isinstance(told.get("detail"), list) or any(str(code).upper() in PUBLISHED_CODES for code in codes)


def assert_harmless(text: str) -> None:
    """Hold a text that is told against what is promised: it steers no terminal, and nobody learns the key from it."""
    text.encode()
    assert not STEERING.search(text), ascii(text[:500])
    assert KEY not in text
    assert len(text) < 1000


def assert_typed(value: object) -> None:
    match value:
        case Acceptance() | Reading() | Model() | Money():
            for one in fields(value):
                part = getattr(value, one.name)
                assert_typed(part)
                if one.name in TOLD:
                    assert_harmless(part or "")
        case str():
            value.encode()
            assert KEY not in value
        case int() | float():
            assert abs(value) < 1e15
        case list():
            for one in value:
                assert isinstance(one, (Reading, Model, str))
                assert_typed(one)


async def try_call(call: Call, client: HedraClient) -> object:
    """Return what comes of a call, be it a value or an error of ours."""
    try:
        return await call.make(client)
    except HedraBatchError as error:
        return error


def assert_kept(call: Call, answer: Answer, result: object) -> None:
    """Hold what came of a call against what is promised."""
    if isinstance(result, HedraBatchError):
        assert_harmless(str(result))
        assert KEY not in "".join(traceback.format_exception(result))
    else:
        assert isinstance(result, call.kind)
        assert 200 <= answer.status < 300 or not answer.is_whole
        # The links of assets come by their ids.
        for value in (*result.links, *result.links.values()) if isinstance(result, AssetLinks) else (result,):
            assert_typed(value)
    if call is SUBMIT:
        assert isinstance(result, list_verdicts(answer)), result


async def check_call(dice: Dice, host: Host, client: HedraClient, answers: dict[str, list[Answer]]) -> str:
    """Make one call against one answer, and name what came of it."""
    call = dice.choice((SUBMIT, dice.choice(CALLS)))
    host.answer = draw_answer(dice, answers[call.route], list(itertools.chain(*answers.values())))
    host.requests.clear()
    result = await try_call(call, client)
    assert_kept(call, host.answer, result)
    assert all(request.startswith(f"{call.method} {BASE_PATH}{call.path}") for request, _ in host.requests)
    assert call is not SUBMIT or host.requests == [(f"POST {BASE_PATH}/generations", PAID_BODY)]
    return type(result).__name__


@pytest.mark.parametrize("chunk", range(CHUNKS))
async def test_every_answer_becomes_a_type_or_an_error_of_ours(pytestconfig: pytest.Config, chunk: int) -> None:
    dice = random.Random(f"{pytestconfig.getoption('--seed')} {chunk}")
    count = -(-pytestconfig.getoption("--answers") // CHUNKS)
    answers = await collect_answers()
    async with open_host() as host, HedraClient(host.url, KEY) as client:
        results = Counter([await check_call(dice, host, client, answers) for _ in range(count)])
    assert results["Acceptance"] >= count // 20
    assert results["UnknownOutcomeError"] >= count // 10
    assert results["RefusedError"] >= count // 20
