"""Values that a published OpenAPI document allows, drawn by lot: what is optional is there, null or missing."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[3] / "shared" / "hedra-api" / "openapi-v2.json"

Schema = Mapping[str, Any]

#: How deep things are nested before whatever is optional is left out.
DEEPEST = 3
#: What strings of a published format look like; all others are a word.
FORMATS = {"uri": "https://media.invalid/x", "date-time": "2026-01-01T00:00:00Z"}
#: Words that no enumeration of the document has.
NEW_WORDS = ("QUOTA_SHIFTED", "hologram", "Étape")
#: What a later version of the service may add.
NEW_FIELDS: dict[str, Any] = {
    "trace": {"span": [1, {"deep": None}]},
    "schema_version": 3,
    "x-internal": "…",
    "links": [],
    "null": None,
}


class Document:
    """Draws answers; `variety` names in which ways they may differ from the plainest one."""

    def __init__(self, dice: random.Random, variety: Collection[str], path: Path = PATH) -> None:
        self.components: dict[str, Any] = json.loads(path.read_text("utf-8"))["components"]
        self._schemas = self.components["schemas"]
        self._dice = dice
        self._variety = frozenset(variety)

    def list_words(self, name: str) -> list[str]:
        """List the words of a published enumeration."""
        return list(self._schemas[name]["enum"])

    def draw(self, schema: str, /, **known: Any) -> dict[str, Any]:
        """Draw an object of a schema in which some fields are known."""
        return dict(self._draw_object(self._schemas[schema], 0, known))

    def _draw_object(self, schema: Schema, depth: int, known: Mapping[str, Any]) -> dict[str, Any]:
        drawn: dict[str, Any] = {}
        for name, inner in schema.get("properties", {}).items():
            if name in known:
                drawn[name] = self._disguise(inner, known[name])
            elif name in schema.get("required", ()) or "const" in inner or self._is_there(depth):
                # By what is constant, one kind of object is told from another.
                drawn[name] = self._draw(inner, depth + 1)
        # What is known and not published stands there all the same: the test wants it.
        drawn |= {name: value for name, value in known.items() if name not in drawn}
        if "new fields" in self._variety and self._dice.random() < 0.5:
            name = self._dice.choice(list(NEW_FIELDS))
            drawn.setdefault(name, NEW_FIELDS[name])
        items = list(drawn.items())
        self._dice.shuffle(items)
        return dict(items)

    def _is_there(self, depth: int) -> bool:
        if "missing" not in self._variety:
            return depth == 0
        return depth < DEEPEST and self._dice.random() < 0.5

    def _draw(self, schema: Schema, depth: int) -> Any:
        if "$ref" in schema:
            return self._draw(self._schemas[schema["$ref"].rpartition("/")[2]], depth)
        if choices := schema.get("anyOf") or schema.get("oneOf"):
            return self._draw_choice(choices, depth)
        if "enum" in schema:
            is_new = "new words" in self._variety and self._dice.random() < 0.3
            return self._dice.choice(NEW_WORDS if is_new else schema["enum"])
        if "const" in schema:
            return schema["const"]
        return self._draw_plain(schema, depth)

    def _draw_choice(self, choices: list[Schema], depth: int) -> Any:
        is_nullable = any(choice.get("type") == "null" for choice in choices)
        if is_nullable and (depth > DEEPEST or ("nulls" in self._variety and self._dice.random() < 0.6)):
            return None
        return self._draw(self._dice.choice([choice for choice in choices if choice.get("type") != "null"]), depth)

    def _draw_plain(self, schema: Schema, depth: int) -> Any:
        kind = schema.get("type", "object")
        if kind == "object":
            return self._draw_object(schema, depth, {})
        if kind == "array":
            return self._draw_array(schema, depth)
        if kind == "string":
            return self._draw_text(schema)
        if kind == "integer":
            return self._disguise(
                schema, self._dice.randint(int(schema.get("minimum", 1)), int(schema.get("maximum", 90)))
            )
        numbers = [number for number in (1, 0.5) if number >= schema.get("minimum", 0)]
        return {"boolean": self._dice.random() < 0.5, "number": self._dice.choice(numbers)}.get(kind)

    def _draw_array(self, schema: Schema, depth: int) -> list[Any]:
        if "prefixItems" in schema:
            return [self._draw(item, depth) for item in schema["prefixItems"]]
        count = 0 if depth > DEEPEST else self._dice.randrange(3)
        return [self._draw(schema.get("items", {}), depth + 1) for _ in range(count)]

    def _draw_text(self, schema: Schema) -> str:
        if schema.get("format") == "uuid":
            return str(uuid.UUID(int=self._dice.getrandbits(128)))
        words = ["a word", "ein Wört", *([] if "minLength" in schema else [""])]
        return FORMATS.get(schema.get("format", ""), self._dice.choice(words))

    def _disguise(self, schema: Schema, value: Any) -> Any:
        """Write a whole number as other programs write it."""
        kinds = {choice.get("type") for choice in (schema, *schema.get("anyOf", ()))}
        if "integer" not in kinds or not isinstance(value, int) or isinstance(value, bool):
            return value
        forms = [str] * ("texts" in self._variety) + [float] * ("floats" in self._variety) + [int]
        return self._dice.choice(forms)(value)
