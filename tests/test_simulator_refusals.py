"""The words of a prompt that the simulated service refuses."""

from __future__ import annotations

import pytest
from simulated import Service


@pytest.mark.parametrize(
    ("word", "status", "code"),
    [
        ("Forbidden", 422, "MODERATION_FAILED"),
        ("unpayable", 402, "INSUFFICIENT_BALANCE"),
        ("invalid", 422, "INVALID_ARGUMENT"),
    ],
)
async def test_magic_words_are_refused(service: Service, word: str, status: int, code: str) -> None:
    answer = await service.submit(f"a {word}, red fox")
    assert (answer.status, answer.json["error_code"]) == (status, code)
    assert service.simulator.billing == []
