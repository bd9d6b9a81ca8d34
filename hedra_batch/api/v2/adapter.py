"""Version 2 of the API in the words of the protocol."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from hedra_batch.api.protocol import Acceptance, Api, Calls, Reading, SentRequest, Upload
from hedra_batch.api.v2.answers import Model
from hedra_batch.api.v2.client import HedraClient
from hedra_batch.api.v2.finder import Finder
from hedra_batch.api.v2.pricing import Catalogue
from hedra_batch.api.v2.reader import Reader
from hedra_batch.api.v2.requests import write_request
from hedra_batch.errors import (
    AlreadyExistsError,
    ConfigurationError,
    ForbiddenError,
    ForeignAnswerError,
    HedraBatchError,
    JobError,
    NotFoundError,
    OutOfCreditsError,
    RetryError,
    UnfinishedError,
)
from hedra_batch.inputs import FieldValues, Medium
from hedra_batch.money import Money
from hedra_batch.sanitize import to_line

logger = logging.getLogger(__name__)

#: Of a file, as the server is told it.
LONGEST_NAME = 200


class HedraV2(Api):
    """One account at version 2; `client` must be open while it is used."""

    def __init__(self, client: HedraClient, calls: Calls) -> None:
        self._client = client
        self._calls = calls
        self._reader = Reader(client, calls)
        self._finder = Finder(client, calls)
        #: Empty until the models are loaded: then a slug or an id can be sent all the same, and nothing has a price.
        self._catalogue = Catalogue([])

    async def load_models(self) -> None:
        try:
            models = await self._calls.until_answered(self._list_models)
        except JobError as error:
            raise self._make_wrong_address(error) from error
        self._catalogue = Catalogue(models)

    async def _list_models(self) -> list[Model]:
        try:
            return await self._client.list_models()
        except ForeignAnswerError as error:
            if error.is_unknown_route:
                raise self._make_wrong_address(error) from error
            raise

    def _make_wrong_address(self, error: HedraBatchError) -> ConfigurationError:
        return ConfigurationError(
            f"There is no Hedra API at {self._client.base_url}: asked for its models, it answers '{error}'. "
            "Nothing was sent. Check the address: --base-url, or HEDRA_BASE_URL."
        )

    def check_models(self, written: Mapping[str | None, str]) -> None:
        self._catalogue.check(written)

    def spell_models(self) -> Mapping[str, str]:
        return self._catalogue.spell()

    def name_model(self, written: str) -> str:
        return next(iter(self._catalogue.name_on_wire(written).values()))

    def estimate(self, fields: FieldValues) -> Money | None:
        return self._catalogue.estimate(fields)

    def find_usual_seconds(self, fields: FieldValues) -> float | None:
        return self._catalogue.find_usual_seconds(fields)

    async def read_balance(self) -> Money | None:
        try:
            return await self._calls.once(self._client.read_balance)
        except (JobError, RetryError, OutOfCreditsError, ForbiddenError) as error:
            logger.debug("the balance cannot be read: %s", error)
            return None

    async def read_charges(self, remote_ids: Sequence[str]) -> dict[str, Money] | None:
        try:
            listed = await self._calls.once(lambda: self._client.list_generations(remote_ids))
        except HedraBatchError as error:
            logger.debug("what was charged cannot be read again: %s", error)
            return None
        return {item.remote_id: item.charged for item in listed if item.charged is not None}

    async def upload(self, medium: Medium, name: str, content: bytes, wanted_id: str = "") -> Upload:
        # A file can be called anything; a header and an account's list take less.
        name = to_line(name, LONGEST_NAME) or medium
        if wanted_id:
            told_id = await self._announce(medium, name, wanted_id)
            try:
                # Taken, or there already, without a word on its id: perhaps it is the one that was asked for.
                return await self._upload(told_id or wanted_id, name, content)
            except UnfinishedError:
                if told_id:
                    raise
        # A server need take no ids of ours.
        asset_id = await self._calls.until_answered(lambda: self._client.create_asset(name, medium), is_paced=False)
        assert asset_id, "without a wanted id there is one, or an error"
        return await self._upload(asset_id, name, content)

    async def _announce(self, medium: Medium, name: str, wanted_id: str) -> str | None:
        """Announce a file under an id of ours; None where it is not told whether it has that."""
        try:
            return await self._calls.until_answered(
                lambda: self._client.create_asset(name, medium, wanted_id), is_paced=False
            )
        except JobError as error:
            logger.debug("%s: the server does not take it under an id of ours: %s", name, error)
            return None

    async def _upload(self, asset_id: str, name: str, content: bytes) -> Upload:
        try:
            await self._calls.until_answered(lambda: self._client.upload_asset(asset_id, content, name), is_paced=False)
        except AlreadyExistsError:
            logger.debug("%s: an upload whose answer was lost had arrived", name)
        except NotFoundError as error:
            # Its asset is gone between the two steps, which says nothing against the file.
            raise UnfinishedError(
                f"The upload was lost ({error}). Nothing was charged; the next run uploads it again."
            ) from error
        return Upload(asset_id)

    def write_request(self, key: str, fields: FieldValues, media: Mapping[str, str], name: str = "") -> bytes:
        return write_request(key, fields, media, self._catalogue.name_on_wire, name)

    async def submit(self, body: bytes) -> Acceptance:
        return await self._client.submit(body)

    @property
    def reads_together(self) -> int:
        return self._reader.reads_together

    def read(self, ages_seconds: Mapping[str, float]) -> AsyncIterator[tuple[str, Reading | HedraBatchError]]:
        return self._reader.read(ages_seconds)

    async def find(self, request: SentRequest) -> Acceptance | None:
        return await self._finder.find(request)

    async def find_elsewhere(self, request: SentRequest) -> Acceptance | None:
        return await self._finder.find_elsewhere(request)

    def list_since(self, instant: str | None) -> AsyncIterator[Reading]:
        return self._finder.list_since(instant)

    async def find_link(self, remote_id: str, asset_id: str | None, spent_places: Collection[str] = ()) -> str:
        return await self._finder.find_link(remote_id, asset_id, spent_places)
