"""What differs between what was sent and what is wanted, in words that fit on a line or two."""

from __future__ import annotations

import pytest

from hedra_batch.report.edits import (
    EXCERPT_CHARS,
    EditCommands,
    EditNotice,
    describe_change,
    write_edits,
    write_question,
)

LONG = "A walk along the harbour at dusk, boats in the mist. " * 40
COMMANDS = EditCommands("see plan", "keep them", "buy anew")


def describe_prompt(before: str, after: str) -> str:
    return describe_change({"prompt": before}, {"prompt": after})


def test_a_change_is_said_field_by_field() -> None:
    before: dict[str, str | int] = {"prompt": "a", "image": "sha256:1", "duration_ms": 5000}
    after: dict[str, str | int] = {"prompt": "b", "image": "sha256:2", "model": "m"}
    said = "prompt 'a' -> 'b'; image has other content; duration_ms '5000' -> (none); model (none) -> 'm'"
    assert describe_change(before, after) == said


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("A calm sea", "A wild sea", "'A calm sea' -> 'A wild sea'"),
        (f"{LONG}A calm sea.", f"{LONG}A wild sea.", "dusk, boats in the mist. A calm sea.' -> "),
        (
            f"A calm sea. {LONG}",
            f"A wild sea. {LONG}",
            "'A calm sea. A walk along the harbour at dusk, boats in the…' -> ",
        ),
        (
            f"{LONG}A calm sea. {LONG}",
            f"{LONG}A wild sea. {LONG}",
            "in the mist. A wild sea. A walk along the harbour…'",
        ),
        (LONG, f"{LONG}Night.", "boats in the mist. Night.'"),
        (f"{LONG}one two", f"{LONG}one  two", "one two' -> '"),
        ("a b c d e f g", "a X c Y e Z g", "'a b c d e f g' -> 'a X c Y e Z g' and 2 more places"),
        ("a b c d e", "a X c Y e", " and 1 more place"),
        ("caf\u00e9", "cafe\u0301", r"'caf\xe9' -> 'cafe\u0301'"),
        ("a b", "a\u00a0b", r"'a b' -> 'a\xa0b'"),
        ("a b", "a\u200bb", r"'a b' -> 'a\u200bb'"),
        ("a", "a\x1b[2J", r"'a' -> 'a\x1b[2J'"),
        ("a\nb", "a\nc", r"'a\nb' -> 'a\nc'"),
    ],
    ids=lambda text: text[-12:],
)
def test_the_words_around_the_difference_are_shown(before: str, after: str, said: str) -> None:
    assert said in describe_prompt(before, after)


@pytest.mark.parametrize("place", [0, 17, 30, 59, 60, 61, 500, 1000, 1990, 1999])
@pytest.mark.parametrize(
    "text", [LONG[:2000], "灯台と海辺の朝、静かな波" * 170, "x" * 2000, "line\n" * 400], ids=str.isalpha
)
@pytest.mark.parametrize("put", ["Q", "", "QQ QQ", "Q" * 300], ids=["other", "less", "more", "much more"])
def test_wherever_one_thing_changes_it_is_shown_and_little_else(text: str, place: int, put: str) -> None:
    other = f"{text[:place]}{put}{text[place + 1 :]}"
    said = describe_prompt(text, other)
    if text == other:
        assert said == ""
        return
    assert ("Q" in said) is bool(put)
    assert "more place" not in said
    [old, new] = said.removeprefix("prompt ").split(" -> ")
    assert old != new
    assert all(len(part.replace("\\n", "n")) <= EXCERPT_CHARS + len("'……'") for part in (old, new))


def test_texts_that_have_nothing_in_common_are_cut() -> None:
    said = describe_prompt("one two three " * 400, "four five six " * 400)
    assert (said.startswith("prompt 'one two"), len(said) < 140, "more" in said) == (True, True, False)


def test_very_long_texts_are_compared_in_no_time_to_speak_of() -> None:
    before = " ".join(map(str, range(5000)))
    assert "4242" in describe_prompt(before, before.replace(" 4242 ", " changed "))


def test_edited_jobs_are_named_with_what_each_way_on_costs() -> None:
    notice = EditNotice(3, 0, "about 105 credits (35 each)", [("market", {"prompt": "a"}, {"prompt": "b"})])
    assert list(write_edits(notice, COMMANDS)) == [
        "3 jobs were edited after they were paid for, or may have been, and wait for you to choose:",
        "  market: prompt 'a' -> 'b'",
        "  … and 2 more",
        "  All of them:",
        "      see plan",
        "  To go back, 0 credits: undo the edits in the manifest.",
        "  To have the videos as they are count for the edited jobs, 0 credits:",
        "      keep them",
        "  To buy them anew, about 105 credits (35 each); the files that are here stay:",
        "      buy anew",
    ]


@pytest.mark.parametrize(
    ("count", "unended", "said"),
    [(1, 1, "(it is not ended yet:"), (3, 1, "(1 of them is not"), (3, 2, "(2 of them are")],
)
def test_what_has_not_ended_is_followed_before_it_can_be_bought_anew(count: int, unended: int, said: str) -> None:
    notice = EditNotice(count, unended, "about 35 credits", [])
    assert all(said in "\n".join(lines) for lines in (write_question(notice), write_edits(notice, COMMANDS)))
