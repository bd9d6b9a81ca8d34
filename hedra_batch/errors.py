"""The one tree of errors, grouped by what the program does next; it owns the exit codes.

Every message is a whole sentence for the person who typed the command. Errors of other libraries are
translated at the seam that calls them and raised `from` their cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

#: Exit code and meaning, in the order of `--help`. Codes of 64 and above follow sysexits.h.
EXIT_CODES: tuple[tuple[str, str], ...] = (
    ("0", "all done, or nothing to do"),
    ("1", "some jobs failed for good"),
    ("2", "the command line is wrong"),
    ("3", "all is well but not finished: go on as the last lines say"),
    (
        "4",
        "a person must look: jobs are held, overdue or edited after payment, files are damaged, or none can be fetched",
    ),
    ("5", "the account is out of credits"),
    ("6", "the budget is reached"),
    ("65", "the manifest has errors"),
    ("66", "an input file is missing or unusable, or pictures that a pattern found wait for you"),
    ("69", "the API cannot be reached"),
    ("70", "internal error"),
    ("73", "the run folder cannot be created"),
    ("74", "a file or the ledger cannot be written"),
    ("75", "another run is using the folder"),
    ("76", "the API does not answer as its documents say"),
    ("77", "the API refused the key"),
    (
        "78",
        "no API key, no consent to buy more than 10 videos, a changed plan, or a run folder that cannot be used",
    ),
    ("128+n", "stopped by signal n (130: Ctrl-C)"),
)

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_UNFINISHED = 3
EXIT_LOOK = 4
EXIT_SIGNAL_BASE = 128


class HedraBatchError(Exception):
    """Root of all errors of this program; by itself an internal one."""

    exit_code = 70


# Tell the user: nothing was sent, and the person mends something first.


class UserError(HedraBatchError):
    """Something outside the program must be mended before a run can start."""


class UsageError(UserError):
    """The command line asks for something that does not exist or does not go together."""

    exit_code = 2


class NothingSelectedError(UsageError):
    """What the command line selects is not there; `listing` is the command that shows what is, as `aim` says."""

    def __init__(self, message: str, aim: str, listing: str) -> None:
        super().__init__(message)
        self.aim = aim
        self.listing = listing


class ProblemsError(UserError):
    """Several faults, told at once; `problems` has each with its place."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class ManifestError(ProblemsError):
    """The text of the manifest is wrong."""

    exit_code = 65


class InputFileError(ProblemsError):
    """Files that the manifest names are missing or unusable."""

    exit_code = 66


class ConfigurationError(UserError):
    """The key is missing, or the run folder belongs to another manifest, account or API."""

    exit_code = 78


class UnconfirmedError(UserError):
    """More would be bought than a run may buy without a budget or a person's word."""

    exit_code = 78


class OtherPlanError(UserError):
    """What would be bought is not what the plan had whose code was given."""

    exit_code = 78


class CannotCreateError(UserError):
    """The run folder or a file in it cannot be created."""

    exit_code = 73


class LockedError(UserError):
    """Another process holds the run folder."""

    exit_code = 75


# Stop the run: no further request of this kind can succeed.


class StopRunError(HedraBatchError):
    """The run cannot go on; what was sent is in the ledger and the next run continues."""


class WriteError(StopRunError):
    """A file of the run folder cannot be written."""

    exit_code = 74


class LedgerError(WriteError):
    """The ledger cannot be read or written. A commit that failed may still be on disk, so nothing more is sent."""


class ApiUnreachableError(StopRunError):
    """The API host gave no usable answer for longer than the run waits."""

    exit_code = 69


class BrokenContractError(StopRunError):
    """The API's answers are not what its published document says, again and again."""

    exit_code = 76


class KeyRefusedError(StopRunError):
    """The API refused the key or the account (401, 403)."""

    exit_code = 77


class ForbiddenError(KeyRefusedError):
    """The API refuses a request to the account itself (403); where one read alone is refused, others may do."""


class OutOfCreditsError(StopRunError):
    """The account has no credits left (402): submitting stops, following and fetching go on."""

    exit_code = 5


class BudgetReachedError(StopRunError):
    """The manifest's own budget is reached: submitting stops, following and fetching go on."""

    exit_code = 6


class NothingFetchedError(StopRunError):
    """Results cannot be fetched for a reason that all share: submitting stops, following and fetching go on."""

    exit_code = EXIT_LOOK


class DamagedFilesError(HedraBatchError):
    """Results are not on disk as they were when they were done."""

    exit_code = EXIT_LOOK


