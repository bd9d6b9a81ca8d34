"""Stand-ins for faulty values, so that what needs the whole manifest is checked in the same round.

Without them a wrong duration would hide two equal ids until the next try.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hedra_batch.manifest.faults import Fault, Loc
from hedra_batch.manifest.names import is_name

#: In the name of every stand-in, so that no message speaks of one.
_MARK = "stand-in-for-a-fault"
_URL = f"https://example.invalid/{_MARK}-{{}}.png"
#: Each differs from all others, so that no stand-in clashes with anything.
_STAND_INS = {
    "id": f"{_MARK}-{{}}",
    "prompt": f"{_MARK} {{}}",
    "image": _URL,
    "end_image": _URL,
    "prompts": f"{_MARK} {{}}",
    "images": _URL,
}
_NOT_ABOUT_JOBS = frozenset(
    {"version", "name", "budget", "attempts", "exclude", "limits", "output", "on_unknown", "quiet_window"}
)


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
