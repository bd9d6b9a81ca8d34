"""Which settings of the simulated service are refused."""

from __future__ import annotations

from typing import Any

import pytest

from hedra_batch.errors import UsageError
from hedra_batch.simulator.settings import SimulatorSettings


@pytest.mark.parametrize(
    "settings", [{"speed": 0}, {"generation_seconds": 0}, {"repeat": "shrug"}, {"honours_ids": frozenset({"poem"})}]
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        SimulatorSettings(**settings)
