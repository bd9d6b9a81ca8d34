"""What looks like a credential: keys have no place in a manifest, which is shared, logged and committed."""

from __future__ import annotations

import re
from functools import lru_cache

WHY_REFUSED = (
    "looks like a credential, and a manifest is no place for one "
    "(set HEDRA_API_KEY, or HEDRA_API_KEY_FILE to the name of a file that holds the key)"
)

#: Names that mean a credential wherever they stand, without case and punctuation.
_NAMES = frozenset(
    {"accesskey", "accesstoken", "apisecret", "apitoken", "authorization", "authtoken", "clientsecret", "hedrakey"}
    | {"passwd", "privatekey", "secretkey", "xapitoken"}
)
#: Names that mean one as a field, but may well name a prompt: a secret garden, a token that falls.
_ORDINARY_WORDS = frozenset({"bearer", "credential", "credentials", "password", "secret", "token"})

_SHAPE = re.compile(r"(?<![A-Za-z0-9])(sk|pk|key|api|hedra)[-_]([A-Za-z0-9_-]{16,})", re.IGNORECASE)
_SHORTEST = len("sk-") + 16


@lru_cache(maxsize=4096)
def names_credential(key: str, *, is_free_name: bool = False) -> bool:
    """Tell whether a key such as `X-API-Key` announces a credential; a free name is one that its author made up."""
    bare = re.sub(r"[\W_]", "", key.casefold())
    return bare.endswith("apikey") or bare in _NAMES or (not is_free_name and bare in _ORDINARY_WORDS)


def holds_credential(text: str) -> bool:
    """Tell whether a text has something of the shape of an API key in it."""
    if len(text) < _SHORTEST or not ("-" in text or "_" in text):
        return False
    return any(
        match[1].lower() in {"sk", "pk"} or any(map(_looks_random, re.split("[-_]", match[2])))
        for match in _SHAPE.finditer(text)
    )


def _looks_random(part: str) -> bool:
    # `key-visual-for-the-summer.jpg` has the shape of a key too, but none of its parts looks drawn by lot.
    return len(part) >= 16 or (len(part) >= 12 and not part.isalpha() and not part.isdigit())
