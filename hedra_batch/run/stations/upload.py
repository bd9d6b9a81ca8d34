"""The first station: the images of a job are at the server, each content once; then its request is written down."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import defaultdict
from pathlib import Path

import aiofiles

from hedra_batch.api.v2.client import HedraClient
from hedra_batch.api.v2.pricing import Catalogue
from hedra_batch.api.v2.requests import build_video_request
from hedra_batch.errors import AlreadyExistsError, JobError, NotFoundError, UnfinishedError
from hedra_batch.inputs import MediaInput
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.run.pacing.retrying import RetryingClient

logger = logging.getLogger(__name__)


class Uploader:
    """Takes an attempt from NEW to RESERVED."""

    def __init__(
        self, ledger: Ledger, client: HedraClient, reader: RetryingClient, catalogue: Catalogue, uploads: int
    ) -> None:
        self._ledger = ledger
        self._client = client
        self._retrying = reader
        self._catalogue = catalogue
        self._room = asyncio.Semaphore(uploads)
        self._by_content: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def process(self, attempt: Attempt, job: Job | None) -> Attempt:
        """Upload what is missing, then commit id, body and price in one transaction.

        A crash before the commit costs at most one more upload, which is free.
        """
        assert job is not None, "an attempt in NEW is carried for a job of the manifest only"
        generation_id = self._ledger.derive_generation_id(attempt)
        try:
            body = await self.make_body(attempt, job, generation_id)
        except JobError as refusal:
            logger.error("%s: its image was refused: %s", attempt.label, refusal)
            return await self._ledger.reject(attempt, refusal.code, str(refusal), refusal.request_id)
        price = self._catalogue.estimate_credits(attempt.fields)
        logger.debug("%s: attempt %d is reserved as %s", attempt.label, attempt.number, generation_id)
        eta_seconds = self._catalogue.find_eta_seconds(job.inputs.model)
        return await self._ledger.reserve(attempt, generation_id, body, price, eta_seconds)

    async def make_body(self, attempt: Attempt, job: Job, generation_id: str) -> bytes:
        """Upload the images that are not there yet, and write the request. Raises JobError for a refused image."""
        return build_video_request(
            attempt.fields,
            generation_id=generation_id,
            model=self._catalogue.name_on_wire(job.inputs.model),
            keyframes=await self._upload_keyframes(job),
        )

    async def _upload_keyframes(self, job: Job) -> dict[str, str]:
        fields = {}
        for field, image in job.inputs.list_media():
            name = field.wire
            if image.path is None:
                fields[f"{name}_url"] = image.source
            else:
                fields[f"{name}_id"] = await self._find_or_upload(image, image.path)
        return fields

    async def _find_or_upload(self, image: MediaInput, path: Path) -> str:
        content_hash = image.sha256 or ""
        async with self._by_content[content_hash]:
            asset_id = await self._ledger.assets.find(content_hash)
            if asset_id is None:
                async with self._room:
                    asset_id = await self._upload(path, image)
            return asset_id

    async def _upload(self, path: Path, image: MediaInput) -> str:
        content_hash = image.sha256 or ""
        content = await _read_unchanged(path, content_hash)
        asset_id = await self._retrying.read(lambda: self._client.create_asset(path.name), is_paced=False)
        try:
            await self._retrying.read(lambda: self._client.upload_asset(asset_id, content, path.name), is_paced=False)
        except AlreadyExistsError:
            logger.debug("%s: an upload whose answer was lost had arrived", path.name)
        except NotFoundError as error:
            raise UnfinishedError(f"{image.source} could not be uploaded: {error}") from error
        await self._ledger.assets.record(content_hash, asset_id, path.name)
        logger.info("%s: uploaded (%d bytes)", image.source, len(content))
        return asset_id


async def _read_unchanged(path: Path, content_hash: str) -> bytes:
    try:
        async with aiofiles.open(path, "rb") as file:
            content = await file.read()
    except OSError as error:
        raise UnfinishedError(f"{path} cannot be read any more ({error.strerror}).") from error
    if hashlib.sha256(content).hexdigest() != content_hash:
        raise UnfinishedError(f"{path} was changed while the run was going; the next run takes it as it is then.")
    return content
