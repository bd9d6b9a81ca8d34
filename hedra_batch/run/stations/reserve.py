"""The first station: the files of a job are at the server, each content once; then its request is on disk."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import defaultdict
from pathlib import Path

import aiofiles

from hedra_batch.api.protocol import Api
from hedra_batch.errors import JobError, UnfinishedError
from hedra_batch.inputs import FieldValues, MediaInput, Medium, find_digest, respell
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger import events
from hedra_batch.ledger.ledger import Estimate, Ledger

logger = logging.getLogger(__name__)


class Reserver:
    """Takes an attempt from NEW to RESERVED, or to REFUSED when the server refuses one of its files."""

    def __init__(self, ledger: Ledger, api: Api, estimate: Estimate, uploads: int) -> None:
        self._ledger = ledger
        self._api = api
        self._estimate = estimate
        self._room = asyncio.Semaphore(uploads)
        self._by_content: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def process(self, attempt: Attempt, job: Job | None) -> Attempt:
        """Upload what is missing, then commit key, body and price in one transaction.

        A crash before the commit costs at most one more upload, which is free.
        """
        assert job is not None, "an attempt in NEW is processed for a job of the manifest only"
        key = self._ledger.keys.of_attempt(attempt)
        try:
            body = await self.make_body(attempt, job, key)
        except JobError as refusal:
            logger.error("%s: a file of it was refused, so nothing was sent or charged: %s", attempt.label, refusal)
            return await self._ledger.apply(attempt, events.refuse(refusal.code, str(refusal), refusal.request_id))
        logger.debug("%s: attempt %d is reserved as %s", attempt.label, attempt.number, key)
        price, seconds = self._estimate(attempt.fields), self._api.find_usual_seconds(attempt.fields)
        sent_digest = find_sent_digest(attempt.fields, attempt.digest, self._api)
        return await self._ledger.apply(attempt, events.reserve(key, body, price, seconds, sent_digest))

    async def make_body(self, attempt: Attempt, job: Job, key: str) -> bytes:
        """Upload the files that are not there yet, and write the request. Raises JobError for a refused file."""
        media = {}
        for field, given in job.inputs.list_media():
            assert field.medium is not None
            media[field.name] = given.source if given.path is None else await self._find_or_upload(field.medium, given)
        return self._api.write_request(key, attempt.fields, media, attempt.bought_as)

    async def _find_or_upload(self, medium: Medium, given: MediaInput) -> str:
        content_hash = given.sha256 or ""
        async with self._by_content[content_hash]:
            handle = await self._ledger.uploads.find(medium, content_hash)
            if handle is None:
                async with self._room:
                    handle = await self._upload(medium, given)
            return handle

    async def _upload(self, medium: Medium, given: MediaInput) -> str:
        path, content_hash = given.path or Path(given.source), given.sha256 or ""
        content = await _read_unchanged(path, content_hash)
        wanted_id = self._ledger.keys.of_upload(
            medium, content_hash, await self._ledger.uploads.count(medium, content_hash)
        )
        try:
            uploaded = await self._api.upload(medium, path.name, content, wanted_id)
        except UnfinishedError as error:
            raise UnfinishedError(f"{given.source}: {error}") from error
        await self._ledger.uploads.record(
            medium, content_hash, uploaded.handle, name=path.name, expires_at=uploaded.expires_at
        )
        logger.info("%s: uploaded (%d bytes)", given.source, len(content))
        return uploaded.handle


def find_sent_digest(fields: FieldValues, digest: str, api: Api) -> str:
    """Take the digest of what a request really says: the model under the name that is sent."""
    written = fields.get("model")
    if not written or (sent := api.name_model(str(written))) == written:
        return digest
    return find_digest(respell(fields, sent))


async def _read_unchanged(path: Path, content_hash: str) -> bytes:
    try:
        async with aiofiles.open(path, "rb") as file:
            content = await file.read()
    except OSError as error:
        raise UnfinishedError(
            f"{path} can no longer be read ({error.strerror}), so nothing was sent. The next run tries again."
        ) from error
    if hashlib.sha256(content).hexdigest() != content_hash:
        raise UnfinishedError(
            f"{path} was changed during the run, so nothing was sent. The next run takes the file as it is then."
        )
    return content
