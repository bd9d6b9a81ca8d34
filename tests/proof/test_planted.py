"""The exhaustive suites can fail: each of them sees the bug that is planted for it in a copy of the package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from planted import PLANTED, Bug, Suite, copy_package

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

FOLDER = Path(__file__).parent
LONGEST_SECONDS = 300
#: Says first what it tests. With -P before it, the repository's own folder is not among those that are imported from.
START = "import sys, hedra_batch, pytest; print(hedra_batch.__file__, flush=True); sys.exit(pytest.main(sys.argv[1:]))"
#: One process, the first failure, and no traces in the repository.
OPTIONS = ("-n", "0", "-m", "proof", "-q", "-x", "--tb=short", "--color=no", "-p", "no:cacheprovider")
#: What the outer pytest and a measurement of coverage hand down, and what tells a command where to go.
FOREIGN = ("PYTEST_", "COV", "HEDRA_")


@dataclass(frozen=True, slots=True)
class Result:
    """How a suite ended."""

    code: int
    text: str

    @property
    def complaints(self) -> str:
        """The lines that say what did not hold."""
        return "\n".join(line for line in self.text.splitlines() if line.startswith("E "))


def run_suite(suite: Suite, package: Path) -> Result:
    """Run a suite on a copy of the package, in a process of its own; skips where it is skipped itself."""
    test, *options = suite
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    finished = subprocess.run(
        [sys.executable, "-P", "-c", START, *OPTIONS, f"{FOLDER / test}", *options],
        cwd=FOLDER.parent.parent,
        env={**inherited, "PYTHONPATH": str(package.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    imported, _, text = finished.stdout.partition("\n")
    assert imported == str(package / "__init__.py"), finished.stdout
    if re.search(r"^\d+ skipped", text, re.MULTILINE):
        pytest.skip(f"{test} cannot be run here")
    return Result(finished.returncode, text)


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_a_planted_bug_is_seen(tmp_path: Path, bug: Bug) -> None:
    result = run_suite(bug.suite, copy_package(tmp_path, bug.edits))
    assert result.code == pytest.ExitCode.TESTS_FAILED, f"{bug.suite} ends with {result.code}:\n{result.text}"
    is_seen = re.search(bug.verdict, result.complaints) is not None
    assert is_seen, f"{bug.suite} does not say {bug.verdict!r}:\n{result.text}"


@pytest.mark.parametrize("suite", sorted({bug.suite for bug in PLANTED}), ids=" ".join)
def test_without_a_bug_the_same_suite_passes(tmp_path: Path, suite: Suite) -> None:
    result = run_suite(suite, copy_package(tmp_path))
    assert result.code == pytest.ExitCode.OK, result.text
