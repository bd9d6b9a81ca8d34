"""Where a command works and for whom: run folder, key and address, and the ledger opened for writing in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from hedra_batch.api.media import MediaClient
from hedra_batch.api.v2.client import HedraClient, check_base_url, is_loopback
from hedra_batch.cli.options import RunOptions
from hedra_batch.cli.place import DEFAULT_BASE_URL, SIMULATED, find_folder, find_key
from hedra_batch.errors import ConfigurationError, UsageError
from hedra_batch.folder import RunFolder
from hedra_batch.ledger.identity import Binding
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.run.settings import RunSettings


@dataclass(frozen=True, slots=True)
class Workspace:
    """The run folder of a manifest, and the account at the API that it belongs to."""

    name: str
    folder: RunFolder
    options: RunOptions
    #: Empty until the simulated API of a trial is there.
    api_key: str = field(repr=False)
    base_url: str
    #: Whether the API is on this machine, so that nothing can be paid for.
    is_local: bool

    @property
    def binding(self) -> Binding:
        """What the run folder must belong to."""
        address = SIMULATED if self.options.is_simulated else self.base_url
        return Binding(self.name, address, self.api_key)

    def require_ledger(self) -> None:
        """Raise ConfigurationError where no run has been."""
        if not self.folder.ledger.exists():
            raise ConfigurationError(
                f"{self.folder.path} has no ledger, so it is not known what was bought. Begin a run."
            )

    def make_clients(self, settings: RunSettings) -> tuple[HedraClient, MediaClient]:
        """Make the two clients, to be opened: that of the API, and that of its media, which knows no key."""
        client = HedraClient(self.base_url, self.api_key, settings.submit_timeout_seconds)
        return client, MediaClient(allows_private_hosts=is_loopback(self.base_url))


def find_workspace(options: RunOptions, name: str, environment: Mapping[str, str]) -> Workspace:
    """Settle folder, address and key. Raises ConfigurationError."""
    folder = find_folder(options.manifest, name, options.folder, is_simulated=options.is_simulated)
    if options.is_simulated and options.base_url:
        raise UsageError("--simulate brings its own API, so it does not go with --base-url.")
    if options.is_simulated:
        return Workspace(name, folder, options, "", "", is_local=True)
    base_url = check_base_url(options.base_url or environment.get("HEDRA_BASE_URL") or DEFAULT_BASE_URL)
    return Workspace(name, folder, options, find_key(environment), base_url, is_local=is_loopback(base_url))


@asynccontextmanager
async def open_workspace(workspace: Workspace, settings: RunSettings) -> AsyncIterator[tuple[Workspace, Ledger]]:
    """Open the ledger of a site whose folder is locked; for a trial, with the simulated API beside it."""
    if workspace.options.is_simulated:
        from hedra_batch.cli.simulate import TRIAL_KEY, make_trial

        async with make_trial(workspace.folder.simulator) as simulator:
            workspace = replace(workspace, api_key=TRIAL_KEY, base_url=simulator.url)
            async with _open_ledger(workspace, settings) as ledger:
                yield workspace, ledger
        return
    async with _open_ledger(workspace, settings) as ledger:
        yield workspace, ledger


@asynccontextmanager
async def _open_ledger(workspace: Workspace, settings: RunSettings) -> AsyncIterator[Ledger]:
    options, folder = workspace.options, workspace.folder
    ledger = await Ledger.open(
        folder.ledger,
        folder.identity,
        workspace.binding,
        last_run=folder.read_last_run(),
        same_account=options.same_account,
        is_moved=options.is_moved,
        budget_credits=settings.budget_credits,
        clock=settings.clock,
    )
    try:
        yield ledger
    finally:
        await ledger.close()
