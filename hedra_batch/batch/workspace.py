"""Where a run finds and writes things."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from hedra_batch.errors import ConfigurationError
from hedra_batch.folder import RunFolder
from hedra_batch.ledger.identity import Binding

#: Starts the API of a trial, with its state in a folder, and yields its address.
StartApi = Callable[[Path], AbstractAsyncContextManager[str]]

#: What the ledger of a trial belongs to instead of an address, which changes with each trial.
SIMULATED = "simulated"


class Beginning(StrEnum):
    """Whether a run folder may be begun."""

    #: Unless another one holds what would be bought.
    CAREFUL = "careful"
    #: A person says that it is to be a new one.
    ANYWAY = "anyway"
    #: It must be there already.
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The run folder of a manifest, and the account at the API that it belongs to."""

    #: The manifest's.
    name: str
    folder: RunFolder
    #: Empty in a trial until its API is there.
    base_url: str
    api_key: str = field(repr=False)
    #: Whether the API is on this machine, so that nothing can be paid for.
    is_local: bool = False
    #: Starts the API of a trial once the folder is locked; None where there is one.
    start_api: StartApi | None = None
    #: What a person says of a key, or a place of the folder, that the ledger does not know.
    same_account: bool = False
    is_moved: bool = False
    #: The manifest's file, unless it is one that does not stay.
    manifest_file: Path | None = None
    #: Where it is noted which run folders a user has, if anywhere.
    state_folder: Path | None = None
    beginning: Beginning = Beginning.CAREFUL
    #: Whether a person has named the run folder.
    is_folder_named: bool = False
    #: Private networks that results may come from, as through a proxy that gives fake addresses.
    media_networks: Sequence[IPv4Network | IPv6Network] = ()
    #: What a person should put right, a line each.
    warnings: Sequence[str] = ()

    @property
    def binding(self) -> Binding:
        base_url = SIMULATED if self.start_api else self.base_url
        return Binding(self.name, base_url, self.api_key, self.manifest_file)

    def require_ledger(self) -> None:
        """Raise ConfigurationError where no run has been."""
        if not self.folder.ledger.exists():
            raise ConfigurationError(
                f"{self.folder.path} has no ledger, so it is not known what was bought there. Check --folder, and the "
                "name in the manifest."
            )
