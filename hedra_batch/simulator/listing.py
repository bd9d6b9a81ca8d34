"""What the query of a list asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from hedra_batch.simulator import fields
from hedra_batch.simulator.refusals import malformed, problem
from hedra_batch.simulator.schema import check_value

#: Items of a page when the query names no number, and the most it can have.
PAGE_ITEMS = 100

_ANY_TYPE = fields.one_of(dict.fromkeys((*fields.ASSET_TYPES, *fields.GENERATION_TYPES)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One page of GET /generations."""

    limit: int
    offset: int
    type: str | None
    #: None when the query does not filter by ids.
    ids: tuple[str, ...] | None
    prompt_part: str
    created_after: float
    created_before: float


def read_listing(query: Mapping[str, str]) -> Listing:
    """Read the query of GET /generations."""
    kind = query.get("type")
    if kind is not None:
        check_value(_ANY_TYPE, kind, "query", "type")
    return Listing(
        limit=min(_count(query, "limit", PAGE_ITEMS), PAGE_ITEMS),
        offset=_count(query, "offset", 0),
        type=kind,
        ids=read_ids(query),
        prompt_part=query.get("prompt_query", "").lower(),
        created_after=_instant(query, "created_after", float("-inf")),
        created_before=_instant(query, "created_before", float("inf")),
    )


def read_ids(query: Mapping[str, str]) -> tuple[str, ...] | None:
    """Read ids that are separated by commas; each counts once."""
    if "ids" not in query:
        return None
    ids = (part.strip().lower() for part in query["ids"].split(","))
    return tuple(dict.fromkeys(part for part in ids if part))


def _count(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal():
        raise malformed([problem("int_parsing", "Input should be a valid integer from 0", "query", name)])
    return int(text)


def _instant(query: Mapping[str, str], name: str, default: float) -> float:
    if name not in query:
        return default
    try:
        instant = datetime.fromisoformat(query[name])
    except ValueError as error:
        raise malformed([problem("datetime_parsing", "Input should be a valid datetime", "query", name)]) from error
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
