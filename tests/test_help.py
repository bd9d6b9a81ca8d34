"""What is shown to whoever asks for help, by the real command."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import click
import pytest
from conftest import Desk

from hedra_batch.cli.help import FIRST_SCREEN
from hedra_batch.cli.main import COMMANDS, GROUPS, cli
from hedra_batch.errors import EXIT_CODES

#: What only the help of some commands may say.
PURPOSES = {
    "Make all videos anew": {"run"},
    "A trial on a simulated API": {"run", "retry"},
    "Look at a trial": {"status", "results", "verify"},
    "failed jobs of this edition": {"retry"},
    "Buy more than 10 videos": {"run", "retry"},
    "Buy jobs anew that were edited": {"run"},
    "count for the edited jobs": {"run"},
    "Give them up": {"resolve"},
    "Print nothing": {"fetch"},
    "For cron": {"run", "retry", "resolve"},
    "As for": set[str](),
}


def show(*words: str, columns: int = 80) -> str:
    command = [sys.executable, "-m", "hedra_batch", *words]
    return subprocess.run(
        command, env={**os.environ, "COLUMNS": str(columns)}, capture_output=True, text=True, check=True
    ).stdout


def list_examples(name: str) -> list[str]:
    epilog = cli.commands[name].epilog or ""
    return [line.strip() for line in epilog.splitlines() if line.startswith("  hedra-batch ")]


def test_help_lists_every_command_in_its_group_with_a_whole_sentence() -> None:
    text = show("--help")
    sections = {heading: re.split(r"\n\n", text.partition(f"\n{heading}:\n")[2])[0] for heading in GROUPS}
    assert {
        heading: tuple(re.findall(r"^  (\w+) +[A-Z].*\.$", section, re.MULTILINE))
        for heading, section in sections.items()
    } == GROUPS


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)])
@pytest.mark.parametrize("columns", [80, 120])
def test_help_fits_the_terminal_and_cuts_nothing(words: tuple[str, ...], columns: int) -> None:
    text = show(*words, "--help", columns=columns)
    assert max(map(len, text.splitlines())) <= columns
    assert "..." not in text.replace("[ARGS]...", "")


def test_the_exit_codes_are_shown_once() -> None:
    words = show("--help").split("Exit codes:")[1].split()
    assert words == " ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES).split()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_says_where_the_exit_codes_are(name: str) -> None:
    text = show(name, "--help")
    assert text.endswith("\n  Exit codes: hedra-batch --help\n")
    assert EXIT_CODES[0][1] not in text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_names_no_purpose_of_another(name: str) -> None:
    text = " ".join(show(name, "--help").split())
    assert {said for said in PURPOSES if said in text} == {said for said, names in PURPOSES.items() if name in names}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_can_be_pasted(name: str) -> None:
    examples = list_examples(name)
    for example in examples:
        program, command, *words = shlex.split(example.partition(" > ")[0])
        assert (program, command) == ("hedra-batch", name)
        cli.commands[name].make_context(name, words)
    assert 1 <= len(examples) <= 3


def test_an_option_that_does_nothing_for_a_retry_is_no_option_of_it() -> None:
    with pytest.raises(click.NoSuchOption):
        cli.commands["retry"].make_context("retry", ["spring.yaml", "--rebuy-changed"])


async def test_without_a_command_the_first_screen_is_shown_and_nothing_has_been_done(desk: Desk) -> None:
    shown = await desk.call()
    assert (shown.code, shown.out, shown.err) == (2, "", f"{FIRST_SCREEN}\n")


def test_the_first_screen_fits_on_a_small_terminal_below_the_line_that_was_typed() -> None:
    lines = FIRST_SCREEN.splitlines()
    assert max(map(len, lines)) < 80
    assert len(lines) <= 22


def test_the_first_screen_names_what_everybody_needs() -> None:
    named = set(re.findall(r"hedra-batch (\w+) spring\.yaml", FIRST_SCREEN))
    assert named == {"run", "plan", "status", "results", "retry", "resolve", "fetch"}


async def test_the_manifest_of_the_first_screen_makes_a_video(desk: Desk) -> None:
    lines = [line.strip() for line in FIRST_SCREEN.splitlines() if line.startswith(" " * 13)]
    desk.write("spring.yaml", "\n".join(lines))
    assert (await desk.call("run", "spring.yaml")).code == 0
