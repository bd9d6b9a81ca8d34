"""Logging of a run: a file with every change, the terminal with what was asked for, and no secret in either."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from hedra_batch.errors import CannotCreateError
from hedra_batch.report.terminal import fit
from hedra_batch.sanitize import hide_secret, hide_signatures

ROOT = "hedra_batch"
#: A line that comes so long after the last flush waits for nothing.
FLUSH_SECONDS = 1.0


class RedactingFormatter(logging.Formatter):
    """Takes secrets and signed queries out of the finished text, so out of exception texts and child loggers too."""

    converter = staticmethod(time.gmtime)
    default_msec_format = ""

    def __init__(self, layout: str, secrets: Sequence[str]) -> None:
        super().__init__(layout, datefmt="%Y-%m-%dT%H:%M:%SZ")
        self._secrets = list(secrets)

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record), self._secrets)


class GlanceFormatter(RedactingFormatter):
    """For somebody who is looking just now: with the time of day where that person is."""

    converter = staticmethod(time.localtime)

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__("%(asctime)s %(message)s", secrets)
        self.datefmt = "%H:%M:%S"


class LogFile(logging.FileHandler):
    """A log file whose lines of good news may wait for the next line, so that those of a fast run go together."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self._flushed_time = 0.0
        self._is_urgent = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a warning is flushed at once."""
        self._is_urgent = record.levelno >= logging.WARNING
        super().emit(record)

    def flush(self) -> None:
        """Flush what should not wait: a call for each line would cost a fast run more than the lines themselves."""
        now = time.monotonic()
        if self._is_urgent or now - self._flushed_time >= FLUSH_SECONDS:
            self._flushed_time = now
            super().flush()

    def close(self) -> None:
        self._is_urgent = True
        super().close()


def redact(text: str, secrets: Sequence[str]) -> str:
    """Replace each secret, and the query of each address."""
    for secret in secrets:
        text = hide_secret(text, secret)
    return hide_signatures(text)


@contextmanager
def log_to(
    path: Path, secrets: Sequence[str], verbosity: int, terminal: logging.Handler | None = None
) -> Iterator[None]:
    """Write a log file, and to the terminal if something is to be said there. Raises CannotCreateError.

    The steps between the changes cost as much as the changes themselves, so they are in neither unless asked for.
    """
    logger = _set_up_logger(logging.DEBUG if verbosity else logging.INFO)
    handlers = [_open_file(path, secrets), *([terminal] if terminal else [])]
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


def _set_up_logger(level: int) -> logging.Logger:
    logger = logging.getLogger(ROOT)
    logger.setLevel(level)
    logger.propagate = False
    logging.raiseExceptions = False
    # No layout names them, and finding them out takes longer than writing a line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    return logger


def _open_file(path: Path, secrets: Sequence[str]) -> logging.Handler:
    try:
        to_file = LogFile(path)
    except OSError as error:
        raise CannotCreateError(f"{path} cannot be created: {error.strerror or error}.") from error
    to_file.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s", secrets))
    return to_file


class LineHandler(logging.StreamHandler[TextIO]):
    """Prints one line a record, which a terminal gets wrapped."""

    def format(self, record: logging.LogRecord) -> str:
        return fit(super().format(record), self.stream)


def make_line_handler(secrets: Sequence[str], verbosity: int) -> logging.Handler:
    """Make what writes dated lines."""
    handler = LineHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter("%(asctime)s %(message)s", secrets))
    # One line a change by default; the steps between with -v, every request with -vv.
    if verbosity < 2:
        handler.addFilter(lambda record: record.levelno > logging.DEBUG or not record.name.startswith(f"{ROOT}.api"))
    handler.addFilter(lambda record: record.name != f"{ROOT}.transcript")
    return handler


def make_warning_handler(secrets: Sequence[str]) -> logging.StreamHandler[Any]:
    """Make what writes only what should not be missed, beside a view that shows the rest."""
    handler = LineHandler(sys.stderr)
    handler.setFormatter(GlanceFormatter(secrets))
    handler.setLevel(logging.WARNING)
    return handler


@contextmanager
def admit(handler: logging.Handler, level: int) -> Iterator[None]:
    """Have a handler write from another level on, until the context ends."""
    level_before = handler.level
    handler.setLevel(level)
    try:
        yield
    finally:
        handler.setLevel(level_before)
