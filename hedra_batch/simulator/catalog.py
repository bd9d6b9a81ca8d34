"""The models and voices on offer, with their prices and picture sizes; credits are reckoned in whole numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

_ASPECT_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model on offer; None in place of a list means that the model does not limit that choice."""

    #: None for a model that only its slug names.
    id: str | None
    slug: str
    name: str
    description: str
    type: str = "video"
    aspect_ratios: tuple[str, ...] = _ASPECT_RATIOS
    #: Resolutions, and what each one multiplies the price by.
    resolutions: dict[str, Fraction]
    default_resolution: str = "720p"
    durations: tuple[str, ...] | None = None
    max_duration_ms: int = 10_000
    requires_start_frame: bool = False
    requires_audio_input: bool = False
    base_cost: int = 0
    credits_per_second: int = 0
    max_prompt_length: int | None = 4096

    def price(self, resolution: str, duration_ms: int) -> int:
        """Credits for one generation, rounded up."""
        cost = self.base_cost + self.credits_per_second * Fraction(duration_ms, 1000)
        return math.ceil(cost * self.resolutions[resolution])

    def accepts_duration(self, duration_ms: int) -> bool:
        if self.durations is None or "auto" in self.durations:
            return 0 < duration_ms <= self.max_duration_ms
        return f"{duration_ms / 1000:g}s" in self.durations

    def to_json(self, eta_ms: int) -> dict[str, Any]:
        return {
            "id": self.id,
            "slug": self.slug,
            "name": self.name,
            "description": self.description,
            "type": self.type,
            "aspect_ratios": list(self.aspect_ratios),
            "resolutions": list(self.resolutions),
            "default_resolution": self.default_resolution,
            "durations": None if self.durations is None else list(self.durations),
            "max_duration_ms": self.max_duration_ms,
            "requires_start_frame": self.requires_start_frame,
            "requires_audio_input": self.requires_audio_input,
            "eta_ms": eta_ms,
            "max_prompt_length": self.max_prompt_length,
            "price_details": self._price_details(),
            "pricing": self._pricing(),
            "dimensions": self._dimensions(),
            "premium": False,
        }

    def _price_details(self) -> dict[str, Any]:
        unit = "second" if self.credits_per_second else "generation"
        return {"credit_cost": self.credits_per_second or self.base_cost, "unit_scale": 1, "billing_unit": unit}

    def _pricing(self) -> dict[str, Any]:
        factors = {name: float(factor) for name, factor in self.resolutions.items() if factor != 1}
        return {
            "base_cost": self.base_cost or None,
            "credits_per_second": self.credits_per_second or None,
            "modifiers": {"resolution": factors} if factors else {},
        }

    def _dimensions(self) -> dict[str, Any]:
        return {
            ratio: {
                name: dict(zip(("width", "height"), dimensions(ratio, name), strict=True)) for name in self.resolutions
            }
            for ratio in self.aspect_ratios
        }


def dimensions(aspect_ratio: str, resolution: str) -> tuple[int, int]:
    """Width and height in pixels; the number in a resolution is the short side."""
    across, down = (int(part) for part in aspect_ratio.split(":"))
    short = int(resolution.removesuffix("p"))
    return short * across // min(across, down), short * down // min(across, down)


_STANDARD = {"540p": Fraction(1, 2), "720p": Fraction(1)}
_FIVE_TO_TEN_SECONDS = tuple(f"{seconds}s" for seconds in range(5, 11))

TEXT_TO_VIDEO = Model(
    id="827122cd-5fdd-4412-86f2-554f7bb8eef9",
    slug="fal/grok-video-t2v",
    name="Grok Video T2V",
    description="Makes a short clip from a prompt.",
    resolutions=_STANDARD,
    durations=_FIVE_TO_TEN_SECONDS,
    credits_per_second=7,
)
IMAGE_TO_VIDEO = Model(
    id="0435547d-1b30-41ad-bf66-ca476ff0564e",
    slug="fal/grok-video-i2v",
    name="Grok Video I2V",
    description="Makes a short clip that begins with an image.",
    resolutions=_STANDARD,
    durations=_FIVE_TO_TEN_SECONDS,
    requires_start_frame=True,
    credits_per_second=7,
)
AVATAR = Model(
    id="d1dd37a3-e39a-4854-a298-6510289f9cf2",
    slug="hedra/character-3",
    name="Hedra Character 3",
    description="Makes a portrait speak.",
    aspect_ratios=("16:9", "9:16", "1:1"),
    resolutions=_STANDARD,
    durations=("auto",),
    max_duration_ms=60_000,
    requires_start_frame=True,
    requires_audio_input=True,
    credits_per_second=6,
)
SLUG_ONLY = Model(
    id=None,
    slug="simulated/clip-1",
    name="Simulated Clip",
    description="Has no id, any length up to twelve seconds, and a price with a base.",
    resolutions={**_STANDARD, "1080p": Fraction(3, 2)},
    max_duration_ms=12_000,
    base_cost=3,
    credits_per_second=5,
)
STILL = Model(
    id="5d0a6f0e-64d3-4c8e-a4b4-0f2a3f7a9f11",
    slug="simulated/still-1",
    name="Simulated Still",
    description="Makes images, which the simulator only lists.",
    type="image",
    resolutions=_STANDARD,
    base_cost=5,
)

MODELS = (TEXT_TO_VIDEO, IMAGE_TO_VIDEO, AVATAR, SLUG_ONLY, STILL)


def find_model(*, slug: str | None, model_id: str | None) -> Model | None:
    if slug:
        return next((model for model in MODELS if model.slug == slug), None)
    return next((model for model in MODELS if model.id == model_id), None)


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice on offer."""

    id: str
    name: str
    labels: dict[str, str] = field(default_factory=dict)


VOICES = (
    Voice("8c2a3d0e-2f5b-4d6f-9f53-0c6a2f7e1b01", "Ada", {"language": "English", "gender": "female"}),
    Voice("8c2a3d0e-2f5b-4d6f-9f53-0c6a2f7e1b02", "Ben", {"language": "English", "gender": "male"}),
)
