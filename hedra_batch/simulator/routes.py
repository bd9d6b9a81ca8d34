"""The routes by name, as faults are planned on them and the service serves them."""

from __future__ import annotations

from enum import StrEnum

#: The path that the API stands under.
BASE_PATH = "/web-app/public"


class Route(StrEnum):
    """Method and path; the paths of the API are relative to `BASE_PATH`."""

    LIST_MODELS = "GET /models"
    LIST_VOICES = "GET /voices"
    LIST_ASSETS = "GET /assets"
    CREATE_ASSET = "POST /assets"
    UPLOAD_ASSET = "POST /assets/{id}/upload"
    LIST_GENERATIONS = "GET /generations"
    CREATE_GENERATION = "POST /generations"
    READ_STATUS = "GET /generations/{id}/status"
    READ_CREDITS = "GET /billing/credits"
    #: On the media host, without `BASE_PATH`.
    READ_MEDIA = "GET /media/{name}"

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.value.partition(" ")[0]

    @property
    def path(self) -> str:
        """The path as aiohttp's router takes it."""
        return self.value.partition(" ")[2]


API_ROUTES = frozenset(Route) - {Route.READ_MEDIA}
