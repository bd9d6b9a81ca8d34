"""The bodies of paid requests: the table of fields decides, and not a byte changes of what was sent before."""

from __future__ import annotations

import json

import pytest

from hedra_batch.api.v2.answers import Model
from hedra_batch.api.v2.pricing import Catalogue
from hedra_batch.api.v2.requests import RequestIds, read_ids, write_request
from hedra_batch.inputs import FieldValues

KEY = "0b0e4bb7-5a4c-5d4c-9b39-0b7b8a3a9d11"
HEAD = f'{{"type":"video","generation_id":"{KEY}",'
CATALOGUE = Catalogue([Model("fal/grok-video-i2v", None, "Grok Video I2V")])
URL = "https://example.com/b.png"

#: As versions before the table of fields wrote them: a lost request is sent again in the same bytes.
GOLDEN: list[tuple[FieldValues, dict[str, str], str]] = [
    ({"prompt": "Wind"}, {}, f'{HEAD}"generated_video_inputs":{{"text_prompt":"Wind"}},"batch_size":1}}'),
    (
        {
            "prompt": 'Ein Sturm "ü"\n2',
            "image": "sha256:00",
            "end_image": f"url:{URL}",
            "model": "Grok Video I2V",
            "aspect_ratio": "16:9",
            "resolution": "720p",
            "duration_ms": 5000,
        },
        {"image": "a1", "end_image": URL},
        (
            f'{HEAD}"model_slug":"fal/grok-video-i2v","start_keyframe_id":"a1","end_keyframe_url":"{URL}",'
            '"generated_video_inputs":{"text_prompt":"Ein Sturm \\"ü\\"\\n2","aspect_ratio":"16:9","resolution":"720p",'
            '"duration_ms":5000},"batch_size":1}'
        ),
    ),
    (
        {"prompt": "x", "model": "827122CD-5FDD-4412-86F2-554F7BB8EEF9"},
        {},
        (
            f'{HEAD}"ai_model_id":"827122cd-5fdd-4412-86f2-554f7bb8eef9",'
            '"generated_video_inputs":{"text_prompt":"x"},"batch_size":1}'
        ),
    ),
]


def write(fields: FieldValues, media: dict[str, str] | None = None) -> bytes:
    return write_request(KEY, fields, media or {}, CATALOGUE.name_on_wire)


@pytest.mark.parametrize(("fields", "media", "body"), GOLDEN)
def test_the_bytes_of_a_request_stay_what_they_were(fields: FieldValues, media: dict[str, str], body: str) -> None:
    assert write(fields, media).decode() == body


@pytest.mark.parametrize(("kind", "is_named"), [("video", True), ("image", True), ("voice_clone", False)])
def test_a_result_is_named_where_its_kind_has_names(kind: str, is_named: bool) -> None:
    body = json.loads(write_request(KEY, {"prompt": "x", "type": kind}, {}, CATALOGUE.name_on_wire, "chair--turn"))
    assert body.get("name") == ("chair--turn" if is_named else None)


@pytest.mark.parametrize("name", ["x" * 300, "ä" * 300, "🎬" * 255])
def test_a_name_is_cut_to_what_is_published(name: str) -> None:
    body = json.loads(write_request(KEY, {"prompt": "x"}, {}, CATALOGUE.name_on_wire, name))
    assert body["name"] == name[:255]


def test_a_request_has_the_published_form() -> None:
    fields: FieldValues = {"prompt": "Wind", "aspect_ratio": "16:9", "resolution": "720p"}
    fields |= {"duration_ms": 5000, "image": "sha256:00", "model": "m"}
    inputs = {"text_prompt": "Wind", "aspect_ratio": "16:9", "resolution": "720p", "duration_ms": 5000}
    expected = {"type": "video", "generation_id": KEY, "model_slug": "m", "start_keyframe_id": "a"}
    assert json.loads(write(fields, {"image": "a"})) == {**expected, "generated_video_inputs": inputs, "batch_size": 1}


def test_a_further_field_goes_where_its_row_says() -> None:
    fields: FieldValues = {"prompt": "Wind", "negative_prompt": "text", "seed": 0}
    inputs = {"text_prompt": "Wind", "negative_prompt": "text", "seed": 0}
    assert json.loads(write(fields))["generated_video_inputs"] == inputs


@pytest.mark.parametrize(
    ("source", "wire"),
    [("a1", "start_keyframe_id"), (URL, "start_keyframe_url"), (f"HTTPS{URL[5:]}", "start_keyframe_url")],
)
def test_a_file_is_named_by_its_handle_or_its_address(source: str, wire: str) -> None:
    assert json.loads(write({"prompt": "x", "image": "…"}, {"image": source}))[wire] == source


def test_a_file_without_a_handle_is_never_left_out_in_silence() -> None:
    with pytest.raises(KeyError):
        write({"prompt": "x", "image": "sha256:00"})


def test_the_assets_of_a_stored_body_are_found_again() -> None:
    fields: FieldValues = {"prompt": "x", "image": "sha256:00", "end_image": f"url:{URL}"}
    assert read_ids(write(fields, {"image": "a", "end_image": URL})) == RequestIds(KEY, frozenset({"a"}))
