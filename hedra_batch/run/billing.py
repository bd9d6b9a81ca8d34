"""What the server charges: told once where it is more than was estimated, learnt from, and read again for refunds."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta

from hedra_batch.api.protocol import Api
from hedra_batch.clock import Clock, to_text
from hedra_batch.errors import HedraBatchError, OtherPlanError
from hedra_batch.inputs import FieldValues, PriceKey
from hedra_batch.job import Attempt
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.records import Charge
from hedra_batch.money import Money
from hedra_batch.planning.prices import Prices
from hedra_batch.planning.quote import Quote
from hedra_batch.planning.summary import PlanSummary

logger = logging.getLogger(__name__)

#: How long after its failure an attempt is read once more: by then the server has given back what it gives back.
REFUND_DELAY = timedelta(days=1)
#: How long a run that buys nothing waits for the prices of what it could buy.
PRICES_PATIENCE_SECONDS = 5.0
#: As many as a page of a list has.
REREAD_TOGETHER = 100


class Billing:
    """The estimates of a run, by the list of prices and by what was charged."""

    def __init__(self, ledger: Ledger, api: Api, charges: Iterable[Charge], clock: Clock) -> None:
        self._ledger = ledger
        self._api = api
        self._clock = clock
        self._prices = Prices(api.estimate, charges)
        self._has_told = False
        #: Ends buying where only what was shown may be bought, at its prices.
        self.on_dearer: Callable[[HedraBatchError], Awaitable[None]] | None = None
        self._asking: asyncio.Task[None] | None = None

    def ask_models(self) -> asyncio.Task[None]:
        """Begin to ask for the models, perhaps while it is still worked out whether they are needed."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._api.load_models(), name="models")
            # Where the answer is not needed, a failure is not either.
            self._asking.add_done_callback(lambda asking: asking.cancelled() or asking.exception())
        return self._asking

    def close(self) -> None:
        """Wait for no answer any more that was asked for early."""
        if self._asking:
            self._asking.cancel()

    async def quote(self, summary: PlanSummary) -> Quote:
        """Ask for the models and the balance when requests may have to be written, and price what is new.

        Raises StopRunError and UserError where key or address are not right.
        """
        if not summary.needs_models:
            await self._ask_prices(summary)
            return Quote()
        await self.learn_models()
        self._api.check_models(summary.models)
        runs = [(self.estimate(dict(price_key)), count) for price_key, count in summary.price_runs]
        return Quote(runs, await self._api.read_balance() if runs else None, summary.searched)

    async def learn_models(self) -> None:
        """Ask for the models, and remember what each of their names stands for."""
        await self.ask_models()
        await self._ledger.record_models(self._api.spell_models())

    async def _ask_prices(self, summary: PlanSummary) -> None:
        """Ask what edited jobs would cost, where nothing else needs the list: it is good to know, and no more."""
        if summary.edits.count:
            with suppress(HedraBatchError, TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.ask_models()), PRICES_PATIENCE_SECONDS)

    def price(self, price_keys: Mapping[PriceKey, int]) -> Quote:
        """Price what decides prices, by the list as far as it was read."""
        prices = Counter[Money | None]()
        for price_key, count in price_keys.items():
            prices[self.estimate(dict(price_key))] += count
        return Quote(list(prices.items()))

    def estimate(self, fields: FieldValues) -> Money | None:
        return self._prices.estimate(fields)

    async def on_charged(self, attempt: Attempt, charged: Money | None) -> None:
        """Learn from a charge, and say once a run that it is more than was estimated."""
        estimated = attempt.estimated
        if charged is None or estimated is None or charged.unit != estimated.unit or charged <= estimated:
            return
        self._prices.learn(attempt.fields, charged)
        if self._has_told:
            return
        self._has_told = True
        if self.on_dearer:
            message = (
                f"{attempt.label}: {charged} were charged, and the plan has {estimated.amount}. What is not sent yet "
                "is not bought, since it would be another plan."
            )
            await self.on_dearer(OtherPlanError(message))
            return
        logger.warning(
            "%s: %s were charged, and %d were expected. Videos like it are reckoned at the higher price from now on, "
            "for the budget too. Those that are at the server already may cost more than was expected as well, also "
            "beyond the budget.",
            attempt.label,
            charged,
            estimated.amount,
        )

    async def read_refunds(self) -> None:
        """Read failed attempts once more, a day later, by lists: a lower charge is a refund.

        What fails now is tried by the next run.
        """
        due = await self._ledger.look(lambda reader: reader.find_unrefunded(to_text(self._clock.now() - REFUND_DELAY)))
        for start in range(0, len(due), REREAD_TOGETHER):
            page = due[start : start + REREAD_TOGETHER]
            told = await self._api.read_charges([remote_id for _, remote_id in page])
            if told is None:
                return
            await self._ledger.record_refunds({key: told.get(remote_id) for key, remote_id in page})
