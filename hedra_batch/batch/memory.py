"""What this user's state directory remembers of run folders: where each batch is, of which manifest, and its last run.

It only helps to notice that a run begins a second folder, or goes on with an older one. So nothing that is wrong with
it is ever a reason to fail, and it holds nothing of what the manifests ask for.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from hedra_batch.batch.workspace import Workspace
from hedra_batch.durable import write_atomically
from hedra_batch.errors import HedraBatchError
from hedra_batch.folder import RunFolder
from hedra_batch.ledger.identity import Identity, is_another, make_copy_error

logger = logging.getLogger(__name__)

FORMAT = 1


@dataclass(frozen=True, slots=True)
class RememberedBatch:
    """One batch, as its last run left it."""

    batch_uuid: str
    #: The manifest's.
    name: str
    #: Absolute, of the run folder, of its manifest as it was typed, and of the file that it leads to.
    folder: str
    manifest: str
    manifest_target: str
    #: Device and inode of that file, which it keeps when it is renamed.
    manifest_file: str
    #: Of the API and of the account, salted.
    api_fingerprint: str
    account_fingerprint: str
    salt: str
    run_counter: int

    def is_at(self, base_url: str) -> bool:
        return self.api_fingerprint == _hash_api(self.salt, base_url)

    def is_of_manifest(self, path: Path) -> bool:
        """Tell whether it was made of the manifest at a path, or of the same file under another name."""
        if self.manifest == str(path.absolute()) or self.manifest_target == os.path.realpath(path):
            return True
        # Where the first file still stands, a number that is the same was given to another one since.
        return self.manifest_file == name_file(path) and self.was_renamed

    @property
    def was_renamed(self) -> bool:
        """Tell whether its manifest is no longer where it was."""
        return not os.path.lexists(self.manifest_target)

    @property
    def is_there(self) -> bool:
        """Tell whether the run folder is where it was, with its ledger; so is what cannot be looked into."""
        folder = RunFolder(Path(self.folder))
        try:
            identity = Identity.load(folder.identity)
            return identity is not None and identity.batch_uuid == self.batch_uuid and folder.ledger.exists()
        except (HedraBatchError, OSError):
            return True


def name_file(path: Path) -> str:
    """Name a file so that it has the same name when it is renamed; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def remember(workspace: Workspace, identity: Identity) -> None:
    """Note where a batch is now."""
    if workspace.state_folder is None or workspace.start_api is not None:
        return
    try:
        path = _name_entry(workspace.state_folder, identity.batch_uuid)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(
            path, json.dumps({"format": FORMAT, **asdict(_describe(workspace, identity))}, indent=1) + "\n"
        )
    except (OSError, ValueError) as error:
        logger.debug("the run folder is not remembered: %s", error)


def forget_unpaid(workspace: Workspace, identity: Identity) -> None:
    """Forget a batch for which nothing was ever made ready to be sent."""
    if workspace.state_folder is None or identity.highest_attempt:
        return
    try:
        _name_entry(workspace.state_folder, identity.batch_uuid).unlink(missing_ok=True)
    except OSError as error:
        logger.debug("the run folder is not forgotten: %s", error)


def read_last_run(workspace: Workspace) -> int:
    """Read the number of the last run that is remembered of the batch in a run folder; 0 where none is.

    Raises ConfigurationError where that run was in another folder, which is still there.
    """
    if workspace.state_folder is None or workspace.start_api is not None:
        return 0
    identity = Identity.load(workspace.folder.identity)
    known = _read(_name_entry(workspace.state_folder, identity.batch_uuid)) if identity else None
    if known is None:
        return 0
    if known.run_counter and known.is_there and is_another(Path(known.folder), workspace.folder.path):
        raise make_copy_error(Path(known.folder), workspace.manifest_file)
    return known.run_counter


def list_batches(state_folder: Path | None) -> Iterator[RememberedBatch]:
    """Yield every batch that is remembered; what cannot be read is left out."""
    try:
        paths = sorted(state_folder.joinpath("batches").glob("*.json")) if state_folder else []
    except OSError as error:
        logger.debug("what is remembered of run folders cannot be read: %s", error)
        return
    yield from filter(None, map(_read, paths))


def _describe(workspace: Workspace, identity: Identity) -> RememberedBatch:
    manifest = workspace.manifest_file
    return RememberedBatch(
        batch_uuid=identity.batch_uuid,
        name=identity.manifest,
        folder=str(workspace.folder.path.resolve()),
        manifest=str(manifest.absolute()) if manifest else "",
        manifest_target=os.path.realpath(manifest) if manifest else "",
        manifest_file=name_file(manifest) if manifest else "",
        api_fingerprint=_hash_api(identity.key_salt, identity.base_url),
        account_fingerprint=identity.key_fingerprint,
        salt=identity.key_salt,
        run_counter=identity.run_counter,
    )


def _read(path: Path) -> RememberedBatch | None:
    try:
        return _check(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        logger.debug("%s is not read: %s", path, error)
        return None


def _check(content: dict[str, object]) -> RememberedBatch:
    """Make a record of what a file holds. Raises ValueError, TypeError and LookupError where it is none."""
    if content.pop("format") != FORMAT:
        raise ValueError("its format is not known")
    batch = RememberedBatch(**content)  # type: ignore[arg-type] # checked below
    for field in fields(RememberedBatch):
        if type(getattr(batch, field.name)) is not (int if field.name == "run_counter" else str):
            raise TypeError(f"{field.name} is none")
    return batch


def _name_entry(state_folder: Path, batch_uuid: str) -> Path:
    return state_folder / "batches" / f"{batch_uuid}.json"


def _hash_api(salt: str, base_url: str) -> str:
    return hashlib.sha256(f"{salt} {base_url}".encode()).hexdigest()[:32]
