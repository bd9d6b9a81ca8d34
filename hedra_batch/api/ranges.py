"""Whether a download can go on where it broke off: only within one version of a file, told by a strong validator."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Self

import aiohttp

from hedra_batch.api.encoding import list_codings

#: A strong entity tag (RFC 9110, 8.8.3).
_STRONG_TAG = re.compile(r'"[\x21\x23-\x7e]{1,500}"')
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
#: From so much on, a file has had only one state in the second that its date names (RFC 9110, 8.8.2.2).
_DATE_IS_STRONG_AFTER = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a file at its host, byte for byte."""

    #: As the host wrote it: a strong entity tag, or a date that is as good as one.
    validator: str
    length_bytes: int

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Read what `write` wrote."""
        length, _, validator = text.partition(" ")
        return cls(validator, int(length)) if length.isdecimal() and validator else None

    def write(self) -> str:
        return f"{self.length_bytes} {self.validator}"


@dataclass(frozen=True, slots=True)
class Part:
    """The beginning of a version of a file that is here already."""

    version: Version
    size_bytes: int

    @property
    def headers(self) -> dict[str, str]:
        """Ask for the rest of this version, and for the whole where the host has another one."""
        return {"Range": f"bytes={self.size_bytes}-", "If-Range": self.version.validator}


def find_version(response: aiohttp.ClientResponse, length_bytes: int | None) -> Version | None:
    """Find what tells the version of a whole body; None where a part of it could not be told from another's.

    With a coding to be undone, what arrived is no measure of what is missing.
    """
    validator = _find_validator(response)
    if validator is None or length_bytes is None or _is_encoded(response):
        return None
    return Version(validator, length_bytes)


def is_rest(response: aiohttp.ClientResponse, part: Part) -> bool:
    """Tell whether an answer is exactly what is missing of a part, of the same version (RFC 9110, 15.3.7)."""
    told = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status != 206 or not told or _is_encoded(response):
        return False
    first, last, length = map(int, told.groups())
    wanted = (part.size_bytes, part.version.length_bytes - 1, part.version.length_bytes)
    is_whole = response.content_length in (None, length - first)
    return (first, last, length) == wanted and is_whole and _is_of(response, part.version)


def is_whole_range(response: aiohttp.ClientResponse) -> bool:
    """Tell whether an answer to a question for the whole is a range that is all of it."""
    told = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status != 206 or not told:
        return False
    first, last, length = map(int, told.groups())
    return (first, last) == (0, length - 1) and response.content_length in (None, length)


def _is_encoded(response: aiohttp.ClientResponse) -> bool:
    """Several codings count here too: what cannot be continued is asked for anew, and fails there if it must."""
    return bool(list_codings(response.headers.getall("Content-Encoding", [])))


def _find_validator(response: aiohttp.ClientResponse) -> str | None:
    tag = response.headers.get("ETag")
    if tag is not None:
        return tag if _STRONG_TAG.fullmatch(tag) else None
    written, sent = (response.headers.get(name) for name in ("Last-Modified", "Date"))
    written_at, sent_at = _read_date(written), _read_date(sent)
    is_strong = written_at and sent_at and sent_at - written_at >= _DATE_IS_STRONG_AFTER
    return written if is_strong else None


def _read_date(text: str | None) -> datetime | None:
    try:
        read = parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    return read if read and read.tzinfo else None


def _is_of(response: aiohttp.ClientResponse, version: Version) -> bool:
    """Tell whether an answer names no other version; with a part, a host need not name it again."""
    name = "ETag" if version.validator.startswith('"') else "Last-Modified"
    return response.headers.get(name, version.validator) == version.validator
