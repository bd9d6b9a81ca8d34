"""Bugs that the exhaustive suites must see: each a small change of the package, who is to see it, and in what words.

They are what programs of this kind get wrong most easily, and each of them costs money or a video.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import hedra_batch

PACKAGE = Path(hedra_batch.__file__).parent

#: What pytest is given: a test of this folder, and options. Narrow, so that all of it takes a minute.
Suite = tuple[str, ...]

#: Forty schedules each, on services that bill repeats, and on those that lost requests reach only after the window.
BILLED: Suite = ("test_schedules.py", "-k", "bill-60-late", "--schedules", "1800")
LATE: Suite = ("test_schedules.py", "-k", "refuse and too", "--schedules", "1800")
#: Killed before every fourth call.
KILLS: Suite = ("test_kills.py", "-k", "0-before or 4-before")
#: Killed before every call: what is to be seen lies between two of them.
KILLS_EVERYWHERE: Suite = ("test_kills.py", "-k", "before")
ORDER_OF_SEND: Suite = ("test_order.py::test_the_ledger_is_synced_after_its_last_write_before_each_paid_request[text]",)
ORDER_OF_END: Suite = (
    "test_order.py::test_a_video_is_synced_and_named_for_good_before_the_ledger_says_that_it_is_done[text]",
)
CUTS: Suite = ("test_cuts.py::test_no_cut_is_published_and_the_whole_file_is[padded-in_ended_chunks-False]",)
LEAKS: Suite = ("test_leaks.py::test_an_api_that_answers_all_alike_gets_no_secret_out[307]",)

PAID_OR_SENT_AGAIN = r"was charged \d times|was sent again after"


@dataclass(frozen=True, slots=True)
class Edit:
    """A text that stands in a file of the package once, and another in its place."""

    file: str
    old: str
    new: str

    def apply(self, package: Path) -> None:
        path = package / self.file
        text = path.read_text("utf-8")
        assert text.count(self.old) == 1, f"{self.file} has {text.count(self.old)} times what is changed:\n{self.old}"
        path.write_text(text.replace(self.old, self.new), "utf-8")


@dataclass(frozen=True, slots=True)
class Bug:
    """What is wrong then, and who says so."""

    name: str
    suite: Suite
    #: A pattern of what the suite must say; a bug that breaks something else as well proves nothing.
    verdict: str
    edits: tuple[Edit, ...]


def copy_package(folder: Path, edits: tuple[Edit, ...] = ()) -> Path:
    """Copy the package into a folder, and change it there."""
    package = folder / PACKAGE.name
    shutil.copytree(PACKAGE, package)
    for edit in edits:
        edit.apply(package)
    return package


PLANTED = (
    Bug(
        "a new id after a timeout",
        LATE,
        "was charged and is in no row of the ledger",
        (
            Edit(
                "run/stations/reconcile.py",
                "return await self._ledger.resend(attempt, body)\n",
                "return await self._ledger.release(await self._ledger.resend(attempt, body))\n",
            ),
            Edit(
                "ledger/ledger.py",
                "attempt.job_id, attempt.digest, attempt.number)",
                "attempt.job_id, attempt.digest, attempt.number, attempt.resends)",
            ),
        ),
    ),
    Bug(
        "a 404 taken for absence at once",
        BILLED,
        PAID_OR_SENT_AGAIN,
        (
            Edit(
                "run/stations/reconcile.py",
                "                if remaining_seconds <= 0:\n"
                "                    return await self._decide(attempt, job)\n",
                "                return await self._decide(attempt, job)\n",
            ),
        ),
    ),
    Bug(
        "no record before the send",
        KILLS,
        "was charged and stands as never sent",
        (
            Edit(
                "run/stations/submit.py",
                "        attempt = await self._ledger.begin_send(attempt)\n",
                "        state.post = asyncio.create_task(self._client.submit(attempt.body or b''))\n"
                "        await asyncio.wait({state.post})\n"
                "        attempt = await self._ledger.begin_send(attempt)\n",
            ),
            Edit(
                "run/stations/submit.py",
                '        state.post = asyncio.create_task(self._client.submit(attempt.body or b""), '
                'name=f"post {attempt.label}")\n',
                "",
            ),
        ),
    ),
    Bug(
        "commits that a power cut takes back",
        ORDER_OF_SEND,
        "there is no 'SYNC ledger.sqlite3-wal'",
        (Edit("ledger/writer.py", "PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL"),),
    ),
    Bug(
        "a paid request repeated on a lost connection",
        BILLED,
        PAID_OR_SENT_AGAIN,
        (
            Edit(
                "api/v2/client.py",
                "            status, headers, text = await self._send_paid(body)\n",
                "            try:\n"
                "                status, headers, text = await self._send_paid(body)\n"
                "            except aiohttp.ServerDisconnectedError:\n"
                "                status, headers, text = await self._send_paid(body)\n",
            ),
        ),
    ),
    Bug(
        "a redirect followed",
        LEAKS,
        "'elsewhere'",
        (
            Edit(
                "api/v2/client.py",
                "method, self.base_url + route, allow_redirects=False,",
                "method, self.base_url + route, allow_redirects=True,",
            ),
        ),
    ),
    Bug(
        "a new name that a power cut takes back",
        ORDER_OF_END,
        "there is no 'SYNC folder videos'",
        (Edit("durable.py", "    part.replace(path)\n    sync_folder(path.parent)\n", "    part.replace(path)\n"),),
    ),
    Bug(
        "a file renamed before it is verified",
        CUTS,
        r"cut at \d+ of \d+",
        (
            Edit("run/stations/part.py", "                check_container(file)\n", ""),
            Edit(
                "run/stations/part.py",
                "            publish(self._part, self._path)\n",
                "            publish(self._part, self._path)\n"
                "            with self._path.open('rb') as file:\n"
                "                check_container(file)\n",
            ),
        ),
    ),
    Bug(
        "done before the rename",
        KILLS_EVERYWHERE,
        "has no file videos/",
        (
            Edit("run/stations/part.py", "            publish(self._part, self._path)\n", ""),
            Edit(
                "run/stations/fetch.py",
                "        attempt = await record(attempt, content_hash, size_bytes)\n",
                "        attempt = await record(attempt, content_hash, size_bytes)\n"
                "        from hedra_batch.durable import publish\n"
                "        await asyncio.to_thread(publish, part._part, part._path)\n",
            ),
        ),
    ),
    Bug(
        "a lost send cleared by the refusal of a later one",
        LATE,
        "stands as refused",
        (
            Edit(
                "run/stations/submit.py",
                "        if attempt.unknown_sends or not isinstance(",
                "        if not isinstance(",
            ),
        ),
    ),
    Bug(
        "a 5xx taken for not sent",
        BILLED,
        f"{PAID_OR_SENT_AGAIN}|was charged and stands as (never sent|refused)",
        (
            Edit(
                "api/v2/refusals.py",
                "    elif isinstance(refusal, UnavailableError) or not _is_clear(status, refusal):\n",
                "    elif isinstance(refusal, UnavailableError):\n        return NotSentError(str(refusal))\n"
                "    elif not _is_clear(status, refusal):\n",
            ),
            Edit("api/v2/refusals.py", "    NotFoundError,\n", "    NotFoundError,\n    NotSentError,\n"),
        ),
    ),
    Bug(
        "an overdue job bought again",
        LATE,
        r"attempt \d \(FAILED\) was paid for, and is neither done nor held",
        (
            Edit(
                "run/stations/track.py",
                "        return await self._ledger.mark_stuck(attempt, message)\n",
                '        return await self._ledger.fail(attempt, "internal", message, None)\n',
            ),
        ),
    ),
)
