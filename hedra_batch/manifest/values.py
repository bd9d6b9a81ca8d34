"""What each single value of a manifest may be, for the check and for the JSON Schema.

The readers take whatever YAML made and raise ValueError with the end of a sentence that begins with the key.
"""

from __future__ import annotations

import re
from typing import Annotated
from unicodedata import normalize
from urllib.parse import urlsplit

from pydantic import PlainValidator, WithJsonSchema

from hedra_batch.manifest.exclusion import LONGEST_PATTERN
from hedra_batch.manifest.lines import read_line, read_manifest_name, require_text
from hedra_batch.manifest.names import LONGEST_NAME, NAME_RULE, is_name
from hedra_batch.manifest.output import LONGEST_TEMPLATE, check_template
from hedra_batch.manifest.wording import kind, shown
from hedra_batch.units import Rate, parse_credits, parse_duration_ms, parse_rate

LONGEST_PROMPT = 20_000
LONGEST_QUANTITY = 30
LONGEST_DURATION_MS = 10 * 60_000
LONGEST_QUIET_WINDOW_MS = 24 * 3_600_000
MOST_VARIATIONS = 100
MOST_ATTEMPTS = 10
MOST_AT_ONCE = 1_000

_ASPECT_RATIO = re.compile(r"[1-9][0-9]?:[1-9][0-9]?")
_RESOLUTION = re.compile(r"[1-9][0-9]{2,3}p|[1-9]k")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://|data:", re.IGNORECASE)


def read_prompt(value: object) -> str:
    """Take the text of a prompt, without the space around it."""
    text = require_text(value, f"is read by YAML as {kind(value)} (a prompt is text: put the text in quotes)").strip()
    if not text:
        raise ValueError("is empty (a prompt is text)")
    if len(text) > LONGEST_PROMPT:
        raise ValueError(f"has {len(text):,} characters (at most {LONGEST_PROMPT:,})")
    if "{{" in text:
        raise ValueError("has '{{' in it, which is reserved for templates (allowed: single braces)")
    return text


def read_name(value: object) -> str:
    """Take a name or an id."""
    text = require_text(value, f"must be a name, not {kind(value)} (if this is meant, put it in quotes)")
    name = normalize("NFC", text)
    if not is_name(name):
        raise ValueError(f"{shown(value)} cannot be a name (allowed: {NAME_RULE})")
    return name


def read_image(value: object) -> str:
    """Take the path, the pattern or the https URL of an image."""
    source = read_line(value)
    scheme = _SCHEME.match(source)
    if scheme is None:
        return source
    if (scheme[1] or "").lower() != "https":
        raise ValueError(f"{shown(source)} is no image that can be sent (allowed: a path, or an https:// URL)")
    try:
        url = urlsplit(source)
        is_usable = bool(url.hostname) and " " not in source
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ValueError(f"{shown(source)} is no URL (allowed: https://host/path)")
    if "@" in url.netloc:
        raise ValueError(
            "has a user or a password in its URL, which would be sent and stored (allowed: https://host/path)"
        )
    return source


def read_model(value: object) -> str:
    """Take the slug, the id or the name of a model, as written."""
    return read_line(value)


def read_aspect_ratio(value: object) -> str:
    """Take a ratio such as 16:9."""
    if not isinstance(value, str) or not _ASPECT_RATIO.fullmatch(value):
        raise ValueError(f"{shown(value)} is no ratio of width to height (allowed: 16:9, 9:16, 1:1 and the like)")
    return value


def read_resolution(value: object) -> str:
    """Take a resolution such as 720p."""
    if not isinstance(value, str) or not _RESOLUTION.fullmatch(value):
        raise ValueError(f"{shown(value)} is no resolution (allowed: 540p, 720p, 1080p, 4k and the like)")
    return value


def read_duration_ms(value: object) -> int:
    """Take the length of a video."""
    allowed = "allowed: 5s or 5000ms; a bare 5000 would be 83 minutes if it were seconds"
    return _read_time_ms(value, allowed, LONGEST_DURATION_MS, "10m")


def read_quiet_window_ms(value: object) -> int:
    """Take how long a request of unknown outcome is looked for."""
    return _read_time_ms(value, "allowed: 600s or 10m", LONGEST_QUIET_WINDOW_MS, "24h")


def read_version(value: object) -> int:
    """Take the version of the format."""
    if isinstance(value, bool) or not isinstance(value, int) or value != 1:
        raise ValueError(f"{shown(value)} is not known here (allowed: 1)")
    return value


def read_variations(value: object) -> int:
    """Take how many videos are made of one job."""
    return _read_count(value, MOST_VARIATIONS)


def read_limit(value: object) -> int:
    """Take how many things go on at once."""
    return _read_count(value, MOST_AT_ONCE)


def read_attempts(value: object) -> int:
    """Take how many attempts of a job are made without a person."""
    return _read_count(value, MOST_ATTEMPTS)


def read_rate(value: object) -> Rate:
    """Take a rate such as 10/min."""
    return parse_rate(_read_quantity(value, "allowed: 10/min, 1/s, 300/h"))


def read_budget(value: object) -> int:
    """Take a sum of credits."""
    return parse_credits(_read_quantity(value, "write it as 500 credits"))


