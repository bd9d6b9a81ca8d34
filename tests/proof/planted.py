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

#: Forty schedules each, on services that bill repeats, on those that lost requests reach only after the window, and on
#: those that use the ids of another kind of request only.
BILLED: Suite = ("test_schedules.py", "-k", "bill-60-late", "--schedules", "2160")
LATE: Suite = ("test_schedules.py", "-k", "refuse and too", "--schedules", "2160")
ONE_KIND: Suite = ("test_schedules.py", "-k", "one-kind-60-late", "--schedules", "2160")
#: The program as it is, on paper.
MODEL: Suite = ("test_model.py", "-k", "verdicts and after and window and not random and not derived")
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
#: So many services of the published document that a few of them lose a request and make ids of their own.
DOCUMENT: Suite = ("test_document.py", "-k", "services_of_the_document", "--documents", "400")

#: What the model says of a way to be charged twice where there should be none.
NOT_SAFE = "assert 'charged twice' == 'safe'"
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
        "a repeat where ids are ignored",
        DOCUMENT,
        "was charged 2 times under one id",
        (
            Edit(
                "decide.py",
                "    if inquiry.deduplication is Deduplication.NONE:\n        return HoldReason.NO_DEDUPLICATION\n",
                "",
            ),
        ),
    ),
    Bug(
        "a new id after a timeout",
        LATE,
        PAID_OR_SENT_AGAIN,
        (
            Edit(
                "run/stations/reconcile.py",
                "        return await self._ledger.apply(attempt, events.plan_resend(body))\n",
                "        key = (attempt.request_key or '').encode()\n"
                "        body = body.replace(key, key[:-2] + b'%02x' % attempt.sends)\n"
                "        return await self._ledger.apply(attempt, events.plan_resend(body))\n",
            ),
        ),
    ),
    Bug(
        "a 404 taken for absence at once",
        BILLED,
        PAID_OR_SENT_AGAIN,
        (Edit("run/stations/reconcile.py", "is_window_over=remaining_seconds <= 0", "is_window_over=True"),),
    ),
    Bug(
        "no record before the send",
        KILLS,
        "was charged and stands as never sent",
        (
            Edit(
                "run/stations/submit.py",
                "        attempt = await self._ledger.apply(attempt, begin)\n",
                "        post = asyncio.create_task(self._api.submit(body))\n"
                "        await asyncio.wait({post})\n"
                "        attempt = await self._ledger.apply(attempt, begin)\n",
            ),
            Edit(
                "run/stations/submit.py",
                "            acceptance = await self._post(body, state)\n",
                "            acceptance = await post\n",
            ),
        ),
    ),
    Bug(
        "commits that a power cut takes back",
        ORDER_OF_SEND,
        "there is no 'SYNC ledger.sqlite3-wal'",
        (Edit("ledger/sqlite/connection.py", "PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL"),),
    ),
    Bug(
        "a paid request repeated on a lost connection",
        BILLED,
        PAID_OR_SENT_AGAIN,
        (
            Edit(
                "api/v2/client.py",
                "        status, headers, text = await self._send_paid(body)\n",
                "        try:\n"
                "            status, headers, text = await self._send_paid(body)\n"
                "        except UnknownOutcomeError:\n"
                "            status, headers, text = await self._send_paid(body)\n",
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
            Edit("run/part_file.py", "                check_container(file)\n", ""),
            Edit(
                "run/part_file.py",
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
            Edit("run/part_file.py", "            publish(self._part, self._path)\n", ""),
            Edit(
                "run/stations/fetch.py",
                "        attempt = await self._record(attempt, content_hash, size_bytes)\n",
                "        attempt = await self._record(attempt, content_hash, size_bytes)\n"
                "        from hedra_batch.durable import publish\n"
                "        path = self._saver._folder.path / str(attempt.output)\n"
                "        await asyncio.to_thread(publish, path.with_name(f'{path.name}.part'), path)\n",
            ),
        ),
    ),
    Bug(
        "a lost send cleared by the refusal of a later one",
        LATE,
        "stands as refused",
        (
            Edit("decide.py", "    if state is State.SENDING:\n", "    if state in _AFTER_FIRST_SENDS:\n"),
            Edit(
                "decide.py",
                "def before_send(",
                "_AFTER_FIRST_SENDS = (State.SENDING, State.RESENDING)\n\n\ndef before_send(",
            ),
            Edit(
                "state.py",
                "    State.RESENDING: {State.ACCEPTED: Cause.ANSWER,",
                "    State.RESENDING: {State.REFUSED: Cause.ANSWER, State.RESERVED: Cause.ANSWER, "
                "State.ACCEPTED: Cause.ANSWER,",
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
                "        return UnknownOutcomeError(str(refusal))\n",
                "        return NotSentError(str(refusal))\n",
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
                "        return await self._ledger.apply(attempt, events.mark_overdue(message))\n",
                '        return await self._ledger.apply(attempt, events.fail("internal", message, None))\n',
            ),
        ),
    ),
    Bug(
        "what one kind of request shows of a server, taken for another kind",
        ONE_KIND,
        PAID_OR_SENT_AGAIN,
        (
            Edit(
                "ledger/ledger.py",
                "        return self._deduplication.get(kind, Deduplication.UNPROVEN)\n",
                "        return next(iter(self._deduplication.values()), Deduplication.UNPROVEN)\n",
            ),
        ),
    ),
    Bug(
        "a decision: absence believed before the window has passed",
        MODEL,
        NOT_SAFE,
        (Edit("decide.py", "    if not inquiry.is_window_over:\n        return None\n", ""),),
    ),
    Bug(
        "a decision: a repeat sent to a server that gives ids of its own",
        MODEL,
        NOT_SAFE,
        (
            Edit(
                "decide.py",
                "    if inquiry.deduplication is Deduplication.NONE:\n        return HoldReason.NO_DEDUPLICATION\n",
                "",
            ),
        ),
    ),
    Bug(
        "a decision: a send that was under way at a crash taken for unsent",
        MODEL,
        NOT_SAFE,
        (Edit("decide.py", "    State.SENDING: State.UNKNOWN,\n", "    State.SENDING: State.RESERVED,\n"),),
    ),
)
