"""The models that the server offers: which one a job means, and what it will cost."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from hedra_batch.api.v2.answers import Model
from hedra_batch.errors import ManifestError
from hedra_batch.inputs import FieldValue, PriceKey, find_price_key
from hedra_batch.money import CREDITS, Money

#: In credits; beyond it the list cannot be right.
HIGHEST_PRICE = 10**9
_DECIMAL = re.compile(r"\d{1,12}(\.\d{1,18})?")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Catalogue:
    """The answer of GET /models, searched by slug, id or name."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = models
        self._prices: dict[PriceKey, Money | None] = {}
        names = Counter(model.name.casefold() for model in models)
        self._by_key: dict[str, Model] = {}
        for model in models:
            # A name that two models share means neither.
            name = model.name.casefold() if names[model.name.casefold()] == 1 else None
            self._by_key |= {key: model for key in (name, model.id and model.id.lower(), model.slug) if key}

    def find(self, written: str) -> Model | None:
        return self._by_key.get(written) or self._by_key.get(written.lower()) or self._by_key.get(written.casefold())

    def spell(self) -> dict[str, str]:
        """Return the slug that each name, id and slug stands for."""
        names = Counter(model.name.casefold() for model in self._models)
        spellings: dict[str, str] = {}
        for model in self._models:
            # A name that two models share means neither.
            name = model.name if names[model.name.casefold()] == 1 else None
            spellings |= {written: model.slug for written in (name, model.id and model.id.lower()) if written}
        return spellings | {model.slug: model.slug for model in self._models}

    def name_on_wire(self, written: str) -> dict[str, str]:
        """Write the field that names the model in a request.

        A slug or an id is sent as written, also where the list lacks it; a name becomes the slug of its model.
        """
        if _UUID.fullmatch(written):
            return {"ai_model_id": written.lower()}
        model = self.find(written)
        return {"model_slug": model.slug if model else written}

    def check(self, written: Mapping[str | None, str]) -> None:
        """Refuse names that no one model has, each with a job that asks for it, before anything is sent.

        Raises ManifestError with all of them. Slugs and ids pass, since the list need not have every model.
        """
        unknown = [
            f"{label}: model: {self._describe(name)}"
            for name, label in written.items()
            if name and "/" not in name and not _UUID.fullmatch(name) and not self.find(name)
        ]
        if unknown:
            raise ManifestError(sorted(unknown))

    def _describe(self, name: str) -> str:
        """Say whether no model has a name, or several have it, and what to write instead."""
        namesakes = sorted(model.slug for model in self._models if model.name.casefold() == name.casefold())
        if namesakes:
            return f"the API has several models called '{name}'. Write the slug of one: {', '.join(namesakes)}"
        close = " or ".join(f"'{one}'" for one in self._find_closest(name))
        hint = f". Did you mean {close}?" if close else "."
        known = sorted({model.name for model in self._models})
        return f"the API has no model called '{name}'{hint} Available: {', '.join(known) or 'none'}"

    def _find_closest(self, name: str) -> list[str]:
        """Find the models whose name or slug is most like a name, whatever the case of letters."""
        names = {written.casefold(): model.name for model in self._models for written in (model.slug, model.name)}
        closest = difflib.get_close_matches(name.casefold(), names, n=4, cutoff=0.5)
        return list(dict.fromkeys(names[written] for written in closest))[:2]

    def find_usual_seconds(self, fields: Mapping[str, FieldValue]) -> float | None:
        model = self._find_model(fields)
        return model.eta_seconds if model else None

    def estimate(self, fields: Mapping[str, FieldValue]) -> Money | None:
        """Estimate what a video will cost, by the published price list; None where the list does not tell."""
        key = find_price_key(fields)
        if key not in self._prices:
            self._prices[key] = self._calculate(dict(key))
        return self._prices[key]

    def _find_model(self, fields: Mapping[str, FieldValue]) -> Model | None:
        return self.find(str(fields["model"])) if "model" in fields else None

    def _calculate(self, fields: dict[str, FieldValue]) -> Money | None:
        """Apply the published rule.

        credits = ceil((base_cost + credits_per_second x seconds) x the product of the modifiers).
        """
        model = self._find_model(fields)
        if model is None or model.pricing is None:
            return None
        base, rate = model.pricing.get("base_cost"), model.pricing.get("credits_per_second")
        duration_ms = fields.get("duration_ms")
        if (base is None and rate is None) or (rate and duration_ms is None):
            return None
        try:
            cost = _to_fraction(base or 0) + _to_fraction(rate or 0) * Fraction(int(duration_ms or 0), 1000)
            price = math.ceil(cost * _multiply_modifiers(model, fields))
        except (AttributeError, TypeError, ValueError):
            # The list has something else than numbers where they belong.
            return None
        return Money(price, CREDITS) if 0 <= price <= HIGHEST_PRICE else None


def _multiply_modifiers(model: Model, fields: dict[str, FieldValue]) -> Fraction:
    """Multiply what the choices cost. Raises ValueError where a choice is left to the server that has a price."""
    product = Fraction(1)
    for dimension, factors in ((model.pricing or {}).get("modifiers") or {}).items():
        option = fields.get(dimension, model.default_resolution if dimension == "resolution" else None)
        if option is None and {_to_fraction(factor) for factor in factors.values()} != {1}:
            raise ValueError(f"{dimension} is not chosen")
        product *= _to_fraction(factors.get(option, 1))
    return product


def _to_fraction(number: Any) -> Fraction:
    """Read a number of the list through its shortest decimal text: 0.1 means one tenth. Raises ValueError."""
    text = str(number)
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no number that a price can have")
    return Fraction(text)
