"""The keys of paid requests and uploads, derived from what they are for: the same with and without a ledger."""

from __future__ import annotations

import json
import uuid

from hedra_batch.job import Attempt, Job
from hedra_batch.ledger.records import Purchase

#: Of the ids that are derived from a name.
_VERSION = 5

_write_json = json.JSONEncoder(ensure_ascii=False).encode


class Keys:
    """Derives the keys of one batch."""

    def __init__(self, batch_uuid: str) -> None:
        self._batch_uuid = uuid.UUID(batch_uuid)

    def of_attempt(self, attempt: Attempt) -> str:
        return self._derive(attempt.edition, attempt.bought_as, attempt.digest, attempt.number)

    def of_job(self, job: Job, number: int) -> str:
        """Derive the key of an attempt that is bought under the id of a job, as the job is written now."""
        return self._derive(job.edition, job.id, job.inputs.digest, number)

    def of_purchase(self, edition: str, purchase: Purchase) -> str:
        return self._derive(edition, purchase.bought_as, purchase.digest, purchase.number)

    def of_upload(self, medium: str, sha256: str, count: int) -> str:
        """Derive the id that a file is to have at the server; each upload of the same content has another one."""
        return self._derive("upload", medium, sha256, count)

    @staticmethod
    def may_be_ours(key: str) -> bool:
        """Tell whether a key may be one of this program's: those that servers make by themselves are random."""
        try:
            return uuid.UUID(key).version == _VERSION
        except ValueError:
            return False

    def _derive(self, *parts: str | int) -> str:
        return str(uuid.uuid5(self._batch_uuid, _write_json(parts)))
