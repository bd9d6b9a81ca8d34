"""Which model a job means, and what it will cost."""

from __future__ import annotations

from typing import Any

import pytest

from hedra_batch.api.v2.answers import Model
from hedra_batch.api.v2.pricing import Catalogue
from hedra_batch.errors import ManifestError
from hedra_batch.money import Money

ID = "827122cd-5fdd-4412-86f2-554f7bb8eef9"
PRICING = {"credits_per_second": 7, "modifiers": {"resolution": {"540p": 0.5, "720p": 1.0}}}


def make_catalogue(pricing: dict[str, Any] | None = None) -> Catalogue:
    grok = Model("fal/grok", ID, "Grok Video", PRICING if pricing is None else pricing, default_resolution="540p")
    return Catalogue([grok, Model("x/y", None, "Other")])


@pytest.mark.parametrize(
    ("written", "wire"),
    [
        ("fal/grok", {"model_slug": "fal/grok"}),
        ("not/listed", {"model_slug": "not/listed"}),
        (ID.upper(), {"ai_model_id": ID}),
        ("Grok Video", {"model_slug": "fal/grok"}),
        ("grok video", {"model_slug": "fal/grok"}),
    ],
)
def test_a_model_is_sent_by_the_field_that_fits(written: str, wire: dict[str, str]) -> None:
    assert make_catalogue().name_on_wire(written) == wire


def test_names_that_no_model_has_are_refused_all_at_once() -> None:
    with pytest.raises(ManifestError) as caught:
        make_catalogue().check(dict.fromkeys([None, "fal/grok", ID, "not/listed", "Grok Vide", "Nonsense"], "market"))
    assert len(caught.value.problems) == 2
    assert caught.value.problems[0].startswith("market: model: ")
    assert (
        "no model called 'Grok Vide'. Did you mean 'Grok Video'? Available: Grok Video, Other"
        in caught.value.problems[0]
    )


NAMED = Catalogue(
    [
        Model("fal/grok-t2v", None, "Grok Video T2V"),
        Model("fal/grok-i2v", None, "Grok Video I2V"),
        Model("a/twin", None, "Twin"),
        Model("b/twin", None, "TWIN"),
    ]
)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("twin", "the API has several models called 'twin'. Write the slug of one: a/twin, b/twin"),
        ("grok video", "no model called 'grok video'. Did you mean 'Grok Video T2V' or 'Grok Video I2V'? Available: "),
        ("grok-i2v", "no model called 'grok-i2v'. Did you mean 'Grok Video I2V'"),
        ("Kling", "the API has no model called 'Kling'. Available: Grok Video I2V, Grok Video T2V, TWIN, Twin"),
    ],
)
def test_a_name_that_fits_no_model_or_several_is_told_with_what_to_write(name: str, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        NAMED.check({name: "market"})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("pricing", "fields", "price"),
    [
        (PRICING, {"duration_ms": 5000, "resolution": "720p"}, 35),
        (PRICING, {"duration_ms": 5000, "resolution": "540p"}, 18),
        (PRICING, {"duration_ms": 5000}, 18),
        ({"base_cost": 1, "modifiers": {"aspect_ratio": {"16:9": 2}}}, {}, None),
        ({"base_cost": 1, "modifiers": {"aspect_ratio": {"16:9": 1, "1:1": 1}}}, {}, 1),
        ({"base_cost": "1e99999999"}, {}, None),
        (PRICING, {}, None),
        ({"base_cost": 12}, {}, 12),
        ({"base_cost": 3, "credits_per_second": 2}, {"duration_ms": 2500}, 8),
        ({"base_cost": 1, "modifiers": {"resolution": {"720p": 1.1}}}, {"resolution": "720p"}, 2),
        ({"base_cost": 10, "modifiers": {"resolution": {"720p": 1.1}}}, {"resolution": "720p"}, 11),
        ({}, {"duration_ms": 5000}, None),
        ({"base_cost": "free"}, {}, None),
        ({"base_cost": 1, "modifiers": {"resolution": {"720p": "many"}}}, {"resolution": "720p"}, None),
    ],
)
def test_the_price_is_that_of_the_published_formula(
    pricing: dict[str, Any], fields: dict[str, str | int], price: int | None
) -> None:
    expected = None if price is None else Money(price, "credits")
    assert make_catalogue(pricing).estimate({"model": "fal/grok", **fields}) == expected


@pytest.mark.parametrize("fields", [{}, {"model": "not/listed"}, {"model": "x/y"}])
def test_a_price_that_cannot_be_known_is_not_guessed(fields: dict[str, str | int]) -> None:
    assert make_catalogue().estimate({**fields, "duration_ms": 5000}) is None
