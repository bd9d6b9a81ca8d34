"""Imports point one way: each part knows only what stands below it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_ledger import make_job, open_ledger

PACKAGE = Path(__file__).parents[1] / "hedra_batch"

#: What each part may import of the others.
GROUND = {"", "errors", "clock", "units", "money", "durable", "machine", "sanitize"}
RECORDS = GROUND | {"inputs", "state", "decide", "job"}
ALLOWED: dict[str, set[str]] = {
    **{ground: {"errors", "money"} - {ground} for ground in GROUND},
    "inputs": set(),
    "state": set(),
    "decide": {"state"},
    "job": {"inputs", "money", "state"},
    "progress": {"money", "state", "units"},
    "folder": GROUND,
    "manifest": GROUND | {"inputs", "job"},
    "api": RECORDS - {"job"},
    "ledger": RECORDS,
    "planning": RECORDS | {"ledger"},
    "run": RECORDS | {"progress", "folder", "api", "ledger", "planning"},
    "report": RECORDS | {"progress"},
    "simulator": {"", "errors"},
    "batch": RECORDS | {"progress", "folder", "manifest", "ledger", "planning", "run"},
    "cli": RECORDS
    | {"progress", "folder", "manifest", "api", "ledger", "planning", "run", "batch", "report", "simulator"},
    "__main__": {"cli"},
    "__init__": set(),
}


def list_modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", list_modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_part_imports_only_what_stands_below_it(path: Path) -> None:
    ours = [name for name in imports_of(path) if name.split(".")[0] == "hedra_batch"]
    parts = {name.split(".")[1] if "." in name else "" for name in ours}
    assert parts <= ALLOWED[part_of(path)] | {part_of(path)}


def test_no_modules_import_each_other_in_a_circle() -> None:
    named = ((path.relative_to(PACKAGE).with_suffix(""), path) for path in list_modules())
    modules = {".".join(("hedra_batch", *name.parts)): path for name, path in named}
    arrows = {name: {other for other in imports_of(path) if other in modules} for name, path in modules.items()}
    while free := {name for name, others in arrows.items() if not others & arrows.keys()}:
        arrows = {name: others for name, others in arrows.items() if name not in free}
    assert not arrows


def test_the_simulator_and_the_client_share_no_code() -> None:
    client = {name for path in (PACKAGE / "api").rglob("*.py") for name in imports_of(path)}
    simulator = {name for path in (PACKAGE / "simulator").rglob("*.py") for name in imports_of(path)}
    assert {name for name in client & simulator if name.startswith("hedra_batch.")} <= {"hedra_batch.errors"}


def test_no_sql_stands_outside_its_one_place() -> None:
    importing = {path.parent for path in list_modules() if "sqlite3" in imports_of(path)}
    assert importing == {PACKAGE / "ledger" / "sqlite"}


def test_the_run_knows_a_version_of_the_api_in_its_wiring_only() -> None:
    importing = {path.name for path in list_modules() if any(".api.v2" in name for name in imports_of(path))}
    assert importing - {path.name for path in (PACKAGE / "api" / "v2").glob("*.py")} == {"wiring.py"}


def test_only_the_api_and_the_simulator_import_aiohttp() -> None:
    importing = {part_of(path) for path in list_modules() if "aiohttp" in {n.split(".")[0] for n in imports_of(path)}}
    assert importing == {"api", "simulator"}


#: What no command may import that only looks, and what may be neither where a schema is not needed.
NETWORK = {"aiohttp", "hedra_batch.api.v2.client", "hedra_batch.simulator.service"}
SCHEMA = {"pydantic", "hedra_batch.manifest.schema", "hedra_batch.manifest.loading"}


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (("--help",), NETWORK | SCHEMA | {"yaml"}),
        (("--version",), NETWORK | SCHEMA | {"yaml"}),
        (("status", "spring.yaml"), NETWORK | SCHEMA),
        (("results", "spring.yaml"), NETWORK | SCHEMA),
        (("resolve", "spring.yaml"), NETWORK | SCHEMA),
        (("verify", "spring.yaml"), NETWORK | SCHEMA),
        (("plan", "spring.yaml"), NETWORK),
        (("schema",), NETWORK),
    ],
)
async def test_commands_that_only_look_import_no_more_than_they_need(
    tmp_path: Path, words: tuple[str, ...], refused: set[str]
) -> None:
    (tmp_path / "spring.yaml").write_text("version: 1\nname: spring\njobs: [{id: market, prompt: A storm}]")
    (tmp_path / "spring.out").mkdir()
    ledger = await open_ledger(tmp_path / "spring.out")
    await ledger.record([(make_job(), 1)])
    await ledger.close()
    imported = list_imported(tmp_path, *words)
    assert "click" in imported
    assert not imported & refused


def list_imported(folder: Path, *words: str) -> set[str]:
    command = [sys.executable, "-X", "importtime", "-m", "hedra_batch", *words]
    ended = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, check=True)
    return {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines() if line.startswith("import time:")}
