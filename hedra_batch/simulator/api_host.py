"""The API host: who gets in, how often, and one method for each route."""

from __future__ import annotations

import json
import math
import uuid

from aiohttp import BodyPartReader, web
from aiohttp.typedefs import Handler

from hedra_batch.simulator import answers, refusals, schema
from hedra_batch.simulator.account import Account, Asset, Assets
from hedra_batch.simulator.catalog import MODELS, VOICES
from hedra_batch.simulator.faults import FaultInjector
from hedra_batch.simulator.generations import Generation, Generations
from hedra_batch.simulator.media_host import Links, VideoLinks
from hedra_batch.simulator.recording import KEY_HEADER, RECORD, route_of
from hedra_batch.simulator.refusals import RefusalError
from hedra_batch.simulator.requests import read_ids, read_list_query, read_video_request, reserved_ids
from hedra_batch.simulator.schema import Route, check_asset_request, check_value, check_video_request
from hedra_batch.simulator.settings import ASSET_KIND, SimulatorSettings


class RateLimit:
    """The limit of submissions in a window of time; windows begin with whole multiples of their length.

    v2's document names no limit; 429 with these headers is what v3's document publishes.
    """

    def __init__(self, settings: SimulatorSettings) -> None:
        self._settings = settings
        self._window = 0
        self._count = 0

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what is too much before anything else of it is looked at."""
        most = self._settings.window_submissions
        if most is None or route_of(request) != Route.CREATE_GENERATION:
            return await handler(request)
        self._enter_window()
        self._count += 1
        headers = self._headers(most)
        answer = self._refuse(most) if self._count > most else await handler(request)
        answer.headers.update(headers)
        return answer

    def _enter_window(self) -> None:
        window = int(self._settings.clock() // self._settings.window_seconds)
        if window != self._window:
            self._window, self._count = window, 0

    def _headers(self, most: float) -> dict[str, str]:
        ends_at = (self._window + 1) * self._settings.window_seconds
        remaining = max(0, math.floor(most - self._count))
        return {
            "X-RateLimit-Limit": f"{most:g}",
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(math.ceil(ends_at)),
        }

    def _refuse(self, most: float) -> web.Response:
        ends_at = (self._window + 1) * self._settings.window_seconds
        refusal = refusals.throttled(
            f"Rate limit exceeded: {most:g} submissions in {self._settings.window_seconds:g} s.",
            math.ceil(ends_at - self._settings.clock()),
        )
        return web.json_response(refusal.body, status=refusal.status, headers=refusal.headers)


class ApiHost:
    """Serves the published routes on the account, its assets and its generations."""

    def __init__(
        self,
        settings: SimulatorSettings,
        account: Account,
        assets: Assets,
        generations: Generations,
        links: Links,
        faults: FaultInjector,
    ) -> None:
        self._settings = settings
        self._account = account
        self._assets = assets
        self._generations = generations
        self._links = links
        self._faults = faults

    @property
    def routes(self) -> dict[Route, Handler]:
        return {
            Route.LIST_MODELS: self.list_models,
            Route.LIST_VOICES: self.list_voices,
            Route.LIST_ASSETS: self.list_assets,
            Route.CREATE_ASSET: self.create_asset,
            Route.UPLOAD_ASSET: self.upload_asset,
            Route.LIST_GENERATIONS: self.list_generations,
            Route.CREATE_GENERATION: self.create_generation,
            Route.READ_STATUS: self.read_status,
            Route.READ_CREDITS: self.read_credits,
        }

    @web.middleware
    async def refusal_middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer refusals, and the router's own errors, with JSON."""
        try:
            return await handler(request)
        except RefusalError as refusal:
            return web.json_response(refusal.body, status=refusal.status, headers=refusal.headers)
        except web.HTTPError as error:
            return web.json_response({"detail": error.reason}, status=error.status)

    @web.middleware
    async def authentication_middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse a key that is not accepted; bring the account up to the present."""
        if not self._is_accepted(request.headers.get(KEY_HEADER, "")):
            raise refusals.wrong_key()
        self._generations.refund_failed()
        return await handler(request)

    async def list_models(self, request: web.Request) -> web.Response:
        types = request.query.getall("types", [])
        for each in types:
            check_value(schema.one_of(schema.GENERATION_TYPES), each, "query", "types")
        eta_ms = round(self._settings.real_seconds(self._settings.generation_seconds) * 1000)
        return web.json_response([model.to_json(eta_ms) for model in MODELS if not types or model.type in types])

    async def list_voices(self, _request: web.Request) -> web.Response:
        return web.json_response([answers.voice(each) for each in VOICES])

    async def list_assets(self, request: web.Request) -> web.Response:
        kind = request.query.get("type")
        check_value(schema.one_of(schema.ASSET_TYPES), kind, "query", "type")
        ids = read_ids(request.query)
        if kind == "video":
            videos = self._generations.list_videos(ids)
            return web.json_response([answers.video(each, self._new_links(each, request)) for each in videos])
        if kind == "voice":
            return web.json_response([answers.voice(each) for each in VOICES if ids is None or each.id in ids])
        uploaded = self._assets.list_uploaded(ids)
        return web.json_response([self._image(each) for each in uploaded if each.type == kind])

    async def create_asset(self, request: web.Request) -> web.Response:
        wanted = check_asset_request(await _read_json(request))
        should_honour_id = self._settings.should_honour_ids(ASSET_KIND)
        honoured_ids = reserved_ids(wanted, "reserved_asset_id", "") if should_honour_id else ()
        asset = self._assets.create(wanted["type"], wanted["name"], next(iter(honoured_ids), None))
        return web.json_response(answers.created_asset(asset, wanted))

    async def upload_asset(self, request: web.Request) -> web.Response:
        asset_id = _path_id(request, "id")
        asset = self._assets.upload(asset_id, await _read_file(request))
        return web.json_response(self._image(asset))

    async def list_generations(self, request: web.Request) -> web.Response:
        query = read_list_query(request.query)
        items = [self._listed(each, request) for each in self._generations.list_page(query)]
        page_info = {"limit": query.limit, "offset": query.offset}
        return web.json_response({"page_info": page_info, "data": items})

    async def create_generation(self, request: web.Request) -> web.Response:
        wanted = check_video_request(await _read_json(request))
        generations = self._generations.find_known(wanted["type"], reserved_ids(wanted))
        if generations:
            self._answer_repeat(generations, request[RECORD].request_id)
        else:
            video = read_video_request(wanted, self._assets.find_uploaded)
            record = request[RECORD]
            generations = self._generations.accept(video, record.key or "", record.request_id)
        etas_seconds = [self._generations.eta_seconds(each, each.created_at) for each in generations]
        return web.json_response(answers.accepted(generations, etas_seconds))

    async def read_status(self, request: web.Request) -> web.Response:
        generation_id = _path_id(request, "id")
        generation = self._generations.find(generation_id)
        if not generation:
            raise refusals.not_found("Generation", generation_id)
        now = self._settings.clock()
        return web.json_response(answers.status(generation, now, self._links_if_complete(generation, now, request)))

    async def read_credits(self, _request: web.Request) -> web.Response:
        return web.json_response(answers.balance(self._account, has_api_wallet=self._settings.has_api_wallet))

    def _is_accepted(self, key: str) -> bool:
        accepted = self._settings.keys
        return key in accepted if accepted is not None else bool(key) and not key.startswith("wrong")

    def _answer_repeat(self, generations: list[Generation], request_id: str) -> None:
        """Do with a second submission what the settings say; on return the first answer is given again."""
        match self._settings.repeat:
            case "refuse":
                is_over = self._settings.clock() >= generations[0].ends_at
                code = "ALREADY_EXISTS" if is_over else "ALREADY_IN_PROGRESS"
                raise refusals.already(code, "Generation", generations[0].id)
            case "error":
                raise refusals.internal()
            case "bill":
                self._generations.bill_again(generations, request_id)
            case "replay":
                pass

    def _listed(self, generation: Generation, request: web.Request) -> answers.Json:
        now = self._settings.clock()
        eta_seconds = self._generations.eta_seconds(generation, now)
        links, cost = self._links_if_complete(generation, now, request), self._generations.find_cost(generation)
        return answers.listed(generation, now, eta_seconds, links, cost)

    def _image(self, asset: Asset) -> answers.Json:
        return answers.image(asset, self._links.sign(asset.id))

    def _links_if_complete(self, generation: Generation, now: float, request: web.Request) -> VideoLinks | None:
        return self._new_links(generation, request) if generation.status(now) == "complete" else None

    def _new_links(self, generation: Generation, request: web.Request) -> VideoLinks:
        stem = generation.asset_id
        preview = self._links.sign(f"{stem}.webp")
        if self._faults.should_inject("missing-link", request):
            return VideoLinks(None, None, preview)
        is_expired = self._faults.should_inject("expired-link", request)
        file, playlist = (self._links.sign(stem + suffix, is_expired=is_expired) for suffix in (".mp4", ".m3u8"))
        return VideoLinks(file, playlist, preview)


async def _read_json(request: web.Request) -> object:
    try:
        return json.loads(await request.read())
    except ValueError as error:
        raise refusals.malformed([refusals.problem("json_invalid", "JSON decode error", "body")]) from error


async def _read_file(request: web.Request) -> bytes:
    if request.content_type == "multipart/form-data":
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.name == "file":
                return bytes(await part.read())
    raise refusals.malformed([refusals.problem("missing", "Field required", "body", "file")])


def _path_id(request: web.Request, name: str) -> str:
    text = request.match_info[name]
    check_value(schema.UUID, text, "path", name)
    return str(uuid.UUID(text))
