"""The identity file beside the ledger: what makes the keys of a batch its own, and a lost or foreign ledger noticed."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shlex
import uuid
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from hedra_batch.durable import write_atomically
from hedra_batch.errors import ConfigurationError, WriteError
from hedra_batch.machine import name_machine
from hedra_batch.sanitize import to_yaml

#: Of the file. Those that name none are older, and read alike.
FORMAT = 2
#: More runs or attempts than any batch has; what is higher was not written by this program.
HIGHEST_COUNT = 10**9


@dataclass(frozen=True, slots=True)
class Binding:
    """What one run folder belongs to, and never leaves."""

    manifest: str
    base_url: str
    #: The account's key; only a salted fingerprint of it is ever stored.
    api_key: str = field(repr=False)
    #: The manifest's file; None where it is none that stays.
    manifest_file: Path | None = None


class Place(NamedTuple):
    """Where a run folder is; a copy of it is in another place."""

    machine: str
    path: str
    #: The file system's number of the folder, which it keeps when it is renamed.
    inode: str

    @classmethod
    def find(cls, folder: Path, salt: str) -> Place:
        return cls(name_machine(salt), str(folder.resolve()), find_place(folder / "identity.json"))


class Arrival(StrEnum):
    """How a run folder has come to where it is."""

    #: It was there before, perhaps under another name.
    STAYED = "stayed"
    #: A backup of it was put in its place.
    RESTORED = "restored"
    #: It is somewhere else, or on another machine.
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class Identity:
    """The file's content; every write is fsynced and atomic."""

    batch_uuid: str
    manifest: str
    base_url: str
    key_salt: str
    key_fingerprint: str
    #: The inode of the folder that holds the file: a copy has another. Empty in files of older versions.
    place: str = ""
    #: The machine, by a salted hash, and the path of the folder. Empty in files of older versions.
    machine: str = ""
    path: str = ""
    #: The inode of the ledger, which is written in place: one that was put back has another. May be empty.
    ledger_inode: str = ""
    #: The manifest's file, relative to the folder. Empty where it is not known.
    manifest_file: str = ""
    #: When the batch was begun. Empty in files of older versions.
    created_at: str = ""
    #: As high as the ledger's own counter, or one lower after a crash at the start of a run.
    run_counter: int = 0
    #: Raised before an attempt of that number is sent, so that a lost ledger knows which keys to ask for.
    highest_attempt: int = 0

    @classmethod
    def create(cls, binding: Binding, folder: Path, now: str) -> Identity:
        """Make a new identity, whose keys no other batch has."""
        salt = secrets.token_hex(16)
        blank = cls(str(uuid.uuid4()), binding.manifest, binding.base_url, salt, fingerprint(salt, binding.api_key))
        return replace(blank.noting(binding, folder), created_at=now)

    @classmethod
    def load(cls, path: Path) -> Identity | None:
        """Read the file; None where there is none.

        Raises WriteError when it cannot be read, ConfigurationError when it is damaged.
        """
        try:
            content = json.loads(path.read_text("utf-8"))
            _require_known(path, content.pop("format", 0))
            return _check(cls(**content))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise WriteError(
                f"{path} cannot be read: {error.strerror or error}. Nothing was sent. Check its permissions."
            ) from error
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigurationError(
                f"{path} is damaged. Nothing was sent: without it the paid requests of this folder cannot be "
                "recognised. Put it back from a backup."
            ) from error

    def save(self, path: Path) -> None:
        """Write the file so that after a crash the old or the new one is there, whole."""
        try:
            write_atomically(path, json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n")
        except OSError as error:
            raise WriteError(f"{path} cannot be written: {error.strerror or error}. Nothing more is sent.") from error

    def adopt(self, binding: Binding, folder: Path, *, same_account: bool, is_moved: bool) -> Identity:
        """Refuse another manifest, API or account, and a copy of the folder.

        A replaced key passes where it is said to be of the same account, another place where the folder is said to
        have moved. As long as no attempt was ever made ready to be sent, nothing can have been paid for, and a mistyped
        address or key is simply put right. Raises ConfigurationError.
        """
        given = fingerprint(self.key_salt, binding.api_key)
        if self.highest_attempt:
            self._require_manifest(binding, folder)
            self._require_account(binding, given, same_account=same_account)
            self._require_place(binding, folder, is_moved=is_moved)
        # A replaced key is taken over once the API has taken it.
        kept = self.key_fingerprint if self.highest_attempt else given
        adopted = replace(self, manifest=binding.manifest, base_url=binding.base_url, key_fingerprint=kept)
        return adopted.noting(binding, folder)

    def bound_to(self, api_key: str) -> Identity:
        """Take over a key, once the API has taken it: a mistyped one must not keep the right one out."""
        return replace(self, key_fingerprint=fingerprint(self.key_salt, api_key))

    def judge_place(self, folder: Path) -> Arrival:
        """Tell how the folder has come to where it is."""
        place = Place.find(folder, self.key_salt)
        is_here, is_same_path = self.machine in ("", place.machine), self.path in ("", place.path)
        # The top folders of many file systems have the same number, so there it tells nothing.
        if self.place in ("", place.inode) and (is_here or is_same_path or not folder.is_mount()):
            return Arrival.STAYED
        # Which place an older version has seen is not known.
        if self.path and is_here and is_same_path:
            return Arrival.RESTORED
        return Arrival.ELSEWHERE

    def noting(self, binding: Binding, folder: Path) -> Identity:
        """Note where the folder is now, and its manifest."""
        machine, path, inode = Place.find(folder, self.key_salt)
        file = self.manifest_file
        if binding.manifest_file:
            file = os.path.relpath(binding.manifest_file.resolve(), path)
        return replace(self, machine=machine, path=path, place=inode, manifest_file=file)

    def _require_manifest(self, binding: Binding, folder: Path) -> None:
        if self.manifest != binding.manifest:
            raise ConfigurationError(
                f"This run folder belongs to the manifest '{self.manifest}', not to '{binding.manifest}'. Nothing was "
                f"sent. If the manifest was only renamed, write this line into it:\n"
                f"    name: {to_yaml(self.manifest)}\n"
                "For another manifest, choose another folder with --folder and add --new-folder: all of it is bought."
            )
        first = self.find_manifest(folder)
        if first and binding.manifest_file and not first.samefile(binding.manifest_file):
            raise ConfigurationError(
                f"Two manifests have the name '{self.manifest}': {first}, which this run folder belongs to, and "
                f"{binding.manifest_file}. Nothing was sent. Write another name into the second one, as in "
                f"'name: {to_yaml(self.manifest + '-2')}', and add --new-folder: all of it is bought then. If it takes "
                "the place of the first, move the first one away."
            )

    def find_manifest(self, folder: Path) -> Path | None:
        """Find the manifest that was run into this folder last; None where it is not known, or not there."""
        if not self.manifest_file:
            return None
        path = Path(os.path.normpath(folder.resolve() / self.manifest_file))
        return path if path.is_file() else None

    def _require_account(self, binding: Binding, given: str, *, same_account: bool) -> None:
        if self.base_url != binding.base_url:
            raise ConfigurationError(
                f"This run folder belongs to {_name_api(self.base_url)}, not to {_name_api(binding.base_url)}. Nothing "
                "was sent. Use that one (--base-url, HEDRA_BASE_URL or --simulate), or choose another folder with "
                "--folder, where everything is bought anew."
            )
        if self.key_fingerprint != given and not same_account:
            raise ConfigurationError(
                "This run folder was last used with another API key. Nothing was sent. Use that key. If the key was "
                "replaced and the account is the same, add --same-account once. For another account, choose another "
                "folder with --folder, where everything is bought anew."
            )

    def _require_place(self, binding: Binding, folder: Path, *, is_moved: bool) -> None:
        noted = Path(self.path)
        if self.path and is_another(noted, folder) and holds_batch(noted, self.batch_uuid):
            raise make_copy_error(noted, binding.manifest_file)
        if self.judge_place(folder) is not Arrival.ELSEWHERE:
            return
        if not is_moved:
            raise ConfigurationError(
                "This run folder is a copy, or was moved to another disk or machine. Nothing was sent: two copies "
                "would buy the same videos twice. Use the one that ran last; if it is this one, add --moved once. "
                "Before it buys anything, the run then asks the server what was bought."
            )

    def raised(self, run_counter: int, highest_attempt: int) -> Identity:
        """Return the same identity with counters that never go down."""
        return replace(
            self,
            run_counter=max(self.run_counter, run_counter),
            highest_attempt=max(self.highest_attempt, highest_attempt),
        )


def _name_api(base_url: str) -> str:
    # That of a trial has a word in place of its address.
    return f"the API at {base_url}" if "://" in base_url else f"a {base_url} API"


def _check(identity: Identity) -> Identity:
    """Return an identity whose values are what they can be. Raises ValueError and TypeError."""
    texts = [identity.batch_uuid, identity.manifest, identity.base_url, identity.key_fingerprint, identity.place]
    texts += [identity.machine, identity.path, identity.ledger_inode, identity.manifest_file]
    texts += [identity.created_at]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text is none")
    for count in (identity.run_counter, identity.highest_attempt):
        if type(count) is not int or not 0 <= count <= HIGHEST_COUNT:
            raise ValueError("a counter is none")
    uuid.UUID(identity.batch_uuid)
    bytes.fromhex(identity.key_salt)
    return identity


def _require_known(path: Path, number: object) -> None:
    if type(number) is not int:
        raise TypeError("its format is no number")
    if number > FORMAT:
        raise ConfigurationError(
            f"{path} was written by a newer version of this program (format {number}, this one knows up to {FORMAT}). "
            "Nothing was sent. Update the program."
        )


def find_place(path: Path) -> str:
    """Name the folder of a file so that a copy has another name, and a folder that was only renamed has not."""
    return str(path.parent.stat().st_ino)


def make_copy_error(other: Path, manifest_file: Path | None) -> ConfigurationError:
    """Make the refusal of a folder whose batch is in another one too."""
    first = _find_manifest(other)
    is_copied = first and manifest_file and is_another(first, manifest_file)
    way = f"with the manifest {shlex.quote(str(first))}" if is_copied else f"with --folder {shlex.quote(str(other))}"
    return ConfigurationError(
        f"This run folder is a copy: {other} holds the same batch. Nothing was sent: two copies would buy the same "
        f"videos twice. Go on {way}. If that folder is out of use, move it away or delete it, and add --moved once. To "
        "buy everything anew here, write another name into this manifest, and add --new-folder."
    )


def _find_manifest(folder: Path) -> Path | None:
    """Find the manifest that was run into a folder, if it is known."""
    try:
        identity = Identity.load(folder / "identity.json")
    except (ConfigurationError, WriteError):
        return None
    return identity.find_manifest(folder) if identity else None


def is_another(noted: Path, folder: Path) -> bool:
    """Tell whether a folder that was noted is there, and is not this one."""
    try:
        return not noted.samefile(folder)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def holds_batch(folder: Path, batch_uuid: str) -> bool:
    """Tell whether a folder is there and belongs to a batch."""
    try:
        identity = Identity.load(folder / "identity.json")
    except (ConfigurationError, WriteError):
        # What cannot be read may be it.
        return True
    return identity is not None and identity.batch_uuid == batch_uuid


@lru_cache(maxsize=4)
def fingerprint(salt: str, api_key: str) -> str:
    """Tell keys apart without keeping them; slow on purpose, so that a weak key is not found by trying."""
    return hashlib.scrypt(api_key.encode(), salt=bytes.fromhex(salt), n=2**12, r=8, p=1, dklen=16).hex()
