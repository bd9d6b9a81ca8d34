"""A service made of the published document alone, with all the variety that it allows and that gateways add.

It shares no code with the program or with the simulated service. A script says how it behaves; all that is left open is
drawn from its seed. What it has made stays as it is, and each charge stands in its billing log.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import random
import struct
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from document import Document

COST = 35
#: How the words of the document's error classes go with a status; in the service's own JSON each is a clear no.
REFUSALS = {
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "GONE": 410,
    "FAILED_PRECONDITION": 412,
    "MODERATION_FAILED": 422,
    "detail": 422,
}
#: Refusals of the account, which say nothing against a job.
STOPS = {"UNAUTHORIZED": 401, "INSUFFICIENT_BALANCE": 402, "PERMISSION_DENIED": 403}
#: Classes after which another try of the same request may well succeed.
PASSING_CODES = ("INTERNAL", "UNAVAILABLE")
RUNNING_WORDS = ("queued", "processing", "finalizing")
NEW_RUNNING_WORDS = ("rendering", "in_review", "Étape 2")
GOOD_WORDS = ("complete", "completed", "succeeded", "success")
BAD_WORDS = ("error", "failed", "canceled", "cancelled", "expired")
UPLOAD_STATUSES = (200, 201, 202)
PAGES = (
    (302, "<html><title>302 Found</title></html>"),
    (403, "<html><title>Attention Required! | Gateway</title><body>Blocked</body></html>"),
    (404, "<html><title>404 no such site</title></html>"),
    (502, "<html><h1>Bad Gateway</h1></html>"),
    (503, ""),
    (400, "upstream says no"),
    (429, "<html>busy</html>"),
)

#: What a list of generations may be like. The first ones show what they have, each in its way.
READABLE_LISTS = ("good", "ignores ids", "short pages", "broken item")
LISTS = (*READABLE_LISTS, "empty", "refused", "forbidden", "failing", "a page")
#: What becomes of the first send of a job's request. Those with `+` are accepted and charged first.
SENDS = ("", "+lost", "+500", "+page", "+201", "+202", "+garbled", "lost", "500", "page", "429")
#: What a second request under one id meets, where ids are used.
REPEATS = ("409", "400", "replay", "500")


@dataclass(frozen=True)
class Script:
    """How one service behaves."""

    seed: int
    #: What its answers may be like: see `FEATURES` of the test.
    features: frozenset[str] = frozenset()
    uses_ids: bool = True
    echoes_ids: bool = True
    repeat: str = "409"
    list_kind: str = "good"
    #: Where the link to a result stands: in all answers, in the list, or in `GET /assets` only.
    links: str = "everywhere"
    #: What becomes of the first send for a prompt, how a request is refused, and how a generation fails.
    sends: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    #: The class with which the account is refused once, if it is.
    stop: str = ""
    #: For how long what was accepted is not shown.
    lag_seconds: float = 0.0


@dataclass
class Made:
    """One generation, charged at its acceptance."""

    id: str
    asset_id: str
    asked_id: str
    prompt: str
    request: dict[str, Any]
    accepted_time: float
    seconds: float
    #: Whether it ends without a result.
    has_failed: bool
    good_word: str
    bad_word: str
    reads: int = 0
    #: What was drawn for it once, since what has ended does not change.
    error: dict[str, Any] = field(default_factory=dict)

    @property
    def movie(self) -> bytes:
        """The result: an MP4 of boxes without a picture, different for each id."""
        noise = hashlib.shake_256(self.id.encode()).digest(3000 + len(self.prompt) * 700)
        return _box(b"ftyp", b"isom\0\0\2\0isom") + _box(b"moov", self.prompt.encode()) + _box(b"mdat", noise)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, kind) + content


class LostError(Exception):
    """Ends a request without an answer."""


@dataclass(frozen=True)
class Answered:
    """A success of the service's own, and the schema that it is of."""

    schema: str
    value: Any


