"""Attempts in a real ledger, each brought to its state by the events that lead there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hedra_batch.decide import Reply
from hedra_batch.inputs import FieldValue, Inputs
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger import events
from hedra_batch.ledger.identity import Binding
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.money import Money
from hedra_batch.state import State

BINDING = Binding("spring", "https://api.example.com", "key-of-the-tests")


def make_job(job_id: str = "market", prompt: str = "A storm", edition: str = "", **others: FieldValue) -> Job:
    return Job(job_id, edition, Inputs(prompt, **others), f"videos/{job_id}.mp4")


async def open_ledger(folder: Path, binding: Binding = BINDING, **allowed: Any) -> Ledger:
    return await Ledger.open(folder / "ledger.sqlite3", folder / "identity.json", binding, **allowed)


async def record(ledger: Ledger, job: Job | None = None, number: int = 1) -> Attempt:
    [attempt] = await ledger.record([(job or make_job(), number)])
    return attempt


async def reserve(ledger: Ledger, job: Job | None = None, price: int = 30) -> Attempt:
    attempt = await record(ledger, job)
    return await ledger.apply(attempt, events.reserve(ledger.keys.of_attempt(attempt), b"{}", Money(price)))


async def send(ledger: Ledger, job: Job | None = None) -> Attempt:
    return await ledger.apply(await reserve(ledger, job), events.begin_send(State.RESERVED, State.SENDING))


async def refuse_sent(ledger: Ledger, sending: Attempt) -> Attempt:
    event = events.end_send(State.SENDING, Reply.REFUSED, "invalid_argument", "No.", request_id="request-1")
    return await ledger.apply(sending, event)


async def refuse(ledger: Ledger, job: Job | None = None) -> Attempt:
    return await refuse_sent(ledger, await send(ledger, job))


async def accept(ledger: Ledger, job: Job | None = None) -> Attempt:
    sending = await send(ledger, job)
    return await ledger.apply(sending, events.accept(sending.request_key or "", asset_id="asset"))


async def fail(ledger: Ledger, accepted: Attempt) -> Attempt:
    return await ledger.apply(accepted, events.fail("internal", "No.", None))


async def hold_missing(ledger: Ledger, job: Job | None = None) -> Attempt:
    event = events.deny(State.ACCEPTED, State.HELD_MISSING, "not_found", "Look.")
    return await ledger.apply(await accept(ledger, job), event)


async def make_ready(ledger: Ledger, job: Job | None = None) -> Attempt:
    attempt = await accept(ledger, job)
    return await ledger.apply(attempt, events.make_ready([attempt.wanted_output], None, Money(25)))


async def complete(ledger: Ledger, job: Job | None = None) -> Attempt:
    return await ledger.apply(await make_ready(ledger, job), events.complete("00", 1))
