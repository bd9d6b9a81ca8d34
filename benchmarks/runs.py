"""Runs of the program against a service, as a person would start them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.command import Account, Command, call
from benchmarks.service import Service
from hedra_batch.cli.loop import STANDARD

PROGRAM = "hedra_batch"


def run_words(manifest: Path, service: Service, *flags: str) -> tuple[str, ...]:
    """Write the command line of a run whose folder is `out`, beside the manifest."""
    return (PROGRAM, "run", str(manifest), "-q", "--base-url", service.url, "--folder", str(find_out(manifest)), *flags)


def run(
    manifest: Path, service: Service, *flags: str, loop: str = STANDARD, accepted_codes: tuple[int, ...] = (0,)
) -> Account:
    """Run a manifest to its end. Raises FailedError."""
    words = run_words(manifest, service, *flags)
    return call(*words, folder=manifest.parent, loop=loop, accepted_codes=accepted_codes)


def start(manifest: Path, service: Service, *flags: str) -> Command:
    """Start a run and leave it running."""
    return Command(*run_words(manifest, service, *flags), folder=manifest.parent)


def find_out(manifest: Path) -> Path:
    """Find the run folder of a manifest."""
    return manifest.parent / "out"
