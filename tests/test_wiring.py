"""How a run is put together."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_ledger import open_ledger

from hedra_batch.decide import Settlement
from hedra_batch.folder import RunFolder
from hedra_batch.progress import Progress
from hedra_batch.run.settings import RunSettings
from hedra_batch.run.wiring import Account, open_run
from hedra_batch.state import ENDS, UNDER_WAY, State

ACCOUNT = Account("http://127.0.0.1:9/api", "key-of-the-tests")


@pytest.mark.parametrize("settlement", [None, *Settlement])
async def test_each_state_that_is_no_end_has_a_station(tmp_path: Path, settlement: Settlement | None) -> None:
    ledger = await open_ledger(tmp_path)
    folder = RunFolder(tmp_path)
    async with open_run(ledger, ACCOUNT, folder, RunSettings(), Progress(), settlement) as run:
        # A station leaves a send under way only by being killed, and then the next run settles it first.
        assert run.stations.keys() == set(State) - ENDS - UNDER_WAY
    await ledger.close()
