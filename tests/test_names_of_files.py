"""Files and addresses with names that somebody else chose: they are found, sent and written all the same."""

from __future__ import annotations

from pathlib import Path
from unicodedata import normalize

import pytest
from conftest import Desk
from manifests import add_file, file_faults, ids, load, make_png
from test_faults import list_charged

from hedra_batch.inputs import to_uri
from hedra_batch.manifest.output import LONGEST_PART_BYTES, fit_output
from hedra_batch.simulator.service import Simulator

CAFE = "caf\u00e9"
ODD = ["a\nb", "tab\tx", "bell\x07", 'quote"s', "right\u202eleft", "two  spaces", "長い名前" * 18, "percent%20"]


async def test_pictures_of_any_name_are_sent_and_their_videos_written(desk: Desk, simulator: Simulator) -> None:
    desk.write("batch.yaml", "version: 1\nprompts: {turn: A turn}\nimages: photos/*.png\n")
    for width, name in enumerate(ODD, 8):
        add_file(desk.folder, f"photos/{name}.png", make_png(width))
    ended = await desk.call("run", "batch.yaml")
    assert (ended.code, len(list_charged(simulator))) == (0, len(ODD))
    assert len(list((desk.folder / "batch.out" / "videos").glob("*.mp4"))) == len(ODD)
    assert ((await desk.call("run", "batch.yaml")).code, len(list_charged(simulator))) == (0, len(ODD))


def test_a_name_that_is_too_long_for_a_file_is_cut_between_letters_and_stays_one_of_its_own() -> None:
    one, other = (f"videos/{'長' * 99}--{end}.mp4" for end in ("turn", "storm"))
    cut = fit_output(one)
    assert (len(cut.removeprefix("videos/").encode()) <= LONGEST_PART_BYTES, cut.endswith(".mp4")) == (True, True)
    assert cut.startswith("videos/長長")
    assert cut != fit_output(other)
    assert fit_output("videos/hero--turn.mp4") == "videos/hero--turn.mp4"


@pytest.mark.parametrize(("on_disk", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
@pytest.mark.parametrize("source", [f"{CAFE}/{CAFE}.png", f"{CAFE}/*.png", f"{CAFE}/{CAFE[:3]}*.png"])
def test_a_file_is_found_in_another_unicode_form(tmp_path: Path, on_disk: str, written: str, source: str) -> None:
    add_file(tmp_path, normalize(on_disk, f"{CAFE}/{CAFE}.png"), make_png())  # type: ignore[arg-type]
    manifest = load(tmp_path, normalize(written, f"prompts: {{turn: A turn}}\nimages: ['{source}']"))  # type: ignore[arg-type]
    assert ids(manifest) == [f"{CAFE}--turn"]


async def test_an_id_is_selected_in_another_unicode_form(desk: Desk, simulator: Simulator) -> None:
    desk.write_manifest(f"jobs: [{{id: {CAFE}, prompt: A scene}}, {{id: other, prompt: Another}}]")
    ended = await desk.call("run", "batch.yaml", "--id", normalize("NFD", CAFE))
    assert (ended.code, len(list_charged(simulator))) == (0, 1)


def test_a_folder_with_brackets_is_told_how_to_be_written(tmp_path: Path) -> None:
    add_file(tmp_path, "photos [2024]/a.png", make_png())
    [line] = file_faults(tmp_path, "images: photos [2024]/*.png")
    told = "a folder is called 'photos [2024]'; write it as 'photos [[]2024]/*.png'"
    assert line.endswith(f"finds no file ({told})")
    assert ids(load(tmp_path, "prompts: {turn: A turn}\nimages: 'photos [[]2024]/*.png'")) == ["photos-2024--a--turn"]


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("https://example.com/a.png?x=1%202", "https://example.com/a.png?x=1%202"),
        ("https://example.com/my photo.png", "https://example.com/my%20photo.png"),
        ("https://example.com/é/ü.png?q=ä b#ö", "https://example.com/%C3%A9/%C3%BC.png?q=%C3%A4%20b#%C3%B6"),
        ("https://bücher.example:8443/a b", "https://xn--bcher-kva.example:8443/a%20b"),
        ("https://example.com/50%25 off.png", "https://example.com/50%25%20off.png"),
    ],
)
def test_an_address_is_sent_as_a_uri(url: str, uri: str) -> None:
    assert to_uri(url) == uri


def test_an_address_may_have_as_many_characters_as_the_api_takes(tmp_path: Path) -> None:
    start = "https://example.com/"
    longest = start + "a" * (2083 - len(start))
    [job] = load(tmp_path, f"jobs: [{{id: a, prompt: P, image: '{longest}'}}]").jobs
    image = job.inputs.get_media("image")
    assert image
    assert image.source == longest
