"""The runner: wires the stations, carries each attempt from where the ledger says it stands, and stops cleanly."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from hedra_batch.api.client import HedraClient
from hedra_batch.api.media import MediaClient
from hedra_batch.errors import (
    BudgetReachedError,
    HedraBatchError,
    JobError,
    OutOfCreditsError,
    StopRunError,
    SubmittingClosedError,
    UnfinishedError,
)
from hedra_batch.instant import age_seconds
from hedra_batch.job import IN_FLIGHT, Attempt, Job, State
from hedra_batch.ledger.store import Ledger
from hedra_batch.pipeline.catalogue import Catalogue, refuse_address
from hedra_batch.pipeline.fetch import Fetcher
from hedra_batch.pipeline.pace import Pace, Pause
from hedra_batch.pipeline.plan import Entry, Plan, Step
from hedra_batch.pipeline.reach import Reach
from hedra_batch.pipeline.reader import Reader
from hedra_batch.pipeline.settings import RunSettings
from hedra_batch.pipeline.settle import IDS_UNPROVEN, Settler, is_unproven
from hedra_batch.pipeline.slots import Slots
from hedra_batch.pipeline.submit import Submitter
from hedra_batch.pipeline.track import Tracker
from hedra_batch.pipeline.upload import Uploader
from hedra_batch.pipeline.watch import Watch
from hedra_batch.progress import Progress

logger = logging.getLogger(__name__)

#: Takes an attempt one step on and returns it as the ledger has it then.
Station = Callable[[Attempt, Job | None], Awaitable[Attempt]]


class Runner:
    """Carries out a plan. Cancelling `run` stops it: what is being sent ends first, and is on disk."""

    def __init__(
        self,
        ledger: Ledger,
        client: HedraClient,
        media: MediaClient,
        folder: Path,
        settings: RunSettings,
        progress: Progress,
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._settings = settings
        self._progress = progress
        limits = settings.limits
        self._pause = Pause()
        self._reach = Reach(settings)
        self._reader = Reader(settings, self._reach, Pace(limits.poll, self._pause), self._pause)
        self._slots = Slots(limits.in_flight)
        self._submit_pace = Pace(
            limits.submit, self._pause, age_seconds(ledger.last_sent_at) if ledger.last_sent_at else None
        )
        # Beside the jobs in flight, some have their images uploaded ahead, and some are being fetched.
        self._room = asyncio.Semaphore(limits.in_flight + limits.uploads + limits.downloads)
        self._watch = Watch(client, self._reader, settings, progress.note_fraction, ledger.record_missing)
        self._fetcher = Fetcher(ledger, client, media, self._reader, folder, settings)
        self._tracker = Tracker(ledger, self._watch, folder, self._fetcher.offer_link)
        self._stations: dict[State, Station] = {}
        #: Held in this run until something proves that the server uses our ids.
        self._unproven: list[tuple[int, Entry]] = []
        #: Why nothing more was submitted, when the run itself went on.
        self.closed_by: StopRunError | None = None

    async def run(self, plan: Plan) -> None:
        """Carry all jobs of the plan as far as they go. Raises StopRunError when the run cannot go on."""
        if not plan.to_carry:
            return
        self._stations = self._wire(await self._load_catalogue(plan))
        keyed = await self._record(plan)
        watching = asyncio.create_task(self._watch.run(), name="watch")
        try:
            await self._carry_all(keyed)
            waiting, self._unproven = self._unproven, []
            if self._ledger.ids_verdict == "honoured":
                # The proof that these were held for came from another job meanwhile.
                await self._carry_all(waiting)
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    async def _load_catalogue(self, plan: Plan) -> Catalogue:
        """Ask for the models, only when something is bought: also the first sign that key and address are right."""
        if not plan.to_buy:
            return Catalogue([])
        try:
            models = await self._reader.read(self._client.list_models)
        except JobError as error:
            raise refuse_address(self._client.base_url, error) from error
        catalogue = Catalogue(models)
        catalogue.check({entry.job.inputs.model: entry.label for entry in plan.to_buy if entry.job})
        return catalogue

    def _wire(self, catalogue: Catalogue) -> dict[State, Station]:
        """Name the station of each state; a state without one is an end."""
        ledger, client, reader, settings = self._ledger, self._client, self._reader, self._settings
        uploader = Uploader(ledger, client, reader, catalogue, settings.limits.uploads)
        submitter = Submitter(ledger, client, self._reach, self._submit_pace, self._pause, self._slots, settings)
        settler = Settler(ledger, client, reader, settings)
        return {
            State.NEW: uploader.process,
            State.RESERVED: submitter.process,
            State.UNKNOWN: settler.process,
            State.HELD: settler.revisit,
            State.ACCEPTED: self._tracker.process,
            State.STUCK: self._tracker.process,
            State.READY: self._fetcher.process,
        }

    async def _record(self, plan: Plan) -> list[tuple[int, Entry]]:
        """Make sure that every job to carry has its row; new attempts are recorded all at once."""
        added = [entry for entry in plan.to_carry if entry.step is Step.ADD]
        keys = iter(await self._ledger.record([(entry.job, entry.next_number) for entry in added if entry.job]))
        return [
            (next(keys) if entry.step is Step.ADD or entry.standing is None else entry.standing.attempt_key, entry)
            for entry in plan.to_carry
        ]

    async def _carry_all(self, keyed: list[tuple[int, Entry]]) -> None:
        """Carry what was sent before at once, all of it; new jobs as there is room for them."""
        try:
            async with asyncio.TaskGroup() as group:
                for key, entry in keyed:
                    if _is_sent(entry):
                        self._take_over(key, entry)
                        group.create_task(self._carry(key, entry))
                for key, entry in keyed:
                    if not _is_sent(entry):
                        await self._room.acquire()
                        group.create_task(self._carry(key, entry)).add_done_callback(lambda _: self._room.release())
        except BaseExceptionGroup as errors:
            raise _choose(errors) from errors

    def _take_over(self, key: int, entry: Entry) -> None:
        if entry.state in IN_FLIGHT:
            self._slots.take_over(key)
        self._progress.note(key, entry.label, entry.state, entry.state)

    async def _carry(self, key: int, entry: Entry) -> None:
        """Take one attempt from station to station until a state has none."""
        try:
            attempt = await self._begin(key, entry)
            while station := self._stations.get(attempt.state):
                before = attempt.state
                attempt = await station(attempt, entry.job)
                await self._note(attempt, before)
                if attempt.state is State.HELD and before is not State.HELD:
                    # Asking again at once would change nothing.
                    self._unproven += [(key, _as_held(entry))] if is_unproven(attempt) else []
                    return
        except SubmittingClosedError:
            pass
        except (UnfinishedError, JobError) as reason:
            logger.warning("%s: %s", entry.label, reason)
            if entry.state is State.HELD and entry.standing and entry.standing.error_code == IDS_UNPROVEN:
                self._unproven.append((key, entry))
        except (OutOfCreditsError, BudgetReachedError) as reason:
            await self._close_submitting(reason)
        finally:
            await self._slots.leave(key)

    async def _begin(self, key: int, entry: Entry) -> Attempt:
        if self._slots.is_closed and not _is_sent(entry):
            raise SubmittingClosedError
        if entry.step is Step.REWRITE and entry.job:
            return await self._ledger.rewrite(key, entry.job)
        return await self._ledger.attempt(key)

    async def _note(self, attempt: Attempt, before: State) -> None:
        self._progress.note(attempt.key, attempt.label, before, attempt.state)
        if attempt.state not in IN_FLIGHT:
            await self._slots.leave(attempt.key)

    async def _close_submitting(self, reason: StopRunError) -> None:
        """Send nothing more; what is at the server is followed and fetched all the same."""
        if self.closed_by is None:
            logger.error("%s", reason)
            self.closed_by = reason
        await self._slots.close()


def _as_held(entry: Entry) -> Entry:
    """Plan to carry on a job that this run has held."""
    standing = entry.standing._replace(state=State.HELD) if entry.standing else None
    return replace(entry, step=Step.CARRY, standing=standing)


def _is_sent(entry: Entry) -> bool:
    """Tell whether an earlier run sent it, so that it takes no room among the new ones."""
    return entry.standing is not None and entry.step is Step.CARRY and entry.standing.state is not State.RESERVED


def _choose(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Choose the error to report of several that ended a run together: a stop before others, the first of its kind."""
    flat: list[BaseException] = []
    pending: list[BaseException] = [errors]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending += error.exceptions
        else:
            flat.append(error)
    for kind in (StopRunError, HedraBatchError):
        for error in flat:
            if isinstance(error, kind):
                return error
    return flat[0]
