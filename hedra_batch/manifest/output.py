"""Where a video goes inside the run folder: the template that says so, and its rules."""

from __future__ import annotations

import re

#: Without an edition its folder is left out.
DEFAULT_TEMPLATE = "videos/{edition}/{id}.mp4"
PLACEHOLDERS = ("id", "image", "prompt", "edition")
#: File systems allow 255 bytes; the rest is for `.take2` and `.part`.
LONGEST_PART_BYTES = 230
#: Some systems allow 1,024 bytes for a whole path, with the run folder in front.
LONGEST_OUTPUT_BYTES = 800
#: Every job's output is made of it, so a long one would fill the memory.
LONGEST_TEMPLATE = 200

_ENDING = ".mp4"
_FIELD = re.compile(r"\{([^{}]*)\}")
#: What the run folder has for itself, in any case of letters.
_RESERVED = frozenset(
    {
        "logs",
        "simulator",
        "run.lock",
        "readme.txt",
        *(f"ledger.sqlite3{ending}" for ending in ("", "-wal", "-shm", "-journal")),
        *(f"{name}.json{ending}" for name in ("identity", "summary") for ending in ("", ".part")),
    }
)
_LATER_TAKE = re.compile(r"\.take[0-9]+\.mp4$", re.IGNORECASE)
_LONGEST_TAKE = 16
#: Windows keeps these names for devices, in any folder and with any ending: no copy of such a file can be made there.
_DEVICE = re.compile(r"(?<![^/])(con|prn|aux|nul|(?:com|lpt)[0-9¹²³]) *[./]", re.IGNORECASE)


def check_template(template: str) -> str:
    """Return a template whose every output stays in the run folder. Raises ValueError with what is wrong."""
    unknown = [field for field in _FIELD.findall(template) if field not in PLACEHOLDERS]
    parts = template.split("/")
    faults = {
        f"has a field of its own (allowed: {', '.join(f'{{{field}}}' for field in PLACEHOLDERS)})": bool(unknown),
        "has a brace that belongs to no field": bool(re.search(r"[{}]", _FIELD.sub("", template))),
        "has a backslash (allowed: '/' between folders)": "\\" in template,
        "is an absolute path (allowed: a path inside the run folder)": template.startswith("/"),
        "has an empty part (allowed: one '/' between folders)": "" in parts[1:],
        "has a hidden part, or '..' (allowed: names that do not begin with '.')": any(p.startswith(".") for p in parts),
        f"has {len(template):,} characters (at most {LONGEST_TEMPLATE})": len(template) > LONGEST_TEMPLATE,
        f"does not end in {_ENDING}": not template.endswith(_ENDING),
        "goes where the run keeps its own files (allowed: another folder, such as videos/)": is_reserved(template),
    }
    for fault, is_there in faults.items():
        if is_there:
            raise ValueError(fault)
    return template


def is_reserved(output: str) -> bool:
    """Tell whether an output would go among the run's own files."""
    return output.partition("/")[0].casefold() in _RESERVED


def settle_edition(template: str, edition: str) -> str:
    """Put the edition into a template. Raises ValueError where editions would overwrite each other."""
    if edition:
        if "{edition}" not in template:
            raise ValueError("needs {edition} when a run has an edition, or editions would share their files")
        return template.replace("{edition}", edition)
    settled = "/".join(part for part in template.split("/") if part != "{edition}")
    if "{edition}" in settled:
        raise ValueError("has {edition} in a name, which is empty without --edition (allowed: as a folder of its own)")
    return settled


def find_empty_field(template: str, image_id: str, prompt_id: str) -> str | None:
    """Say what the output of one job lacks, as the end of "the file would"."""
    if not image_id and "{image}" in template:
        return "have an empty {image}, since the job has no image (allowed: {id})"
    if not prompt_id and "{prompt}" in template:
        return "have an empty {prompt}, since the job's prompt has no name (allowed: {id})"
    return None


def find_fault(output: str) -> str | None:
    """Say what the names of one job made of its output, as the end of "the file would"."""
    if is_reserved(output):
        return "be among the run's own files (allowed: another folder, such as videos/)"
    if _LATER_TAKE.search(output, len(output) - _LONGEST_TAKE):
        return "have the name of a later take of another (.take2, .take3 and so on)"
    # Seldom is the whole longer than one part may be, and a letter has at most four bytes.
    if len(output) * 4 > LONGEST_PART_BYTES and (fault := _find_excess(output)):
        return fault
    device = _DEVICE.search(output)
    return f"have the name of a device on Windows, {device[1]!r} (allowed: any other)" if device else None


def _find_excess(output: str) -> str | None:
    size = len(output.encode())
    longest = max(len(part.encode()) for part in output.split("/"))
    if longest > LONGEST_PART_BYTES:
        return f"have a name of {longest} bytes (at most {LONGEST_PART_BYTES}; shorten the names)"
    if size > LONGEST_OUTPUT_BYTES:
        return f"have a path of {size:,} bytes (at most {LONGEST_OUTPUT_BYTES}; shorten the names)"
    return None