# Fail this job: the server's answer ends the attempt.


class JobError(HedraBatchError):
    """One attempt ended without a result; the others go on.

    `code` is the service's own error class, in lower case.
    """

    exit_code = EXIT_FAILED

    def __init__(self, code: str, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.request_id = request_id


class RefusedError(JobError):
    """The server refused the request as it stands (400, 404, 410, 412, 422, moderation): nothing was charged."""


class UploadGoneError(RefusedError):
    """The server does not know uploaded files that the request names; another upload mends it."""

    def __init__(self, code: str, message: str, request_id: str | None, handles: frozenset[str]) -> None:
        super().__init__(code, message, request_id)
        self.handles = handles


class NotFoundError(JobError):
    """The server itself, and not a gateway before it, says that it does not know what was asked for."""


class ResultDeniedError(JobError):
    """The service itself says that it does not have the result of a generation that it has completed."""


class AlreadyExistsError(JobError):
    """The server says that something is there already (409 and its kin); reading tells what.

    `bears_our_key` says whether the answer names the key that we reserved.
    """

    bears_our_key = False


# Retry: the same request may succeed later.


class RetryError(HedraBatchError):
    """The same request may succeed later; `retry_after_seconds` is the server's wish, when it named one."""

    exit_code = EXIT_UNFINISHED

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class NotSentError(RetryError):
    """The request failed before its first byte left (DNS, connect, TLS): the server cannot have seen it."""


class ThrottledError(RetryError):
    """The server answered 429: nothing was accepted, and everybody slows down."""


class TooManyAtOnceError(ThrottledError):
    """The server runs no more generations at once: nothing was accepted, and one must end first."""


class NoAnswerError(RetryError):
    """A request that costs nothing got no answer (time-out, reset); it may be sent again."""


class UnavailableError(RetryError):
    """The server answered that it cannot (3xx, 408, 5xx); a request that costs nothing may be sent again.

    `status` is that of the answer.
    """

    status = 0


class ForeignAnswerError(UnavailableError):
    """Something before the API answered in its place (a gateway's page): what is asked may be told later.

    `is_unknown_route` says whether it is what a service says of a route that it does not have.
    """

    is_unknown_route = False


class GarbledError(RetryError):
    """A read got an answer that the published document does not allow."""


class Obstacle(StrEnum):
    """What keeps results from being fetched at the host or on the way to it; never what is wrong with one file."""

    NAME = "the media host's name cannot be found"
    ADDRESS = "the media host's name leads into a private network"
    CERTIFICATE = "no secure connection to the media host can be made"
    PROXY = "a proxy before the media host wants to know who asks"
    CONNECTION = "the media host cannot be reached"
    CUT = "the connection to the media host is cut before it answers"
    PAGE = "a web page or a message arrives instead of each of them"
    LENGTH = "the media host does not tell their lengths, so that a cut could go unnoticed"
    REDIRECT = "the media host's redirects lead nowhere"
    SILENCE = "the media host takes the connection and does not answer"
    REFUSAL = "the media host refuses to give them"
    OUTAGE = "the media host is out of order"


class DownloadError(RetryError):
    """A media file did not arrive whole, or is not a video; a fresh link may mend it.

    `obstacle` is the reason where it lies at no file of its own.
    """

    def __init__(self, message: str, obstacle: Obstacle | None = None) -> None:
        super().__init__(message)
        self.obstacle = obstacle


class SubmittingClosedError(HedraBatchError):
    """Nothing more is submitted in this run; the attempt stays for the next one."""

    exit_code = EXIT_UNFINISHED

    def __init__(self) -> None:
        super().__init__("Submitting is closed for this run.")


class UnfinishedError(HedraBatchError):
    """The attempt can get no further in this run; it stays where it is and the next run goes on with it."""

    exit_code = EXIT_UNFINISHED


class UnfetchedError(UnfinishedError):
    """The result is at the server, and did not arrive; `obstacle` is what its last try met."""

    def __init__(self, message: str, obstacle: Obstacle | None = None) -> None:
        super().__init__(message)
        self.obstacle = obstacle


# Settle by reading: neither a success nor a failure.


class UnknownOutcomeError(HedraBatchError):
    """A paid request was sent and its outcome cannot be told; the job is UNKNOWN until reading settles it.

    `throttling` is the wish to slow down that came with it, if one did.
    """

    exit_code = EXIT_UNFINISHED
    throttling: ThrottledError | None = None
