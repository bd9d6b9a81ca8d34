"""What README and docs name is there: commands, flags, keys, columns, codes, states, faults, figures, parts, links."""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import pytest
from conftest import EFFORTS, make_png
from test_layers import ALLOWED, PACKAGE
from test_ledger import open_ledger

from benchmarks.__main__ import NAMES, _make_parser
from benchmarks.table import write_table
from hedra_batch.cli.main import cli
from hedra_batch.errors import EXIT_CODES
from hedra_batch.ledger.records import RESULT_COLUMNS
from hedra_batch.manifest.loading import Manifest, load_manifest
from hedra_batch.manifest.schema import manifest_schema
from hedra_batch.simulator.faults import FAULTS
from hedra_batch.simulator.refusals import MAGIC_WORDS
from hedra_batch.state import PUBLIC_STATES

PROJECT = Path(__file__).parents[1]
PAGES = {path.relative_to(PROJECT).as_posix(): path.read_text("utf-8") for path in PROJECT.glob("docs/*.md")}
PAGES["README.md"] = README = (PROJECT / "README.md").read_text("utf-8")
#: Their comments have commands too.
MANIFESTS = [*PROJECT.glob("examples/*.yaml"), *PROJECT.glob("jobs/*.yaml")]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
INDENTED = re.compile(r"^ {4}(\S.*)$", re.MULTILINE)
COMMENTED = re.compile(r"^#   (\S.*?)(?: {3}.*)?$", re.MULTILINE)
FLAG = re.compile(r"(?<![\w}*-])--?[a-z][a-z-]*")
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")

SCHEMA = manifest_schema()
KEYS = {
    "Keys at the top": set(SCHEMA["properties"]),
    "Keys of a job": set(SCHEMA["$defs"]["JobEntry"]["properties"]),
    "Keys of `limits`": set(SCHEMA["$defs"]["LimitsEntry"]["properties"]),
}
#: What an example of a key at the top stands beside, unless it is such a line itself.
BESIDE = {
    "version": "version: 1",
    "defaults": "defaults: {prompt: A hill}",
    "prompts": "prompts: {storm: A storm gathers}",
    "images": "images: {hero: photos/hero.jpg, red: photos/red/front.png}",
}

FLAGS = {flag for command in cli.commands.values() for option in command.params for flag in option.opts}
BENCHMARK_FLAGS = {flag for action in _make_parser()._actions for flag in action.option_strings}
ABOUT_BENCHMARKS = {"docs/performance.md", "docs/developing.md"}


def read_table(page: str, *head: str, below: str = "") -> list[list[str]]:
    """Read the rows of the first table below a heading whose header begins with these cells."""
    text = PAGES[page]
    lines = iter(text[text.index(f"\n## {below}\n") if below else 0 :].splitlines())
    next(line for line in lines if split_row(line)[: len(head)] == list(head))
    next(lines)
    rows = []
    while (line := next(lines, "")).startswith("|"):
        rows.append(split_row(line))
    return rows


