"""Answers of the API as the protocol's types. Pure; one that is not as published is a GarbledError."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from hedra_batch.api.protocol import Acceptance, Phase, Reading
from hedra_batch.decide import TRANSIENT_CODES, Deduplication
from hedra_batch.errors import GarbledError
from hedra_batch.money import CREDITS, Money
from hedra_batch.sanitize import clean, hide_signatures, to_line

#: What a status can say, without regard to case. Any other word than these is followed, for it may be a further stage.
_PHASES = {
    **dict.fromkeys(("queued", "processing", "finalizing"), Phase.RUNNING),
    **dict.fromkeys(("complete", "completed", "succeeded", "success"), Phase.COMPLETE),
    **dict.fromkeys(("error", "failed", "canceled", "cancelled", "expired"), Phase.FAILED),
}
#: The one published word for an end without a result: what ended under another one is bought anew by nobody's word.
_PUBLISHED_FAILURE = "error"
LONGEST_ETA_SECONDS = 86_400.0
_LONGEST_ID = 200
_LONGEST_WORD = 40
#: What the document shows a wallet of dollars as, rounded down.
CREDITS_PER_DOLLAR = 140
#: Beyond it nothing that the API tells can be right.
_HIGHEST_NUMBER = 10**15
_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,2})?", re.ASCII)
#: Ids are stored, logged and put into addresses.
_ID = re.compile(rf"[\w.:/@+-]{{1,{_LONGEST_ID}}}", re.ASCII)
_CODE = re.compile(r"[A-Za-z_]{3,40}")
#: The published classes of errors.
ERROR_CODES = frozenset(
    {
        *("unknown", "invalid_argument", "not_found", "gone", "already_exists", "already_in_progress", "unauthorized"),
        *("permission_denied", "insufficient_balance", "moderation_failed", "failed_precondition", "deadline_exceeded"),
        *("resource_exhausted", "unavailable", "internal"),
    }
)
#: Of a message that has details beside it, and of these.
_LONGEST_PART = 190
_MOST_VIOLATIONS = 20
#: The published refinements of an error's class.
REASON_CODES = frozenset({"moderation_likeness", "moderation_output_transient"})


@dataclass(frozen=True, slots=True)
class GenerationPage:
    """One page of the account's list."""

    generations: list[Reading]
    #: Where the next page begins is counted in these.
    item_count: int


class AssetLinks(NamedTuple):
    """What GET /assets shows."""

    #: The download links of each asset that can be read.
    links: dict[str, list[str]]
    #: How many items there were, those that cannot be read too.
    item_count: int


@dataclass(frozen=True, slots=True)
class Model:
    """A model of GET /models, as far as a batch needs it."""

    slug: str
    id: str | None
    name: str
    pricing: dict[str, Any] | None = None
    #: An older way of telling the price, which every model has.
    price_details: dict[str, Any] | None = None
    #: What the server takes where a request names none.
    default_resolution: str | None = None
    #: How long a video usually takes.
    eta_seconds: float | None = None


def read_acceptance(answer: object, request_id: str | None, key: str) -> Acceptance:
    """Read a success of POST /generations for a request that asked for this id."""
    fields = _fields(answer)
    remote_id = _id(fields).lower()
    return Acceptance(
        remote_id=remote_id,
        asset_id=_optional_id(fields, "asset_id"),
        eta_seconds=_eta_seconds(fields),
        request_id=read_request_id(request_id),
        deduplication=Deduplication.PROVEN if remote_id == key else Deduplication.NONE,
    )


def read_generation(answer: object) -> Reading:
    """Read an answer of GET /generations/{id}/status or an item of GET /generations."""
    fields = _fields(answer)
    code, message = _read_error(fields)
    given = fields.get("input")
    echoed = given if isinstance(given, dict) else {}
    remote_id, status = _id(fields).lower(), _text(fields, "status").strip().lower()
    progress = min(max(_optional_number(fields, "progress") or 0.0, 0.0), 1.0)
    links, phase = _list_links(fields), _PHASES.get(status)
    if phase is None and not (progress >= 1 or isinstance(fields.get("asset"), dict)):
        # Under a word that nobody has published a link alone is no result.
        links = []
    if phase is Phase.FAILED and status != _PUBLISHED_FAILURE and (code is None or code in TRANSIENT_CODES):
        code = status
    return Reading(
        remote_id=remote_id,
        phase=phase or (Phase.COMPLETE if links else Phase.RUNNING),
        unknown_word=None if phase else to_line(status, _LONGEST_WORD),
        progress=progress,
        asset_id=_optional_id(fields, "asset_id") or _asset_id(fields),
        eta_seconds=_eta_seconds(fields),
        charged=_optional_credits(fields, "credit_cost"),
        link=next(iter(links), None),
        other_links=links[1:],
        error_code=code,
        error=message,
        request_key=_optional_id(echoed, "generation_id"),
        name=_optional_text(echoed, "name"),
        prompt=_echoed_prompt(echoed),
    )


