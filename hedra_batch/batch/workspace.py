"""Where a run finds and writes things."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

from hedra_batch.errors import ConfigurationError
from hedra_batch.folder import RunFolder
from hedra_batch.ledger.identity import Binding

#: Starts the API of a trial, with its state in a folder, and yields its address.
StartApi = Callable[[Path], AbstractAsyncContextManager[str]]

#: What the ledger of a trial belongs to instead of an address, which changes with each trial.
SIMULATED = "simulated"


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

    @property
    def binding(self) -> Binding:
        return Binding(self.name, SIMULATED if self.start_api else self.base_url, self.api_key)

    def require_ledger(self) -> None:
        """Raise ConfigurationError where no run has been."""
        if not self.folder.ledger.exists():
            raise ConfigurationError(
                f"{self.folder.path} has no ledger, so it is not known what was bought there. Check --folder, and the "
                "name in the manifest."
            )
