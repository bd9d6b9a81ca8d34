"""All generations: what is accepted and billed, found again, listed, and refunded when it fails."""

from __future__ import annotations

import hashlib
import heapq
import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any

from hedra_batch.simulator import refusals
from hedra_batch.simulator.account import Account, BillingKind, BillingRecord
from hedra_batch.simulator.recording import Journal
from hedra_batch.simulator.refusals import MAGIC_WORDS, GenerationError
from hedra_batch.simulator.requests import ListQuery, VideoRequest
from hedra_batch.simulator.settings import SimulatorSettings

#: The share of its time at which a running generation enters each status.
STAGES = ((0.9, "finalizing"), (0.1, "processing"), (0.0, "queued"))

#: Makes the asset id of a generation out of its own id.
_ASSET_NAMESPACE = uuid.UUID("6f1f8a52-6d0c-5b9e-8a54-0f5b8f6f3c21")
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
        return str(self.input["generated_video_inputs"]["text_prompt"])

    @property
    def ends_at(self) -> float:
        """Infinity for one that never ends."""
        return math.inf if self.word == "endless" else self.created_at + self.seconds

    @property
    def error(self) -> GenerationError | None:
        return MAGIC_WORDS[self.word].error if self.word else None

    def bill(self, kind: BillingKind, at: float, request_id: str) -> BillingRecord:
        return BillingRecord(at, kind, self.id, self.credits, self.key, self.prompt, request_id)

    def progress(self, now: float) -> float:
        share = max(0.0, (now - self.created_at) / self.seconds)
        return min(share, _LAST_PROGRESS if self.word == "endless" else 1.0)

    def status(self, now: float) -> str:
        if now >= self.ends_at:
            return "error" if self.error else "complete"
        return next(name for share, name in STAGES if self.progress(now) >= share)