def read_generations(answer: object) -> list[Reading]:
    """Read a page of GET /generations. An item that cannot be read is left out: it can be asked for by itself."""
    page = read_generation_page(answer)
    if page.item_count and not page.generations:
        raise GarbledError("No item of the API's list of generations can be read.")
    return page.generations


def read_generation_page(answer: object) -> GenerationPage:
    """Read a page of GET /generations, and how many items it had, those that cannot be read too."""
    items = _fields(answer).get("data")
    if not isinstance(items, list):
        raise GarbledError("The API's list of generations has no 'data'.")
    generations = []
    for item in items:
        with suppress(GarbledError):
            generations.append(read_generation(item))
    return GenerationPage(generations, len(items))


def read_models(answer: object) -> list[Model]:
    """Read GET /models. A model that cannot be read is left out: a slug or an id can be sent without the list."""
    if not isinstance(answer, list):
        raise GarbledError("The API's list of models is not a list.")
    models = []
    for item in answer:
        with suppress(GarbledError):
            models.append(_read_model(_fields(item)))
    if answer and not models:
        raise GarbledError("No item of the API's list of models can be read.")
    return models


def read_asset_id(answer: object) -> str:
    return _id(_fields(answer))


def read_request_id(header: str | None) -> str | None:
    """Make the id that the server gave a request fit to be stored: a header can hold any bytes."""
    return to_line(hide_signatures(header), _LONGEST_ID) or None if header else None


def read_asset_links(answer: object) -> AssetLinks:
    """Read GET /assets. An item that cannot be read is left out."""
    if not isinstance(answer, list):
        raise GarbledError("The API's list of assets is not a list.")
    links = {}
    for item in answer:
        with suppress(GarbledError):
            links[_id(_fields(item)).lower()] = _list_links({"asset": item})
    return AssetLinks(links, len(answer))


def _read_model(fields: dict[str, Any]) -> Model:
    pricing, details = fields.get("pricing"), fields.get("price_details")
    return Model(
        slug=_id(fields, "slug"),
        id=_optional_id(fields, "id"),
        name=clean(_optional_text(fields, "name") or ""),
        pricing=pricing if isinstance(pricing, dict) else None,
        price_details=details if isinstance(details, dict) else None,
        default_resolution=_optional_text(fields, "default_resolution"),
        eta_seconds=eta_ms / 1000 if (eta_ms := _optional_number(fields, "eta_ms")) is not None else None,
    )


def read_balance(answer: object) -> Money | None:
    """Read GET /billing/credits: the sum of what pays for the API; None where the answer does not say it.

    The wallets of workspaces that are kept for the API pay for it alone. They are told only while they have something,
    so for an account in workspaces without one, nobody can tell what `remaining` says of the API.
    """
    fields = _fields(answer)
    pool = fields.get("workspace_credit_pool")
    if not pool:
        return _read_rest(fields, "remaining")
    usages = list(pool.values()) if isinstance(pool, dict) else [None]
    wallets = [_read_wallet(usage) for usage in usages if not isinstance(usage, dict) or _has_wallet(usage)]
    known = [wallet.amount for wallet in wallets if wallet is not None]
    return Money(sum(known), CREDITS) if known and len(known) == len(wallets) else None


def _has_wallet(usage: dict[str, Any]) -> bool:
    return any(usage.get(name) is not None for name in ("api_credits", "api_usd_micros"))


