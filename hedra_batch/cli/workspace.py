"""Where a command works: the run folder of a manifest, the key, the address, and the simulated API of a trial."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from hedra_batch.batch.workspace import SIMULATED, Beginning, Workspace
from hedra_batch.cli.advice import write_command
from hedra_batch.cli.keys import find_key, warn_of_key_file
from hedra_batch.cli.options import RunOptions
from hedra_batch.errors import UsageError, UserError
from hedra_batch.folder import RunFolder
from hedra_batch.money import Budgets

DEFAULT_BASE_URL = "https://api.hedra.com/web-app/public"
#: A trial shows in seconds what takes the real API minutes.
TRIAL_SPEED = 60.0
#: Links to links that are followed.
LINKS_LIMIT = 40
TRIAL_KEY = "a-key-of-the-simulated-account"


def find_workspace(options: RunOptions, name: str, environment: Mapping[str, str]) -> Workspace:
    """Settle folder, address and key of a manifest. Raises ConfigurationError and UsageError."""
    folder, name = _choose_folder(options, name)
    if options.is_simulated and options.base_url:
        raise UsageError("--simulate has an API of its own: leave out either --simulate or --base-url.")
    if options.is_simulated:
        base_url, key, is_local, start_api = "", TRIAL_KEY, True, start_trial
    else:
        # What the address needs is slow to import, and without a key nothing of it is.
        key, base_url = find_key(environment), find_base_url(options, environment)
        from hedra_batch.api.addresses import is_loopback

        is_local, start_api = is_loopback(base_url), None
    return Workspace(
        name,
        folder,
        base_url,
        key,
        is_local,
        start_api,
        options.same_account,
        options.is_moved,
        manifest_file=options.manifest if options.manifest.is_file() else None,
        state_folder=find_state_folder(environment),
        beginning=find_beginning(options),
        is_folder_named=options.folder is not None,
        media_networks=find_media_networks(environment),
        warnings=[] if options.is_simulated else list(warn_of_key_file(environment)),
    )


def find_media_networks(environment: Mapping[str, str]) -> Sequence[IPv4Network | IPv6Network]:
    """Read which private networks results may come from. Raises ConfigurationError."""
    from hedra_batch.api.addresses import MEDIA_NETWORKS_VARIABLE, parse_networks

    return parse_networks(environment.get(MEDIA_NETWORKS_VARIABLE, ""))


def find_beginning(options: RunOptions) -> Beginning:
    """Settle whether a run folder may be begun. Raises UsageError."""
    if options.is_new_folder and options.is_existing_folder:
        raise UsageError("--new-folder and --existing-folder do not go together: choose one of them.")
    if options.is_new_folder:
        return Beginning.ANYWAY
    return Beginning.NEVER if options.is_existing_folder else Beginning.CAREFUL


def find_state_folder(environment: Mapping[str, str]) -> Path | None:
    """Find where this user's programs note what they remember, by the rules of freedesktop.org; None for nowhere."""
    named, home = Path(environment.get("XDG_STATE_HOME", "")), Path(environment.get("HOME", ""))
    if named.is_absolute():
        return named / "hedra-batch"
    return home / ".local" / "state" / "hedra-batch" if home.is_absolute() else None


def find_used_folder(options: RunOptions) -> RunFolder:
    """Find the run folder of a manifest, whose jobs may have faults. Raises ConfigurationError for half of a pair."""
    from hedra_batch.manifest.heading import load_name

    folder = find_folder(options, load_name(options.manifest))
    check_folder(folder)
    return folder


def find_folder(options: RunOptions, name: str) -> RunFolder:
    """Choose the folder that was named, or the one of the manifest."""
    return _choose_folder(options, name)[0]


def _choose_folder(options: RunOptions, name: str) -> tuple[RunFolder, str]:
    """Choose the folder and the name that it goes by.

    It is the one beside the manifest as it was typed, where there is one, else the one beside what a link leads to.
    """
    ending = "sim" if options.is_simulated else "out"
    if options.folder:
        return RunFolder(options.folder), name
    path, folder = options.manifest, RunFolder(options.manifest.parent / f"{name}.{ending}")
    for _ in range(LINKS_LIMIT):
        if folder.is_used or not path.is_symlink():
            break
        path = path.parent.resolve() / path.readlink()
        name = _read_name(path) or name
        folder = RunFolder(path.parent.resolve() / f"{name}.{ending}")
    return folder, name


def _read_name(path: Path) -> str | None:
    """Read the name of a manifest, which may be that of its file; None where it cannot be read."""
    from hedra_batch.manifest.heading import load_name

    try:
        return load_name(path)
    except UserError:
        return None


def check_folder(folder: RunFolder) -> None:
    """Refuse to look at half of the pair of ledger and identity. Raises ConfigurationError."""
    from hedra_batch.ledger.identity import Identity
    from hedra_batch.ledger.opening import check_pair

    check_pair(folder.ledger, Identity.load(folder.identity))


def follow_folder(options: RunOptions, folder: RunFolder, environment: Mapping[str, str]) -> RunOptions:
    """Add what names the API that a folder belongs to, so that each command that is advised works there."""
    from hedra_batch.ledger.identity import Identity

    identity = Identity.load(folder.identity)
    if identity is None or not identity.highest_attempt:
        return options
    if identity.base_url == SIMULATED:
        return replace(options, is_simulated=True)
    usual = (environment.get("HEDRA_BASE_URL") or DEFAULT_BASE_URL).rstrip("/")
    base_url = None if identity.base_url == usual else identity.base_url
    # The folder that --simulate means is named in its place.
    named = folder.path if options.is_simulated else options.folder
    return replace(options, is_simulated=False, base_url=base_url, folder=named)


def write_absence(options: RunOptions, folder: RunFolder) -> str:
    """Say that there is nothing to look at yet, and how to begin."""
    lines = [f"{describe_path(folder.path)}: no run has been here yet."]
    if not options.is_simulated and not options.folder and RunFolder(folder.path.with_suffix(".sim")).ledger.exists():
        lines.append("There was a trial: add --simulate to look at it.")
    lines += ["To see what a run would do, at no cost:", f"    {write_command(options, 'plan')}"]
    return "\n".join(lines)


def find_edition(label: str) -> str:
    """Settle a label: `today` becomes the local date. Loading the manifest checks whether it can be part of a path."""
    if label == "today":
        return datetime.now().astimezone().date().isoformat()
    return label


def apply_budget(budgets: Budgets, options: RunOptions) -> Budgets:
    """Put the flag over the budget of an edition; those of a month and in all stay."""
    return replace(budgets, edition=options.budget) if options.budget is not None else budgets


def find_base_url(options: RunOptions, environment: Mapping[str, str]) -> str:
    """Choose the address of the API. Raises ConfigurationError."""
    from hedra_batch.api.addresses import check_base_url

    return check_base_url(options.base_url or environment.get("HEDRA_BASE_URL") or DEFAULT_BASE_URL)


@asynccontextmanager
async def start_trial(folder: Path) -> AsyncIterator[str]:
    """Start the API of a trial, with its state in the run folder, so that an interrupted trial goes on."""
    from hedra_batch.simulator.service import Simulator
    from hedra_batch.simulator.settings import SimulatorSettings

    async with Simulator(SimulatorSettings(folder=folder, speed=TRIAL_SPEED)) as simulator:
        yield simulator.url


def describe_path(path: Path) -> str:
    """Write a path as a person would type it from here."""
    try:
        return os.path.relpath(path) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)
    except OSError:
        return str(path)
