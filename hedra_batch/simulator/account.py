"""What the one account owns that all keys share: its balance, with every charge and refund, and its assets."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import imagesize  # type: ignore[import-untyped] # it has no types of its own

from hedra_batch.simulator import refusals
from hedra_batch.simulator.recording import Journal

BillingKind = Literal["charge", "refund"]


#: How each kind of image begins.
_MAGIC: dict[str, Callable[[bytes], bool]] = {
    "PNG": lambda content: content.startswith(b"\x89PNG\r\n\x1a\n"),
    "JPEG": lambda content: content.startswith(b"\xff\xd8\xff"),
    "WebP": lambda content: content[:4] == b"RIFF" and content[8:12] == b"WEBP",
    "GIF": lambda content: content.startswith((b"GIF87a", b"GIF89a")),
}


@dataclass(frozen=True, slots=True)
class BillingRecord:
    """One movement of credits."""

    #: In seconds since 1970 on the service's clock.
    at: float
    kind: BillingKind
    generation_id: str
    #: Always positive.
    credits: int
    #: The fingerprint of the key that paid.
    key: str
    prompt: str
    #: The request that was charged.
    request_id: str


class Account:
    """Moves credits; the balance is what the log says it is."""

    def __init__(self, credits_at_start: int, journal: Journal[BillingRecord]) -> None:
        self._journal = journal
        self._settled: set[tuple[str, str]] = set()
        self.remaining = credits_at_start
        self.used = 0
        for record in journal.records:
            self._count(record)

    def require(self, amount: int) -> None:
        """Raise the refusal of what the balance does not cover."""
        if amount > self.remaining:
            raise refusals.no_credits(amount, self.remaining)

    def has_booked(self, kind: BillingKind, generation_id: str) -> bool:
        return (kind, generation_id) in self._settled

    def book(self, record: BillingRecord) -> None:
        self._journal.append(record)
        self._count(record)

    def _count(self, record: BillingRecord) -> None:
        self._settled.add((record.kind, record.generation_id))
        change = record.credits if record.kind == "charge" else -record.credits
        self.remaining -= change
        self.used += change


@dataclass(frozen=True, slots=True)
class Asset:
    """Something that a generation can begin with; the fields of the content stay empty until the upload."""

    id: str
    type: str
    name: str
    created_at: float
    sha256: str | None = None
    size_bytes: int = 0
    width: int = 0
    height: int = 0

    @property
    def is_uploaded(self) -> bool:
        return self.sha256 is not None

    def with_content(self, content: bytes) -> Asset:
        """Take the facts of an image; the bytes themselves are not kept."""
        width, height = _image_size(content)
        digest = hashlib.sha256(content).hexdigest()
        return replace(self, sha256=digest, size_bytes=len(content), width=width, height=height)


class Assets:
    """All assets by id; the journal has a line for a creation and one for each upload, and the last one counts."""

    def __init__(self, journal: Journal[Asset], clock: Callable[[], float]) -> None:
        self._journal = journal
        self._clock = clock
        self._by_id = {asset.id: asset for asset in journal.records}

    def create(self, kind: str, name: str, wanted_id: str | None) -> Asset:
        asset_id = wanted_id or str(uuid.uuid4())
        if asset_id in self._by_id:
            raise refusals.already("ALREADY_EXISTS", "Asset", asset_id)
        return self._store(Asset(asset_id, kind, name, self._clock()))

    def upload(self, asset_id: str, content: bytes) -> Asset:
        asset = self._by_id.get(asset_id)
        if not asset:
            raise refusals.not_found("Asset", asset_id)
        if asset.type != "image":
            raise refusals.invalid(f"This is a simulator that takes only images, not {asset.type}.")
        return self._store(asset.with_content(content))

    def find_uploaded(self, asset_id: str) -> Asset | None:
        asset = self._by_id.get(asset_id)
        return asset if asset and asset.is_uploaded else None

    def list_uploaded(self, ids: tuple[str, ...] | None) -> Iterator[Asset]:
        """Newest first, or in the order of the ids."""
        wanted = reversed(self._by_id) if ids is None else ids
        return filter(None, map(self.find_uploaded, wanted))

    def forget(self) -> None:
        """Lose every asset, as a service that cleans up does; until a restart, which reads the journal again."""
        self._by_id.clear()

    def _store(self, asset: Asset) -> Asset:
        self._journal.append(asset)
        self._by_id[asset.id] = asset
        return asset


def _image_size(content: bytes) -> tuple[int, int]:
    if not any(matches(content) for matches in _MAGIC.values()):
        raise refusals.invalid(f"The file is no image that is supported ({', '.join(_MAGIC)}).")
    try:
        width, height = imagesize.get(io.BytesIO(content))
    except ValueError as error:
        raise refusals.invalid("The image is damaged.") from error
    if width <= 0 or height <= 0:
        raise refusals.invalid("The image is damaged: its size cannot be read.")
    return width, height
