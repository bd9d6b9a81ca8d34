"""One run, as the batch asks it: priced, processed, fetched."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from hedra_batch.api.protocol import Api
from hedra_batch.errors import BudgetReachedError, HedraBatchError, JobError, OutOfCreditsError, UnfinishedError
from hedra_batch.inputs import PriceKey
from hedra_batch.job import Attempt
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.records import JobIdentity
from hedra_batch.money import Money
from hedra_batch.planning.plan import counts_for
from hedra_batch.planning.quote import Quote
from hedra_batch.planning.selection import Selection
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.progress import Pace, Progress
from hedra_batch.run.restoration import Restoration
from hedra_batch.run.runner import Runner, Station, choose_error
from hedra_batch.run.stations.fetch import Fetcher
from hedra_batch.state import State

logger = logging.getLogger(__name__)

#: How long a run that buys nothing waits for the prices of what it could buy.
PRICES_PATIENCE_SECONDS = 5.0


class Wanted:
    """What the manifest still asks for, in this edition or another."""

    def __init__(self) -> None:
        self.selection: Selection | None = None

    def includes(self, attempt: Attempt) -> bool:
        """Tell whether an attempt was made for inputs that are still asked for under its id."""
        job = self.selection.find_job(attempt.job_id) if self.selection else None
        return job is not None and counts_for(job, attempt)


class Run:
    """One run over a ledger that is open; it neither prints nor exits."""

    def __init__(
        self,
        ledger: Ledger,
        api: Api,
        fetcher: Fetcher,
        restoration: Restoration,
        runner: Runner,
        wanted: Wanted,
        progress: Progress,
        read_pace: Callable[[], Pace],
    ) -> None:
        self._ledger = ledger
        self._api = api
        self._fetcher = fetcher
        self._restoration = restoration
        self._runner = runner
        self._wanted = wanted
        self._progress = progress
        self.read_pace = read_pace
        self._asking: asyncio.Task[None] | None = None

    @property
    def stations(self) -> Mapping[State, Station]:
        """What takes an attempt on from each state."""
        return self._runner.stations

    @property
    def closed_by(self) -> OutOfCreditsError | BudgetReachedError | None:
        return self._runner.closed_by

    @property
    def left_out(self) -> Mapping[JobIdentity, Money | None]:
        return self._runner.left_out

    def ask_models(self) -> asyncio.Task[None]:
        """Begin to ask for the models, perhaps while it is still worked out whether they are needed."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._api.load_models(), name="models")
            # Where the answer is not needed, a failure is not either.
            self._asking.add_done_callback(lambda asking: asking.cancelled() or asking.exception())
        return self._asking

    async def look_for_restored(self, wanted: Selection) -> None:
        """Give rows to what was bought for a manifest in a time that a restored ledger does not have.

        Raises StopRunError and UserError where key or address are not right.
        """
        await self.ask_models()
        await self._restoration.look(wanted)

    async def learn_models(self) -> None:
        """Ask for the models, and remember what each of their names stands for."""
        await self.ask_models()
        await self._ledger.record_models(self._api.spell_models())

    async def quote(self, summary: PlanSummary) -> Quote:
        """Ask for the models and the balance when requests may have to be written, and price what is new.

        Raises StopRunError and UserError where key or address are not right.
        """
        if not summary.needs_models:
            await self._ask_prices(summary)
            return Quote()
        await self.learn_models()
        self._api.check_models(summary.models)
        prices = self.price(summary.price_keys)
        return Quote(prices, await self._api.read_balance() if prices else None, summary.searched)

    def price(self, price_keys: Mapping[PriceKey, int]) -> Counter[Money | None]:
        """Price what decides prices, by the list as far as it was read."""
        prices = Counter[Money | None]()
        for price_key, count in price_keys.items():
            prices[self._api.estimate(dict(price_key))] += count
        return prices

    async def _ask_prices(self, summary: PlanSummary) -> None:
        """Ask what edited jobs would cost, where nothing else needs the list: it is good to know, and no more."""
        if summary.edits.count:
            with suppress(HedraBatchError, TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.ask_models()), PRICES_PATIENCE_SECONDS)

    async def process(self, selection: Selection, summary: PlanSummary) -> None:
        """Process all jobs of a selection that was priced. Raises StopRunError when the run cannot go on."""
        if not summary.processed:
            return
        self._wanted.selection = selection
        self._progress.start()
        await self._restoration.recover(selection, self._progress)
        await self._runner.run(selection, summary.sent)

    async def follow(self, selection: Selection, summary: PlanSummary) -> None:
        """Follow and fetch what an earlier run sent, and submit nothing. Raises StopRunError when it cannot go on."""
        if summary.sent:
            self._wanted.selection = selection
            self._progress.start()
            await self._runner.follow(selection, summary.sent)

    async def restore(self, keys: Sequence[int]) -> list[State]:
        """Fetch anew what is done, ready or lost, by its ids alone; returns the state of each then."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._restore(key)) for key in keys]
        except BaseExceptionGroup as errors:
            raise choose_error(errors) from errors
        return [task.result() for task in tasks]

    async def _restore(self, key: int) -> State:
        attempt = await self._ledger.attempt(key)
        try:
            if attempt.state is State.HELD_LOST:
                attempt = await self._fetcher.recheck(attempt, None)
            return (await self._fetcher.process(attempt, None)).state
        except (UnfinishedError, JobError) as reason:
            logger.warning("%s: %s", attempt.label, reason)
            return State.READY if attempt.state is State.DONE else attempt.state

    def close(self) -> None:
        """Wait for no answer any more that was asked for early."""
        if self._asking:
            self._asking.cancel()
