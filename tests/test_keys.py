"""The API key, as people keep it: what editors, shells and lists of settings put around it is taken off."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Desk

from hedra_batch.cli.keys import find_key
from hedra_batch.errors import ConfigurationError

KEY = "sk_live_0123456789=="


@pytest.mark.parametrize(
    "content",
    [
        KEY.encode(),
        f"\n  {KEY}  \r\n".encode(),
        f"\ufeff{KEY}\n".encode(),
        KEY.encode("utf-16"),
        f'"{KEY}"\n'.encode(),
        f"'{KEY}'".encode(),
        f"HEDRA_API_KEY={KEY}".encode(),
        f'export HEDRA_API_KEY="{KEY}"'.encode(),
        f"api_key: {KEY}".encode(),
        f"# of June\n\nHEDRA_API_KEY={KEY}\nHEDRA_BASE_URL=https://example.com\n".encode(),
        f"OTHER_KEY=abc\nHEDRA_API_KEY = {KEY}\n".encode(),
    ],
)
def test_a_key_is_taken_out_of_its_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    assert find_key({"HEDRA_API_KEY_FILE": str(tmp_path / "key")}) == KEY


@pytest.mark.parametrize("text", [KEY, f" {KEY}\n", f'"{KEY}"', f"\ufeff{KEY}", f"HEDRA_API_KEY={KEY}"])
def test_a_key_is_taken_out_of_the_environment(text: str) -> None:
    assert find_key({"HEDRA_API_KEY": text}) == KEY


@pytest.mark.parametrize("named", ["~/key", "'~/key'", '"~/key"'])
def test_a_home_folder_that_no_shell_has_filled_in_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "key").write_text(KEY)
    assert find_key({"HEDRA_API_KEY_FILE": named}) == KEY


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f"{KEY}\n{KEY}2\n", "has 2 lines, and it is not clear which is the key"),
        ("ONE_KEY=a\nTWO_KEY=b\n", "has 2 lines, and it is not clear which is the key"),
        ("# nothing yet\n", "is empty"),
        ("two words", "characters that no key has"),
        ("schlüssel", "characters that no key has"),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "key").write_text(content, "utf-8")
    with pytest.raises(ConfigurationError, match=told) as caught:
        find_key({"HEDRA_API_KEY_FILE": str(tmp_path / "key")})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(("mode", "is_told"), [(0o644, True), (0o640, True), (0o600, False), (0o400, False)])
async def test_a_file_that_others_can_read_is_warned_about(desk: Desk, mode: int, is_told: bool) -> None:
    desk.write_manifest("jobs: [{id: good, prompt: A scene}]")
    desk.write("key.txt", "key-of-the-tests")
    (desk.folder / "key.txt").chmod(mode)
    for flags in ((), ("-q",)):
        ended = await desk.call("run", "batch.yaml", *flags, HEDRA_API_KEY="", HEDRA_API_KEY_FILE="key.txt")
        told = "key.txt: others can read the file with the API key. To keep it to yourself: chmod 600 key.txt\n"
        assert (ended.code, told in ended.err) == (0, is_told and not flags)
