"""How long a run waits for an API that does not answer, or not usefully."""

from __future__ import annotations

import asyncio
import logging

from hedra_batch.errors import (
    ApiUnreachableError,
    BrokenContractError,
    ForeignAnswerError,
    GarbledError,
    HedraBatchError,
    NoAnswerError,
    NotSentError,
    ThrottledError,
    UnavailableError,
)
from hedra_batch.run.settings import RunSettings
from hedra_batch.units import write_duration

logger = logging.getLogger(__name__)


class OutageGuard:
    """Whether the API answers, and how long the run still waits for it; shared by all requests of a run."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._has_answered = False
        self._failing_since: float | None = None
        #: What the API does instead of giving a useful answer, or did last.
        self.failure = ""
        #: Whether the API has taken a request, and with it the key.
        self.has_taken_key = False

    @property
    def failing_seconds(self) -> float:
        """For how long there has been no useful answer; 0 after one."""
        return 0.0 if self._failing_since is None else asyncio.get_running_loop().time() - self._failing_since

    def on_answer(self) -> None:
        self._has_answered = True
        self._failing_since = None

    def on_failure(self, error: HedraBatchError) -> None:
        """A request failed that may be tried again. Raises StopRunError when the run has waited long enough."""
        if isinstance(error, ThrottledError):
            self.on_answer()
            return
        now = asyncio.get_running_loop().time()
        self.failure = _describe(error)
        self._has_answered = self._has_answered or not isinstance(
            error, NotSentError | NoAnswerError | ForeignAnswerError
        )
        limit_seconds = self._settings.outage_seconds if self._has_answered else self._settings.first_answer_seconds
        if self._failing_since is None:
            self._failing_since = now
            logger.warning("%s Trying again for up to %s.", _to_sentence(error), write_duration(limit_seconds))
        if now - self._failing_since >= limit_seconds:
            if isinstance(error, GarbledError):
                raise make_broken_contract(error) from error
            raise ApiUnreachableError(
                f"{_to_sentence(error)} Tried for {write_duration(limit_seconds)}. {self._find_advice()}"
            ) from error

    def _find_advice(self) -> str:
        if self._has_answered:
            return (
                "What was submitted goes on at the server and is not bought again: the next run follows and fetches it."
            )
        return (
            "Nothing was bought by this run. Check the network, and the address if you have set one (--base-url or "
            "HEDRA_BASE_URL)."
        )


def make_broken_contract(error: GarbledError) -> BrokenContractError:
    """Make the error for answers that cannot be read, again and again."""
    return BrokenContractError(
        f"The API's answers are not as its documentation says. {_to_sentence(error)} Nothing more is sent. "
        "Check the address (--base-url, or HEDRA_BASE_URL), and whether there is a newer version of this program."
    )


def _describe(failure: HedraBatchError) -> str:
    if isinstance(failure, NotSentError):
        return "the API cannot be reached"
    if isinstance(failure, NoAnswerError):
        return "the API does not answer"
    if isinstance(failure, GarbledError):
        return "the API's answers cannot be read"
    status = f" ({failure.status})" if isinstance(failure, UnavailableError) and failure.status else ""
    return f"the API answers with errors{status}"


def _to_sentence(error: HedraBatchError) -> str:
    return f"{str(error).rstrip('.')}."
