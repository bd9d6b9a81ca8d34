"""Tables, CSV and the words at the end of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from hedra_batch.cli.advice import EDIT_CODES
from hedra_batch.decide import TRANSIENT_CODES
from hedra_batch.errors import (
    ApiUnreachableError,
    BudgetReachedError,
    HedraBatchError,
    LedgerError,
    OutOfCreditsError,
)
from hedra_batch.ledger.events import GIVEN_UP, OVERDUE, RESULT_LOST, UNKNOWN_OUTCOME, UNPROVEN
from hedra_batch.money import Money
from hedra_batch.report.rows import to_csv, to_json_lines, to_table
from hedra_batch.report.summary import (
    AGAIN,
    MEANINGS,
    Remedy,
    Trouble,
    describe_charge,
    describe_stop,
    name_condition,
    write_going_on,
    write_last_line,
    write_remedies,
)
from hedra_batch.state import State


def test_the_last_line_has_its_documented_form() -> None:
    counts = Counter(done=238, failed=2)
    line = "spring: done=238 failed=2 running=0 held=0 exit=1 -> spring.out/videos"
    assert write_last_line("spring", counts, 1, "spring.out/videos") == line


def test_what_is_unknown_or_not_begun_is_said_when_there_is_any() -> None:
    assert " held=0 unknown=1 new=3 exit=3 " in write_last_line("spring", Counter(unknown=1, new=3), 3, "x")


def test_failures_of_a_kind_are_named_above_what_helps_them_and_the_others_are_counted() -> None:
    troubles = (Trouble("a", "internal", "Broken."), Trouble("b", "brand_new", "Odd."))
    assert list(write_remedies([Remedy(troubles, "Make them anew:", "retry them")], 2, "see results")) == [
        "  a: the service broke down over it (internal): Broken.",
        "  b: brand_new: Odd.",
        "  Make them anew:",
        "      retry them",
        "  … and 2 more; all of them:",
        "      see results",
    ]


def test_every_code_that_decides_what_helps_is_said_in_words() -> None:
    assert EDIT_CODES | TRANSIENT_CODES | {UNKNOWN_OUTCOME, UNPROVEN, OVERDUE, RESULT_LOST, GIVEN_UP} <= set(MEANINGS)


@pytest.mark.parametrize(("running", "left"), [(4, "4 videos are"), (1, "1 video is")])
def test_a_stop_says_how_many_videos_are_at_the_server(running: int, left: str) -> None:
    said = describe_stop(Counter(running=running, new=2, done=7), AGAIN)
    assert said.endswith(f"nothing is lost. {left} still at the server: run the same line again to go on.")


def test_a_stop_without_a_video_at_the_server_names_none() -> None:
    assert describe_stop(Counter(new=2), AGAIN).endswith("nothing is lost. Run the same line again to go on.")


def test_where_a_command_goes_on_with_more_than_was_begun_it_is_said() -> None:
    lines = list(write_going_on(["run all"], 12, "", is_exact=False))
    assert lines[0].startswith(
        "  Not finished yet. To go on with these 12 jobs, and to make what is new among the same "
    )
    assert lines[1:] == ["      run all"]


@pytest.mark.parametrize(
    ("error", "condition"),
    [
        (OutOfCreditsError("dry"), "Once the account has credits again"),
        (BudgetReachedError("reached"), "With a larger budget"),
        (ApiUnreachableError("silent"), "Once the network is back"),
        (LedgerError("full"), "Once files can be written again"),
        (HedraBatchError("odd"), "Once that is put right"),
    ],
)
def test_what_must_be_so_before_a_run_goes_on_is_named(error: HedraBatchError, condition: str) -> None:
    assert name_condition(error) == condition


@pytest.mark.parametrize(
    ("state", "charged", "said"),
    [
        (State.REFUSED, None, "Nothing was charged."),
        (State.FAILED, Money(0), "Nothing was charged."),
        (State.FAILED, Money(35), "35 credits were charged."),
        (State.FAILED, None, ""),
        (State.ABANDONED, Money(35), ""),
        (State.HELD_MISSING, None, ""),
    ],
)
def test_what_a_failed_job_cost_is_said_where_it_is_known(state: State, charged: Money | None, said: str) -> None:
    assert describe_charge(state, charged, is_simulated=False) == said


def test_a_table_leaves_out_columns_that_are_empty_everywhere() -> None:
    rows = [{"id": "a", "error": None, "n": 1}, {"id": "bb", "error": None, "n": 22}]
    assert list(to_table(rows, ("id", "error", "n"))) == ["ID  N\n", "a   1\n", "bb  22\n"]


def test_columns_that_find_no_room_go_on_a_further_line_of_each_row() -> None:
    rows: list[dict[str, str | None]] = [
        {"id": "a", "n": "1" * 6, "error": "It broke"},
        {"id": "b", "n": "2", "error": None},
    ]
    lines = ["ID  N\n    ERROR\n", "a   111111\n    It broke\n", "b   2\n"]
    assert list(to_table(rows, ("id", "n", "error"), 12)) == lines
    assert len("".join(to_table(rows, ("id", "n", "error"), 20)).splitlines()) == 3


class Changing:
    """Rows that are others each time they are read, as those of a run that is going."""

    def __init__(self, *readings: list[dict[str, str]]) -> None:
        self.readings = iter(readings)
        #: Rows given out by the last reading.
        self.given = 0

    def __iter__(self) -> Iterator[dict[str, str]]:
        self.given = 0
        for row in next(self.readings):
            self.given += 1
            yield row


def test_a_table_keeps_no_row() -> None:
    rows = Changing(*[[{"id": str(number)} for number in range(9)]] * 2)
    lines = to_table(rows, ("id",))
    assert (next(lines), next(lines), rows.given) == ("ID\n", "0\n", 1)


def test_rows_that_change_while_a_table_is_written_only_lose_their_alignment() -> None:
    rows = Changing(
        [{"id": "a", "n": "", "m": "1"}], [{"id": "later", "n": "2", "m": "1"}, {"id": "b", "n": "", "m": ""}]
    )
    assert list(to_table(rows, ("id", "n", "m"))) == ["ID  M\n", "later  1\n", "b\n"]


def test_an_empty_table_is_empty() -> None:
    assert list(to_table([], ("id",))) == []


def test_a_cell_is_one_safe_line() -> None:
    [_, line] = to_table([{"id": "a\x1b[31m\nb" + "c" * 100}], ("id",))
    assert line == "a [31m b" + "c" * 51 + "…\n"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_a_text_that_a_spreadsheet_would_run_is_defused(text: str) -> None:
    assert "".join(to_csv([{"prompt": text, "n": -5}], ("prompt", "n"))).splitlines()[1].lstrip('"').startswith("'")


def test_csv_without_rows_has_its_header() -> None:
    assert list(to_csv([], ("a", "b"))) == ["a,b\r\n"]


def test_json_lines_keep_every_letter() -> None:
    assert list(to_json_lines([{"prompt": "Ürümqi"}])) == ['{"prompt": "Ürümqi"}\n']
