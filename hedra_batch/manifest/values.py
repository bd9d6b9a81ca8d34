"""What each single value of a manifest may be: a reader of it, and the JSON Schema that editors check it by.

A reader takes whatever YAML made and raises ValueError with the end of a sentence that begins with the key. Nothing
here imports the schema's library, which is slow to import, so that the name of a manifest is read without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from unicodedata import normalize
from urllib.parse import urlsplit

from hedra_batch.inputs import Field, FieldValue, ValueType, to_uri
from hedra_batch.manifest.faults import kind, shown
from hedra_batch.manifest.names import LONGEST_PATTERN, NAME_RULE, is_manifest_name, is_name
from hedra_batch.manifest.output import check_template
from hedra_batch.money import Budgets, Money
from hedra_batch.units import Rate, parse_duration_ms, parse_money, parse_rate

LONGEST_LINE = 2_000
LONGEST_TEXT = 20_000
#: As the API has it.
LONGEST_URL = 2_083
LONGEST_QUANTITY = 30
LONGEST_DURATION_MS = 10 * 60_000
LONGEST_QUIET_WINDOW_MS = 24 * 3_600_000
MOST_VARIATIONS = 100
MOST_ATTEMPTS = 10
MOST_AT_ONCE = 1_000
#: The API says no more than "integer"; what has more than 64 bits surely does not arrive as it was written.
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**63 - 1

#: By their shape only: which of them a model takes, the API's list says.
_ASPECT_RATIO = re.compile(r"auto|[0-9]{1,5}(?:\.[0-9]{1,4})?:[0-9]{1,5}(?:\.[0-9]{1,4})?")
_RESOLUTION = re.compile(r"auto|(?:[1-9][0-9]{2,4}[pP]|[1-9][0-9]?[kK])(?: \([A-Za-z0-9 ]{1,20}\))?")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://|data:", re.IGNORECASE)
_NO_VALUE = "has no value (write one, or remove the key)"
#: What a budget can be for.
BUDGET_KEYS = {
    "edition": "The most that one edition may cost, all its runs together.",
    "month": "The most that all editions together may cost in a month, by UTC.",
    "total": "The most that all editions together may ever cost.",
}
#: A time in JSON Schema.
TIME_PATTERN = r"^[0-9]+(?:\.[0-9]+)? *(?:ms|s|min|m|h)$"


@dataclass(frozen=True, slots=True)
class ValueKind:
    """How the values of one type are read, and how JSON Schema describes them."""

    read: Callable[[object, Field], FieldValue]
    schema: dict[str, object]
    #: Follows the description of each field.
    hint: str = ""


def read_field(value: object, field: Field) -> FieldValue:
    return KINDS[field.type].read(value, field)


def describe_field(field: Field) -> dict[str, object]:
    value_kind = KINDS[field.type]
    schema = {**value_kind.schema, "description": field.description + value_kind.hint}
    return {**schema, "examples": list(field.examples)} if field.examples else schema


def _read_text(value: object, field: Field) -> str:
    what = f"a {field.key.replace('_', ' ')} is text"
    if value is None:
        raise ValueError("has no value (write a text; one with ',' or '#' in it needs quotes)")
    text = _require_text(value, f"is read by YAML as {kind(value)} ({what}: put it in quotes)").strip()
    if not text:
        raise ValueError(f"is empty ({what}: write one)")
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"has {len(text):,} characters (at most {LONGEST_TEXT:,})")
    if "{{" in text:
        raise ValueError("has '{{' in it, which is kept for later use (write a single brace)")
    return text


def _read_one_line(value: object, _: Field) -> str:
    return read_line(value)


def _read_media(value: object, field: Field) -> str:
    source = read_line(value, LONGEST_URL)
    scheme = _SCHEME.match(source)
    if scheme is None:
        return source
    if (scheme[1] or "").lower() != "https":
        raise ValueError(f"{shown(source)} cannot be sent as the {field.medium} (write a path, or an https:// URL)")
    try:
        url, uri = urlsplit(source), to_uri(source)
        is_usable = bool(url.hostname)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError(f"{shown(source)} is not a URL (write https://host/path)")
    if len(uri) > LONGEST_URL:
        raise ValueError(f"has {len(uri):,} characters once it is written in ASCII (at most {LONGEST_URL:,})")
    if "@" in url.netloc:
        raise ValueError(
            "has a user or a password in its URL, which would be sent and stored (write https://host/path)"
        )
    return source


def _read_aspect_ratio(value: object, _: Field) -> str:
    if not isinstance(value, str) or not _ASPECT_RATIO.fullmatch(value) or not all(map(_is_side, value.split(":"))):
        raise ValueError(
            f"{shown(value)} is not a ratio of width to height (write 16:9, 9:16, 2.39:1, auto or the like)"
        )
    return value


def _is_side(text: str) -> bool:
    return text == "auto" or float(text) > 0


def _read_resolution(value: object, _: Field) -> str:
    if not isinstance(value, str) or not _RESOLUTION.fullmatch(value):
        raise ValueError(f"{shown(value)} is not a resolution (write 540p, 720p, 1080p, 4K, auto or the like)")
    return value


def _read_duration_ms(value: object, _: Field) -> int:
    allowed = "write 5s for five seconds, or 5000ms"
    return _read_time_ms(value, allowed, LONGEST_DURATION_MS, "10m")


def _read_whole_number(value: object, _: Field) -> int:
    number = _require_number(value, f"must be a whole number, not {shown(value)} (write digits alone, without quotes)")
    if not SMALLEST_INTEGER <= number <= LARGEST_INTEGER:
        raise ValueError(f"must be from {SMALLEST_INTEGER} to {LARGEST_INTEGER}, not {number}")
    return number


#: A type of values that is new is a row here; a field that is new is one in the table of fields, and no change here.
KINDS: dict[ValueType, ValueKind] = {
    ValueType.TEXT: ValueKind(_read_text, {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT}),
    ValueType.LINE: ValueKind(_read_one_line, {"type": "string", "minLength": 1}),
    ValueType.ASPECT_RATIO: ValueKind(_read_aspect_ratio, {"type": "string", "pattern": f"^{_ASPECT_RATIO.pattern}$"}),
    ValueType.RESOLUTION: ValueKind(_read_resolution, {"type": "string", "pattern": f"^(?:{_RESOLUTION.pattern})$"}),
    ValueType.DURATION: ValueKind(_read_duration_ms, {"type": "string", "pattern": TIME_PATTERN}),
    ValueType.WHOLE_NUMBER: ValueKind(
        _read_whole_number, {"type": "integer", "minimum": SMALLEST_INTEGER, "maximum": LARGEST_INTEGER}
    ),
    ValueType.MEDIA: ValueKind(
        _read_media, {"type": "string", "minLength": 1}, " A path relative to the manifest, or an https URL."
    ),
}


def read_name(value: object) -> str:
    text = _require_text(value, f"must be a name, not {kind(value)} (if it is meant so, put it in quotes)")
    name = normalize("NFC", text)
    if not is_name(name):
        raise ValueError(f"{shown(value)} cannot be a name (allowed: {NAME_RULE})")
    return name


def read_manifest_name(value: object) -> str:
    name = normalize("NFC", read_line(value))
    if not is_manifest_name(name):
        raise ValueError(f"{shown(value)} cannot name a folder (allowed: {NAME_RULE}; spaces too)")
    return name


def read_quiet_window_ms(value: object) -> int:
    return _read_time_ms(value, "write 10m for ten minutes, or 600s", LONGEST_QUIET_WINDOW_MS, "24h")


def read_version(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value != 1:
        raise ValueError(f"must be 1, without quotes, not {shown(value)} (this program reads version 1 only)")
    return value


def read_variations(value: object) -> int:
    return _read_count(value, MOST_VARIATIONS)


def read_limit(value: object) -> int:
    return _read_count(value, MOST_AT_ONCE)


def read_attempts(value: object) -> int:
    return _read_count(value, MOST_ATTEMPTS)


def read_rate(value: object) -> Rate:
    return parse_rate(_read_quantity(value, "write how many in what time: 10/min, 1/s, 300/h"))


def read_budget(value: object) -> Budgets:
    """Read the budget of an edition, or several by what they are for."""
    if not isinstance(value, dict):
        return Budgets(edition=_read_sum(value))
    unknown = next((key for key in value if key not in BUDGET_KEYS), None)
    if unknown is not None:
        raise ValueError(f"has an unknown key: {shown(unknown)} (allowed: {', '.join(BUDGET_KEYS)})")
    if not value:
        raise ValueError("is empty (write a sum such as 500 credits, or remove the key)")
    sums = {}
    for key, written in value.items():
        try:
            sums[key] = _read_sum(written)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
    return Budgets(**sums)


def _read_sum(value: object) -> Money:
    return parse_money(_read_quantity(value, "write it with its unit: 500 credits"))


def read_pattern(value: object) -> str:
    pattern = normalize("NFC", read_line(value))
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"has {len(pattern)} characters, more than any id (at most {LONGEST_PATTERN})")
    return pattern


def read_output(value: object) -> str:
    return check_template(read_line(value))


def read_line(value: object, longest: int = LONGEST_LINE) -> str:
    """Take one line of text, without the space around it."""
    if value is None:
        raise ValueError(_NO_VALUE)
    text = _require_text(value, f"must be text, not {kind(value)} (put it in quotes)").strip()
    if not text:
        raise ValueError("is empty (write something, or remove the key)")
    if len(text) > longest:
        raise ValueError(f"has {len(text):,} characters (at most {longest:,})")
    if not text.isprintable():
        raise ValueError("has a line end, a tab or an invisible character (write one line of text)")
    return text


def _require_text(value: object, refusal: str) -> str:
    if not isinstance(value, str):
        raise ValueError(refusal)  # noqa: TRY004 - all readers refuse by ValueError, which pydantic takes for that
    return value


def _read_quantity(value: object, allowed: str) -> str:
    if value is None:
        raise ValueError(_NO_VALUE)
    text = _require_text(value, f"is {kind(value)}, without a unit ({allowed})")
    if len(text) > LONGEST_QUANTITY or not text.isascii():
        raise ValueError(f"{shown(text)} cannot be read ({allowed})")
    return text


def _read_time_ms(value: object, allowed: str, longest_ms: int, longest: str) -> int:
    milliseconds = parse_duration_ms(_read_quantity(value, allowed))
    if milliseconds > longest_ms:
        raise ValueError(f"{shown(value)} is too long (at most {longest})")
    return milliseconds


def _read_count(value: object, most: int) -> int:
    refusal = f"must be a whole number from 1 to {most:,}, not {shown(value)}"
    number = _require_number(value, refusal)
    if not 1 <= number <= most:
        raise ValueError(refusal)
    return number


def _require_number(value: object, refusal: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(refusal)  # noqa: TRY004 - as in `_require_text`
    return value
