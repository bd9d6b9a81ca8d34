"""The manifests that come with the project: each can be used as it is, and the first makes real videos."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Desk

from hedra_batch.manifest.loading import load_manifest

PROJECT = Path(__file__).parents[1]
EXAMPLES = sorted((PROJECT / "examples").glob("*.yaml"))
SCHEDULED = sorted((PROJECT / "jobs").glob("*.yaml"))


@pytest.mark.parametrize("path", [*EXAMPLES, *SCHEDULED], ids=lambda path: path.name)
def test_every_manifest_of_the_project_can_be_loaded(path: Path) -> None:
    assert load_manifest(path).jobs


@pytest.mark.parametrize("path", SCHEDULED, ids=lambda path: path.name)
def test_a_scheduled_manifest_has_its_cron_line_in_the_header(path: Path) -> None:
    header = path.read_text("utf-8").split("version:")[0]
    fields = r"^#   (\S+ ){5} ?HEDRA_API_KEY_FILE=\S+ \S+/hedra-batch run \S+/jobs/" + re.escape(path.name)
    assert re.search(fields, header, re.MULTILINE)


def test_the_matrix_is_what_its_comments_say() -> None:
    ids = [job.id for job in load_manifest(PROJECT / "examples" / "matrix.yaml").jobs]
    assert len(ids) == 7
    assert {"red-front--turn", "blue-front--splash", "intro", "intro.v2"} < set(ids)
    assert "green-front--splash" not in ids


def read_stream(path: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name,width,height,duration", "-of", "json"]
    probed = subprocess.run([*command, str(path)], capture_output=True, check=True)
    [stream] = json.loads(probed.stdout)["streams"]
    return dict(stream)


@pytest.mark.skipif(not shutil.which("ffprobe"), reason="ffprobe is not installed (Debian: apt install ffmpeg)")
async def test_the_quickstart_makes_playable_videos_of_the_asked_size_and_length(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("*.sim", "*.out"))
    finished = await Desk(tmp_path, "").call("run", "examples/quickstart.yaml", "--simulate", "--submit", "10/s")
    videos = sorted((tmp_path / "examples" / "quickstart.sim" / "videos").glob("*.mp4"))
    assert (finished.code, [path.name for path in videos]) == (0, ["hills.mp4", "market.mp4"])
    for stream in map(read_stream, videos):
        assert (stream["codec_name"], stream["width"], stream["height"]) == ("h264", 1280, 720)
        assert float(stream["duration"]) == 5.0
