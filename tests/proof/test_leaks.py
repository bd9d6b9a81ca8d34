"""Canary keys and canary signatures through all weather: none is found but at the hosts that they are for."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import pty
import re
import signal
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote_to_bytes, urlsplit

import aiohttp
import pytest
from aiohttp import web
from conftest import SPEED, Desk, Finished, wait_until

from hedra_batch.sanitize import MESSAGE_LENGTH, clean, hide_secret
from hedra_batch.simulator.faults import FAULTS
from hedra_batch.simulator.media_host import Links
from hedra_batch.simulator.movie import make_movie
from hedra_batch.simulator.recording import KEY_HEADER, fingerprint
from hedra_batch.simulator.refusals import MAGIC_WORDS
from hedra_batch.simulator.service import Simulator
from hedra_batch.simulator.settings import SimulatorSettings

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

KEY = "canary-key-5f1e0c7a9b3d4826"
#: What keys may look like; the last one has as many letters as the shortest that counts as a secret.
KEYS = {
    "usual": KEY,
    "pattern": "canary.key+(5f1e|0c7a)[9b]*$^?{3}",
    "quoting": 'canary/key+"5f1e\\0c7a%2F=&<9b>',
    "short": "c4n4ry/+",
}
SIGNATURE = "c0ffee5f1e0c7a9b3d4826aa55aa55aa"
#: How loud a command may be told to be.
LOUDNESS = {"quiet": ["-q"], "usual": [], "loud": ["-v"], "loudest": ["-vv"]}
#: How likely a fault strikes that is alone, and each one of all together.
ALONE, TOGETHER = 0.4, 0.1
#: Only to whoever asks for the rest of a download that was cut.
AFTER_A_CUT = ("ignored-range", "wrong-range")
SCENES = "".join(f"  - {{id: scene-{number}, prompt: Scene {number}}}\n" for number in range(5))
WORDS = "".join(f"  - {{id: {word}, prompt: The {word} scene}}\n" for word in MAGIC_WORDS)
HERO = "  - {id: hero, prompt: Wind, image: hero.png}\n"
#: A part of a link that signs; what stands for one that was taken out is in brackets, unless a cut came before it.
SIGNED = re.compile(rb"signature=(?!\xe2\x80\xa6)[^\[\s].{0,20}")
CODE_POINT = re.compile(rb"\\u00([0-9a-f]{2})", re.IGNORECASE)
TOKEN = re.compile(rb"(?=([0-9a-f]{32}))")
ESCAPE_SEQUENCE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def take_turns(names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Give each a loudness, in turns."""
    return list(zip(names, itertools.cycle(LOUDNESS.values()), strict=False))


# The search


def spell(secret: str) -> set[bytes]:
    """Spell a secret as it stands, without what escapes, in Base64, and as another encoding of texts would."""
    spellings = {secret, secret.replace("\\", ""), *spell_in_base64(secret.encode())}
    return {spelling.lower().encode() for spelling in spellings} | {secret.lower().encode("utf-16-le")}


