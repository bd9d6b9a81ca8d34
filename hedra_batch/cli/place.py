"""Where a command works: the run folder of a manifest, the key, the address."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from hedra_batch.errors import ConfigurationError
from hedra_batch.folder import RunFolder

DEFAULT_BASE_URL = "https://api.hedra.com/web-app/public"
#: A trial shows in seconds what takes the real API minutes.
TRIAL_SPEED = 60.0
#: What a ledger of a trial is bound to instead of an address, which changes with each trial.
SIMULATED = "simulated"


def find_folder(manifest: Path, name: str, folder: Path | None, *, is_simulated: bool) -> RunFolder:
    """Choose the folder that was named, or the one beside the manifest."""
    ending = "sim" if is_simulated else "out"
    return RunFolder(folder or manifest.parent / f"{name}.{ending}")


def find_edition(label: str) -> str:
    """Settle a label: `today` becomes the local date. Loading the manifest checks whether it can be part of a path."""
    if label == "today":
        return datetime.now().astimezone().date().isoformat()
    return label


def find_key(environment: Mapping[str, str]) -> str:
    """Read the API key, from the environment or from the file it names. Raises ConfigurationError."""
    key = environment.get("HEDRA_API_KEY", "").strip()
    named = environment.get("HEDRA_API_KEY_FILE", "").strip()
    if not key and named:
        key = _read_key_file(Path(named))
    if not key:
        raise ConfigurationError(
            "There is no API key. Set HEDRA_API_KEY, or HEDRA_API_KEY_FILE to a file that holds it, or try --simulate."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError("The API key has characters that no key has. Copy it again, alone on its line.")
    return key


def _read_key_file(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise ConfigurationError(f"HEDRA_API_KEY_FILE: {path} is no regular file.")
        key = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        # A name without a folder may be the key itself, by mistake.
        named = path if path.parent.name or path.is_absolute() else "the file that it names"
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is no text"
        raise ConfigurationError(f"HEDRA_API_KEY_FILE: {named} cannot be read ({reason}).") from error
    if not key:
        raise ConfigurationError(f"HEDRA_API_KEY_FILE: {path} is empty. Write the API key into it.")
    return key


def shown(path: Path) -> str:
    """Write a path as a person would type it from here."""
    try:
        return os.path.relpath(path) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)
    except OSError:
        return str(path)
