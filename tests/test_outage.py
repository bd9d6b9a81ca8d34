"""How long an API that does not answer is waited for."""

from __future__ import annotations

import asyncio

import pytest
from test_rate import run_virtually

from hedra_batch import errors
from hedra_batch.run.pacing.outage import OutageGuard
from hedra_batch.run.settings import RunSettings

SETTINGS = RunSettings(first_answer_seconds=30.0, outage_seconds=900.0)
AWAY = errors.NotSentError("The connection was refused.")


@pytest.mark.parametrize(
    ("failure", "has_answered", "patience_seconds", "end"),
    [
        (AWAY, False, 30.0, errors.ApiUnreachableError),
        (errors.NoAnswerError("Timed out"), False, 30.0, errors.ApiUnreachableError),
        # An error page is an answer of somebody: there is an API that may come back.
        (errors.UnavailableError("503"), False, 900.0, errors.ApiUnreachableError),
        (AWAY, True, 900.0, errors.ApiUnreachableError),
        (errors.GarbledError("What?"), True, 900.0, errors.BrokenContractError),
    ],
)
def test_an_api_is_waited_for_as_long_as_there_is_hope(
    failure: errors.HedraBatchError, has_answered: bool, patience_seconds: float, end: type[Exception]
) -> None:
    async def work() -> None:
        guard = OutageGuard(SETTINGS)
        if has_answered:
            guard.on_answer()
        guard.on_failure(failure)
        await asyncio.sleep(patience_seconds - 1)
        guard.on_failure(failure)
        await asyncio.sleep(1)
        with pytest.raises(end):
            guard.on_failure(failure)

    run_virtually(work)


@pytest.mark.parametrize(
    ("has_answered", "words"),
    [
        (False, "The connection was refused. Tried for 30 s. Nothing was bought by this run. Check the network, and"),
        (
            True,
            "The connection was refused. Tried for 15 min. What was submitted goes on at the server and is not bought",
        ),
    ],
)
def test_an_outage_is_told_with_what_it_means_for_what_was_bought(*, has_answered: bool, words: str) -> None:
    async def work() -> None:
        guard = OutageGuard(SETTINGS)
        if has_answered:
            guard.on_answer()
        guard.on_failure(AWAY)
        await asyncio.sleep(900 if has_answered else 30)
        with pytest.raises(errors.ApiUnreachableError, match=f"^{words}"):
            guard.on_failure(AWAY)

    run_virtually(work)


def test_the_first_failure_is_told_with_how_long_it_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        guard = OutageGuard(SETTINGS)
        guard.on_failure(AWAY)
        guard.on_failure(AWAY)

    run_virtually(work)
    assert caplog.messages == ["The connection was refused. Trying again for up to 30 s."]


@pytest.mark.parametrize("sign", ["answer", "throttled"])
def test_any_sign_of_life_ends_an_outage(sign: str) -> None:
    async def work() -> None:
        guard = OutageGuard(SETTINGS)
        for _ in range(5):
            guard.on_failure(AWAY)
            await asyncio.sleep(29)
            guard.on_answer() if sign == "answer" else guard.on_failure(errors.ThrottledError("Too many"))

    run_virtually(work)
