from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES, main
from benchmarks.figures import list_schedule_seconds, most_at_once, most_in_window, pace_ratio, percentile
from benchmarks.manifests import write_matrix, write_texts
from benchmarks.table import Row, write_table
from hedra_batch.manifest.loading import load_manifest


@pytest.mark.parametrize(
    ("durations", "machines", "seconds"),
    [
        ([], 2, 0.0),
        ([3.0], 2, 3.0),
        ([3.0, 2.0], 1, 5.0),
        ([3.0, 2.0], 2, 3.0),
        ([3.0, 2.0, 2.0], 2, 4.0),
        ([2.0, 2.0, 3.0], 2, 5.0),
        ([1.0, 5.0, 1.0, 1.0, 1.0, 1.0], 2, 5.0),
        ([1.0, 1.0, 1.0, 1.0, 1.0, 5.0], 2, 7.0),
    ],
)
def test_a_list_schedule_begins_each_as_soon_as_a_machine_is_free(
    durations: Sequence[float], machines: int, seconds: float
) -> None:
    assert list_schedule_seconds(durations, machines) == seconds


@pytest.mark.parametrize(
    ("instants", "most"),
    [
        ([], 0),
        ([5.0], 1),
        ([0.0, 1.0, 2.0], 1),
        ([0.0, 0.999, 1.0], 2),
        ([0.0, 0.9, 1.1, 1.2, 1.3, 1.8, 5.0], 5),
        ([1.2, 0.0, 1.1, 0.9], 3),
        ([3.0, 3.0, 3.0], 3),
    ],
)
def test_the_worst_window_may_begin_anywhere(instants: Sequence[float], most: int) -> None:
    assert most_in_window(instants, 1.0) == most


@pytest.mark.parametrize(
    ("spans", "most"),
    [
        ([], 0),
        ([(0.0, 1.0)], 1),
        ([(0.0, 1.0), (1.0, 2.0)], 1),
        ([(0.0, 2.0), (1.0, 3.0), (2.0, 4.0)], 2),
        ([(0.0, 9.0), (1.0, 2.0), (1.5, 3.0), (4.0, 5.0)], 3),
    ],
)
def test_spans_meet_where_they_overlap(spans: Sequence[tuple[float, float]], most: int) -> None:
    assert most_at_once(spans) == most


@pytest.mark.parametrize(
    ("values", "share", "value"),
    [
        ([7.0], 0.95, 7.0),
        ([7.0], 0.0, 7.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 0.51, 3.0),
        ([4.0, 1.0, 3.0, 2.0], 1.0, 4.0),
        (range(1, 101), 0.95, 95),
    ],
)
def test_a_percentile_is_one_of_the_values(values: Sequence[float], share: float, value: float) -> None:
    assert percentile(values, share) == value


@pytest.mark.parametrize(
    ("instants", "per_second", "ratio"),
    [([0.0, 0.5, 1.0], 2, 1.0), ([3.0, 2.0, 1.0], 2, 2.0), ([0.0, 0.0, 0.5], 2, 0.5)],
)
def test_a_pace_is_even_where_the_last_comes_when_it_should(
    instants: Sequence[float], per_second: float, ratio: float
) -> None:
    assert pace_ratio(instants, per_second) == ratio


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (Row(name="cpu", figure="time", measured="2"), "| cpu: time | 2 |  |  |  |"),
        (
            Row(name="cpu", figure="time", measured="2", rival="1", target="<= 3", is_met=True),
            "| cpu: time | 2 | 1 | <= 3 | yes |",
        ),
        (
            Row(name="cpu", figure="time", measured="4", target="<= 3", is_met=False),
            "| cpu: time | 4 |  | <= 3 | no |",
        ),
        (Row(name="cpu", figure="a|b", measured="4\n5"), "| cpu: a\\|b | 4 5 |  |  |  |"),
    ],
)
def test_a_row_becomes_a_line_of_the_table(row: Row, line: str) -> None:
    assert list(write_table([row])) == [
        "| figure | measured | limit or rival | target | met |",
        "| --- | --- | --- | --- | --- |",
        line,
    ]


def test_the_names_of_the_figures_are_listed_once_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert capsys.readouterr().out.split() == list(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_the_manifests_have_as_many_jobs_as_they_are_asked_for(tmp_path: Path) -> None:
    assert len(load_manifest(write_texts(tmp_path, 7, in_flight=2)).jobs) == 7
    assert len(load_manifest(write_matrix(tmp_path, 3, 5, in_flight=2)).jobs) == 15
