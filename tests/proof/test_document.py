"""The program against a service made of the published document alone: the right files, the right codes, paid once.

A failure names its seed: `pytest -n 0 -m proof tests/proof/test_document.py --documents 1 --seed N` repeats it.
"""

from __future__ import annotations

import asyncio
import io
import logging
import random
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import document
import jsonschema
import pytest
from conftest import make_png
from document import Document
from document_server import (
    LISTS,
    PASSING_CODES,
    READABLE_LISTS,
    REFUSALS,
    REPEATS,
    SENDS,
    STOPS,
    DocumentServer,
    Made,
    Script,
)
from virtual import VirtualClock, VirtualLoop

from hedra_batch.cli.execution import prepare, run_batch
from hedra_batch.cli.logs import ROOT
from hedra_batch.cli.options import RunOptions
from hedra_batch.run.settings import RunSettings

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not document.PATH.exists(), reason=f"the published document is not at {document.PATH}"),
]

API_KEY = "key-of-the-documents"
#: A real file all the same, where there is memory to keep it in.
SCRATCH = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
QUIET_WINDOW_SECONDS = 60.0
HOUR_SECONDS = 3600.0
#: More than an overdue generation is followed for before the run ends without it.
LONGEST_RUN_SECONDS = 4 * HOUR_SECONDS
RUNS_LIMIT = 8
#: Seeds of the short form, which every run of the tests carries out.
SHORT = range(15)
CHUNKS = 10

PROMPTS = ("A red scene", "A blue scene", "A green scene", "A grey scene")
MANIFEST = f"""version: 1
quiet_window: {QUIET_WINDOW_SECONDS:g}s
defaults: {{duration: 5s, resolution: 540p}}
jobs:
  - {{id: red, model: fal/grok-video-t2v, prompt: A red scene}}
  - {{id: blue, model: fal/grok-video-i2v, image: hero.png, prompt: A blue scene}}
  - {{id: green, model: fal/grok-video-t2v, prompt: A green scene}}
  - {{id: grey, model: fal/grok-video-i2v, image: hero.png, prompt: A grey scene}}
"""

#: In which ways a service may differ from the plainest one, and in how many of them it does.
FEATURES = {
    # What the document itself leaves open.
    "missing": 0.6,
    "nulls": 0.6,
    "error forms": 0.5,
    # What a later version of it may add, or has been met.
    "new fields": 0.5,
    "new words": 0.3,
    "floats": 0.3,
    "texts": 0.3,
    "status words": 0.3,
    "case": 0.3,
    "late links": 0.2,
    "no balance": 0.2,
    "broken item": 0.2,
    "upload statuses": 0.4,
    "asset gone": 0.15,
    # How answers and media travel.
    "gzip": 0.4,
    "chunked": 0.4,
    "close": 0.4,
    "gateway": 0.3,
    "gzip media": 0.15,
    "wrong encoding": 0.15,
    "no ranges": 0.2,
    "cut media": 0.2,
    "expired links": 0.2,
    # What the script itself says.
    "ids": 0.25,
    "lists": 0.5,
    "links": 0.4,
    "sends": 0.6,
    "refusals": 0.4,
    "failures": 0.4,
    "stops": 0.15,
    "lag": 0.3,
}
#: Codes that a run may end with: what is done, has failed, goes on, waits for a person, or was closed by the account.
ENDED_CODES = (0, 1)
WAITING_CODES = (3, 4)
#: Where else than everywhere a link to a result stands. No result without any, so a list that has it must be readable.
LINKS = ("list", "assets")
#: What an error names beside its message.
DETAILS = ("text_prompt", "seed", "too odd")
#: The answers of all endpoints that the program uses.
SCHEMAS = {
    *("AIModel", "Asset", "CreateAssetResponse", "CreditBalance"),
    *("GenerateVideoResponse", "GenerationStatusResponse", "PagedResponse_Generation_"),
}
#: Answers to a send after which nobody can tell what became of it.
UNCLEAR = ("lost", "500", "page", "garbled")


# Drawing


