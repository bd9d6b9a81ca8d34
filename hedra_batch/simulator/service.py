"""The service itself: one host for the API and one for media, each on a port of its own on 127.0.0.1, and its state."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from hedra_batch.errors import CannotCreateError, UsageError
from hedra_batch.simulator.account import Account, Asset, Assets, BillingRecord
from hedra_batch.simulator.api_host import ApiHost, RateLimit
from hedra_batch.simulator.faults import FaultInjector
from hedra_batch.simulator.generations import Generation, Generations
from hedra_batch.simulator.media_host import Links, MediaHost
from hedra_batch.simulator.recording import Journal, Recorder, RequestRecord
from hedra_batch.simulator.schema import BASE_PATH, Route
from hedra_batch.simulator.settings import SimulatorSettings

_HOST = "127.0.0.1"
_LARGEST_UPLOAD_BYTES = 64 * 1024 * 1024
#: Handlers that are still asleep when the service stops are dropped after this.
_SHUTDOWN_SECONDS = 0.1


class State:
    """Assets, generations and the account; given a folder, it goes on where the last one stopped or was killed."""

    def __init__(self, settings: SimulatorSettings) -> None:
        folder = settings.folder
        if folder:
            _make_folder(folder)
        self._asset_journal = Journal(Asset, folder, "assets.jsonl")
        self._generation_journal = Journal(Generation, folder, "generations.jsonl")
        self.billing = Journal(BillingRecord, folder, "billing.jsonl")
        self.requests = Journal(RequestRecord, folder, "requests.jsonl")
        self.assets = Assets(self._asset_journal, settings.clock)
        self.account = Account(settings.credits, self.billing)
        self.generations = Generations(settings, self._generation_journal, self.account)

    def close(self) -> None:
        for journal in (self._asset_journal, self._generation_journal, self.billing, self.requests):
            journal.close()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotCreateError(f"The folder {folder} cannot be created: {error.strerror}.") from error


class Simulator:
    """A simulated service; `async with Simulator(settings) as simulator` starts and stops it."""

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.settings = settings or SimulatorSettings()
        self._state = State(self.settings)
        self._faults = FaultInjector(
            self.settings.faults,
            self.settings.seed,
            self.settings.real_seconds,
            self.settings.arrival_delay_seconds,
        )
        secret = f"media {self.settings.seed}"
        self._links = Links(secret, self.settings.link_lifetime_seconds, self.settings.clock)
        self._runners: list[web.AppRunner] = []
        #: Base address of the API, with its path; known once the service has started.
        self.url = ""

    @property
    def media_url(self) -> str:
        """Base address of the media host; empty until the service has started."""
        return self._links.host_url

    @property
    def billing(self) -> list[BillingRecord]:
        """Every charge and refund up to now, including those of earlier runs on the same folder."""
        self._state.generations.refund_failed()
        return self._state.billing.records

    @property
    def requests(self) -> list[RequestRecord]:
        """Requests to both hosts, in the order of their answers."""
        return self._state.requests.records

    def plan_fault(self, name: str, times: int = 1, route: str | None = None) -> None:
        """Make a fault strike the next `times` requests of a route, such as `GET /generations/{id}/status`.

        Without a route it strikes POST /generations, or wherever it can when it cannot strike that one.
        """
        self._faults.plan(name, times, route)

    def forget_assets(self) -> None:
        self._state.assets.forget()

    def lose_result(self, generation_id: str) -> None:
        """Deny a generation and its video, as a service that has lost them does; what was billed stays billed."""
        self._state.generations.lose(generation_id)

    def find_result_again(self, generation_id: str) -> None:
        self._state.generations.find_again(generation_id)

    async def start(self) -> None:
        recorder = Recorder(self._state.requests, self.settings.clock)
        media = MediaHost(self._state.generations, self._links, self._faults, self.settings.video_bytes)
        state = self._state
        api = ApiHost(self.settings, state.account, state.assets, state.generations, self._links, self._faults)
        media_app = _app((recorder.middleware, media.middleware), {Route.READ_MEDIA: media.read}, "")
        rate_limit = RateLimit(self.settings)
        middlewares = (
            recorder.middleware,
            _answer_late(self.settings.latency_seconds),
            rate_limit.middleware,
            api.refusal_middleware,
            self._faults.middleware,
            api.authentication_middleware,
        )
        api_app = _app(middlewares, api.routes, BASE_PATH)
        self._links.host_url = await self._listen(media_app, self.settings.media_port)
        self.url = await self._listen(api_app, self.settings.port) + BASE_PATH

    async def stop(self) -> None:
        await self._faults.close()
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        self._state.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def _listen(self, app: web.Application, port: int) -> str:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        self._runners.append(runner)
        await runner.setup()
        try:
            await web.TCPSite(runner, _HOST, port).start()
        except OSError as error:
            await self.stop()
            raise UsageError(f"Port {port} of {_HOST} cannot be opened; choose another one.") from error
        return f"http://{_HOST}:{runner.addresses[0][1]}"


def _answer_late(seconds: float) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if seconds:
            await asyncio.sleep(seconds)
        return answer

    return middleware


def _app(middlewares: Sequence[Middleware], routes: Mapping[Route, Handler], base_path: str) -> web.Application:
    app = web.Application(middlewares=middlewares, client_max_size=_LARGEST_UPLOAD_BYTES)
    for route, handler in routes.items():
        app.router.add_route(route.method, base_path + route.path, handler)
    return app
