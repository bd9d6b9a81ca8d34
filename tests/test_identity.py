"""The identity beside a ledger: what a run folder belongs to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from test_ledger import BINDING, accept, open_ledger, use_ledger

from hedra_batch.errors import ConfigurationError
from hedra_batch.ledger.identity import FORMAT, Binding, Identity


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (Binding("autumn", BINDING.base_url, BINDING.api_key), "belongs to the manifest 'spring'"),
        (Binding("spring", "https://other.example.com", BINDING.api_key), "belongs to the API at"),
        (Binding("spring", BINDING.base_url, "another-key"), "another API key"),
    ],
)
async def test_a_folder_of_something_else_is_refused(tmp_path: Path, other: Binding, sentence: str) -> None:
    await use_ledger(tmp_path)
    with pytest.raises(ConfigurationError, match=sentence):
        await open_ledger(tmp_path, other)


async def test_a_mistyped_address_or_key_is_put_right_as_long_as_nothing_was_ready_to_be_sent(tmp_path: Path) -> None:
    await (await open_ledger(tmp_path, Binding("spring", "https://typo.example.com", "typo"))).close()
    await use_ledger(tmp_path)


async def test_an_older_copy_of_the_identity_cannot_bind_a_paid_folder_anew(tmp_path: Path) -> None:
    first = await open_ledger(tmp_path)
    old = (tmp_path / "identity.json").read_bytes()
    await accept(first)
    await first.close()
    (tmp_path / "identity.json").write_bytes(old)
    with pytest.raises(ConfigurationError, match="older copy"):
        await open_ledger(tmp_path, Binding("spring", "https://other.example.com", "another-key"))
    assert (tmp_path / "identity.json").read_bytes() == old


async def test_a_replaced_key_is_taken_once_it_is_said_to_be_of_the_same_account(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    replaced = Binding(BINDING.manifest, BINDING.base_url, "another-key")
    await (await open_ledger(tmp_path, replaced, same_account=True)).close()
    # Until the API has taken it, the folder is the old one's.
    await (await open_ledger(tmp_path)).close()
    ledger = await open_ledger(tmp_path, replaced, same_account=True)
    await ledger.bind_account("another-key")
    await ledger.close()
    await (await open_ledger(tmp_path, replaced)).close()
    assert "another-key" not in (tmp_path / "identity.json").read_text()


async def test_a_ledger_without_its_identity_is_refused(tmp_path: Path) -> None:
    await (await open_ledger(tmp_path)).close()
    (tmp_path / "identity.json").unlink()
    with pytest.raises(ConfigurationError, match=r"has a ledger, but its identity\.json is gone"):
        await open_ledger(tmp_path)


async def test_a_copy_of_a_used_folder_is_refused_until_the_first_is_gone_and_it_is_said_to_have_moved(
    tmp_path: Path,
) -> None:
    (tmp_path / "first").mkdir()
    await use_ledger(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    with pytest.raises(ConfigurationError, match=r"is a copy: .*first holds the same batch"):
        await open_ledger(tmp_path / "second", is_moved=True)
    shutil.rmtree(tmp_path / "first")
    with pytest.raises(ConfigurationError, match="is a copy, or was moved"):
        await open_ledger(tmp_path / "second")
    await (await open_ledger(tmp_path / "second", is_moved=True)).close()
    await (await open_ledger(tmp_path / "second")).close()


async def test_a_renamed_folder_is_no_copy(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    await use_ledger(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "second")
    await (await open_ledger(tmp_path / "second")).close()
    assert json.loads((tmp_path / "second" / "identity.json").read_text())["run_counter"] == 2


async def test_a_refused_command_does_not_bind_the_folder_to_its_key(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    with pytest.raises(ConfigurationError):
        await open_ledger(tmp_path, Binding("autumn", BINDING.base_url, "another-key"), same_account=True)
    await (await open_ledger(tmp_path)).close()


async def test_a_folder_of_a_trial_is_said_to_belong_to_a_simulated_api(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    with pytest.raises(
        ConfigurationError, match=r"belongs to the API at https://api\.example\.com, not to a simulated API"
    ):
        await open_ledger(tmp_path, Binding("spring", "simulated", BINDING.api_key))


def rewrite(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


async def test_the_identity_says_its_format(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    assert json.loads((tmp_path / "identity.json").read_text())["format"] == FORMAT == 2


async def test_an_identity_without_a_format_is_an_older_one(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    before = Identity.load(tmp_path / "identity.json")
    rewrite(tmp_path / "identity.json", format=None)
    assert Identity.load(tmp_path / "identity.json") == before
    await (await open_ledger(tmp_path)).close()
    assert json.loads((tmp_path / "identity.json").read_text())["format"] == FORMAT


async def test_an_identity_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    await use_ledger(tmp_path)
    rewrite(tmp_path / "identity.json", format=3, key_of_that_format=1)
    with pytest.raises(ConfigurationError, match="newer version of this program"):
        await open_ledger(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x"}', '"text"'])
def test_a_damaged_identity_is_said_to_be_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "identity.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"identity\.json is damaged\. Nothing was sent"):
        Identity.load(tmp_path / "identity.json")
