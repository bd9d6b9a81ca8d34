"""How a run is put together."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_ledger import open_ledger

from hedra_batch.decide import Settlement
from hedra_batch.folder import RunFolder
from hedra_batch.inputs import find_price_key
from hedra_batch.money import Money
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.progress import Progress
from hedra_batch.run.settings import RunSettings
from hedra_batch.run.wiring import ApiAccount, open_run
from hedra_batch.simulator.service import Simulator
from hedra_batch.state import ENDS, UNDER_WAY, State
from hedra_batch.units import Limits, Rate

ACCOUNT = ApiAccount("http://127.0.0.1:9/api", "key-of-the-tests")


@pytest.mark.parametrize("settlement", [None, *Settlement])
async def test_each_state_that_is_no_end_has_a_station(tmp_path: Path, settlement: Settlement | None) -> None:
    ledger = await open_ledger(tmp_path)
    folder = RunFolder(tmp_path)
    async with open_run(ledger, ACCOUNT, folder, RunSettings(), Progress(), settlement) as run:
        # A station leaves a send under way only by being killed, and then the next run settles it first.
        assert run.stations.keys() == set(State) - ENDS - UNDER_WAY
    await ledger.close()


async def test_whoever_waits_for_the_first_request_waits_for_no_pace_of_reads(
    tmp_path: Path, simulator: Simulator
) -> None:
    ledger = await open_ledger(tmp_path)
    rarely = RunSettings(limits=Limits(poll=Rate(1, 3600)))
    new = PlanSummary(needs_models=True, price_runs=[(find_price_key({"model": "fal/grok-video-t2v"}), 1)])
    async with open_run(ledger, ApiAccount(simulator.url, "key"), RunFolder(tmp_path), rarely, Progress()) as run:
        quote = await run.billing.quote(new)
    await ledger.close()
    assert (quote.count, quote.balance) == (1, Money(10_000))
