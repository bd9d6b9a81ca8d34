"""What the run asks of an API, in its own words; each version of an API is one implementation.

Whether many generations are read by one list or one by one, and how a lost request is looked for, is an
implementation's own matter. It raises errors of `hedra_batch.errors` only, and sends what costs nothing through
`Calls`, so that pace, patience and repetition are the run's. Voices are not asked for yet; they will stand beside the
models. `docs/api-seam.md` holds each method against version 3.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeVar

from hedra_batch.decide import Deduplication
from hedra_batch.errors import HedraBatchError
from hedra_batch.inputs import FieldValues, Medium
from hedra_batch.money import Money

T = TypeVar("T")


class Calls(Protocol):
    """How requests that cost nothing are sent."""

    async def until_answered(self, request: Callable[[], Awaitable[T]], *, is_paced: bool = True) -> T:
        """Repeat a request until it is answered. Raises JobError for a refusal, StopRunError after too long."""

    async def once(self, request: Callable[[], Awaitable[T]], *, is_paced: bool = True) -> T:
        """Try a request once. Raises RetryError too."""


class RequestGroup(StrEnum):
    """Requests that a server limits together; its limits for one group say nothing of the other."""

    SUBMISSIONS = "submissions"
    READS = "reads"


class Phase(StrEnum):
    """How far a generation is."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The server has accepted a request."""

    remote_id: str
    asset_id: str | None = None
    eta_seconds: float | None = None
    request_id: str | None = None
    #: What the answer shows of the server's use of our keys.
    deduplication: Deduplication = Deduplication.UNPROVEN


@dataclass(frozen=True, slots=True)
class Reading:
    """What a read says of a generation."""

    remote_id: str
    phase: Phase
    #: The server's word for how far it is, where that is none that is known.
    unknown_word: str | None = None
    #: From 0 to 1.
    progress: float = 0.0
    asset_id: str | None = None
    eta_seconds: float | None = None
    #: What was really charged, where the answer says it.
    charged: Money | None = None
    #: A signed link, good for a while only; never to be stored or logged.
    link: str | None = field(default=None, repr=False)
    #: Where the result is besides, as signed.
    other_links: Sequence[str] = field(default=(), repr=False)
    error_code: str | None = None
    error: str | None = None
    #: The key that the echoed request bears.
    request_key: str | None = None
    #: What the echoed request calls the job, and its prompt.
    name: str | None = None
    prompt: str | None = None


def find_place(link: str) -> str:
    """Find what a signed link says of where a result is, which stays the same in a fresh one."""
    return link.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file at the server."""

    handle: str
    #: When the server lets it go, as it is stored; None for never.
    expires_at: str | None = None


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request whose outcome is not known."""

    key: str
    #: When it was last sent; None where that was lost with a ledger.
    submitted_at: str | None
    deduplication: Deduplication
    #: The server's id, where it has been accepted once.
    remote_id: str | None = None


class Api(Protocol):
    """One account at one version of an API."""

    async def load_models(self) -> None:
        """Read the models, which prices and requests depend on. It is also the first sign of a right key and address.

        Raises ConfigurationError where the address is no such API.
        """

    def check_models(self, written: Mapping[str | None, str]) -> None:
        """Refuse names that no one model has, each with a job that asks for it. Raises ManifestError."""

    def spell_models(self) -> Mapping[str, str]:
        """Return every name that the list has for a model, each with the one that stands for all of them."""

    def name_model(self, written: str) -> str:
        """Name a model as a request names it."""

    def estimate(self, fields: FieldValues) -> Money | None:
        """Say what a request would cost; None where the list does not tell."""

    def find_usual_seconds(self, fields: FieldValues) -> float | None:
        """Say how long a request usually takes."""

    async def read_balance(self) -> Money | None:
        """Read what is left, by one try; None where that is not told now."""

    async def read_charges(self, remote_ids: Sequence[str]) -> dict[str, Money] | None:
        """Read what was charged for some generations, by one try: those that are told; None where it fails."""

    async def upload(self, medium: Medium, name: str, content: bytes, wanted_id: str = "") -> Upload:
        """Bring a file to the server, under an id of ours where the server takes one.

        Costs nothing, so it is repeated until it is there.
        Raises JobError where the file is refused, UnfinishedError where the server lost it on the way.
        """

    def write_request(self, key: str, fields: FieldValues, media: Mapping[str, str], name: str = "") -> bytes:
        """Write the body of a paid request; `media` has the handle or the URL of each media field.

        `name` is for those who look at the account's results, where there is room for it.
        """

    async def submit(self, body: bytes) -> Acceptance:
        """Send a paid request once, on a connection of its own.

        Raises NotSentError, ThrottledError, OutOfCreditsError, KeyRefusedError, RefusedError, UploadGoneError or
        AlreadyExistsError where the server cannot have accepted it, and UnknownOutcomeError for the rest.
        """

    @property
    def reads_together(self) -> int:
        """How many generations `read` should be given at once."""

    def read(self, ages_seconds: Mapping[str, float]) -> AsyncIterator[tuple[str, Reading | HedraBatchError]]:
        """Read generations by their remote ids, each with its age since its acceptance, in the order of the answers.

        Yields the error instead where one cannot be read: NotFoundError when the service itself does not know it, and a
        RetryError, an OutOfCreditsError or another JobError when it is to be read again later. What is not yielded is
        to be read again at once. Raises any other StopRunError. Several reads may be under way together.
        """

    async def find(self, request: SentRequest) -> Acceptance | None:
        """Look for a request everywhere where it may show; None when it is in none of these places.

        Raises JobError where the server refuses to tell, UnfinishedError where it cannot be told now.
        """

    async def find_elsewhere(self, request: SentRequest) -> Acceptance | None:
        """Look for a request under an id that is not its key, before it is sent again; None also where that fails."""

    def list_since(self, instant: str | None) -> AsyncIterator[Reading]:
        """Yield what the account has had made since an instant, page by page; since ever for None.

        Raises JobError where the server refuses that, UnfinishedError where it cannot be read to its end now.
        """

    async def find_link(self, remote_id: str, asset_id: str | None, spent_places: Collection[str] = ()) -> str:
        """Find a fresh link to a result, to another place than those that were tried in vain where there is another.

        Raises DownloadError when there is none yet, and JobError; a ResultDeniedError when the service itself says that
        it does not have the result.
        """