def draw_script(seed: int, allowed: Iterable[str] = FEATURES) -> Script:
    """Draw how a service behaves, with no other features than those that are allowed."""
    dice = random.Random(seed)
    drawn = [name for name, share in FEATURES.items() if dice.random() < share]
    features = frozenset(drawn) & frozenset(allowed)
    refused, failing, *sent = dice.sample(PROMPTS, len(PROMPTS))
    words = Document(dice, ()).list_words("ErrorCode")
    failure = dice.choice(["text", "MODERATION_LIKENESS_NEW", *words])
    script = Script(
        seed=seed,
        features=features,
        repeat=dice.choice(REPEATS),
        sends={prompt: dice.choice(SENDS) for prompt in sent},
        refusals={refused: dice.choice(list(REFUSALS))},
        failures={failing: failure},
        stop=dice.choice(list(STOPS)),
        lag_seconds=dice.uniform(0, QUIET_WINDOW_SECONDS / 2),
    )
    script = replace(
        script, uses_ids=False, echoes_ids=dice.random() < 0.5, list_kind=dice.choice(LISTS), links=dice.choice(LINKS)
    )
    return _simplify(script)


def _simplify(script: Script) -> Script:
    """Leave out of a script what its features do not have; what was drawn stays the same for all others."""
    features = script.features
    is_readable = script.list_kind in READABLE_LISTS or "lists" not in features
    return replace(
        script,
        uses_ids="ids" not in features,
        list_kind=script.list_kind if "lists" in features else "good",
        links=(script.links if is_readable else "assets") if "links" in features else "everywhere",
        sends=script.sends if "sends" in features else {},
        refusals=script.refusals if "refusals" in features else {},
        failures=script.failures if "failures" in features else {},
        stop=script.stop if "stops" in features else "",
        lag_seconds=script.lag_seconds if "lag" in features else 0.0,
    )


# Carrying out


@dataclass(frozen=True)
class Record:
    """What a script has come to."""

    server: DocumentServer
    codes: list[int]
    #: Every attempt in the ledger, and the public view of each job.
    attempts: list[dict[str, Any]]
    results: dict[str, dict[str, Any]]
    files: dict[str, bytes]
    verdict: str

    @property
    def code(self) -> int:
        return self.codes[-1] if self.codes else 70


async def go(script: Script, folder: Path, loop: VirtualLoop) -> Record:
    """Run the same line until nothing is left to do, or a run changes nothing: then a person must look."""
    server = DocumentServer(script)
    clock = VirtualClock(loop)
    codes: list[int] = []
    async with server.serve():
        (folder / "batch.yaml").write_text(MANIFEST, "utf-8")
        (folder / "hero.png").write_bytes(make_png(0))
        before = None
        for _ in range(RUNS_LIMIT):
            server.log.append("--- a run")
            try:
                async with asyncio.timeout(LONGEST_RUN_SECONDS):
                    codes.append(await run(folder, server.url, clock))
            except TimeoutError:
                server.faults.append("a run does not end")
                return read_record(server, codes, folder)
            server.log.append(f"--- exit {codes[-1]}")
            record = read_record(server, codes, folder)
            if codes[-1] in ENDED_CODES or (codes[-1] in WAITING_CODES and record.attempts == before):
                break
            before = record.attempts
            await asyncio.sleep(HOUR_SECONDS)
        return record


async def run(folder: Path, url: str, clock: VirtualClock) -> int:
    told = RunOptions(folder / "batch.yaml", base_url=url, is_quiet=True)
    settings = RunSettings(clock=clock, shortest_poll_seconds=5.0, longest_poll_seconds=30.0)
    return await run_batch(prepare(told, settings, {"HEDRA_API_KEY": API_KEY}))


def read_record(server: DocumentServer, codes: list[int], folder: Path) -> Record:
    out = folder / "batch.out"
    with closing(sqlite3.connect(out / "ledger.sqlite3")) as connection:
        connection.row_factory = sqlite3.Row
        attempts = [dict(row) for row in connection.execute("SELECT * FROM attempts ORDER BY attempt_key")]
        results = {row["id"]: dict(row) for row in connection.execute("SELECT * FROM results")}
        verdict = connection.execute("SELECT verdict FROM deduplication WHERE kind = 'video'").fetchone()
    videos = (path for path in out.joinpath("videos").rglob("*") if path.is_file())
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in videos}
    return Record(server, list(codes), attempts, results, files, verdict[0] if verdict else "unproven")


