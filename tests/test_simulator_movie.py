"""The movies of the simulator: what other programs read in them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hedra_batch.run.container import check_container
from hedra_batch.simulator.movie import fill_up, make_movie

SIZES = [(1280, 720, 5000), (720, 1280, 5000), (960, 540, 7500), (540, 720, 5001), (1920, 1080, 12_000), (18, 2, 41)]


def probe(path: Path) -> Any:
    command = shutil.which("ffprobe")
    if not command:
        pytest.skip("ffprobe is not installed")
    options = ["-v", "error", "-count_frames", "-show_streams", "-of", "json", str(path)]
    return json.loads(subprocess.run([command, *options], check=True, capture_output=True).stdout)["streams"][0]


def decode(path: Path) -> tuple[bytes, bytes]:
    """Decode every frame to raw samples; the second value is what the decoder complains about."""
    command = shutil.which("ffmpeg")
    if not command:
        pytest.skip("ffmpeg is not installed")
    options = ["-v", "warning", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
    done = subprocess.run([command, *options], check=True, capture_output=True)
    return done.stdout, done.stderr


@pytest.mark.parametrize(("width", "height", "duration_ms"), SIZES)
def test_a_movie_has_exactly_the_size_and_length_asked_for(
    tmp_path: Path, width: int, height: int, duration_ms: int
) -> None:
    path = tmp_path / "movie.mp4"
    path.write_bytes(make_movie(width, height, duration_ms, "a fox"))
    stream = probe(path)
    assert (stream["codec_name"], stream["profile"]) == ("h264", "Constrained Baseline")
    assert (stream["width"], stream["height"]) == (width, height)
    assert float(stream["duration"]) * 1000 == pytest.approx(duration_ms)
    assert int(stream["nb_read_frames"]) == -(-duration_ms * 24 // 1000)


@pytest.mark.parametrize(("width", "height"), [(64, 48), (18, 2), (2, 50)])
def test_a_movie_decodes_without_complaint_to_one_colour(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "movie.mp4"
    path.write_bytes(make_movie(width, height, 125, "a fox"))
    samples, complaints = decode(path)
    assert complaints == b""
    frame_bytes = width * height * 3 // 2
    frames = {samples[start : start + frame_bytes] for start in range(0, len(samples), frame_bytes)}
    assert len(samples) == 3 * frame_bytes
    assert [len(set(frame[: width * height])) for frame in frames] == [1]


def test_the_boxes_stand_in_the_order_that_players_like() -> None:
    movie = make_movie(1280, 720, 5000, "a fox")
    names, position = [], 0
    while position < len(movie):
        names.append(movie[position + 4 : position + 8])
        position += int.from_bytes(movie[position : position + 4], "big")
    assert names == [b"ftyp", b"moov", b"free", b"mdat"]
    assert position == len(movie)


def test_each_identity_has_its_own_movie() -> None:
    movies = {make_movie(1280, 720, 5000, f"generation {number}") for number in range(20)}
    assert len(movies) == 20
    assert make_movie(1280, 720, 5000, "a fox") == make_movie(1280, 720, 5000, "a fox")
    assert b"generation 7" in make_movie(1280, 720, 5000, "generation 7")


@pytest.mark.parametrize(("width", "height", "duration_ms"), [(3, 2, 100), (2, 3, 100), (0, 2, 100), (2, 2, 0)])
def test_impossible_sizes_are_refused(width: int, height: int, duration_ms: int) -> None:
    with pytest.raises(ValueError, match="even"):
        make_movie(width, height, duration_ms, "a fox")


@pytest.mark.parametrize("more_bytes", [-1, 0, 1, 7, 8, 100_000])
def test_a_movie_that_is_filled_up_is_as_large_as_asked_for_and_plays(tmp_path: Path, more_bytes: int) -> None:
    movie = make_movie(1280, 720, 5000, "a fox")
    path = tmp_path / "movie.mp4"
    path.write_bytes(fill_up(movie, len(movie) + more_bytes))
    # The head of the box that fills it takes eight bytes.
    assert path.stat().st_size == len(movie) + (max(more_bytes, 8) if more_bytes > 0 else 0)
    with path.open("rb") as file:
        check_container(file)
    assert probe(path)["nb_read_frames"] == "120"