class DocumentServer:
    """Serves the endpoints that the program uses, and media on the same port."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._dice = random.Random(script.seed)
        self._document = Document(self._dice, script.features)
        self.url = ""
        self.made: dict[str, Made] = {}
        #: The billing log: one entry a charge.
        self.billing: list[Made] = []
        #: The ids that each POST of a prompt asked for.
        self.posts: list[tuple[str, str]] = []
        #: What was answered with a success, for whoever holds it against the document.
        self.answers: list[Answered] = []
        self.log: list[str] = []
        #: Faults of this service itself.
        self.faults: list[str] = []
        self._assets: dict[str, bool] = {}
        self._counts: Counter[str] = Counter()
        self._has_stopped = False
        statuses = UPLOAD_STATUSES if "upload statuses" in script.features else (200,)
        self._upload_status = self._dice.choice(statuses)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        app = web.Application(client_max_size=2**24)
        for method, path, handler in (
            ("GET", "/models", self._list_models),
            ("GET", "/billing/credits", self._read_balance),
            ("GET", "/assets", self._list_assets),
            ("POST", "/assets", self._create_asset),
            ("POST", "/assets/{id}/upload", self._upload),
            ("GET", "/generations", self._list),
            ("POST", "/generations", self._generate),
            ("GET", "/generations/{id}/status", self._read_status),
            ("GET", "/media/{id}", self._send_media),
        ):
            app.router.add_route(method, path, self._wrap(handler))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()

    # How answers travel

    def _has(self, feature: str, share: float = 0.4) -> bool:
        return feature in self.script.features and self._dice.random() < share

    def _wrap(self, handler: Callable[[web.Request], Any]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            what = f"{request.method} {request.path_qs}"
            try:
                status, headers, body = await self._answer(request, handler)
            except (LostError, ConnectionError):
                self.log.append(f"{self._now:9.2f} {what} -> no answer")
                return _drop(request)
            except Exception as error:
                self.faults.append(f"{what}: {error!r}")
                raise
            self.log.append(f"{self._now:9.2f} {what} -> {status} {body[:600]!r}")
            return await self._transfer(request, status, headers, body)

        return handle

    async def _answer(
        self, request: web.Request, handler: Callable[[web.Request], Any]
    ) -> tuple[int, dict[str, str], bytes]:
        if request.method == "GET" and not request.path.startswith("/media/") and self._is_gateway_there():
            return self._draw_page()
        told = await handler(request)
        if isinstance(told, tuple):
            return told
        return 200, {"Content-Type": "application/json"}, _to_json(told)

    def _is_gateway_there(self) -> bool:
        """A gateway answers a few reads in a row with a page of its own."""
        if self._counts["pages left"]:
            self._counts["pages left"] -= 1
            return True
        if self._counts["pages"] < 2 and self._has("gateway", 0.3):
            self._counts["pages"] += 1
            self._counts["pages left"] = self._dice.randrange(4)
            return True
        return False

    def _draw_page(self) -> tuple[int, dict[str, str], bytes]:
        status, text = self._dice.choice(PAGES)
        headers = {"Content-Type": "text/html"}
        if status == 302:
            headers["Location"] = "https://login.invalid/"
        return status, headers, text.encode()

    async def _transfer(
        self, request: web.Request, status: int, headers: dict[str, str], body: bytes
    ) -> web.StreamResponse:
        ways = ["length", *(way for way in ("gzip", "chunked", "close") if way in self.script.features)]
        way = self._dice.choice(ways)
        is_media = request.path.startswith("/media/")
        if is_media and ("Content-Encoding" in headers or "no ranges" in self.script.features):
            # Nothing else would show a cut, and so nothing that ends otherwise may be believed.
            way = "length"
        if way == "gzip" and (is_media or not body):
            way = "length"
        if status in (204, 206, 304) or way == "length":
            return web.Response(status=status, headers=headers, body=body)
        if way == "gzip":
            return web.Response(status=status, headers=headers | {"Content-Encoding": "gzip"}, body=gzip.compress(body))
        if way == "close":
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            return _drop(request, f"HTTP/1.1 {status} X\r\n{head}Connection: close\r\n\r\n".encode() + body)
        answer = web.StreamResponse(status=status, headers=headers)
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        for start in range(0, len(body), 700):
            await answer.write(body[start : start + 700])
        await answer.write_eof()
        return answer

    def _refuse(self, status: int, code: str, message: str) -> tuple[int, dict[str, str], bytes]:
        """Say no in one of the forms that the service's own words have."""
        form = self._dice.choice(["plain", "error"]) if "error forms" in self.script.features else "plain"
        body: dict[str, Any] = {"code": code, "error_code": code, "messages": [message]}
        if code == "detail":
            location = ["body", "generated_video_inputs", 0]
            body = {"detail": [self._document.draw("ValidationError", loc=location, msg=message, type="value_error")]}
        elif form == "error":
            body = {"error": self._document.draw("GenerationError", type=code, message=message, reason_code=None)}
        return status, {"Content-Type": "application/json"}, _to_json(body)

    # What costs nothing

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _say(self, schema: str, /, **known: Any) -> dict[str, Any]:
        drawn = self._document.draw(schema, **known)
        self.answers.append(Answered(schema, drawn))
        return drawn

    async def _list_models(self, _request: web.Request) -> Any:
        models = []
        for slug, name in (("fal/grok-video-t2v", "Grok T2V"), ("fal/grok-video-i2v", "Grok I2V")):
            pricing: dict[str, Any] = {"base_cost": None, "credits_per_second": 7, "modifiers": {}}
            models.append(self._say("AIModel", slug=slug, name=name, type="video", pricing=pricing, eta_ms=40_000))
        if self._has("broken item"):
            models.insert(0, {"slug": None})
        return models

    async def _read_balance(self, _request: web.Request) -> Any:
        if self._has("no balance", 1.0):
            return self._refuse(403, "PERMISSION_DENIED", "Not for this key.")
        return self._say("CreditBalance", remaining=100_000, used=0, workspace_credit_pool=None)

    async def _create_asset(self, request: web.Request) -> Any:
        asked = json.loads(await request.read())
        asset_id = self._make_id()
        self._assets[asset_id] = False
        answer = self._say("CreateAssetResponse", id=asset_id, name=asked["name"], type=asked["type"], upload_url=None)
        return self._upload_status, {"Content-Type": "application/json"}, _to_json(answer)

    async def _upload(self, request: web.Request) -> Any:
        asset_id = request.match_info["id"]
        await request.read()
        if asset_id not in self._assets:
            return self._refuse(404, "NOT_FOUND", f"There is no asset {asset_id}.")
        self._assets[asset_id] = True
        if self._upload_status != 200 and self._dice.random() < 0.5:
            return self._dice.choice([200, 204, self._upload_status]), {}, b""
        kind = {"type": "uploaded_image", "width": 16, "height": 16, "url": f"{self.url}/media/{asset_id}"}
        answer = self._say("Asset", id=asset_id, type="image", name="hero.png", asset=kind)
        return self._upload_status, {"Content-Type": "application/json"}, _to_json(answer)

    # Generations

    async def _generate(self, request: web.Request) -> Any:
        asked = json.loads(await request.read())
        asked_id = str(uuid.UUID(asked["generation_id"]))
        prompt = asked["generated_video_inputs"]["text_prompt"]
        self.posts.append((prompt, asked_id))
        if self.script.uses_ids and asked_id in self.made:
            return self._repeat(self.made[asked_id])
        if self.script.stop and not self._has_stopped and self._dice.random() < 0.5:
            self._has_stopped = True
            return self._refuse(STOPS[self.script.stop], self.script.stop, "The account cannot do this now.")
        if refused := self._check(asked, prompt):
            return refused
        send = self.script.sends.get(prompt, "") if self._is_first(prompt) else ""
        if not send.startswith("+") and send:
            return self._miss(send)
        made = self._accept(asked, asked_id, prompt)
        return self._miss(send.removeprefix("+"), made) if send else self._tell_acceptance(made)

    def _is_first(self, prompt: str) -> bool:
        self._counts[f"sends {prompt}"] += 1
        return self._counts[f"sends {prompt}"] == 1

    def _check(self, asked: dict[str, Any], prompt: str) -> Any:
        image_id = asked.get("start_keyframe_id")
        if image_id and self._counts["assets gone"] == 0 and self._has("asset gone", 1.0):
            self._counts["assets gone"] += 1
            self._assets.pop(image_id, None)
        if image_id and not self._assets.get(image_id):
            return self._refuse(404, "NOT_FOUND", f"There is no asset {image_id}.")
        if code := self.script.refusals.get(prompt):
            return self._refuse(REFUSALS[code], code, f"No {code} for {prompt}.")
        return None

    def _accept(self, asked: dict[str, Any], asked_id: str, prompt: str) -> Made:
        words = "status words" in self.script.features
        made = Made(
            id=asked_id if self.script.uses_ids else self._make_id(),
            asset_id=self._make_id(),
            asked_id=asked_id,
            prompt=prompt,
            request=asked,
            accepted_time=self._now,
            seconds=self._dice.uniform(5, 60),
            has_failed=prompt in self.script.failures,
            good_word=self._write_word(self._dice.choice(GOOD_WORDS) if words else GOOD_WORDS[0]),
            bad_word=self._write_word(self._dice.choice(BAD_WORDS) if words else BAD_WORDS[0]),
        )
        self.made[made.id] = made
        self.billing.append(made)
        return made

    def _miss(self, how: str, made: Made | None = None) -> Any:
        """Answer in another way than with a plain 200."""
        if how == "lost":
            raise LostError
        if how == "page":
            return self._draw_page()
        if how == "429":
            headers = {"Retry-After": "12"} if self._dice.random() < 0.5 else {"X-RateLimit-Remaining": "0"}
            status, own, body = self._refuse(429, "RESOURCE_EXHAUSTED", "Too many requests.")
            return status, own | headers, body
        if how == "500":
            code = self._dice.choice(["INTERNAL", "UNAVAILABLE", "UNKNOWN", "DEADLINE_EXCEEDED"])
            bodies = [self._refuse(500, code, "It broke.")[2], b'{"detail": "It broke."}', b"<html>It broke</html>"]
            return self._dice.choice([500, 503, 504]), {"Content-Type": "application/json"}, self._dice.choice(bodies)
        if how == "garbled":
            return 200, {}, self._dice.choice([b"", b"null", b"{}", b'{"id": null}', b"[]"])
        assert made, "something was accepted"
        return int(how), {"Content-Type": "application/json"}, _to_json(self._tell_acceptance(made))

    def _repeat(self, made: Made) -> Any:
        """Answer a second request under a known id; nothing is charged."""
        if self.script.repeat == "replay":
            return self._tell_acceptance(made)
        if self.script.repeat == "500":
            return self._miss("500")
        message = f"A generation {made.id} is there already."
        return self._refuse(int(self.script.repeat), "ALREADY_EXISTS", message)

    def _tell_acceptance(self, made: Made) -> dict[str, Any]:
        request = {name: value for name, value in made.request.items() if name != "generation_id"}
        common = {"status": self._name_running(), "progress": 0, "created_at": self._write_instant(made.accepted_time)}
        item = self._document.draw("BatchVideoResultItem", id=made.id, asset_id=made.asset_id, error=None, **common)
        # Said to be filled always; what follows from an empty one is not said.
        results = [[item], []] if "missing" in self.script.features else [[item]]
        answer = {"id": made.id, "asset_id": made.asset_id, "batch_results": self._dice.choice(results), **common}
        return self._say("GenerateVideoResponse", **request, **answer)

    def _find(self, generation_id: str) -> Made | None:
        made = self.made.get(generation_id.lower())
        return made if made and self._is_shown(made) else None

    def _is_shown(self, made: Made) -> bool:
        return self._now >= made.accepted_time + self.script.lag_seconds

    async def _read_status(self, request: web.Request) -> Any:
        made = self._find(request.match_info["id"])
        if not made:
            return self._refuse(404, "NOT_FOUND", "There is no such generation.")
        return self._say("GenerationStatusResponse", **self._describe(made), **self._link(made, "status"))

    def _describe(self, made: Made) -> dict[str, Any]:
        """Say how a generation stands."""
        told: dict[str, Any] = {"id": made.id, "asset_id": made.asset_id, "type": "video"}
        told |= {"created_at": self._write_instant(made.accepted_time), "error": None, "error_message": None}
        age_share = (self._now - made.accepted_time) / made.seconds
        if age_share < 1:
            return told | {"status": self._name_running(), "progress": self._dice.choice([0, round(age_share, 3)])}
        if not made.has_failed:
            return told | {"status": made.good_word, "progress": 1}
        made.error = made.error or self._draw_failure(made.prompt)
        return told | made.error | {"status": made.bad_word, "progress": 1}

    def _draw_failure(self, prompt: str) -> dict[str, Any]:
        """Draw why a generation has failed: an object, or a text instead of one."""
        code, message = self.script.failures[prompt], f"It failed with {self.script.failures[prompt]}: {prompt}."
        if code == "text":
            return {"error": None, "error_message": message}
        known: dict[str, Any] = {"reason_code": None}
        if "error forms" in self.script.features:
            known |= {"param": "text_prompt", "violations": [{"field": "seed", "message": "too odd"}]}
        if code == "INSUFFICIENT_BALANCE":
            known |= {"credits_needed": 35, "credits_available": 4}
        return {"error": self._document.draw("GenerationError", type=code, message=message, **known)}

    def _name_running(self) -> str:
        words = (*RUNNING_WORDS, *NEW_RUNNING_WORDS) if "status words" in self.script.features else RUNNING_WORDS
        return self._write_word(self._dice.choice(words))

    def _write_word(self, word: str) -> str:
        if "case" not in self.script.features:
            return word
        return self._dice.choice([word, word.upper(), word.title()])

    def _link(self, made: Made, place: str) -> dict[str, Any]:
        """Give the links to a result where the script wants them, and null elsewhere."""
        nothing = {"url": None, "download_url": None, "streaming_url": None}
        places = {"everywhere": ("status", "list", "assets"), "list": ("list", "assets"), "assets": ("assets",)}
        has_ended = self._now >= made.accepted_time + made.seconds and not made.has_failed
        made.reads += has_ended
        is_late = "late links" in self.script.features and made.reads < 3
        if not has_ended or is_late or place not in places[self.script.links]:
            return nothing
        names = self._dice.choice([["url"], ["download_url"], ["url", "download_url"]])
        return nothing | dict.fromkeys(names, f"{self.url}/media/{made.id}?Signature={self._make_id()}")

    async def _list(self, request: web.Request) -> Any:
        kind, query = self.script.list_kind, request.query
        if kind in ("refused", "forbidden", "failing", "a page"):
            return self._refuse_list(kind)
        listed = [made for made in reversed(self.billing) if self._is_shown(made)]
        if wanted := query.get("ids"):
            listed = [made for made in listed if made.id in wanted.split(",") or kind == "ignores ids"]
        limit, offset = int(query.get("limit", 100)), int(query.get("offset", 0))
        limit = min(limit, 2) if kind == "short pages" else limit
        page = [] if kind == "empty" else listed[offset : offset + limit]
        items: list[Any] = [self._list_item(made) for made in page]
        info = self._document.draw("PageInfo", limit=limit, offset=offset)
        answer = self._say("PagedResponse_Generation_", page_info=info, data=items)
        if kind == "broken item" and items:
            answer["data"] = [*items, self._dice.choice([None, "gone", {"id": None}, {}])]
        return answer

    def _refuse_list(self, kind: str) -> Any:
        if kind == "refused":
            return self._refuse(422, "detail", "ids is no list")
        if kind == "forbidden":
            return self._refuse(403, "PERMISSION_DENIED", "The list is not for this key.")
        return self._draw_page() if kind == "a page" else self._miss("500")

    def _list_item(self, made: Made) -> dict[str, Any]:
        told = self._describe(made)
        echo = {name: value for name, value in made.request.items() if name != "generation_id"}
        if self.script.echoes_ids:
            echo["generation_id"] = made.asked_id
        links = self._link(made, "list")
        has_asset = any(links.values()) or "missing" not in self.script.features
        asset = self._draw_asset(made, links) if has_asset else None
        told.pop("asset_id")
        return self._document.draw("Generation", input=echo, credit_cost=COST, asset=asset, **told)

    def _draw_asset(self, made: Made, links: dict[str, Any]) -> dict[str, Any]:
        inputs = made.request["generated_video_inputs"]
        known: dict[str, Any] = {
            "generated_video_inputs": inputs,
            "keyframe_start": None,
            "keyframe_end": None,
            "audio": None,
        }
        video = self._document.draw("GeneratedVideo", poster_url=None, **known, **links)
        return self._document.draw("Asset", id=made.asset_id, type="video", name="a video", asset=video)

    async def _list_assets(self, request: web.Request) -> Any:
        wanted = request.query.get("ids", "").split(",")
        ended = [made for made in self.billing if self._now >= made.accepted_time + made.seconds]
        found = [made for made in ended if made.asset_id in wanted and not made.has_failed]
        answer: list[Any] = [self._draw_asset(made, self._link(made, "assets")) for made in found]
        self.answers += [Answered("Asset", asset) for asset in answer]
        return [{"id": None}, *answer] if self._has("broken item") else answer

    # Media

    async def _send_media(self, request: web.Request) -> Any:
        made = self.made[request.match_info["id"]]
        self._counts["downloads"] += 1
        if self._has("expired links", 0.3):
            return 403, {"Content-Type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>"
        movie = made.movie
        headers = {"Content-Type": "video/mp4", "Accept-Ranges": "bytes", "ETag": f'"{made.id}"'}
        if "Range" in request.headers and "no ranges" not in self.script.features:
            part = request.http_range
            start, stop, _ = part.indices(len(movie))
            told = {"Content-Range": f"bytes {start}-{stop - 1}/{len(movie)}"}
            return 206, headers | told, movie[start:stop]
        if self._has("cut media", 0.3):
            return self._cut(request, movie)
        if "gzip media" in self.script.features:
            return 200, headers | {"Content-Encoding": "gzip"}, gzip.compress(movie)
        if "wrong encoding" in self.script.features:
            headers["Content-Encoding"] = self._dice.choice(["aws-chunked", "utf-8", ""])
        return 200, headers, movie

    def _cut(self, request: web.Request, movie: bytes) -> Any:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {len(movie)}\r\n\r\n"
        _drop(request, head.encode() + movie[: len(movie) // 2])
        raise LostError

    def _make_id(self) -> str:
        return str(uuid.UUID(int=self._dice.getrandbits(128)))

    def _write_instant(self, time: float) -> str:
        return datetime.fromtimestamp(1_767_225_600 + time, UTC).isoformat()


def _to_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _drop(request: web.Request, last_words: bytes = b"") -> web.Response:
    """Send some bytes, or none, and close the connection; what is returned goes nowhere."""
    if isinstance(request.transport, asyncio.Transport) and not request.transport.is_closing():
        if last_words:
            request.transport.write(last_words)
        request.transport.close()
    return web.Response()