def draw_fraction(seed: int, purpose: str, name: str) -> float:
    """Draw a number from 0 to below 1; the same arguments always give the same number."""
    digest = hashlib.sha256(f"{seed}:{purpose}:{name}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56)


class Generations:
    """Generations by id, in the order of their acceptance.

    The line of a generation is what commits it: a charge or refund that a kill kept from the billing log is made up
    for when the lines are read again.
    """

    def __init__(self, settings: SimulatorSettings, journal: Journal[Generation], account: Account) -> None:
        self._settings = settings
        self._journal = journal
        self._account = account
        self._by_id: dict[str, Generation] = {}
        self._by_asset: dict[str, Generation] = {}
        self._flaky_prompts: set[str] = set()
        self._lost: set[str] = set()
        #: A heap of when each running generation ends.
        self._running: list[tuple[float, str]] = []
        #: A heap of when each failed one is given back.
        self._refundable: list[tuple[float, str]] = []
        for generation in journal.records:
            self._register(generation)

    def accept(self, request: VideoRequest, key: str, request_id: str) -> list[Generation]:
        """Charge a request and start it, or refuse it and charge nothing."""
        self._check_concurrency(request.batch_size)
        self._account.require(self._charge(request) * request.batch_size)
        batch_id = str(uuid.uuid4()) if request.batch_size > 1 else None
        generations = [self._begin(request, n, batch_id, key, request_id) for n in range(request.batch_size)]
        self._journal.append(*generations)
        for generation in generations:
            self._register(generation)
        return generations

    def bill_again(self, generations: list[Generation], request_id: str) -> None:
        self._account.require(sum(generation.credits for generation in generations))
        for generation in generations:
            self._account.book(generation.bill("charge", self._settings.clock(), request_id))

    def refund_failed(self) -> None:
        now = self._settings.clock()
        delay_seconds = self._settings.real_seconds(self._settings.refund_seconds or 0.0)
        while self._running and self._running[0][0] <= now:
            generation = self._by_id[heapq.heappop(self._running)[1]]
            if generation.error:
                heapq.heappush(self._refundable, (generation.ends_at + delay_seconds, generation.id))
        while self._refundable and self._refundable[0][0] <= now:
            generation = self._by_id[heapq.heappop(self._refundable)[1]]
            if not self._account.has_booked("refund", generation.id):
                self._account.book(generation.bill("refund", generation.ends_at + delay_seconds, generation.request_id))

    def find_cost(self, generation: Generation) -> int:
        """Find what a generation costs as it is shown now: nothing any more once that was given back."""
        is_shown = self._settings.refund_seconds is not None
        return 0 if is_shown and self._account.has_booked("refund", generation.id) else generation.credits

    def find_known(self, kind: str, ids: tuple[str, ...]) -> list[Generation]:
        """Find those that a request of this kind repeats, readable or not; none where its ids are not used."""
        if not self._settings.should_honour_ids(kind):
            return []
        return [self._by_id[wanted] for wanted in ids if wanted in self._by_id]

    def lose(self, generation_id: str) -> None:
        """Show it nowhere any more, though it was billed and a repeat of it is recognised; until a restart."""
        self._lost.add(generation_id)

    def find_again(self, generation_id: str) -> None:
        self._lost.discard(generation_id)

    def find(self, generation_id: str) -> Generation | None:
        """Find one that can be read by now."""
        generation = self._by_id.get(generation_id)
        return generation if generation and self._is_readable(generation) else None

    def find_video(self, asset_id: str) -> Generation | None:
        """Find the one whose finished video is this asset."""
        generation = self._by_asset.get(asset_id)
        if generation is None or generation.id in self._lost:
            return None
        return generation if generation.status(self._settings.clock()) == "complete" else None

    def list_videos(self, ids: tuple[str, ...] | None) -> Iterator[Generation]:
        """Finished videos only: newest first, or in the order of the asset ids."""
        wanted = reversed(self._by_asset) if ids is None else ids
        return filter(None, map(self.find_video, wanted))

    def list_page(self, query: ListQuery) -> Iterator[Generation]:
        """List what can be read: newest first, or in the order of the ids."""
        matching = (each for each in self._candidates(query) if _matches(each, query))
        return islice(matching, query.offset, query.offset + query.limit)

    def eta_seconds(self, generation: Generation, at: float) -> int | None:
        """Estimate the time that remains, wrong by the noise of the settings; some generations never have one."""
        seed = self._settings.seed
        if at >= generation.ends_at or draw_fraction(seed, "no eta", generation.id) < 1 - self._settings.eta_share:
            return None
        error = self._settings.eta_noise * (2 * draw_fraction(seed, "eta", generation.id) - 1)
        return max(0, round((generation.created_at + generation.seconds - at) * (1 + error)))

    def _is_readable(self, generation: Generation) -> bool:
        lag_seconds = self._settings.real_seconds(self._settings.read_lag_seconds)
        return generation.id not in self._lost and self._settings.clock() >= generation.created_at + lag_seconds

    def _candidates(self, query: ListQuery) -> Iterator[Generation]:
        if query.ids is None or not self._settings.understands_ids:
            return filter(self._is_readable, reversed(self._by_id.values()))
        return filter(None, map(self.find, query.ids))

    def _check_concurrency(self, wanted: int) -> None:
        self.refund_failed()
        most = self._settings.concurrency
        if most is not None and len(self._running) + wanted > most:
            raise refusals.throttled(f"Too many concurrent generations: at most {most} run at once.")

    def _begin(self, request: VideoRequest, number: int, batch_id: str | None, key: str, request_id: str) -> Generation:
        honours_ids = self._settings.should_honour_ids(request.input["type"])
        honoured_ids = request.generation_ids if honours_ids else ()
        generation_id = honoured_ids[number] if honoured_ids else str(uuid.uuid4())
        own_asset_id = str(uuid.uuid5(_ASSET_NAMESPACE, generation_id))
        return Generation(
            id=generation_id,
            asset_id=request.asset_ids[number] if request.asset_ids and honours_ids else own_asset_id,
            created_at=self._settings.clock(),
            seconds=self._seconds(generation_id),
            word=None if request.prompt in self._flaky_prompts else request.word,
            input=request.input if self._settings.echoes_ids else _without_ids(request.input),
            width=request.width,
            height=request.height,
            duration_ms=request.duration_ms,
            credits=self._charge(request),
            batch_id=batch_id,
            key=key,
            request_id=request_id,
        )

    def _charge(self, request: VideoRequest) -> int:
        return math.ceil(request.credits * Fraction(str(self._settings.charge_factor)))

    def _seconds(self, generation_id: str) -> float:
        """Half to one and a half times the mean."""
        share = 0.5 + draw_fraction(self._settings.seed, "duration", generation_id)
        return self._settings.real_seconds(self._settings.generation_seconds * share)

    def _register(self, generation: Generation) -> None:
        self._by_id[generation.id] = generation
        self._by_asset[generation.asset_id] = generation
        heapq.heappush(self._running, (generation.ends_at, generation.id))
        if generation.word == "flaky":
            self._flaky_prompts.add(generation.prompt)
        if not self._account.has_booked("charge", generation.id):
            self._account.book(generation.bill("charge", generation.created_at, generation.request_id))


def _without_ids(request: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name not in ("generation_id", "generation_ids")}


def _matches(generation: Generation, query: ListQuery) -> bool:
    return (
        query.type in (None, "video")
        and query.created_after < generation.created_at < query.created_before
        and query.prompt_part in generation.prompt.lower()
    )
