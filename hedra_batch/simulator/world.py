"""The state of the service in one place: its records, and how they outlive a restart."""

from __future__ import annotations

from pathlib import Path

from hedra_batch.errors import CannotCreateError
from hedra_batch.simulator.account import Account, BillingRecord
from hedra_batch.simulator.assets import Asset, Assets
from hedra_batch.simulator.generation import Generation
from hedra_batch.simulator.generations import Generations
from hedra_batch.simulator.journal import Journal
from hedra_batch.simulator.recorder import RequestRecord
from hedra_batch.simulator.settings import SimulatorSettings


class World:
    """Assets, generations and the account; given a folder, it goes on where the last one stopped or was killed."""

    def __init__(self, settings: SimulatorSettings) -> None:
        folder = settings.folder
        if folder:
            _make_folder(folder)
        self._asset_journal = Journal(Asset, folder, "assets.jsonl")
        self._generation_journal = Journal(Generation, folder, "generations.jsonl")
        self.billing = Journal(BillingRecord, folder, "billing.jsonl")
        self.requests = Journal(RequestRecord, folder, "requests.jsonl")
        self.assets = Assets(self._asset_journal, settings.clock)
        self.account = Account(settings.credits, self.billing)
        self.generations = Generations(settings, self._generation_journal, self.account)

    def close(self) -> None:
        """Close the files."""
        for journal in (self._asset_journal, self._generation_journal, self.billing, self.requests):
            journal.close()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotCreateError(f"The folder {folder} cannot be created: {error.strerror}.") from error
