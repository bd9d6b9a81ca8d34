"""The drawing of the live view: what it says at any size of the window."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import pytest

from hedra_batch.money import Money
from hedra_batch.progress import Cost, Pace, Running, Snapshot
from hedra_batch.report.fitting import shorten
from hedra_batch.report.live import draw, share_rows
from hedra_batch.state import IN_FLIGHT, State
from hedra_batch.units import Rate

ALLOWED = Rate(10, 60)
PACE = Pace(ALLOWED, ALLOWED, is_awaited=True, next_seconds=3.2, in_flight=3, slots=4, configured_slots=4)
FULL = replace(PACE, in_flight=4)
AWAY = replace(FULL, outage_seconds=40.0, outage_reason="the API answers with errors (503)")
COST = Cost(Money(420), Money(735), budget=Money(1000))
LONG = "hero-of-the-spring-collection--gentle-movement-of-the-camera"
RUNNING = [Running(f"{LONG}-{number}", State.ACCEPTED, number / 20) for number in range(20)]
ENDED = [*((f"{LONG}-end-{number}", "done") for number in range(5)), ("storm", "failed"), ("calm", "held")]
BUSY = Snapshot(Counter(done=12, failed=1, held=1, running=20, new=3), RUNNING, ENDED, 754.0, 1260.0, 9, FULL, COST)
MESSAGES = ["10:00:00 storm: failed: The prompt was refused by content moderation", f"10:00:09 {LONG}: overdue"]
SIZES = [(80, 24), (120, 40), (40, 8), (60, 12), (20, 5), (12, 2), (300, 100)]


def draw_plain(
    snapshot: Snapshot = BUSY, width: int = 80, height: int = 24, messages: list[str] = MESSAGES
) -> list[str]:
    return [line.plain for line in draw("spring", snapshot, messages, os.terminal_size((width, height)))]


def draw_text(snapshot: Snapshot, width: int = 80, height: int = 24) -> str:
    return "\n".join(draw_plain(snapshot, width, height, []))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_view_is_never_larger_than_the_window(width: int, height: int) -> None:
    wide = replace(BUSY, running=[Running("映像" * 40, state) for state in sorted(IN_FLIGHT)])
    for snapshot in (BUSY, wide, Snapshot()):
        lines = draw("spring" * 20, snapshot, MESSAGES, os.terminal_size((width, height)))
        assert max(line.cell_len for line in lines) <= width
        assert len(lines) <= height


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_no_word_is_cut_but_what_is_too_long_is_shortened(width: int, height: int) -> None:
    whole = {word for line in draw_plain(width=300, height=100) for word in line.split()}
    lines = [line for line in draw_plain(width=width, height=height) if not line.startswith("… and")]
    words = {word for line in lines for word in line.split()}
    assert not [word for word in words - whole if not set(word) & {"…", "━", "─"}]
    assert words & whole >= {"spring", "12", "done"}


def test_the_head_says_how_far_it_is_what_it_costs_how_fast_it_goes_and_what_it_waits_for() -> None:
    assert draw_plain()[:6] == [
        "spring  12:34 elapsed  about 21 min left",
        "12 done  1 failed  1 held  20 running  3 waiting",
        "420 of about 735 credits spent  budget 1,000",
        "9 sent/min  10/min allowed",
        "waiting: 4 of 4 slots are taken",
        "",
    ]


def test_a_small_window_has_the_same_in_few_words_and_something_of_everything() -> None:
    assert draw_plain(width=40, height=8) == [
        "spring  12:34 elapsed  about 21 min left",
        "12 done  1 failed  1 held  20 running",
        "420 of about 735 credits spent",
        "9 sent/min  10/min allowed",
        "waiting: 4 of 4 slots are taken",
        "hero-of-the…e-camera-0    0%  generating",
        "done    hero-of-the-spri…he-camera-end-0",
        "10:00:09 hero-of-the-sp…of-the-camera: …",
    ]


def test_a_bar_can_be_read_without_colours() -> None:
    half = replace(BUSY, running=[Running("market", State.ACCEPTED, 0.5)])
    assert f"market  {'━' * 10}{'─' * 10}  50%  generating" in draw_plain(half)


@pytest.mark.parametrize("height", [12, 24, 40, 60])
def test_the_rows_of_running_jobs_fill_the_window_and_the_rest_is_counted(height: int) -> None:
    lines = draw_plain(height=height)
    shown = sum("generating" in line for line in lines)
    assert len(lines) > height - 3 or shown == len(RUNNING)
    assert (f"… and {len(RUNNING) - shown} more" in lines) is (shown < len(RUNNING))


@pytest.mark.parametrize("room", range(60))
@pytest.mark.parametrize(("running", "ended", "told"), [(0, 0, 0), (4, 0, 9), (100, 100, 100), (1, 50, 2), (9, 1, 0)])
def test_rows_are_shared_without_leaving_any_that_somebody_wants(
    room: int, running: int, ended: int, told: int
) -> None:
    shares = share_rows(room, running, ended, told)
    assert sum(shares) == min(room, running + ended + told)
    assert all(0 <= share <= wanted for share, wanted in zip(shares, (running, ended, told), strict=True))


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        (Cost(Money(0), Money(0), 0, 3), "0 of ? credits spent"),
        (Cost(Money(0), Money(0), 1, 3), "? of ? credits spent"),
        (Cost(Money(35), Money(0), 0, 3), "35 of ? credits spent"),
        (Cost(Money(35), Money(105), 1, 2), "35+? of about 105+? credits spent"),
        # A further attempt was not foreseen.
        (Cost(Money(140), Money(105)), "140 of about 140 credits spent"),
    ],
)
def test_a_price_that_nobody_knows_is_no_price_of_nothing(cost: Cost, words: str) -> None:
    assert words in draw_plain(replace(BUSY, cost=cost))


@pytest.mark.parametrize(
    ("pace", "words"),
    [
        (PACE, "waiting: pace, next in 4 s"),
        (replace(PACE, next_seconds=0.0), "waiting: pace, next in 1 s"),
        (replace(FULL, pause_seconds=11.5, pause_reason="the API asks to slow down"), "slow down: 12 s"),
        (FULL, "waiting: 4 of 4 slots are taken"),
        (replace(FULL, slots=3), "waiting: 4 of 3 slots are taken, the API runs no more at once"),
        (replace(PACE, backlog=2), "waiting: downloads go first, 2 to begin"),
        (AWAY, "no useful answer for 40 s: the API answers with errors (503)"),
        (replace(AWAY, outage_seconds=300.0), "no useful answer for 5 min: the API answers with errors (503)"),
        (replace(FULL, is_awaited=False), "waiting: 20 generations to end"),
    ],
)
def test_it_says_what_the_next_submission_waits_for(pace: Pace, words: str) -> None:
    assert words in draw_text(replace(BUSY, pace=pace))


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ([State.ACCEPTED], "waiting: 1 generation to end"),
        ([State.ACCEPTED, State.READY, State.ACCEPTED], "waiting: 2 generations to end, 1 fetching"),
        ([State.OVERDUE, State.SENDING, State.READY], "waiting: 1 overdue, 1 submitting, 1 fetching"),
        ([State.UNKNOWN], None),
    ],
)
def test_where_nothing_is_to_be_submitted_it_counts_what_it_waits_for(states: list[State], words: str | None) -> None:
    running = [Running(str(state), state) for state in states]
    lines = draw_plain(replace(BUSY, running=running, pace=replace(FULL, is_awaited=False)))
    assert [line for line in lines if line.startswith("waiting")] == ([words] if words else [])


def test_it_says_that_lost_requests_have_their_quiet_window() -> None:
    lost = [Running("a", State.UNKNOWN), Running("b", State.UNKNOWN), Running("c", State.ACCEPTED)]
    lines = draw_plain(replace(BUSY, running=lost))
    assert "quiet window of 2 lost requests: looked for at the server" in lines
    assert [line.split()[2:] for line in lines if line.startswith("a ")] == [["0%", "outcome", "unknown"]]


def test_it_says_why_something_is_not_submitted_as_far_as_there_is_room() -> None:
    closed = replace(BUSY, closed_by="The budget of 500 credits is reached: 480 are spent, and market would cost 30.")
    assert "not submitted: The budget of 500 …" in draw_plain(closed, 40)


@pytest.mark.parametrize(
    ("allowed", "configured", "words"),
    [
        (Rate(5, 60), ALLOWED, "9 sent/min  5/min allowed of 10/min"),
        (Rate(2, 1), Rate(2, 1), "9 sent/min  2/s allowed"),
        (Rate(30, 3600), Rate(60, 3600), "9 sent/h  30/h allowed of 60/h"),
    ],
)
def test_a_pace_that_was_cut_is_told_beside_the_real_one(allowed: Rate, configured: Rate, words: str) -> None:
    assert words in draw_plain(replace(BUSY, pace=replace(PACE, allowed=allowed, configured=configured)))


@pytest.mark.parametrize(
    ("seconds", "words"), [(4.3, "4 s left"), (25, "25 s left"), (600, "10 min left"), (36_000, "10 h left")]
)
def test_the_time_left_is_told_in_the_unit_that_fits(seconds: float, words: str) -> None:
    assert f"spring  1:02:03 elapsed  about {words}" in draw_plain(
        replace(BUSY, elapsed_seconds=3723.4, left_seconds=seconds)
    )


def test_the_latest_log_lines_are_shown_whole_where_there_is_room() -> None:
    assert draw_plain(width=73, height=30)[-3:] == [
        "10:00:00 storm: failed: The prompt was refused by content moderation",
        f"10:00:09 {LONG}:",
        "overdue",
    ]


def test_what_is_too_long_loses_its_middle() -> None:
    assert [shorten("hero--gentle", width) for width in (12, 11, 4, 1)] == ["hero--gentle", "hero-…entle", "he…e", "…"]
