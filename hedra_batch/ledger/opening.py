"""Opening the pair of identity and ledger: they are made, found to be the right ones, or begun anew after a loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hedra_batch.clock import Clock
from hedra_batch.errors import ConfigurationError
from hedra_batch.ledger.backend import Backend
from hedra_batch.ledger.identity import Arrival, Binding, Identity
from hedra_batch.ledger.records import Loss
from hedra_batch.ledger.sqlite.opening import open_backend
from hedra_batch.ledger.sqlite.reading import open_reader

__all__ = ["check_pair", "may_be_older", "open_pair", "open_reader"]


def check_pair(path: Path, identity: Identity | None) -> None:
    """Refuse to look at a ledger without its identity file, or where it was lost. Raises ConfigurationError."""
    if identity is None and path.exists():
        raise _make_no_identity(path)
    if identity is not None and identity.highest_attempt and not path.exists():
        raise ConfigurationError(
            f"{path.parent} has been used before, but its ledger.sqlite3 is gone. Put the ledger back from a backup. "
            "Without one, start a run: before it sends anything, it asks the server what was bought."
        )


def open_pair(
    path: Path, identity_path: Path, binding: Binding, *, same_account: bool, is_moved: bool, clock: Clock
) -> tuple[Backend, Identity, Loss | None, bool]:
    """Open both for writing; the last value tells whether they may be older than what was bought.

    What was put right in the identity is not saved yet. Raises WriteError where they cannot be written,
    ConfigurationError where they are not those of this batch.
    """
    identity = Identity.load(identity_path)
    if identity is None and path.exists():
        raise _make_no_identity(path)
    folder = identity_path.parent
    if identity is None:
        identity = Identity.create(binding, folder, clock.now_text())
        identity.save(identity_path)
    adopted = identity.adopt(binding, folder, same_account=same_account, is_moved=is_moved)
    is_put_back = path.exists() and may_be_older(path, identity)
    backend, loss = open_backend(path, adopted, clock)
    return backend, replace(adopted, ledger_inode=str(path.stat().st_ino)), loss, is_put_back


def may_be_older(path: Path, identity: Identity) -> bool:
    """Tell whether a backup was put in the place of the folder or of its ledger, or another place holds the folder."""
    is_replaced = identity.ledger_inode not in ("", str(path.stat().st_ino))
    return is_replaced or identity.judge_place(path.parent) is not Arrival.STAYED


def _make_no_identity(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path.parent} has a ledger, but its identity.json is gone. Nothing was sent: without it the paid requests of "
        "this folder cannot be recognised. Put it back from a backup."
    )