def carry_out(script: Script) -> Record:
    random.seed(script.seed)  # the pauses of retries are drawn from here
    logging.getLogger(ROOT).handlers.clear()
    loop = VirtualLoop(script.seed)
    with (
        tempfile.TemporaryDirectory(dir=SCRATCH) as folder,
        asyncio.Runner(loop_factory=lambda: loop) as runner,
        redirect_stderr(io.StringIO()),
    ):
        return runner.run(go(script, Path(folder), loop))


# Judging


def find_wrong_files(record: Record) -> Iterator[str]:
    """Each job that is done has the bytes of a video that was made for its own prompt, and nothing else is there."""
    outputs = set()
    for result in record.results.values():
        if result["state"] != "done":
            continue
        outputs.add(result["output"])
        made = record.server.made.get(result["generation_id"])
        if made is None or made.prompt != result["prompt"]:
            yield f"{result['id']} is done with a video of another job ({made and made.prompt})"
        elif record.files.get(result["output"]) != made.movie:
            yield f"{result['id']}: {result['output']} has not the bytes of its video"
    if others := set(record.files) - outputs:
        yield f"files of no job: {others}"


def find_double_charges(record: Record) -> Iterator[str]:
    """Each attempt is charged once at most, each charge has its row, and none follows one that has not ended."""
    rows = {row["request_key"]: row for row in record.attempts if row["request_key"]}
    charges = Counter(made.asked_id for made in record.server.billing)
    for made in record.server.billing:
        row = rows.get(made.asked_id)
        if charges[made.asked_id] > 1:
            yield f"{made.prompt} was charged {charges[made.asked_id]} times under one id"
        if row is None:
            yield f"{made.prompt} was charged, and the ledger does not know it"
        elif row["state"] in ("NEW", "RESERVED", "REFUSED"):
            yield f"{made.prompt} was charged, and its attempt is {row['state']}"
        elif row["charged"] not in (None, 35):
            yield f"{made.prompt} cost 35, and the ledger says {row['charged']}"
    for row in record.attempts:
        if not row["latest"] and row["state"] not in ("FAILED", "REFUSED", "ABANDONED"):
            yield f"{row['job_id']}: another attempt follows one that is {row['state']}"


def find_wrong_codes(record: Record) -> Iterator[str]:
    """The exit code says what the ledger says; it is one of a stop only where the service itself has refused."""
    states = Counter(result["state"] for result in record.results.values())
    code = 4 if states["held"] else 3 if states.total() > states["done"] + states["failed"] else 1
    expected = 0 if states == {"done": len(PROMPTS)} else code
    if record.code != expected:
        yield f"the last run ended with {record.code}, and the jobs are {dict(states)}"
    allowed = {0, 1, 3, 4} | ({5, 77} if record.server.script.stop else set())
    if "gateway" in record.server.script.features:
        # An API of which nothing was seen but pages is not waited for as long as one that has answered.
        allowed.add(69)
    if "INSUFFICIENT_BALANCE" in record.server.script.failures.values():
        allowed.add(5)
    if strange := [code for code in record.codes if code not in allowed]:
        yield f"runs ended with {strange}, and nothing was wrong with the account"


def find_wrong_ends(record: Record) -> Iterator[str]:
    """Each job ends as the service had it end, whatever happened to its neighbours."""
    for prompt in PROMPTS:
        result = next((each for each in record.results.values() if each["prompt"] == prompt), None)
        if result is None:
            yield f"{prompt} was never begun"
        else:
            yield from describe_end(record, result)


