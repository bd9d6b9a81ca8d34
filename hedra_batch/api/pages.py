"""Whether a page or a message comes instead of a video: a network that wants a login sends one for every link. Pure."""

from __future__ import annotations

from collections.abc import AsyncIterator

from hedra_batch.errors import DownloadError, Obstacle

#: As much as shows what a body is.
HEAD_BYTES = 512
_TYPES = frozenset({"text/html", "application/xhtml+xml", "application/json", "application/problem+json"})
#: How a page begins, in lower case (https://mimesniff.spec.whatwg.org, 7.1), and a message in JSON.
_BEGINNINGS = (b"{", b"[", b"<!doctype html", b"<html", b"<head", b"<body", b"<title", b"<meta", b"<script", b"<!--")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def is_page_type(content_type: str) -> bool:
    """Tell whether a Content-Type announces a page or a message."""
    return content_type.partition(";")[0].strip().lower() in _TYPES


def is_page(head: bytes, content_type: str) -> bool:
    """Tell whether a body is a page or a message, by its first bytes and by its type; a video is none."""
    if head[4:8] == b"ftyp":
        return False
    text = head.removeprefix(_BYTE_ORDER_MARK).lstrip().lower()
    return is_page_type(content_type) or text.startswith(_BEGINNINGS)


async def refuse_page(chunks: AsyncIterator[bytes], content_type: str) -> AsyncIterator[bytes]:
    """Hand on what arrives, once its beginning shows that it is no page. Raises DownloadError where it is one."""
    head, is_known = b"", False
    async for chunk in chunks:
        if is_known:
            yield chunk
            continue
        head += chunk
        is_known = len(head) >= HEAD_BYTES
        if is_known:
            _check(head, content_type)
            yield head
    if not is_known:
        _check(head, content_type)
        if head:
            yield head


def _check(head: bytes, content_type: str) -> None:
    if is_page(head, content_type):
        raise DownloadError("A web page or a message arrived instead of the video.", Obstacle.PAGE)
