"""The name and the budgets of a manifest, for commands that only look: no more is read, and no schema is loaded."""

from __future__ import annotations

from pathlib import Path

from hedra_batch.errors import ManifestError
from hedra_batch.manifest.composer import compose_whole
from hedra_batch.manifest.document import read_text
from hedra_batch.manifest.names import make_manifest_name
from hedra_batch.manifest.values import read_budget, read_manifest_name
from hedra_batch.money import NO_BUDGETS, Budgets


def load_budgets(path: Path) -> Budgets:
    """Read only what bounds the cost; what cannot be read is a fault that a run tells, and counts as none here.

    Raises InputFileError where there is no file.
    """
    text = read_text(path)
    if "budget" not in text.content:
        # To read a large manifest to its end only to find that there is none would take seconds.
        return NO_BUDGETS
    try:
        values = compose_whole(text, last_key="budget").values
        return read_budget(values["budget"]) if isinstance(values, dict) and "budget" in values else NO_BUDGETS
    except (ManifestError, ValueError):
        return NO_BUDGETS


def load_name(path: Path) -> str:
    """Read only what names the run folder, so that a ledger can be looked at beside a manifest with faults.

    Raises ManifestError where the text cannot be read as far as its name, InputFileError where there is no file.
    """
    values = compose_whole(read_text(path), last_key="name").values
    try:
        return read_manifest_name(values.get("name") if isinstance(values, dict) else None)
    except ValueError:
        # What cannot name a folder is a fault that a run tells; here the file's own name is the best guess.
        return make_manifest_name(path.stem)