def _read_wallet(usage: object) -> Money | None:
    """Read what a workspace has for the API: in credits, and in the dollars that it is really kept in."""
    if not isinstance(usage, dict):
        return None
    shown, micros = _read_rest(usage, "api_credits"), _read_rest(usage, "api_usd_micros")
    in_credits = Money(micros.amount * CREDITS_PER_DOLLAR // 10**6, CREDITS) if micros else None
    told = [each for each in (shown, in_credits) if each is not None]
    return min(told) if told else None


def _read_rest(fields: dict[str, Any], name: str) -> Money | None:
    """Read what is left, rounded down; nothing is left of what is overdrawn."""
    value = _read_number(fields.get(name))
    is_overdrawn = value is not None and -_HIGHEST_NUMBER < value < 0
    return Money(0, CREDITS) if is_overdrawn else _optional_credits(fields, name, math.floor)


def _read_error(fields: dict[str, Any]) -> tuple[str | None, str | None]:
    """`error` (an object) and `error_message` (a text) are alternatives in the published document."""
    error = fields.get("error")
    message = _optional_text(fields, "error_message")
    if not isinstance(error, dict):
        return (None, add_details((error if isinstance(error, str) else message) or "", fields) or None)
    kind, reason = _optional_text(error, "type"), _optional_text(error, "reason_code")
    message = _optional_text(error, "message") or message
    if reason and reason.lower() not in REASON_CODES:
        # One that is not published counts as its class, and is told in the message.
        message, reason = f"{message or 'no message'} ({reason})", None
    code = reason or kind
    return (code.lower() if code and _CODE.fullmatch(code) else None, add_details(message or "", error) or None)


def add_details(message: str, error: dict[str, Any]) -> str:
    """Write an error's message, safe to print, with the fields and credits that the error names beside it."""
    details = to_line(hide_signatures("; ".join(_list_details(error))), _LONGEST_PART)
    if not details:
        return clean(message)
    return f"{to_line(hide_signatures(message), _LONGEST_PART).rstrip('.')} ({details})".lstrip()


def _list_details(error: dict[str, Any]) -> list[str]:
    violations, param = error.get("violations"), _optional_text(error, "param")
    items = [item for item in violations if isinstance(item, dict)] if isinstance(violations, list) else []
    told = [_describe_violation(item) for item in items[:_MOST_VIOLATIONS]]
    if param and not any(each.startswith(param) for each in told):
        told.insert(0, f"about {param}")
    for name, words in (("credits_needed", "credits needed"), ("credits_available", "credits available")):
        if (number := _optional_number(error, name)) is not None:
            told.append(f"{words}: {number:,.10g}")
    return [each for each in told if each]


def _describe_violation(item: dict[str, Any]) -> str:
    return ": ".join(filter(None, (_optional_text(item, "field"), _optional_text(item, "message"))))


def _list_links(fields: dict[str, Any]) -> list[str]:
    """List the links to a file, the best first; `streaming_url` is no file, so it is not looked at."""
    nested = fields.get("asset")
    inner = nested.get("asset") if isinstance(nested, dict) else None
    places = [place for place in (fields, inner) if isinstance(place, dict)]
    links = [_optional_text(place, name) for place in places for name in ("download_url", "url")]
    return list(dict.fromkeys(filter(None, links)))


def _asset_id(fields: dict[str, Any]) -> str | None:
    nested = fields.get("asset")
    return _optional_id(nested, "id") if isinstance(nested, dict) else None


def _echoed_prompt(echoed: dict[str, Any]) -> str | None:
    inputs = echoed.get("generated_video_inputs")
    return _optional_text(inputs, "text_prompt") if isinstance(inputs, dict) else None


def _fields(answer: object) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise GarbledError(f"The API answered a {type(answer).__name__} where an object was expected.")
    return answer


def _eta_seconds(fields: dict[str, Any]) -> float | None:
    """Read the server's guess; what is no time that a video can take counts as none."""
    eta_seconds = _optional_number(fields, "eta_sec")
    return eta_seconds if eta_seconds is not None and 0 <= eta_seconds <= LONGEST_ETA_SECONDS else None


def _id(fields: dict[str, Any], name: str = "id") -> str:
    value = _optional_id(fields, name)
    if value is None:
        raise GarbledError(f"The API's answer has no usable '{name}'.")
    return value


def _optional_id(fields: dict[str, Any], name: str) -> str | None:
    value = _optional_text(fields, name)
    return value if value and _ID.fullmatch(value) else None


def _text(fields: dict[str, Any], name: str) -> str:
    value = _optional_text(fields, name)
    if value is None:
        raise GarbledError(f"The API's answer lacks '{name}'.")
    return value


def _optional_text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        return None
    # JSON can hold half of a character, which nothing can store.
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _optional_number(fields: dict[str, Any], name: str) -> float | None:
    value = _read_number(fields.get(name))
    return float(value) if value is not None and -_HIGHEST_NUMBER < value < _HIGHEST_NUMBER else None


def _read_number(value: object) -> Decimal | None:
    """Read a number as it is meant, whether it is written as 35, 35.0 or "35"."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if not isinstance(value, float | str):
        return None
    # JSON as Python reads it has NaN and infinities, and whole numbers that no float can hold.
    text = str(value).strip()
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _optional_credits(
    fields: dict[str, Any], name: str, to_whole: Callable[[Decimal], int] = math.ceil
) -> Money | None:
    """Read a sum as whole credits: what is charged is rounded up."""
    value = _read_number(fields.get(name))
    if value is None or not 0 <= value < _HIGHEST_NUMBER:
        return None
    return Money(to_whole(value), CREDITS)
