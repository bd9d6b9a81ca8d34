"""Web pages, told from videos by how they begin and by what they are said to be."""

from __future__ import annotations

import pytest

from hedra_batch.api.pages import is_page

MOVIE = b"\0\0\0\x18ftypisom<html>"


@pytest.mark.parametrize(
    ("head", "content_type", "expected"),
    [
        (b"<!DOCTYPE html><html>", "", True),
        (b"\xef\xbb\xbf\n\t<HTML lang=en>", "video/mp4", True),
        (b"<!-- a gateway -->", "", True),
        (b"Log in", "text/html", True),
        (b"Log in", "Text/HTML ; charset=utf-8", True),
        (b"", "application/xhtml+xml", True),
        (b"", "", False),
        (b"Log in", "text/plain", False),
        (b"<?xml version='1.0'?><Error/>", "application/xml", False),
        (MOVIE, "text/html", False),
        (MOVIE, "video/mp4", False),
    ],
)
def test_a_page_is_known_by_its_beginning_or_its_type(head: bytes, content_type: str, expected: bool) -> None:
    assert is_page(head, content_type) is expected
