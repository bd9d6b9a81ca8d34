"""All that can be chosen about a simulated service."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from hedra_batch.errors import UsageError
from hedra_batch.simulator.faults import check_faults
from hedra_batch.simulator.schema import REQUEST_TYPES

#: The kind of POST /assets, whose requests have no `type` of their own.
ASSET_KIND = "asset"

#: What a second submission under a known id meets: 409; the first answer again; 500; a second charge.
Repeat = Literal["refuse", "replay", "error", "bill"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """How the simulated service behaves; left alone, it behaves well.

    Every length of time is in simulated seconds, which `speed` divides, unless it is said to be of the clock.
    """

    #: Port of the API on 127.0.0.1; 0 takes a free one.
    port: int = 0
    #: Port of the media host, which is never the API's.
    media_port: int = 0
    #: Simulated seconds in one second.
    speed: float = 1.0
    #: Probability of each named fault; it is read anew for every request.
    faults: Mapping[str, float] = field(default_factory=dict)
    #: Decides faults, generation times and estimates.
    seed: int = 0
    #: The accepted keys; None accepts all but those that start with "wrong".
    keys: Collection[str] | None = None
    #: The balance at the very start; all keys share one account.
    credits: int = 10_000
    #: How many times the price of its list it charges, rounded up.
    charge_factor: float = 1.0
    #: Whether the API is paid from a wallet of its own, so that `remaining` says nothing of it.
    has_api_wallet: bool = False
    #: How long after its end a failed generation is given back and shown as such; None gives it back at once, and goes
    #: on showing the charge.
    refund_seconds: float | None = None
    #: Keeps the state across restarts; None keeps it in memory only.
    folder: Path | None = None
    repeat: Repeat = "refuse"
    #: Whether ids that senders reserve are used, else the service makes its own; a set names the kinds of request,
    #: by their `type`, for which they are. Those of POST /assets are of the kind `asset`.
    honours_ids: bool | frozenset[str] = True
    #: Whether listed inputs show the `generation_id` that was sent.
    echoes_ids: bool = True
    #: Whether GET /generations filters by `ids`; else it lists everything.
    understands_ids: bool = True
    #: How long a generation that was just accepted cannot be read.
    read_lag_seconds: float = 0.0
    #: How much later a request whose answer is lost is processed.
    arrival_delay_seconds: float = 0.0
    #: How long a signed media link works, in seconds of the clock: a fast service does not outrun its readers.
    link_lifetime_seconds: float = 3600.0
    #: The mean time that a generation takes; each one takes up to half more or less.
    generation_seconds: float = 120.0
    #: The largest error of an estimate, as a share of the time that remains.
    eta_noise: float = 0.5
    #: The share of generations that get an estimate.
    eta_share: float = 0.9
    #: How late each answer of the API comes, in seconds of the clock.
    latency_seconds: float = 0.0
    #: How large a video is at least: what is missing is filled up.
    video_bytes: int = 0
    #: Generations that run at once before 429; None for any number.
    concurrency: int | None = None
    #: Submissions in one window before 429, and the length of a window in seconds of the clock; None for any number.
    window_submissions: float | None = None
    window_seconds: float = 1.0
    #: Where all of the service's time comes from, in seconds since 1970.
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        check_faults(self.faults)
        if self.speed <= 0 or self.generation_seconds <= 0:
            raise UsageError("The speed and the time of a generation must be numbers above 0.")
        if self.charge_factor <= 0:
            raise UsageError("What is charged must be more than 0 times the price.")
        if self.window_seconds <= 0 or (self.concurrency is not None and self.concurrency < 1):
            raise UsageError("A window must be longer than 0, and at least 1 generation must run at once.")
        if self.repeat not in get_args(Repeat):
            raise UsageError(f"There is no answer {self.repeat!r} to a repeat; give {', '.join(get_args(Repeat))}.")
        if isinstance(self.honours_ids, frozenset) and not self.honours_ids <= {*REQUEST_TYPES, ASSET_KIND}:
            kinds = ", ".join((*REQUEST_TYPES, ASSET_KIND))
            raise UsageError(f"Ids can be honoured for these kinds of request: {kinds}.")

    def should_honour_ids(self, kind: str) -> bool:
        return self.honours_ids if isinstance(self.honours_ids, bool) else kind in self.honours_ids

    def real_seconds(self, simulated_seconds: float) -> float:
        return simulated_seconds / self.speed
