"""Names and ids of a manifest, and what they may not be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedra_batch.manifest.names import (
    collision_key,
    glob_name,
    image_name,
    is_name,
    make_manifest_name,
    prompt_slug,
    slug,
    variation_ids,
)


@pytest.mark.parametrize("text", ["a", "7", "Market", "red-front", "v1.2", "größe", "日本", "a_b", "x" * 100])
def test_a_name_is_letters_digits_and_three_marks(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize("text", ["", "_a", ".a", "-a", "a b", "a/b", "a\n", "a:b", "x" * 101, "..", "\u202ea"])
def test_anything_else_is_no_name(text: str) -> None:
    assert not is_name(text)


@pytest.mark.parametrize(
    ("pattern", "found", "name"),
    [
        ("photos/*/front.png", "photos/red/front.png", "red-front"),
        ("photos/img*.png", "photos/img1.png", "img1"),
        ("photos/**/*.png", "photos/a/b/c.png", "a-b-c"),
        ("*.tar.png", "x.tar.png", "x.tar"),
        ("./photos/?.png", "photos/a.png", "a"),
        ("../[ab]/x.png", "../b/x.png", "b-x"),
        ("/srv/*/x y.png", "/srv/a/x y.png", "a-x-y"),
    ],
)
def test_an_image_of_a_pattern_is_named_from_the_first_wildcard_on(pattern: str, found: str, name: str) -> None:
    assert glob_name(pattern, found) == name


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("photos/hero.jpg", "hero"),
        ("Grüner Hut (1).png", "Grüner-Hut-1"),
        ("_draft.png", "draft"),
        ("https://example.com/a/b%20c.jpg?width=9", "b-c"),
        ("https://example.com/", "https-example.com"),
    ],
)
def test_an_image_is_named_by_its_stem(source: str, name: str) -> None:
    assert image_name(source) == name


@pytest.mark.parametrize("source", ["___.png", "🎬.png"])
def test_an_image_without_letters_is_named_by_a_hash(source: str) -> None:
    assert is_name(image_name(source))
    assert len(image_name(source)) == 6


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A storm, then rain", "a-storm-then-rain-3f6184"),
        ("The scene comes to life with gentle movement", "the-scene-comes-to-life-with-gen-915928"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bb", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-4fe784"),
        ("🎬", "0de8a5"),
    ],
)
def test_a_prompt_is_named_by_its_first_words_and_a_hash(prompt: str, name: str) -> None:
    assert prompt_slug(prompt) == name


def test_prompts_that_begin_alike_have_different_names() -> None:
    assert prompt_slug("A storm gathers over the hills, slowly") != prompt_slug("A storm gathers over the hills, fast")


@given(st.text(max_size=300))
def test_every_text_makes_a_name(text: str) -> None:
    assert is_name(slug(text))
    assert is_name(prompt_slug(text))


@pytest.mark.parametrize(("one", "other"), [("Hero", "hero"), ("STRASSE", "straße"), ("e\u0301", "é"), ("İx", "i̇X")])
def test_names_that_a_file_system_may_mix_up_collide(one: str, other: str) -> None:
    assert collision_key(one) == collision_key(other)


def test_the_first_variation_keeps_the_id() -> None:
    assert list(variation_ids("market", 3)) == ["market", "market.v2", "market.v3"]


@pytest.mark.parametrize(
    ("stem", "name"), [("spring", "spring"), ("spring sale", "spring sale"), (".hidden", "hidden"), ("a (1)", "a-1")]
)
def test_a_manifest_is_named_by_its_file(stem: str, name: str) -> None:
    assert make_manifest_name(stem) == name