def describe_end(record: Record, result: dict[str, Any]) -> Iterator[str]:
    script, prompt, error = record.server.script, result["prompt"], result["error"] or ""
    told = f"{prompt} is {result['state']} ({result['error_code']}: {error})"
    if code := script.refusals.get(prompt):
        if result["state"] != "failed" or f"No {code} for {prompt}" not in error:
            yield f"{told}, and was refused with {code}"
    elif result["state"] == "held":
        if not may_be_held(record, prompt):
            yield f"{told}, and nobody need look"
    elif code := script.failures.get(prompt):
        yield from describe_failure(record, result, code, told)
    elif result["state"] != "done":
        yield f"{told}, and is well at the service"


def describe_failure(record: Record, result: dict[str, Any], code: str, told: str) -> Iterator[str]:
    if result["state"] != "failed" or f"It failed with {code}" not in result["error"]:
        yield f"{told}, and failed with {code}"
    details: tuple[str, ...] = DETAILS if "error forms" in record.server.script.features and code != "text" else ()
    details += ("35", "4") if code == "INSUFFICIENT_BALANCE" else ()
    if missing := [detail for detail in details if detail not in (result["error"] or "")]:
        yield f"{told}, and does not say {missing}"
    attempts = sum(made.prompt == result["prompt"] for made in record.server.billing)
    if attempts > (2 if code in PASSING_CODES else 1):
        yield f"{told}, and was bought {attempts} times"


def may_be_held(record: Record, prompt: str) -> bool:
    """Tell whether nothing but a person can say what became of a request."""
    script = record.server.script
    if script.sends.get(prompt, "").removeprefix("+") not in UNCLEAR:
        return False
    made: Made | None = next((each for each in record.server.billing if each.prompt == prompt), None)
    is_readable = script.list_kind in READABLE_LISTS
    if made:
        return not (script.uses_ids or (script.echoes_ids and is_readable))
    # What never arrived is sent again once it is known that ids are used; a list that shows nothing cannot tell.
    return record.verdict != "proven" or not is_readable


JUDGES: tuple[Callable[[Record], Iterator[str]], ...] = (
    find_wrong_files,
    find_double_charges,
    find_wrong_codes,
    find_wrong_ends,
)


def carry_out_and_judge(script: Script) -> Record:
    """Carry a script out; whatever is wrong with it comes with its seed and with all that the service has answered."""
    try:
        record = carry_out(script)
    except Exception as error:
        error.add_note(f"--documents 1 --seed {script.seed}\n{script}")
        raise
    if problems := [*record.server.faults, *(problem for find in JUDGES for problem in find(record))]:
        log = "\n".join(record.server.log)
        raise AssertionError("\n".join([*problems, f"--documents 1 --seed {script.seed}", str(script), log]))
    return record


# The tests


@pytest.mark.parametrize("seed", SHORT)
def test_a_batch_ends_well_on_a_service_of_the_document(seed: int) -> None:
    carry_out_and_judge(draw_script(seed))


@pytest.mark.proof
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_batches_end_well_on_services_of_the_document(pytestconfig: pytest.Config, chunk: int) -> None:
    first = pytestconfig.getoption("--seed")
    for seed in range(first, first + pytestconfig.getoption("--documents")):
        if seed % CHUNKS == chunk:
            carry_out_and_judge(draw_script(seed))


@pytest.mark.proof
@pytest.mark.parametrize("feature", FEATURES)
def test_a_batch_ends_well_whatever_the_one_thing_is_that_differs(feature: str) -> None:
    seeds = (seed for seed in range(10_000) if feature in draw_script(seed, [feature]).features)
    for _, seed in zip(range(3), seeds, strict=False):
        carry_out_and_judge(draw_script(seed, [feature]))


@pytest.mark.parametrize("seed", range(5))
def test_the_service_says_nothing_that_the_document_does_not_allow(seed: int) -> None:
    plain = Script(seed, frozenset(["missing", "nulls", "error forms"]), failures={PROMPTS[0]: "GONE"})
    records = [carry_out(replace(plain, list_kind=kind, links="assets")) for kind in ("good", "empty")]
    answers = [answer for record in records for answer in record.server.answers]
    assert {answer.schema for answer in answers} == SCHEMAS
    components = Document(random.Random(), ()).components
    for answer in answers:
        schema = {"$ref": f"#/components/schemas/{answer.schema}", "components": components}
        jsonschema.Draft202012Validator(schema).validate(answer.value)
