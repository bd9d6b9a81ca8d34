"""What is wrong with the shape of a manifest, and stand-ins for what is faulty.

With stand-ins, what needs the whole manifest is checked in the same round: without them a wrong duration would hide two
equal ids until the next try.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hedra_batch.inputs import FIELDS, MEDIA_FIELDS, ValueType
from hedra_batch.manifest.document import Tree
from hedra_batch.manifest.faults import MOST_FAULTS, Fault, Loc, kind, shown, suggestion
from hedra_batch.manifest.names import is_name
from hedra_batch.manifest.schema import (
    DEFAULTS_MODEL,
    JOB_MODEL,
    MOST_ENTRIES,
    OVERRIDE_MODEL,
    LimitsEntry,
    ManifestEntry,
)

#: Finding out what an unknown key may have meant is slow.
_MOST_SUGGESTIONS = 200
_FIELD_KEYS = frozenset({"variations", *(field.key for field in FIELDS)})
_TEXT_KEYS = frozenset(field.key for field in FIELDS if field.type is ValueType.TEXT)

#: In the name of every stand-in, so that no message speaks of one.
_MARK = "stand-in-for-a-fault"
_URL = f"https://example.invalid/{_MARK}-{{}}.png"
#: For what makes jobs and their ids; each differs from all others, so that no stand-in clashes with anything.
_STAND_INS = {
    "id": f"{_MARK}-{{}}",
    "prompt": f"{_MARK} {{}}",
    **{field.key: _URL for field in MEDIA_FIELDS},
    "prompts": f"{_MARK} {{}}",
    "images": _URL,
}
_NOT_ABOUT_JOBS = frozenset(
    {"version", "name", "budget", "attempts", "overrides", "exclude", "limits", "output", "on_unknown", "quiet_window"}
)


def _is_text(loc: Loc) -> bool:
    """Tell whether a free text stands at a place, which is where quotes are forgotten."""
    match loc:
        case ("prompts", _):
            return True
        case ("defaults", key) | ("jobs", int(), key) | ("overrides", _, key):
            return key in _TEXT_KEYS
        case _:
            return False


def find_cut_texts(tree: Tree) -> list[Fault]:
    cuts = ((loc, what) for loc, what in tree.cuts.items() if _is_text(loc))
    return [Fault(loc, f"{what} (put the text in quotes)") for loc, what in islice(cuts, MOST_FAULTS + 1)]


def check_shape(values: object, tree: Tree) -> tuple[ManifestEntry | None, list[Fault]]:
    """Check values at the positions of a tree; without faults there is an entry."""
    try:
        return ManifestEntry.model_validate(values), []
    except ValidationError as error:
        details = error.errors(include_url=False)[: MOST_FAULTS + 1]
    return None, [
        _explain(detail, tree, is_suggesting=index < _MOST_SUGGESTIONS) for index, detail in enumerate(details)
    ]


def _explain(detail: ErrorDetails, tree: Tree, *, is_suggesting: bool) -> Fault:
    loc, value = _find_loc(detail["loc"]), detail["input"]
    if detail["type"] == "extra_forbidden":
        return Fault(loc, _explain_unknown(loc, value, is_suggesting=is_suggesting), tree.key_offset(loc))
    if detail["type"] == "value_error":
        is_key = detail["loc"][-1] == "[key]"
        return Fault(loc, str(detail["ctx"]["error"]), tree.key_offset(loc) if is_key else None)
    whats = {
        # The only key that must be there.
        "missing": "is missing (write 'version: 1' at the top)",
        "literal_error": f"must be {detail.get('ctx', {}).get('expected')}, not {shown(value)}",
        "too_short": "is empty (add an entry, or remove the key)",
        "too_long": f"has too many entries (at most {MOST_ENTRIES:,})",
    }
    return Fault(loc, whats.get(detail["type"], f"must be {_allowed_shape(loc)}, not {kind(value)}"))


def _find_loc(loc: Loc) -> Loc:
    """Take out what only the model knows: which of two shapes was met, and that a key is meant."""
    if loc[:1] in {("prompts",), ("images",)}:
        loc = loc[:1] + loc[2:]
    return loc[:-1] if loc[-1:] == ("[key]",) else loc


def _explain_unknown(loc: Loc, value: object, *, is_suggesting: bool) -> str:
    allowed = [field.alias or name for name, field in _find_part(loc[:-1]).model_fields.items()]
    meant = suggestion(str(loc[-1]), allowed) if is_suggesting else ""
    if len(loc) == 1 and loc[0] in _FIELD_KEYS:
        return f"belongs to jobs (write it under defaults for all of them: 'defaults: {{{loc[0]}: …}}')"
    if value is None and not meant and loc[0] in {"jobs", "defaults"}:
        return "is read by YAML as a key of its own (if it belongs to a text, put the whole text in quotes)"
    return f"is not a known key{meant} (allowed: {', '.join(allowed)})"


def _find_part(loc: Loc) -> type[BaseModel]:
    parts: dict[str | int, type[BaseModel]] = {
        "defaults": DEFAULTS_MODEL,
        "jobs": JOB_MODEL,
        "limits": LimitsEntry,
        "overrides": OVERRIDE_MODEL,
    }
    return parts[loc[0]] if loc else ManifestEntry


def _allowed_shape(loc: Loc) -> str:
    match loc:
        case ("prompts" | "images",):
            return "a list, each line beginning with '- ', or a name and a ':' for each"
        case ("exclude",):
            return "a list of ids or patterns, such as [hero--storm]"
        case ("jobs",):
            return "a list of jobs, each beginning with '- '"
        case ("jobs", _) | ("overrides", _):
            return "keys with values, such as {prompt: …, image: …}"
        case ("overrides",):
            return "a mapping of ids to keys with values, such as {hero--storm: {prompt: …}}"
        case _:
            return "keys with values, such as 'version: 1'" if not loc else "keys with values, each as 'key: value'"


def mend(values: Any, faults: Iterable[Fault]) -> Any:
    """Copy the values with faulty ones replaced, or left out where a default takes over."""
    copy = _copy(values)
    for number, fault in enumerate(faults):
        if fault.loc:
            _mend(copy, fault.loc, number)
    return copy


def hides_jobs(faults: Iterable[Fault]) -> bool:
    """Tell whether faults keep the ids of some jobs unknown, so that a job that seems absent may be there."""
    return any(_is_about_jobs(fault.loc) for fault in faults)


def is_real(fault: Fault) -> bool:
    """Tell whether a fault is one of the manifest itself and not of a stand-in."""
    return _MARK not in fault.what


def _is_about_jobs(loc: Loc) -> bool:
    match loc:
        case ("jobs", _, field) | ("defaults", field):
            return field in _STAND_INS or field == "variations"
        case (key, *_):
            return key not in _NOT_ABOUT_JOBS
        case _:
            return True


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _mend(values: Any, loc: Loc, number: int) -> None:
    if not isinstance(values, dict):
        return
    match loc:
        case ("version",):
            values["version"] = 1
        case ("defaults",):
            values["defaults"] = {"prompt": _STAND_INS["prompt"].format(number)}
        case ("exclude", _):
            # One fewer would move the others.
            values.pop("exclude", None)
        case ("overrides", *_):
            values.pop("overrides", None)
        case ("jobs", int(index)):
            values["jobs"][index] = {field: _STAND_INS[field].format(number) for field in ("id", "prompt")}
        case ("prompts" | "images" as field, int(index)):
            values[field][index] = _STAND_INS[field].format(number)
        case ("prompts" | "images" as field, name):
            # The name may be the faulty part.
            values[field].pop(name, None)
            name = name if is_name(str(name)) else _STAND_INS["id"].format(number)
            values[field][name] = _STAND_INS[field].format(number)
        case (*parents, key):
            _mend_field(values, parents, str(key), number)


def _mend_field(values: Any, parents: list[str | int], field: str, number: int) -> None:
    for parent in parents:
        values = values[parent]
    if parents and field in _STAND_INS:
        values[field] = _STAND_INS[field].format(number)
    else:
        values.pop(field, None)