def split_row(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def list_code() -> Iterator[tuple[str, str]]:
    """Yield every line of code and every span of it, with its page."""
    for page, text in PAGES.items():
        yield from ((page, line) for _, block in FENCE.findall(text) for line in block.splitlines())
        outside = FENCE.sub("", text)
        yield from ((page, code) for pattern in (SPAN, INDENTED) for code in pattern.findall(outside))
    for path in MANIFESTS:
        yield from ((path.name, code) for code in COMMENTED.findall(path.read_text("utf-8")))


def find_commands(code: str) -> Iterator[list[str]]:
    """Yield the words after each `hedra-batch` that is called in a line."""
    for part in re.split(r"&&|[;|>]", code):
        words = shlex.split(part, comments=True) if "hedra-batch" in part else []
        for place, word in enumerate(words[:-1]):
            if word == "hedra-batch" or word.endswith("/hedra-batch"):
                yield words[place + 1 :]


def list_commands() -> list[tuple[str, list[str]]]:
    return [(page, words) for page, code in list_code() for words in find_commands(code)]


def list_options(command: click.Command) -> list[click.Option]:
    return [param for param in command.params if isinstance(param, click.Option)]


def load(folder: Path, text: str) -> Manifest:
    """Load a manifest beside the photos that the docs speak of."""
    for photo in ("hero.jpg", "red/front.png", "blue/front.png"):
        (folder / "photos" / photo).parent.mkdir(parents=True, exist_ok=True)
        (folder / "photos" / photo).write_bytes(make_png(0))
    (folder / "spring.yaml").write_text(text, "utf-8")
    return load_manifest(folder / "spring.yaml")


def describe(manifest: Manifest) -> tuple[object, ...]:
    """Return all that the keys of a manifest decide."""
    settings = (manifest.name, manifest.limits, manifest.budgets, manifest.attempts, manifest.on_unknown)
    return (*settings, manifest.quiet_window_seconds, *((job.id, job.output) for job in manifest.jobs))


def place_example(section: str, key: str = "", line: str = "") -> str:
    """Write a manifest in which a line stands where its key belongs, or without it."""
    if section == "Keys at the top":
        return "\n".join({**BESIDE, key: line}.values())
    if section == "Keys of a job":
        return f"version: 1\ndefaults: {{prompt: A hill}}\njobs:\n  - {line or 'prompt: A hill'}\n"
    return f"version: 1\nprompts: [A hill]\n{'limits:' if line else ''}\n  {line}\n"


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


# Commands and flags


@pytest.mark.parametrize(("page", "words"), list_commands(), ids=lambda value: str(value)[:60])
def test_every_command_line_of_the_docs_can_be_parsed(page: str, words: list[str]) -> None:
    assert page
    with suppress(click.exceptions.Exit):
        if words[0].startswith("-"):
            cli.make_context("hedra-batch", words)
        else:
            cli.commands[words[0]].make_context(words[0], words[1:])


def test_every_command_is_in_the_table_of_commands() -> None:
    rows = read_table("docs/running.md", "command", "what it does", below="Commands")
    named = [words[0] for command, *_ in rows for words in find_commands(command.strip("`"))]
    assert sorted(named) == sorted(cli.commands)


def test_every_flag_that_is_named_exists() -> None:
    strays = {(page, flag) for page, code in list_code() for flag in FLAG.findall(code) if flag.startswith("--")} - {
        (page, flag) for page, code in list_code() for flag in find_known_flags(page, code)
    }
    assert not strays


def find_known_flags(page: str, code: str) -> set[str]:
    """Find the flags that can stand in a piece of code: those of the program that it calls, or is about."""
    if "-m pytest" in code:
        return {f"--{name}" for name in EFFORTS}
    if "ruff" in code:
        return {"--check"}
    own = FLAGS | {"--help", "--version"}
    return own | BENCHMARK_FLAGS if page in ABOUT_BENCHMARKS else own


def test_the_table_of_flags_says_which_commands_take_each() -> None:
    rows = read_table("docs/running.md", "flag", "commands")
    told = {(flag, name) for flags, names, _ in rows for flag in FLAG.findall(flags) for name in names.split(", ")}
    commands = {name: list_options(command) for name, command in cli.commands.items() if name != "simulate"}
    assert told == {(flag, name) for name, options in commands.items() for option in options for flag in option.opts}


def test_the_table_of_the_simulators_flags_has_all_with_their_defaults() -> None:
    rows = read_table("docs/simulator.md", "flag")
    told = {flag: default.strip("`") for flags, _, default in rows for flag in FLAG.findall(flags)}
    options = list_options(cli.commands["simulate"])
    assert list(told) == [option.opts[0] for option in options]
    shown = {option.opts[0]: str(option.default) for option in options if option.show_default}
    assert {flag: told[flag] for flag in shown} == shown


# Manifests


@pytest.mark.parametrize("section", KEYS)
def test_the_tables_of_keys_have_every_key_and_no_other(section: str) -> None:
    keys = [key.strip("`") for key, *_ in read_table("docs/manifest.md", "key", below=section)]
    assert sorted(keys) == sorted(KEYS[section])


def test_a_job_has_one_key_that_defaults_has_not() -> None:
    assert KEYS["Keys of a job"] - set(SCHEMA["$defs"]["JobFields"]["properties"]) == {"id"}


@pytest.mark.parametrize("section", KEYS)
def test_every_example_of_a_key_is_accepted_and_is_about_it(tmp_path: Path, section: str) -> None:
    for key, _, _, example in read_table("docs/manifest.md", "key", below=section):
        line = example.strip("`")
        assert line.startswith(f"{key.strip('`')}: ")
        assert load(tmp_path, place_example(section, key.strip("`"), line)).jobs


@pytest.mark.parametrize("section", KEYS)
def test_a_default_that_is_written_out_changes_nothing(tmp_path: Path, section: str) -> None:
    rows = read_table("docs/manifest.md", "key", below=section)
    defaults = {key.strip("`"): SPAN.findall(default)[0] for key, _, default, _ in rows if default.startswith("`")}
    assert defaults
    left_out = describe(load(tmp_path, place_example(section)))
    for key, default in defaults.items():
        assert describe(load(tmp_path, place_example(section, key, f"{key}: {default}"))) == left_out, key


def test_every_key_that_is_named_with_a_value_exists() -> None:
    known = set().union(*KEYS.values())
    named = {key for _, code in list_code() for key in re.findall(r"^([a-z_]+): \S", code)}
    assert {"budget", "attempts", "on_unknown"} <= named
    # What a run prints begins with the name of its manifest.
    assert named - {"spring"} <= known


@pytest.mark.parametrize(
    ("page", "text"), [(page, text) for page in PAGES for form, text in FENCE.findall(PAGES[page]) if form == "yaml"]
)
def test_every_manifest_of_the_docs_is_accepted(tmp_path: Path, page: str, text: str) -> None:
    assert load(tmp_path, text).jobs, page


# Tables of what the code has


def test_the_page_of_exit_codes_is_the_programs_table() -> None:
    rows = [(code, meaning) for code, meaning, _ in read_table("docs/exit-codes.md", "code", "meaning")]
    assert rows == list(EXIT_CODES)


def test_the_codes_of_every_command_are_explained() -> None:
    _, _, section = PAGES["docs/exit-codes.md"].partition("\n## What the code is about\n")
    named = {code.split()[0] for code in SPAN.findall(section.partition("\n## ")[0])}
    assert named == set(cli.commands)


def test_the_readme_has_some_of_the_exit_codes_in_the_same_words() -> None:
    rows = [(code, meaning) for code, meaning in read_table("README.md", "code", "meaning")]
    assert rows == [row for row in EXIT_CODES if row in rows]
    assert {"0", "1", "3", "4"} <= {code for code, _ in rows}


def test_every_column_of_the_results_is_explained_in_its_order() -> None:
    columns = [column.strip("`") for column, _ in read_table("docs/running.md", "column")]
    assert columns == list(RESULT_COLUMNS)


async def test_every_query_of_the_docs_can_be_asked(tmp_path: Path) -> None:
    queries = [shlex.split(code)[-1] for _, code in list_code() if code.startswith("sqlite3 ")]
    ledger = await open_ledger(tmp_path)
    await ledger.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as connection:
        assert [connection.execute(query).fetchall() for query in queries] == [[]]
    connection.close()


def test_the_states_are_those_of_the_ledger() -> None:
    states = [state.strip("`") for state, *_ in read_table("docs/guarantees.md", "state")]
    assert sorted(states) == sorted(set(PUBLIC_STATES.values()))
    rows = read_table("docs/glossary.md", "group", "state")
    assert {state: public.strip("`") for _, state, public, _ in rows} == PUBLIC_STATES


@pytest.mark.parametrize(("head", "names"), [("fault", list(FAULTS)), ("word", list(MAGIC_WORDS))])
def test_the_simulators_faults_and_words_are_listed(head: str, names: list[str]) -> None:
    assert [name.strip("`") for name, _ in read_table("docs/simulator.md", head)] == names


def test_the_table_of_figures_is_as_the_benchmarks_print_it() -> None:
    assert "\n".join(write_table([])) in PAGES["docs/performance.md"]
    assert [row[0].partition(":")[0] for row in read_table("docs/performance.md", "figure")] == list(NAMES)


def test_the_table_of_parts_has_all_of_them_and_each_imports_only_what_stands_above() -> None:
    above: set[str] = {""}
    for cell, _ in read_table("docs/developing.md", "part"):
        above |= set(SPAN.findall(cell))
        assert all(ALLOWED[part] <= above for part in SPAN.findall(cell)), cell
    assert above == ALLOWED.keys() - {"__main__", "__init__"}


def test_every_suite_of_the_proof_is_listed() -> None:
    suites = [suite.strip("`") for suite, _ in read_table("docs/guarantees.md", "suite in `tests/proof/`")]
    assert sorted(suites) == sorted(path.stem for path in PROJECT.glob("tests/proof/test_*.py"))


def test_every_module_that_the_page_for_developers_names_is_there() -> None:
    paths = re.findall(r"`(\w+(?:/[\w.]+)+)`", PAGES["docs/developing.md"])
    places = [(PROJECT / path, PACKAGE / path, PACKAGE / f"{path}.py") for path in paths]
    assert [place[0].name for place in places if not any(path.exists() for path in place)] == []
    assert len(places) > 10


# The README, and links


def test_the_readme_can_be_read_in_a_few_minutes() -> None:
    assert len(README.split()) <= 900


@pytest.mark.parametrize("end", ["--simulate", "python -m pytest"])
def test_the_readme_has_one_line_that_sets_up_for_each(end: str) -> None:
    assert len(re.findall(rf"^python3 -m venv \.venv .*{end}$", README, re.MULTILINE)) == 1


def test_the_readme_names_every_page_that_it_links_to() -> None:
    links = [(text, target) for text, target in LINK.findall(README) if not target.startswith("https:")]
    assert [text for text, target in links if text.rstrip("/") != target] == []
    assert {target for _, target in links} > PAGES.keys() - {"README.md", "docs/glossary.md", "docs/api-seam.md"}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    for _, target in LINK.findall(FENCE.sub("", PAGES[page])):
        if target.startswith("https:"):
            assert target == "https://www.hedra.com"
            continue
        name, _, heading = target.partition("#")
        path = (PROJECT / page).parent / name if name else PROJECT / page
        assert path.exists(), target
        headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE) if heading else []
        assert not heading or heading in map(slug, headings), target


@pytest.mark.parametrize("page", sorted(PAGES.keys() - {"README.md"}))
def test_every_page_says_first_what_it_holds(page: str) -> None:
    assert re.match(r"# .+\n\nThis page ", PAGES[page])
