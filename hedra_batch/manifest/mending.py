"""Stand-ins for faulty values, so that what needs the whole manifest is checked in the same round.

Without them a wrong duration would hide two equal ids until the next try.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hedra_batch.manifest.naming import is_name
from hedra_batch.manifest.problems import Fault, Loc

#: Each names itself apart from all others, so that no stand-in clashes with anything.
_STAND_INS = {
    "id": "stand-in-{}",
    "prompt": "stand-in {}",
    "image": "https://stand-in.invalid/{}.png",
    "end_image": "https://stand-in.invalid/{}.png",
    "prompts": "stand-in {}",
    "images": "https://stand-in.invalid/{}.png",
}


def mend(values: Any, faults: Iterable[Fault]) -> Any:
    """Copy the values with faulty ones replaced, or left out where a default takes over."""
    copy = _copy(values)
    for number, fault in enumerate(faults):
        if fault.loc:
            _mend(copy, fault.loc, number)
    return copy


def hides_jobs(faults: Iterable[Fault]) -> bool:
    """Tell whether faults keep the ids of some jobs unknown, so that a job that seems absent may be there."""
    return any(
        fault.loc[:1] in {("prompts",), ("images",)} or fault.loc[-1:] == ("id",) or _is_of_prompts_or_images(fault.loc)
        for fault in faults
    )


def _is_of_prompts_or_images(loc: Loc) -> bool:
    return loc[:1] in {("jobs",), ("defaults",)} and (len(loc) < 3 or loc[-1] in _STAND_INS)


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
        case ("jobs", int(index)):
            values["jobs"][index] = {field: _STAND_INS[field].format(number) for field in ("id", "prompt")}
        case ("prompts" | "images" as field, int(index)):
            values[field][index] = _STAND_INS[field].format(number)
        case ("prompts" | "images" as field, name):
            # The name may be the faulty part.
            values[field].pop(name, None)
            values[field][name if is_name(str(name)) else f"stand-in-{number}"] = _STAND_INS[field].format(number)
        case (*parents, key):
            _mend_field(values, parents, str(key), number)


def _mend_field(values: Any, parents: Iterable[str | int], field: str, number: int) -> None:
    for parent in parents:
        values = values[parent]
    if field in _STAND_INS and tuple(parents):
        values[field] = _STAND_INS[field].format(number)
    else:
        values.pop(field, None)
