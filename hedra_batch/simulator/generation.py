"""The generation record; where it stands at any moment follows from the clock alone."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

from hedra_batch.simulator.account import BillingKind, BillingRecord
from hedra_batch.simulator.words import MAGIC_WORDS, GenerationError

#: The share of its time at which a running generation enters each status.
STAGES = ((0.9, "finalizing"), (0.1, "processing"), (0.0, "queued"))

#: Where the progress of one that never ends comes to rest.
_LAST_PROGRESS = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One video that was accepted and billed."""

    id: str
    asset_id: str
    created_at: float
    #: How long it takes on the clock.
    seconds: float
    #: The magic word that decides its end; None for a good one.
    word: str | None
    #: The published fields of the request.
    input: dict[str, Any]
    width: int
    height: int
    duration_ms: int
    credits: int
    batch_id: str | None
    #: The fingerprint of the key, and the id of the request, that it was accepted for.
    key: str
    request_id: str

    @property
    def prompt(self) -> str:
        """The text that it was asked for with."""
        return str(self.input["generated_video_inputs"]["text_prompt"])

    @property
    def ends_at(self) -> float:
        """When it ends; infinity if never."""
        return math.inf if self.word == "endless" else self.created_at + self.seconds

    @property
    def error(self) -> GenerationError | None:
        """The error that it ends with."""
        return MAGIC_WORDS[self.word].error if self.word else None

    def bill(self, kind: BillingKind, at: float, request_id: str) -> BillingRecord:
        """Write out a movement of the price."""
        return BillingRecord(at, kind, self.id, self.credits, self.key, self.prompt, request_id)

    def progress(self, now: float) -> float:
        """Reckon the share that is done."""
        share = max(0.0, (now - self.created_at) / self.seconds)
        return min(share, _LAST_PROGRESS if self.word == "endless" else 1.0)

    def status(self, now: float) -> str:
        """Name the status as the service publishes it."""
        if now >= self.ends_at:
            return "error" if self.error else "complete"
        return next(name for share, name in STAGES if self.progress(now) >= share)


def luck(seed: int, purpose: str, name: str) -> float:
    """Draw a number from 0 to below 1 that is always the same for the same names."""
    digest = hashlib.sha256(f"{seed}:{purpose}:{name}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56)
