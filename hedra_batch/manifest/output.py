"""Where a video goes inside the run folder: the template that says so, and its rules."""

from __future__ import annotations

import hashlib
import re

from hedra_batch.manifest.faults import shown

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
_HASH_DIGITS = 6
#: Windows keeps these names for devices, in any folder and with any ending: no copy of such a file can be made there.
_DEVICE = re.compile(r"(?<![^/])(con|prn|aux|nul|(?:com|lpt)[0-9¹²³]) *[./]", re.IGNORECASE)


def check_template(template: str) -> str:
    """Return a template whose every output stays in the run folder. Raises ValueError with what is wrong."""
    unknown = [field for field in _FIELD.findall(template) if field not in PLACEHOLDERS]
    allowed = ", ".join(f"{{{field}}}" for field in PLACEHOLDERS)
    parts = template.split("/")
    faults = {
        f"{_name_unknown(unknown)} (allowed: {allowed})": bool(unknown),
        f"has a '{{' or '}}' that is no placeholder (allowed: {allowed})": bool(
            re.search(r"[{}]", _FIELD.sub("", template))
        ),
        "has a backslash (write '/' between folders)": "\\" in template,
        "is an absolute path (write a path inside the run folder, such as videos/{id}.mp4)": template.startswith("/"),
        "has an empty folder name (write one '/' between folders)": "" in parts[1:],
        "has '..' or a hidden name (write names that do not begin with '.')": any(p.startswith(".") for p in parts),
        f"has {len(template):,} characters (at most {LONGEST_TEMPLATE})": len(template) > LONGEST_TEMPLATE,
        f"does not end in {_ENDING} (write a file name, such as {{id}}{_ENDING})": not template.endswith(_ENDING),
        "is where the run keeps its own files (write another folder, such as videos/)": is_reserved(template),
    }
    for fault, is_there in faults.items():
        if is_there:
            raise ValueError(fault)
    return template


def _name_unknown(fields: list[str]) -> str:
    named = ", ".join(shown(f"{{{field}}}") for field in dict.fromkeys(fields))
    return f"has {'unknown placeholders' if len(fields) > 1 else 'an unknown placeholder'}: {named}"


def is_reserved(output: str) -> bool:
    """Tell whether an output would go among the run's own files."""
    return output.partition("/")[0].casefold() in _RESERVED


def settle_edition(template: str, edition: str) -> str:
    """Put the edition into a template. Raises ValueError where editions would overwrite each other."""
    if edition:
        if "{edition}" not in template:
            raise ValueError("needs {edition} in it for a run with --edition, or editions would share their files")
        return template.replace("{edition}", edition)
    settled = "/".join(part for part in template.split("/") if part != "{edition}")
    if "{edition}" in settled:
        raise ValueError(
            "has {edition} inside a name, which is empty without --edition (write a folder: videos/{edition}/{id}.mp4)"
        )
    return settled


def find_empty_field(template: str, image_id: str, prompt_id: str) -> str | None:
    """Say what the output of one job lacks, as the end of "the file would"."""
    if not image_id and "{image}" in template:
        return "have an empty {image} in its name, since the job has no image (write {id} instead)"
    if not prompt_id and "{prompt}" in template:
        return "have an empty {prompt} in its name, since its prompt has no name (write {id} instead)"
    return None


def fit_output(output: str) -> str:
    """Shorten each name that is too long for a file system, so that it stays one of its own."""
    # Seldom is the whole longer than one part may be, and a letter has at most four bytes.
    if len(output) * 4 <= LONGEST_PART_BYTES:
        return output
    return "/".join(map(_fit_part, output.split("/")))


def _fit_part(part: str) -> str:
    if len(part.encode()) <= LONGEST_PART_BYTES:
        return part
    stem, ending = (part[:-4], part[-4:]) if part.endswith(".mp4") else (part, "")
    ending = f"-{hashlib.sha256(part.encode()).hexdigest()[:_HASH_DIGITS]}{ending}"
    return stem.encode()[: LONGEST_PART_BYTES - len(ending)].decode("utf-8", "ignore") + ending


def find_fault(output: str) -> str | None:
    """Say what the names of one job made of its output, as the end of "the file would"."""
    if is_reserved(output):
        return "be among the run's own files (write another folder, such as videos/)"
    if _LATER_TAKE.search(output, len(output) - _LONGEST_TAKE):
        return "end in .take and a number, which is kept for new takes of a paid video (choose another name)"
    if len(output) * 4 > LONGEST_OUTPUT_BYTES and (size := len(output.encode())) > LONGEST_OUTPUT_BYTES:
        return f"have a path of {size:,} bytes (at most {LONGEST_OUTPUT_BYTES}: shorten the names)"
    if device := _DEVICE.search(output):
        return f"have {device[1]!r} in its path, a name that Windows keeps for a device (choose another)"
    return None