def read_pattern(value: object) -> str:
    """Take a pattern of ids."""
    pattern = normalize("NFC", read_line(value))
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"has {len(pattern)} characters (at most {LONGEST_PATTERN}, more than any id)")
    return pattern


def read_output(value: object) -> str:
    """Take the template of the outputs."""
    return check_template(read_line(value))


def _read_quantity(value: object, allowed: str) -> str:
    text = require_text(value, f"is {kind(value)}, without a unit ({allowed})")
    if len(text) > LONGEST_QUANTITY or not text.isascii():
        raise ValueError(f"{shown(text)} is no quantity ({allowed})")
    return text


def _read_time_ms(value: object, allowed: str, longest_ms: int, longest: str) -> int:
    milliseconds = parse_duration_ms(_read_quantity(value, allowed))
    if milliseconds > longest_ms:
        raise ValueError(f"{shown(value)} is too long (at most {longest})")
    return milliseconds


def _read_count(value: object, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{shown(value)} is no number of these (allowed: 1 to {most:,})")
    return value


def _described(kind_of_json: str, description: str, **more: object) -> WithJsonSchema:
    return WithJsonSchema({"type": kind_of_json, "description": description, **more})


Version = Annotated[int, PlainValidator(read_version), WithJsonSchema({"const": 1})]
Prompt = Annotated[
    str,
    PlainValidator(read_prompt),
    _described(
        "string",
        "What the video shows. '{{' is reserved.",
        minLength=1,
        maxLength=LONGEST_PROMPT,
        examples=["A woman walking through a busy market at golden hour"],
    ),
]
Name = Annotated[
    str,
    PlainValidator(read_name),
    # Looser than the rule: what \w means differs from one validator to the next.
    _described("string", f"A name: {NAME_RULE}.", maxLength=LONGEST_NAME, pattern=r"^[^\s/_.-][^\s/]*$"),
]
ManifestName = Annotated[
    str,
    PlainValidator(read_manifest_name),
    _described("string", "Names the run folder; the file's stem if left out.", maxLength=LONGEST_NAME),
]
ImageSource = Annotated[
    str,
    PlainValidator(read_image),
    _described(
        "string",
        "An image: a path relative to the manifest, or an https URL. In `images` also a pattern (*, ?, [, **).",
        examples=["photos/hero.jpg", "https://example.com/hero.jpg", "photos/*/front.png"],
    ),
]
ModelName = Annotated[
    str,
    PlainValidator(read_model),
    _described("string", "The model: its slug, id or name.", minLength=1, examples=["fal/grok-video-i2v"]),
]
AspectRatio = Annotated[
    str,
    PlainValidator(read_aspect_ratio),
    _described("string", "Width to height; needs no quotes.", pattern=f"^{_ASPECT_RATIO.pattern}$", examples=["16:9"]),
]
Resolution = Annotated[
    str,
    PlainValidator(read_resolution),
    _described("string", "The resolution.", pattern=f"^(?:{_RESOLUTION.pattern})$", examples=["720p"]),
]
_TIME = r"^[0-9]+(?:\.[0-9]+)? *(?:ms|s|min|m|h)$"
DurationMs = Annotated[
    int,
    PlainValidator(read_duration_ms),
    _described(
        "string", "The length of a video, with its unit; at most 10m.", pattern=_TIME, examples=["5s", "5000ms"]
    ),
]
QuietWindowMs = Annotated[
    int,
    PlainValidator(read_quiet_window_ms),
    _described(
        "string",
        "How long a request of unknown outcome must stay unseen before it is settled; at most 24h.",
        pattern=_TIME,
        examples=["10m"],
    ),
]
Variations = Annotated[
    int,
    PlainValidator(read_variations),
    _described(
        "integer",
        "How many videos are made of each job; raising it buys only the new ones.",
        minimum=1,
        maximum=MOST_VARIATIONS,
    ),
]
Limit = Annotated[
    int,
    PlainValidator(read_limit),
    _described("integer", "How many at once.", minimum=1, maximum=MOST_AT_ONCE),
]
Attempts = Annotated[
    int,
    PlainValidator(read_attempts),
    _described(
        "integer",
        "How many attempts of a job are made without a person, where the server ends one for a passing reason.",
        minimum=1,
        maximum=MOST_ATTEMPTS,
    ),
]
RequestRate = Annotated[
    Rate,
    PlainValidator(read_rate),
    _described("string", "How many in a unit of time, spread evenly.", examples=["10/min", "1/s", "300/h"]),
]
Budget = Annotated[
    int | None,
    PlainValidator(read_budget),
    _described(
        "string",
        "The most that one edition may cost, refunds not taken off.",
        pattern="^[0-9]+ *credits?$",
        examples=["500 credits"],
    ),
]
Pattern = Annotated[
    str,
    PlainValidator(read_pattern),
    _described(
        "string",
        "An id, or a pattern of ids (*, ?, [).",
        minLength=1,
        maxLength=LONGEST_PATTERN,
        examples=["hero--storm", "*--storm"],
    ),
]
OutputTemplate = Annotated[
    str,
    PlainValidator(read_output),
    _described(
        "string",
        "Where each video goes inside the run folder, by {id}, {image}, {prompt} and {edition}.",
        maxLength=LONGEST_TEMPLATE,
        pattern=r"\.mp4$",
        examples=["videos/{id}.mp4", "{edition}/{image}/{prompt}.mp4"],
    ),
]
