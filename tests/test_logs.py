"""What stays out of a log, however it gets into a message."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hedra_batch.cli.logs import log_to, make_line_handler, redact
from hedra_batch.errors import CannotCreateError

SECRET = "a-secret-canary-key"


def refuse() -> None:
    raise RuntimeError(f"refused with {SECRET} at https://cdn.example.com/v.mp4?Signature=abc&Expires=1")


def log_a_failure() -> None:
    try:
        refuse()
    except RuntimeError:
        logging.getLogger("hedra_batch.api.v2.client").exception("it failed for %s", SECRET)


def test_secrets_are_taken_out_of_messages_and_exceptions(tmp_path: Path) -> None:
    with log_to(tmp_path / "run.log", [SECRET], 1):
        log_a_failure()
    text = (tmp_path / "run.log").read_text()
    assert "RuntimeError: refused with [key] at https://cdn.example.com/v.mp4?[signed]" in text
    assert SECRET not in text


@pytest.mark.parametrize("secret", ["", "k", "any-key"])
def test_what_is_too_short_for_a_secret_redacts_nothing(secret: str) -> None:
    assert redact("any-key in a text", [secret]) == "any-key in a text"


@pytest.mark.parametrize(
    ("verbosity", "shown"), [(0, ["step"]), (1, ["step", "detail"]), (2, ["step", "detail", "request"])]
)
def test_more_is_said_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verbosity: int, shown: list[str]
) -> None:
    with log_to(tmp_path / "run.log", [], verbosity, make_line_handler([], verbosity)):
        logging.getLogger("hedra_batch.run").info("step")
        logging.getLogger("hedra_batch.run").debug("detail")
        logging.getLogger("hedra_batch.api.v2.client").debug("request")
    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == shown
    has_detail = "detail" in (tmp_path / "run.log").read_text("utf-8")
    assert has_detail is ("detail" in shown)


def test_a_log_that_cannot_be_written_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "run.log"
    with pytest.raises(CannotCreateError, match=r"nowhere/run\.log"), log_to(path, [], 0):
        pass


def test_a_warning_reaches_the_file_at_once_and_everything_before_it_too(tmp_path: Path) -> None:
    logger = logging.getLogger("hedra_batch.run")
    with log_to(tmp_path / "run.log", [], 0):
        for step in ("first", "second"):
            logger.info(step)
        logger.warning("third")
        written = (tmp_path / "run.log").read_text("utf-8").splitlines()
        logger.info("fourth")
    assert [line.split()[-1] for line in written] == ["first", "second", "third"]
    assert (tmp_path / "run.log").read_text("utf-8").endswith("fourth\n")
