"""The table of fields, and digests that must never change."""

from __future__ import annotations

from pathlib import Path

import pytest

from hedra_batch.inputs import FIELDS, Inputs, MediaInput, find_price_key
from hedra_batch.simulator import schema

#: As versions before this one took them: a change would make every job that is paid for look edited.
GOLDEN = [
    (
        Inputs("A storm", model="fal/grok-video-t2v", aspect_ratio="16:9", duration_ms=5000),
        "v1:308abb781358f4dde1ae8095505da8ef52a6eb6679aaab55ded8ff810ee498b1",
    ),
    (Inputs("A storm"), "v1:30fc86dc6ae34184220e040a3f20eefa1a4528bdc04317096e79cfdc4b3e4c04"),
    (
        Inputs(
            'Ein Sturm über den Hügeln "ü"\n2',
            model="fal/grok-video-t2v",
            aspect_ratio="16:9",
            resolution="720p",
            duration_ms=5000,
        ),
        "v1:1fcaacd8a553f3de7323e21a46cff0ae5b4e0725fb0b06bbcb3020b48e9b5f86",
    ),
    (
        Inputs("x", image=MediaInput("a.png", Path("a.png"), "00ff")),
        "v1:3ccb322d663294ee8d9efffc83900dabab88f1255269bed9d5fe65e42270cb8b",
    ),
    (
        Inputs(
            "x",
            image=MediaInput("https://example.com/a.png"),
            end_image=MediaInput("b.png", Path("b.png"), "ab" * 32),
            model="Grok Video I2V",
        ),
        "v1:35a5c4c65ba7a5507f85718b2966d3510c2a420c63fc8fc019702f0ef85e55b7",
    ),
]


@pytest.mark.parametrize(("inputs", "digest"), GOLDEN)
def test_the_digest_of_what_earlier_versions_knew_stays(inputs: Inputs, digest: str) -> None:
    assert inputs.digest == digest


def test_the_digest_takes_an_image_by_its_content() -> None:
    first = Inputs("x", image=MediaInput("a.png", Path("a.png"), "00ff"))
    renamed = Inputs("x", image=MediaInput("b.png", Path("b.png"), "00ff"))
    assert first.digest == renamed.digest


@pytest.mark.parametrize(
    "other",
    [
        Inputs("y"),
        Inputs("x", model="m"),
        Inputs("x", aspect_ratio="1:1"),
        Inputs("x", resolution="720p"),
        Inputs("x", duration_ms=5000),
        Inputs("x", image=MediaInput("a.png", Path("a.png"), "00ff")),
        Inputs("x", end_image=MediaInput("https://example.com/a.png")),
    ],
)
def test_any_other_input_gives_another_digest(other: Inputs) -> None:
    assert other.digest != Inputs("x").digest


@pytest.mark.parametrize("field", [{"negative_prompt": "text"}, {"seed": 7}, {"seed": 0}])
def test_a_further_field_counts_only_when_it_is_given(field: dict[str, str | int]) -> None:
    assert Inputs("x", **field).digest != Inputs("x").digest
    assert Inputs("x", **dict.fromkeys(field)).digest == Inputs("x").digest


def test_neither_a_seed_nor_what_to_avoid_changes_the_price() -> None:
    plain = Inputs("x", model="m", duration_ms=5000)
    further = Inputs("x", model="m", duration_ms=5000, negative_prompt="text", seed=7)
    assert find_price_key(plain.fields) == find_price_key(further.fields) == (("model", "m"), ("duration_ms", 5000))


def test_a_field_that_is_in_no_row_is_refused() -> None:
    with pytest.raises(TypeError, match="no field 'tempo'"):
        Inputs("x", tempo="slow")


def test_no_two_fields_share_a_name_a_key_or_a_place_in_the_request() -> None:
    for attribute in ("name", "key", "wire"):
        assert len({getattr(field, attribute) for field in FIELDS}) == len(FIELDS)


def test_each_field_stands_in_a_request_where_the_service_knows_it() -> None:
    for field in FIELDS:
        if field.medium:
            known = {f"{field.wire}_id", f"{field.wire}_url"} <= schema.VIDEO_FIELDS.keys()
        elif "." in field.wire:
            known = field.wire.removeprefix("generated_video_inputs.") in schema.VIDEO_INPUT_FIELDS
        else:
            known = f"{field.wire}_slug" in schema.VIDEO_FIELDS
        assert known, field.wire