def spell_in_base64(secret: bytes) -> Iterator[str]:
    """Spell it as it stands in the middle of anything: those letters that nothing around it changes."""
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + secret).decode()
        inner = encoded[(offset * 8 + 5) // 6 : (offset + len(secret)) * 8 // 6]
        yield from (inner, inner.replace("+", "-").replace("/", "_"))


def search(texts: Iterable[tuple[str, bytes]], key: str, signatures: Iterable[str] = ()) -> list[str]:
    """Name what is in the texts of a key, and, where there are signatures, of those and of anything that signs."""
    spellings = spell(key)
    signed = {signature.encode() for signature in signatures}
    hits = []
    for place, text in texts:
        for reading in read_in_every_way(text):
            found = {one for one in spellings if one in reading} | signed & set(TOKEN.findall(reading))
            found |= {match[0] for match in SIGNED.finditer(reading) if signed}
            hits += [f"{place}: {one!r}" for one in found]
    return sorted(set(hits))


def read_in_every_way(text: bytes) -> Iterator[bytes]:
    """Read a text as it stands, as a part of a link, and as JSON, however often it was escaped."""
    yield text.lower()
    yield unquote_to_bytes(text).lower()
    yield CODE_POINT.sub(lambda match: bytes.fromhex(match[1].decode()), text).replace(b"\\", b"").lower()


def read_everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Read every name and every byte of a folder, and the cells of databases, which may be cut apart in the file."""
    for path in sorted(folder.rglob("*")):
        yield f"the name {path}", os.fsencode(path.relative_to(folder))
        if path.is_file():
            yield str(path), path.read_bytes()
            if path.suffix == ".sqlite3":
                yield from read_cells(path)


def read_cells(path: Path) -> Iterator[tuple[str, bytes]]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for cell in (cell for row in connection.execute(f"SELECT * FROM {table}") for cell in row):
                yield f"{path}, {table}", cell if isinstance(cell, bytes) else str(cell).encode()


def list_open_to_others(folder: Path) -> list[Path]:
    return [path for path in (folder, *folder.rglob("*")) if stat.S_IMODE(path.lstat().st_mode) & 0o077]


# Where the commands run


@dataclass(slots=True)
class Cage:
    """A desk whose commands can write nowhere that is not searched, and have their words kept."""

    desk: Desk
    key: str = KEY
    environment: dict[str, str] = field(default_factory=dict)
    said: list[tuple[str, bytes]] = field(default_factory=list)
    #: Signatures that links were really signed with.
    signatures: set[str] = field(default_factory=set)

    @property
    def run_folder(self) -> Path:
        return self.desk.folder / "batch.out"

    @property
    def surroundings(self) -> dict[str, str]:
        folder = self.desk.folder.parent
        places = {"TMPDIR": str(folder / "tmp"), "HOME": str(folder / "home")}
        return {"HEDRA_API_KEY": self.key, **places, **self.environment}

    def write(self, jobs: str, *lines: str) -> None:
        self.desk.add_image("hero.png")
        self.desk.write_manifest("\n".join((*lines, "jobs:", jobs)))

    async def call(self, *words: str, file_limit_bytes: int | None = None) -> Finished:
        finished = await self.desk.call(*words, file_limit_bytes=file_limit_bytes, **self.surroundings)
        name = " ".join(words)
        self.said += [(f"stdout of {name}", finished.out.encode()), (f"stderr of {name}", finished.err.encode())]
        return finished

    async def run(self, *words: str) -> Finished:
        return await self.call("run", "batch.yaml", "--quiet-window", "1s", "--max-runtime", "4s", *words)

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        return await self.desk.start(*words, **self.surroundings)

    async def hear(self, process: asyncio.subprocess.Process) -> int:
        """Keep what a command says until it ends; returns its exit code."""
        out, err = await process.communicate()
        self.said += [("stdout", out or b""), ("stderr", err or b"")]
        return process.returncode or 0

    def find_leaks(self) -> list[str]:
        """Search all that was said and written, and name as well what in the run folder others could read."""
        texts = [*self.said, *read_everything(self.desk.folder.parent)]
        others = list_open_to_others(self.run_folder) if self.run_folder.exists() else []
        return [*search(texts, self.key, self.signatures), *map(str, others)]


def make_cage(folder: Path, base_url: str, key: str = KEY) -> Cage:
    for name in ("work", "home", "tmp"):
        (folder / name).mkdir(parents=True)
    return Cage(Desk(folder / "work", base_url), key)


@pytest.fixture(autouse=True)
def usual_modes() -> Iterator[None]:
    """Have files made as most people have them: for everybody to read."""
    before = os.umask(0o022)
    yield
    os.umask(before)


# The simulated service, and what it really signed


class SteppingClock:
    """Time in steps of a tenth of a second that are remembered: a signature is made of a name and an instant."""

    def __init__(self) -> None:
        self.instants: set[float] = set()

    def __call__(self) -> float:
        instant = round(time.time(), 1)
        self.instants.add(instant)
        return instant


@dataclass(frozen=True, slots=True)
class Service:
    """The simulated service, and a cage at it."""

    simulator: Simulator
    cage: Cage
    clock: SteppingClock
    weather: dict[str, float]

    @property
    def has_seen_key(self) -> bool:
        return any(request.key == fingerprint(self.cage.key) for request in self.simulator.requests)

    @property
    def has_seen_signature(self) -> bool:
        """Whether a link was opened: the media host refuses all that it has not signed."""
        return any(request.path.startswith("/media/") and request.status == 200 for request in self.simulator.requests)

    async def find_leaks(self) -> list[str]:
        """Find leaks of the key and of all that the service can have signed."""
        self.weather.clear()
        listed = {link async for link in self._list_links()}
        names = {urlsplit(link).path.rpartition("/")[2] for link in listed}
        self.cage.signatures |= set(self._sign_again(names))
        assert {read_signature(link) for link in listed} <= self.cage.signatures
        return self.cage.find_leaks()

    async def _list_links(self) -> AsyncIterator[str]:
        async with aiohttp.ClientSession(headers={KEY_HEADER: self.cage.key}) as session:
            for kind in ("video", "image"):
                async with session.get(f"{self.simulator.url}/assets", params={"type": kind}) as answer:
                    for link in re.findall(r'http[^"]*Signature=[^"]*', await answer.text()):
                        yield link

    def _sign_again(self, names: Iterable[str]) -> Iterator[str]:
        settings = self.simulator.settings
        for instant in self.clock.instants:
            links = Links(f"media {settings.seed}", settings.link_lifetime_seconds, partial(float, instant))
            for name in names:
                yield from (read_signature(links.sign(name, is_expired=is_expired)) for is_expired in (False, True))


def read_signature(link: str) -> str:
    return parse_qs(urlsplit(link).query)["Signature"][0]


@asynccontextmanager
async def open_service(folder: Path, key: str = KEY, **settings: Any) -> AsyncIterator[Service]:
    clock, weather = SteppingClock(), settings.pop("faults", {})
    async with Simulator(SimulatorSettings(speed=SPEED, clock=clock, faults=weather, **settings)) as simulator:
        yield Service(simulator, make_cage(folder, simulator.url, key), clock, weather)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with open_service(tmp_path) as opened:
        yield opened


# A service that repeats secrets wherever there is room


@dataclass(frozen=True, slots=True)
class Gossip:
    """A key and a signed link in every spelling that a careless server could have."""

    key: str
    link: str
    #: Makes JSON of an answer.
    write: Callable[[object, str], str]
    #: Which of the words ids are, if not harmless ones.
    word: str | None = None

    @property
    def words(self) -> dict[str, str]:
        """Each spelling by itself, without blanks, as an id may be."""
        return {
            "key": self.key,
            "key in a link": quote(self.key, safe=""),
            "key in base64": base64.b64encode(self.key.encode()).decode(),
            "link": self.link,
            "link in a link": quote(self.link, safe=""),
            "query": urlsplit(self.link).query,
        }

    @property
    def text(self) -> str:
        torn = urlsplit(self.link).query.replace("&", " &")
        return " ".join((*self.words.values(), torn))

    @property
    def id(self) -> str:
        return self.words[self.word] if self.word else "an-id"

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [
            ("x-request-id", self.id if self.word else self.text),
            ("Location", f"{self.link}&key={quote(self.key, safe='')}"),
            ("WWW-Authenticate", f'Key realm="{self.text}"'),
            ("Set-Cookie", f"key={self.text}; Path=/"),
            ("Set-Cookie", f"({self.text})=1; Path=/"),
        ]

    def answer(self, status: int, fields: object = None, **headers: str) -> web.Response:
        """Answer JSON; without fields, one that has the text in every place where a refusal may have one."""
        body = self.write(self._refusal if fields is None else fields, self.key)
        answer = web.Response(status=status, reason=self.text, text=body, content_type="application/json")
        for name, value in (*self.headers, *headers.items()):
            answer.headers.add(name, value)
        return answer

    @property
    def _refusal(self) -> dict[str, object]:
        error = {"type": self.text, "reason_code": self.text, "message": self.text, "param": self.text}
        problem = {"type": self.text, "loc": ["body", self.text], "msg": self.text}
        texts = dict.fromkeys(("code", "error_code", "error_message", "message"), self.text)
        return {**texts, "messages": [self.text], "detail": [problem], "error": error}


def write_plainly(answer: object, _key: str) -> str:
    return json.dumps(answer)


def write_with_slashes(answer: object, _key: str) -> str:
    return json.dumps(answer).replace("/", "\\/")


def write_in_code_points(answer: object, key: str) -> str:
    return json.dumps(answer).replace(json.dumps(key)[1:-1], "".join(f"\\u{ord(letter):04X}" for letter in key))


#: What becomes of submissions, one after the other: a status that refuses, or what follows a 200.
SUBMISSIONS = (
    *("movie", "page", "moved", "closed", "fails", "foreign", "foreign", "garbled", "broken"),
    *(400, 404, 409, 422, 302, 408, 429, 500),
)


class Hostile:
    """An API, its media host and a third host, all of which repeat what they know and remember what they got."""

    def __init__(self, key: str, write: Callable[[object, str], str], word: str | None) -> None:
        self.visits: list[tuple[str, web.Request]] = []
        self.key = key
        self._write = write
        self._word = word
        self._runners: list[web.AppRunner] = []
        #: A status that everything is answered with.
        self.status: int | None = None
        #: Whether its media hosts send a video for every link.
        self.has_all_media = False
        self.slug = "a/clip"
        self._submissions = iter(SUBMISSIONS)
        self._endings: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        self._elsewhere = await self._listen("elsewhere", self._send_media)
        self._media = await self._listen("media", self._send_media)
        self.url = await self._listen("api", self._answer)
        self.gossip = Gossip(self.key, self._sign(self._elsewhere, "link"), self._write, self._word)
        return self

    async def __aexit__(self, *_: object) -> None:
        for runner in self._runners:
            await runner.cleanup()

    async def _listen(self, name: str, handle: Callable[[web.Request, bytes], web.StreamResponse]) -> str:
        async def visit(request: web.Request) -> web.StreamResponse:
            self.visits.append((name, request))
            return handle(request, await request.read())

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", visit)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    def _sign(self, host: str, name: str) -> str:
        """Make a link with the key in it, which only this service knows, and not its media hosts."""
        return f"{host}/{name}.mp4?Expires=1&Signature={SIGNATURE}&key={quote(self.key, safe='')}"

    def _answer(self, request: web.Request, body: bytes) -> web.StreamResponse:
        if self.status is not None:
            return self.gossip.answer(self.status)
        route = [request.method, *request.path.strip("/").split("/")]
        if route == ["POST", "generations"]:
            return self._submit(request, json.loads(body)["generation_id"])
        fields = self._find_fields(route)
        return self.gossip.answer(404 if fields is None else 200, fields)

    def _find_fields(self, route: list[str]) -> object:
        match route:
            case ["GET", "models"]:
                return [self._make_model(name) for name in ("Clip", self.gossip.text)]
            case ["GET", "billing", "credits"]:
                return {"remaining": 1000, "note": self.gossip.text}
            case ["POST", "assets", *_]:
                return {"id": self.gossip.id}
            case ["GET", "generations"]:
                return {"data": []}
            case ["GET", "generations", generation_id, "status"] if generation_id in self._endings:
                return self._end(generation_id, self._endings[generation_id])
        return None

    def _make_model(self, name: str) -> dict[str, object]:
        return {"slug": self.slug, "id": None, "name": name, "eta_ms": 1}

    def _submit(self, request: web.Request, generation_id: str) -> web.StreamResponse:
        what = next(self._submissions, 500)
        if isinstance(what, int):
            return self.gossip.answer(what, **{"Retry-After": "0.1"})
        if what == "garbled":
            return self.gossip.answer(200, [self.gossip.text])
        if what == "broken" and isinstance(request.transport, asyncio.Transport):
            request.transport.write(f"HTTP/1.1 {self.gossip.text}\r\n{self.gossip.text}\r\n\r\n".encode())
            request.transport.close()
        if what == "foreign":
            generation_id = self.gossip.id
        self._endings[generation_id] = what
        texts = dict.fromkeys(("status", "created_at", "batch_generation_id"), self.gossip.text)
        ids = {"id": generation_id, "asset_id": self.gossip.id}
        return self.gossip.answer(200, {**texts, **ids, "progress": 0, "eta_sec": 0.1})

    def _end(self, generation_id: str, what: str) -> dict[str, object]:
        link = self._sign(self._media, what)
        ended = {"id": generation_id, "asset_id": self.gossip.id, "progress": 1, "created_at": self.gossip.text}
        if what == "fails":
            error = {"type": self.gossip.id, "reason_code": self.gossip.text, "message": self.gossip.text}
            return {**ended, "status": "error", "error": error, "error_message": self.gossip.text}
        return {**ended, "status": "complete", "url": link, "download_url": link}

    def _send_media(self, request: web.Request, _body: bytes) -> web.StreamResponse:
        link = f"{self._elsewhere}{request.path}?moved=1&Signature={SIGNATURE}"
        headers = [("Location", link), ("Set-Cookie", f"link={link}"), ("Set-Cookie", f"({link})=1; Path=/")]
        text = f"<p>No access to {request.url}, see {link}</p>"
        match self.has_all_media or request.path:
            case "/moved.mp4" if "moved" not in request.query:
                return web.Response(status=302, headers=headers, text=text, reason=link)
            case "/page.mp4":
                return web.Response(headers=headers, text=text, reason=link)
            case "/closed.mp4":
                return web.Response(status=403, headers=headers, text=text, reason=link)
        return web.Response(body=make_movie(160, 90, 1000, "movie"), headers=headers)

    def list_visits(self, *hosts: str) -> list[tuple[str, bytes]]:
        """Write out what came to some of the hosts."""
        heads = ((host, visit.method, visit.path_qs, dict(visit.headers)) for host, visit in self.visits)
        return [(host, repr(head).encode()) for host, *head in heads if host in hosts]


#: One job for each of them.
HOSTILE_JOBS = HERO + "".join(f"  - {{id: job-{number}, prompt: Scene}}\n" for number in range(len(SUBMISSIONS)))
#: What they come to.
STATES = {"done", "failed", "held", "running"}
HOSTILE_LINES = ("on_unknown: hold", "defaults: {model: Clip}")


@asynccontextmanager
async def open_hostile(
    folder: Path, key: str = KEY, write: Callable[[object, str], str] = write_plainly, word: str | None = None
) -> AsyncIterator[tuple[Hostile, Cage]]:
    async with Hostile(key, write, word) as hostile:
        cage = make_cage(folder, hostile.url, key)
        cage.signatures.add(SIGNATURE)
        cage.write(HOSTILE_JOBS, *HOSTILE_LINES)
        yield hostile, cage


# That the search finds


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_every_spelling_of_a_key_is_found(key: str) -> None:
    texts = [key, key.upper(), quote(key), json.dumps(key), write_in_code_points(key, key)]
    texts += [base64.b64encode(prefix + key.encode()).decode() for prefix in (b"", b"k", b"k:")]
    for text in texts:
        assert search([("text", f"before{text}behind".encode())], key)
    assert not search([("text", key[:-1].encode())], key)


@pytest.mark.parametrize("text", [SIGNATURE, f"/a.mp4?Signature={SIGNATURE}", "https%3A%2F%2Fa%3FSignature%3DabcX"])
def test_a_signature_is_found_with_its_link_and_without(text: str) -> None:
    assert search([("text", text.encode())], KEY, [SIGNATURE])
    assert not search([("text", b"https://a.example/v.mp4?[signed] Signature=[signed]")], KEY, [SIGNATURE])


@pytest.mark.parametrize("name", ["home/.cache/notes", "tmp/part", "work/batch.out/videos/a.mp4.part"])
def test_a_planted_key_is_found_in_any_folder(tmp_path: Path, name: str) -> None:
    cage = make_cage(tmp_path, "http://127.0.0.1:9")
    assert cage.find_leaks() == []
    cage.desk.write(f"../{name}", f"key={KEY}")
    assert any(name in hit for hit in cage.find_leaks())


def test_a_key_is_found_in_a_database_that_cuts_it_apart(tmp_path: Path) -> None:
    cage = make_cage(tmp_path, "http://127.0.0.1:9")
    with closing(sqlite3.connect(cage.desk.folder / "any.sqlite3")) as connection:
        connection.execute("CREATE TABLE notes (note TEXT)")
        connection.execute("INSERT INTO notes VALUES (?)", (f"{KEY} " * 1000,))
        connection.commit()
    assert [hit for hit in cage.find_leaks() if "any.sqlite3, notes" in hit]


async def test_a_file_that_others_may_read_is_found(service: Service) -> None:
    service.cage.write(SCENES)
    await service.cage.run()
    assert list_open_to_others(service.cage.desk.folder / "batch.yaml")
    (service.cage.run_folder / "videos" / "open.mp4").touch(mode=0o644)
    assert any("open.mp4" in hit for hit in await service.find_leaks())


# What takes secrets out of texts


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_key_is_taken_out_in_every_spelling(key: str) -> None:
    words = [key, quote(key), quote(key, safe=""), json.dumps(key), json.dumps(key).replace("/", "\\/")]
    words += [write_in_code_points(key, key), base64.b64encode(key.encode()).decode(), key.upper()]
    hidden = hide_secret(" and ".join(words), key)
    assert search([("text", hidden.encode())], key) == []
    assert hidden.count("[key]") == len(words)


def test_json_is_still_json_without_the_key() -> None:
    for key in KEYS.values():
        text = json.dumps({"text": f'first\n{key}\n"{key}"\\'})
        assert json.loads(hide_secret(text, key)) == {"text": 'first\n[key]\n"[key]"\\'}


def test_a_message_of_nothing_but_links_does_not_hold_the_program_up() -> None:
    assert len(clean("http://" * 500_000)) == MESSAGE_LENGTH


# The simulated service


@pytest.mark.parametrize(("fault", "loudness"), take_turns(FAULTS))
async def test_a_fault_brings_no_secret_out(tmp_path: Path, fault: str, loudness: list[str]) -> None:
    async with open_service(tmp_path, faults={fault: ALONE}) as service:
        service.cage.write(SCENES + HERO)
        for planned in ("cut-download", fault) if fault in AFTER_A_CUT else (fault,):
            service.simulator.plan_fault(planned)
        await service.cage.run(*loudness)
        assert fault in {request.fault for request in service.simulator.requests}
        assert service.has_seen_key
        assert await service.find_leaks() == []


@pytest.mark.parametrize("loudness", [[], ["-vv"]], ids=["usual", "loudest"])
async def test_all_faults_and_all_words_together_bring_no_secret_out(tmp_path: Path, loudness: list[str]) -> None:
    async with open_service(tmp_path, faults=dict.fromkeys(FAULTS, TOGETHER)) as service:
        service.cage.write(SCENES + HERO + WORDS)
        await service.cage.run(*loudness)
        service.weather.clear()
        await service.cage.run(*loudness)
        assert (service.has_seen_key, service.has_seen_signature) == (True, True)
        assert await service.find_leaks() == []


@pytest.mark.parametrize("loudness", [[], ["-vv"]], ids=["usual", "loudest"])
async def test_the_live_view_shows_no_secret(tmp_path: Path, loudness: list[str]) -> None:
    async with open_service(tmp_path, faults=dict.fromkeys(FAULTS, TOGETHER)) as service:
        service.cage.write(SCENES + HERO + WORDS)
        shown = await watch(service.cage, "run", "batch.yaml", "--max-runtime", "3s", *loudness)
        assert b"waiting" in shown
        assert (service.has_seen_key, await service.find_leaks()) == (True, [])


async def watch(cage: Cage, *words: str) -> bytes:
    """Run a command on a terminal; returns what it shows, which is kept with and without what steers the terminal."""
    screen, terminal = pty.openpty()
    process = await cage.desk.spawn(words, {**cage.surroundings, "TERM": "xterm", "COLUMNS": "200"}, stderr=terminal)
    os.close(terminal)
    shown = await asyncio.to_thread(read_to_end, screen)
    plain = ESCAPE_SEQUENCE.sub(b"", shown)
    cage.said += [("terminal", shown), ("terminal", plain), ("terminal", re.sub(rb"\s+", b"", plain))]
    await cage.hear(process)
    return plain


def read_to_end(screen: int) -> bytes:
    shown = b""
    try:
        while chunk := os.read(screen, 65536):
            shown += chunk
    except OSError:
        # So it ends on Linux when nobody has the terminal open any more.
        pass
    os.close(screen)
    return shown


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
async def test_a_key_from_a_file_is_nowhere_else(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, key: str
) -> None:
    path = tmp_path_factory.mktemp("private") / "key"
    path.write_text(f"{key}\n")
    async with open_service(tmp_path, key) as service:
        service.cage.write(SCENES + HERO)
        service.cage.environment |= {"HEDRA_API_KEY": "", "HEDRA_API_KEY_FILE": str(path)}
        finished = await service.cage.run("-vv")
        assert (finished.code, service.has_seen_key, service.has_seen_signature) == (0, True, True)
        assert await service.find_leaks() == []


async def test_a_key_in_the_place_of_the_name_of_its_file_is_not_repeated(service: Service) -> None:
    service.cage.write(SCENES)
    service.cage.environment |= {"HEDRA_API_KEY": "", "HEDRA_API_KEY_FILE": KEY}
    assert ((await service.cage.run()).code, service.cage.find_leaks()) == (78, [])


async def test_a_refused_key_is_not_repeated(tmp_path: Path) -> None:
    async with open_service(tmp_path, keys=["another-key"]) as service:
        service.cage.write(SCENES)
        assert ((await service.cage.run("-vv")).code, service.has_seen_key) == (77, True)
        assert service.cage.find_leaks() == []


async def test_a_trial_does_not_touch_the_key(service: Service) -> None:
    service.cage.write(HERO)
    finished = await service.cage.call("run", "batch.yaml", "--simulate", "-vv")
    assert (finished.code, service.has_seen_key) == (0, False)
    own = service.cage.desk.folder / "batch.sim"
    texts = [*service.cage.said, *read_everything(service.cage.desk.folder.parent)]
    assert search(((place, text) for place, text in texts if f"{own}/simulator/" not in place), KEY) == []
    assert list_open_to_others(own) == []


# Ends that are none


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_run_that_is_killed_leaves_no_secret_behind(service: Service, number: signal.Signals) -> None:
    # Whatever else comes, the first keeps the run from ending by itself.
    service.cage.write("  - {id: first, prompt: An endless scene}\n" + HERO + SCENES + WORDS)
    process = await service.cage.start("run", "batch.yaml", "-vv")
    await wait_until(lambda: service.has_seen_signature)
    process.send_signal(number)
    await service.cage.hear(process)
    assert process.returncode in (-number, 128 + number)
    assert (service.has_seen_key, await service.find_leaks()) == (True, [])


@pytest.mark.parametrize("limit_bytes", [3_000, 60_000])
async def test_a_disk_without_room_brings_no_secret_out(service: Service, limit_bytes: int) -> None:
    service.cage.write(HERO + SCENES)
    finished = await service.cage.call("run", "batch.yaml", "-vv", file_limit_bytes=limit_bytes)
    assert finished.code in (73, 74)
    assert await service.find_leaks() == []


@pytest.mark.parametrize("words", [("plan",), ("run", "-vv")])
async def test_a_ledger_with_nonsense_in_it_brings_no_secret_out(service: Service, words: tuple[str, ...]) -> None:
    service.cage.write(HERO + SCENES)
    await service.cage.run()
    with closing(sqlite3.connect(service.cage.run_folder / "ledger.sqlite3")) as connection:
        connection.executescript("DROP TRIGGER attempts_known_transitions; UPDATE attempts SET state = 'NONSENSE'")
    finished = await service.cage.call(words[0], "batch.yaml", *words[1:])
    assert (finished.code, service.has_seen_signature) == (74, True)
    assert await service.find_leaks() == []


@pytest.mark.parametrize("name", ["summary.json.part", "videos"])
async def test_a_file_in_the_way_brings_no_secret_out(service: Service, name: str) -> None:
    service.cage.write(HERO + SCENES)
    await service.cage.run("--id", "hero")
    await asyncio.to_thread(put_in_the_way, service.cage.run_folder / name)
    assert (await service.cage.run("-vv")).code in (73, 74)
    assert (service.has_seen_signature, await service.find_leaks()) == (True, [])


def put_in_the_way(path: Path) -> None:
    """Have a folder where a file is to be, or a file where a folder is."""
    if path.exists():
        path.rename(path.with_name("elsewhere"))
        path.touch(mode=0o600)
    else:
        path.mkdir(mode=0o700)


# A hostile service


@pytest.mark.parametrize(
    ("name", "write", "loudness"),
    [
        ("usual", write_plainly, []),
        ("usual", write_in_code_points, ["-vv"]),
        ("pattern", write_with_slashes, ["-v"]),
        ("quoting", write_plainly, ["-q"]),
        ("quoting", write_with_slashes, ["-vv"]),
        ("short", write_in_code_points, []),
    ],
)
async def test_what_a_server_repeats_is_neither_shown_nor_kept(
    tmp_path: Path, name: str, write: Callable[[object, str], str], loudness: list[str]
) -> None:
    async with open_hostile(tmp_path, KEYS[name], write) as (hostile, cage):
        await cage.run(*loudness)
        finished = await cage.call("results", "batch.yaml", "--attempts")
        # Once nothing can be fetched, what has a row by then is not bought any more, and stays new.
        assert {json.loads(line)["state"] for line in finished.out.splitlines()} - {"new"} == STATES
        assert all(search([visit], hostile.key) for visit in hostile.list_visits("api"))
        assert cage.find_leaks() == []


async def test_the_key_goes_to_no_other_host_whatever_links_and_redirects_say(tmp_path: Path) -> None:
    async with open_hostile(tmp_path) as (hostile, cage):
        await cage.run()
        visits = hostile.list_visits("media", "elsewhere")
        assert {host for host, _ in visits} == {"media", "elsewhere"}
        assert all(SIGNATURE.encode() in visit for _, visit in visits)
        assert search(visits, KEY) == []
        assert not [visit for _, visit in visits if b"X-API-Key" in visit or b"Cookie" in visit]


@pytest.mark.parametrize("word", Gossip("", "", write_plainly).words)
async def test_an_id_that_is_a_secret_is_neither_shown_nor_kept(tmp_path: Path, word: str) -> None:
    async with open_hostile(tmp_path, KEYS["quoting"], word=word) as (hostile, cage):
        await cage.run("-vv")
        assert len(hostile.list_visits("api")) > len(SUBMISSIONS)
        assert cage.find_leaks() == []


@pytest.mark.parametrize("status", [200, 307, 401, 402, 403, 500])
async def test_an_api_that_answers_all_alike_gets_no_secret_out(tmp_path: Path, status: int) -> None:
    async with open_hostile(tmp_path) as (hostile, cage):
        hostile.status = status
        await cage.run("-vv")
        assert hostile.list_visits("api")
        assert hostile.list_visits("media", "elsewhere") == []
        assert cage.find_leaks() == []


@pytest.mark.parametrize("word", ["key in base64", "link"])
async def test_a_model_that_is_named_like_a_secret_is_neither_shown_nor_kept(tmp_path: Path, word: str) -> None:
    async with open_hostile(tmp_path) as (hostile, cage):
        hostile.slug = hostile.gossip.words[word]
        await cage.run("-vv")
        assert hostile.list_visits("api")
        assert cage.find_leaks() == []


#: Every command after the first run, in an order in which each has something to do.
TOUR = (
    ("status",),
    ("plan",),
    ("resolve",),
    ("resolve", "--recheck", "-vv"),
    ("resolve", "--resend-same-id", "--id", "*", "--quiet-window", "1s"),
    ("results", "--format", "table"),
    ("results", "--format", "csv", "--attempts"),
    ("results", "--format", "jsonl"),
    ("resolve", "--abandon", "--id", "*"),
    ("retry", "--max-runtime", "2s"),
    ("fetch", "-vv"),
    ("verify",),
    ("run", "--max-runtime", "1s", "-q"),
)


async def test_no_command_brings_out_what_a_server_repeated(tmp_path: Path) -> None:
    async with open_hostile(tmp_path, KEYS["quoting"]) as (hostile, cage):
        await cage.run()
        hostile.has_all_media = True
        for words in TOUR:
            finished = await cage.call(words[0], "batch.yaml", *words[1:])
            assert finished.out or finished.err or "-q" in words, words
        assert cage.find_leaks() == []


async def test_what_is_fetched_from_a_server_that_refuses_the_key_by_then_is_told_without_it(tmp_path: Path) -> None:
    async with open_hostile(tmp_path, KEYS["quoting"], write_with_slashes) as (hostile, cage):
        await cage.run()
        hostile.status = 403
        assert (await cage.call("fetch", "batch.yaml")).code == 77
        assert cage.find_leaks() == []


# The process


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="only Linux shows what there is to search")
async def test_the_key_is_not_in_the_process_list(service: Service) -> None:
    service.cage.write(SCENES + WORDS)
    path = service.cage.desk.write("../key", KEY)
    service.cage.environment |= {"HEDRA_API_KEY": "", "HEDRA_API_KEY_FILE": str(path)}
    process = await service.cage.start("run", "batch.yaml", "-vv")
    await wait_until(lambda: service.has_seen_signature)
    words, others = look_at_process(process.pid)
    process.terminate()
    await service.cage.hear(process)
    assert (b"batch.yaml" in words, b"HEDRA_API_KEY_FILE" in others) == (True, True)
    assert search([("process", words + others)], KEY) == []


def look_at_process(process_id: int) -> tuple[bytes, bytes]:
    """Read what everybody can see of a process; and its environment, with those of all that it started."""
    folder = Path(f"/proc/{process_id}")
    started = b"".join(path.read_bytes() for path in folder.glob("task/*/children")).split()
    others = [look_at_process(int(child)) for child in started]
    return (folder / "cmdline").read_bytes(), b"".join([(folder / "environ").read_bytes(), *itertools.chain(*others)])


async def test_warnings_for_developers_bring_no_secret_out(tmp_path: Path) -> None:
    async with open_hostile(tmp_path) as (_, cage):
        cage.environment |= {"PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1"}
        await cage.run("-vv")
        assert cage.find_leaks() == []
