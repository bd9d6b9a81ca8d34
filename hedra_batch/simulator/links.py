"""Signed addresses on the media host, and whether one still opens its file."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode


@dataclass(frozen=True, slots=True)
class VideoLinks:
    """The addresses of one finished video."""

    #: The file; None when the service forgets to say it.
    file: str | None
    #: A playlist, which is no file.
    streaming: str | None
    preview: str


class Links:
    """Signs names of files for a time, and checks what was signed."""

    def __init__(self, secret: str, lifetime_seconds: float, clock: Callable[[], float]) -> None:
        self._secret = secret.encode()
        self._lifetime_seconds = lifetime_seconds
        self._clock = clock
        #: The media host; known once it listens.
        self.host_url = ""

    def sign(self, name: str, *, is_expired: bool = False) -> str:
        """Make the address of a file."""
        lifetime_seconds = -1.0 if is_expired else self._lifetime_seconds
        expires = f"{self._clock() + lifetime_seconds:.3f}"
        query = urlencode({"Expires": expires, "Signature": self._signature(name, expires)})
        return f"{self.host_url}/media/{name}?{query}"

    def is_signed(self, name: str, query: Mapping[str, str]) -> bool:
        """Whether the query carries this service's signature."""
        expected = self._signature(name, query.get("Expires", ""))
        return hmac.compare_digest(expected.encode(), query.get("Signature", "").encode())

    def is_expired(self, query: Mapping[str, str]) -> bool:
        """Whether the time of a signed address is over."""
        return float(query["Expires"]) <= self._clock()

    def _signature(self, name: str, expires: str) -> str:
        return hmac.new(self._secret, f"{name}\n{expires}".encode(), hashlib.sha256).hexdigest()[:32]
