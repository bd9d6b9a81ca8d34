"""A run folder at work: locked, with its ledger open, and with the API as soon as something needs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

from hedra_batch.batch import memory
from hedra_batch.batch.workspace import Workspace
from hedra_batch.clock import CLOCK
from hedra_batch.decide import Settlement
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.records import ResultFile
from hedra_batch.progress import Progress
from hedra_batch.run.renaming import finish_renames
from hedra_batch.run.run import Run
from hedra_batch.run.settings import RunSettings
from hedra_batch.run.wiring import ApiAccount, open_run
from hedra_batch.state import State


class Session:
    """One use of a run folder, which counts as a run of it. Make it by `open_session`."""

    def __init__(self, workspace: Workspace, settings: RunSettings, ledger: Ledger) -> None:
        self.workspace = workspace
        self.settings = settings
        self.ledger = ledger
        self.progress = Progress()
        self.started_at = CLOCK.now_text()
        self._connections = AsyncExitStack()
        self._run: Run | None = None

    async def connect(self, settlement: Settlement | None = None) -> Run:
        """Put a run together whose connections last until `disconnect`. Nothing is sent by it yet."""
        account = ApiAccount(self.workspace.base_url, self.workspace.api_key, self.workspace.media_networks)
        opening = open_run(self.ledger, account, self.workspace.folder, self.settings, self.progress, settlement)
        self._run = await self._connections.enter_async_context(opening)
        return self._run

    async def disconnect(self) -> None:
        await self._connections.aclose()

    async def fetch(self, files: Sequence[ResultFile]) -> list[State]:
        """Fetch results again by their ids, at no cost; returns the state of each then, DONE for what is here.

        What stands in a result's place is kept beside it. Raises StopRunError.
        """
        if not files:
            return []
        try:
            return await (await self.connect()).restore([file.attempt_key for file in files])
        finally:
            await self.disconnect()

    async def bind_account(self) -> None:
        """Have the folder belong to the account of the key, if the API has taken it."""
        if self._run and self._run.read_pace().has_taken_key:
            await self.ledger.bind_account(self.workspace.api_key)

    async def end(self, exit_code: int) -> None:
        await self.bind_account()
        await self.ledger.end_run(exit_code)


@asynccontextmanager
async def open_session(workspace: Workspace, settings: RunSettings) -> AsyncIterator[Session]:
    """Make the run folder where there is none, lock it and open its ledger.

    Raises CannotCreateError, LockedError where another run holds it, and ConfigurationError where it belongs to
    something else.
    """
    folder = workspace.folder
    folder.create()
    async with AsyncExitStack() as stack:
        stack.enter_context(folder.lock())
        if workspace.start_api:
            base_url = await stack.enter_async_context(workspace.start_api(folder.simulator))
            workspace = replace(workspace, base_url=base_url)
        ledger = await _open_ledger(workspace, settings)
        stack.push_async_callback(ledger.close)
        # From here on something may be paid for, whatever ends the process.
        memory.remember(workspace, ledger.identity)
        stack.callback(lambda: memory.forget_unpaid(workspace, ledger.identity))
        await finish_renames(ledger, folder)
        session = Session(workspace, settings, ledger)
        stack.push_async_callback(session.disconnect)
        yield session


async def _open_ledger(workspace: Workspace, settings: RunSettings) -> Ledger:
    folder = workspace.folder
    return await Ledger.open(
        folder.ledger,
        folder.identity,
        workspace.binding,
        last_run=max(folder.read_last_run(), memory.read_last_run(workspace)),
        same_account=workspace.same_account,
        is_moved=workspace.is_moved,
        budgets=settings.budgets,
        clock=settings.clock,
    )
