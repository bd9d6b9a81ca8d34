"""Text from elsewhere, safe to print."""

from __future__ import annotations

import pytest
import yaml

from hedra_batch.sanitize import clean, hide_secret, hide_signatures, to_line, to_yaml


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain", "plain"),
        ("two\nlines\r\n", "two lines"),
        ("\x1b[2Jcleared", "[2Jcleared"),
        ("right\u202eleft", "right left"),
        ("half \ud83d of it", "half ? of it"),
        ("longer than that", "longer t…"),
    ],
)
def test_a_line_cannot_steer_a_terminal(text: str, line: str) -> None:
    assert to_line(text, 9 if text.startswith("longer") else 40) == line


def test_signatures_are_taken_out_of_every_link() -> None:
    text = "see https://a.example/x.mp4?Signature=1 and http://b.example/?Expires=2&Signature=3."
    assert hide_signatures(text) == "see https://a.example/x.mp4?[signed] and http://b.example/?[signed]"


def test_a_secret_is_taken_out_wherever_it_stands() -> None:
    assert hide_secret("with long-secret-key: long-secret-key!", "long-secret-key") == "with [key]: [key]!"


def test_a_message_is_clipped() -> None:
    assert len(clean("x" * 1000)) == 400


@pytest.mark.parametrize("text", ["spring", "2024", "yes", "null", "1.5", "May sale", "été", "2024-01-01", "0x1f"])
def test_a_text_stays_a_text_in_yaml(text: str) -> None:
    assert yaml.safe_load(f"name: {to_yaml(text)}") == {"name": text}
