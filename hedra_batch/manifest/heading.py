"""The name of a manifest, for commands that only look: what follows it is not read, and the schema is not loaded."""

from __future__ import annotations

from pathlib import Path

from hedra_batch.manifest.composer import compose_whole
from hedra_batch.manifest.document import read_text
from hedra_batch.manifest.names import make_manifest_name
from hedra_batch.manifest.values import read_manifest_name


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
