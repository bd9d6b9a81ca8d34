"""The API key, as people keep it: in the environment or in a file, with what editors and shells put around it."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from hedra_batch.errors import ConfigurationError

#: A line of a shell or of a list of settings that gives a key its name.
_ASSIGNMENT = re.compile(r"(?:export\s+)?(\w*(?:KEY|TOKEN)\w*)\s*[=:]\s*(\S.*)", re.IGNORECASE)
_QUOTES = ('"', "'", "`")


def has_key(environment: Mapping[str, str]) -> bool:
    """Tell whether a key was given, be it the right one or not."""
    return any(environment.get(name, "").strip() for name in ("HEDRA_API_KEY", "HEDRA_API_KEY_FILE"))


def find_key(environment: Mapping[str, str]) -> str:
    """Read the API key, from the environment or from the file it names. Raises ConfigurationError."""
    key = _extract(environment.get("HEDRA_API_KEY", ""), "HEDRA_API_KEY")
    if not key and (path := _find_file(environment)):
        key = _read_file(path)
    if not key:
        raise ConfigurationError(
            "There is no API key. Write it into a file and name that file in HEDRA_API_KEY_FILE, or put the key itself "
            "into HEDRA_API_KEY. A trial needs none: add --simulate."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError("The API key has characters that no key has. Copy it again, alone on its line.")
    return key


def warn_of_key_file(environment: Mapping[str, str]) -> Iterator[str]:
    """Say that others can read the file with the key, where that is so."""
    path = _find_file(environment)
    if environment.get("HEDRA_API_KEY", "").strip() or path is None:
        return
    try:
        is_open = path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    except OSError:
        return
    if is_open:
        yield f"{path}: others can read the file with the API key. To keep it to yourself: chmod 600 {path}"


def _find_file(environment: Mapping[str, str]) -> Path | None:
    named = _unquote(environment.get("HEDRA_API_KEY_FILE", "").strip())
    if not named:
        return None
    path = Path(named)
    # A shell leaves `~` as it is within quotes, and cron knows it nowhere.
    return path.expanduser() if named.startswith("~") and not path.exists() else path


def _read_file(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise ConfigurationError(f"HEDRA_API_KEY_FILE: {path} is not a file. Name the file that holds the API key.")
        text = _decode(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        # A name without a folder may be the key itself, by mistake.
        named = path if path.parent.name or path.is_absolute() else "the file that it names"
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is not a text file"
        raise ConfigurationError(
            f"HEDRA_API_KEY_FILE: {named} cannot be read ({reason}). Name the file that holds the API key."
        ) from error
    if key := _extract(text, f"HEDRA_API_KEY_FILE: {path}"):
        return key
    raise ConfigurationError(f"HEDRA_API_KEY_FILE: {path} is empty. Write the API key into it.")


def _decode(data: bytes) -> str:
    """Read text as editors write it: UTF-8, with a byte order mark or without, or UTF-16 with one."""
    return data.decode("utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig")


def _extract(text: str, place: str) -> str:
    """Take a key out of what stands around it: space, quotes, comments, a name. Raises ConfigurationError."""
    lines = [line.strip() for line in text.lstrip("\ufeff").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    named = [match for line in lines if (match := _ASSIGNMENT.fullmatch(line))]
    ours = [match for match in named if match[1].upper() == "HEDRA_API_KEY"] or named
    if len(lines) > 1 and len(ours) != 1:
        raise ConfigurationError(
            f"{place} has {len(lines)} lines, and it is not clear which is the key. Write the API key alone on one "
            "line, or as HEDRA_API_KEY=…"
        )
    return _unquote(ours[0][2] if ours else lines[0]) if lines else ""


def _unquote(text: str) -> str:
    text = text.strip()
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES
    return text[1:-1].strip() if is_quoted else text
