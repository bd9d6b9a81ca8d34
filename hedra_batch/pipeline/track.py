"""The station of waiting: an accepted attempt ends as a result with a file name, or as a failure."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from hedra_batch.api.answers import ERROR
from hedra_batch.errors import JobError
from hedra_batch.job import Attempt, Job
from hedra_batch.ledger.store import Ledger
from hedra_batch.pipeline.watch import Watch

logger = logging.getLogger(__name__)


class Tracker:
    """Takes an attempt from ACCEPTED or STUCK to READY, FAILED or HELD, as the server ends it."""

    def __init__(
        self, ledger: Ledger, watch: Watch, folder: Path, offer_link: Callable[[int, str | None], None]
    ) -> None:
        self._ledger = ledger
        self._watch = watch
        self._folder = folder
        self._offer_link = offer_link

    async def process(self, attempt: Attempt, job: Job | None) -> Attempt:
        """Wait for the end; the charge and a fresh link come with the read that sees it."""
        try:
            generation = await self._watch.follow(attempt)
        except JobError as error:
            logger.error("%s: held: %s", attempt.label, error)
            return await self._ledger.hold(attempt, error.code, f"The server does not know it any more: {error}")
        if generation.status == ERROR:
            message = generation.error or "The server ended it without a reason."
            logger.error("%s: failed: %s", attempt.label, message)
            code = generation.error_code or "unknown"
            return await self._ledger.fail(attempt, code, message, generation.credits_charged)
        self._offer_link(attempt.key, generation.link)
        outputs = self._list_takes(job.output if job else attempt.wanted_output)
        return await self._ledger.mark_ready(attempt, outputs, generation.asset_id, generation.credits_charged)

    def _list_takes(self, wanted: str) -> Iterator[str]:
        """Yield the file names that a result may have: a paid file is never overwritten, so then a further take."""
        path = Path(wanted)
        takes = (path.with_suffix(f".take{take}{path.suffix}").as_posix() for take in itertools.count(2))
        return (output for output in itertools.chain([wanted], takes) if not (self._folder / output).exists())
