"""The identity file beside the ledger: what makes the keys of a batch its own, and a lost or foreign ledger noticed."""

from __future__ import annotations

import hashlib
import json
import secrets
import uuid
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from hedra_batch.durable import write_atomically
from hedra_batch.errors import ConfigurationError, WriteError
from hedra_batch.sanitize import to_yaml

#: Of the file. Those that name none are older, and read alike.
FORMAT = 1
#: More runs or attempts than any batch has; what is higher was not written by this program.
HIGHEST_COUNT = 10**9


@dataclass(frozen=True, slots=True)
class Binding:
    """What one run folder belongs to, and never leaves."""

    manifest: str
    base_url: str
    #: The account's key; only a salted fingerprint of it is ever stored.
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """The file's content; every write is fsynced and atomic."""

    batch_uuid: str
    manifest: str
    base_url: str
    key_salt: str
    key_fingerprint: str
    #: The folder that holds the file: a copy has another. Empty in files of older versions.
    place: str = ""
    #: As high as the ledger's own counter, or one lower after a crash at the start of a run.
    run_counter: int = 0
    #: Raised before an attempt of that number is sent, so that a lost ledger knows which keys to ask for.
    highest_attempt: int = 0

    @classmethod
    def create(cls, binding: Binding, place: str) -> Identity:
        """Make a new identity, whose keys no other batch has."""
        salt = secrets.token_hex(16)
        return cls(
            batch_uuid=str(uuid.uuid4()),
            manifest=binding.manifest,
            base_url=binding.base_url,
            key_salt=salt,
            key_fingerprint=fingerprint(salt, binding.api_key),
            place=place,
        )

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

    def adopt(self, binding: Binding, place: str, *, same_account: bool, is_moved: bool) -> Identity:
        """Refuse another manifest, API or account, and a copy of the folder.

        A replaced key passes where it is said to be of the same account, another place where the folder is said to
        have moved. As long as no attempt was ever made ready to be sent, nothing can have been paid for, and a mistyped
        address or key is simply put right. Raises ConfigurationError.
        """
        given = fingerprint(self.key_salt, binding.api_key)
        if not self.highest_attempt:
            return replace(
                self, manifest=binding.manifest, base_url=binding.base_url, key_fingerprint=given, place=place
            )
        if self.manifest != binding.manifest:
            raise ConfigurationError(
                f"This run folder belongs to the manifest '{self.manifest}', not to '{binding.manifest}'. Nothing was "
                f"sent. If the manifest was only renamed, write this line into it:\n"
                f"    name: {to_yaml(self.manifest)}\n"
                "For another manifest, choose another folder with --folder, where all of it is bought."
            )
        if self.base_url != binding.base_url:
            raise ConfigurationError(
                f"This run folder belongs to {_name_api(self.base_url)}, not to {_name_api(binding.base_url)}. Nothing "
                "was sent. Use that one (--base-url, HEDRA_BASE_URL or --simulate), or choose another folder with "
                "--folder, where everything is bought anew."
            )
        if self.key_fingerprint != given and not same_account:
            raise ConfigurationError(
                "This run folder was begun with another API key. Nothing was sent. Use that key. If the key was "
                "replaced and the account is the same, add --same-account once. For another account, choose another "
                "folder with --folder, where everything is bought anew."
            )
        if self.place not in ("", place) and not is_moved:
            raise ConfigurationError(
                "This run folder is a copy, or was moved to another disk. Nothing was sent: two copies would buy the "
                "same videos twice. Use the one that ran last; if it is this one, add --moved once."
            )
        return replace(self, key_fingerprint=given, place=place)

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
    texts = (identity.batch_uuid, identity.manifest, identity.base_url, identity.key_fingerprint, identity.place)
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


@lru_cache(maxsize=4)
def fingerprint(salt: str, api_key: str) -> str:
    """Tell keys apart without keeping them; slow on purpose, so that a weak key is not found by trying."""
    return hashlib.scrypt(api_key.encode(), salt=bytes.fromhex(salt), n=2**12, r=8, p=1, dklen=16).hex()
