"""Whether a run that would begin a folder would buy what another one holds: a manifest was renamed, a disk is away."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from hedra_batch.batch.matching import matches
from hedra_batch.batch.memory import RememberedBatch, list_batches
from hedra_batch.batch.request import PlanRequest
from hedra_batch.batch.workspace import Beginning, Workspace
from hedra_batch.errors import ConfigurationError, HedraBatchError
from hedra_batch.folder import RunFolder
from hedra_batch.inputs import Spellings
from hedra_batch.job import Job
from hedra_batch.ledger.identity import Identity, fingerprint
from hedra_batch.ledger.opening import open_reader
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.manifest.jobs import Jobs
from hedra_batch.planning.plan import is_paid_for
from hedra_batch.planning.recognition import PAGE_JOBS
from hedra_batch.planning.selection import pair
from hedra_batch.sanitize import to_yaml
from hedra_batch.state import PAID

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another run folder at the same API, and how much it holds of what is asked for."""

    folder: RunFolder
    batch_uuid: str
    #: The manifest's name that it belongs to.
    name: str
    is_same_account: bool
    #: Jobs that are asked for, and those of them that it holds.
    asked: int
    equal: int
    #: Those that it holds under other ids, where it holds none under theirs.
    alike: int = 0
    #: Whether it is where it was last used, and no copy of another one.
    is_at_home: bool = True
    #: Whether it holds any paid work.
    is_paid: bool = True

    @property
    def is_half(self) -> bool:
        return self.equal > 0 and 2 * self.equal >= self.asked


def check_beginning(workspace: Workspace, jobs: Jobs, request: PlanRequest) -> Neighbour | None:
    """Refuse to begin a folder where another one holds what would be bought, or must be there and is not.

    A folder is begun once something was ready to be sent from it. Returns one that holds some of what is asked for,
    which a person should be told. Raises ConfigurationError.
    """
    if workspace.beginning is Beginning.NEVER and not workspace.folder.is_used:
        raise ConfigurationError(
            f"There is no run folder {workspace.folder.path}, and --existing-folder begins none. Nothing was sent. If "
            "it is on a disk that is not mounted, mount it. To begin, run the same line once without "
            "--existing-folder."
        )
    if workspace.beginning is not Beginning.CAREFUL or workspace.start_api:
        return None
    remembered = [batch for batch in list_batches(workspace.state_folder) if batch.is_at(workspace.base_url)]
    if _is_begun(workspace.folder, remembered):
        return None
    places = [*_list_beside(workspace), *(Path(batch.folder) for batch in remembered)]
    neighbours = list(_compare(workspace, _unique(workspace, places), jobs, request))
    unpaid = {one.batch_uuid for one in neighbours if not one.is_paid}
    paid = [batch for batch in remembered if batch.batch_uuid not in unpaid]
    # A folder that is away is spoken of before its copies, and before others that hold the same.
    _require_found(workspace, [batch for batch in paid if not batch.is_there])
    _require_unlike(workspace, neighbours)
    foreign = {one.batch_uuid for one in neighbours if not one.is_same_account}
    _require_found(workspace, [batch for batch in paid if _is_doubtful(workspace, batch, foreign)], foreign)
    others = [one for one in neighbours if one.is_half or (one.is_same_account and (one.equal or one.alike))]
    return max(others, key=_rank, default=None)


def _is_doubtful(workspace: Workspace, batch: RememberedBatch, foreign: Container[str]) -> bool:
    """Tell whether more counts than what was compared: a manifest has a new name, or the key may only be a new one."""
    return batch.was_renamed or (batch.batch_uuid in foreign and not workspace.is_folder_named)


def _rank(neighbour: Neighbour) -> tuple[int, int, bool]:
    return neighbour.equal, neighbour.alike, neighbour.is_at_home


def _is_begun(folder: RunFolder, remembered: Iterable[RememberedBatch]) -> bool:
    """Tell whether something was ever sent from a folder, or from what it is an older copy of."""
    identity = Identity.load(folder.identity) if folder.is_used else None
    if identity is None:
        return folder.is_used
    return identity.highest_attempt > 0 or any(batch.batch_uuid == identity.batch_uuid for batch in remembered)


def describe(neighbour: Neighbour) -> str:
    """Say in a line what another folder holds."""
    account = "" if neighbour.is_same_account else " (under another API key)"
    ids = "" if neighbour.equal else ", under other ids,"
    return (
        f"{neighbour.equal or neighbour.alike} of {neighbour.asked} videos that are asked for are already{ids} in "
        f"{neighbour.folder.path}{account}. This run begins a new folder, where they are bought again."
    )


def _require_found(
    workspace: Workspace, remembered: Sequence[RememberedBatch], foreign: Container[str] = frozenset()
) -> None:
    """Raise ConfigurationError where the same manifest was run into one of some folders."""
    manifest = workspace.manifest_file
    if manifest is None:
        return
    for batch in remembered:
        if batch.is_of_manifest(manifest):
            replaced = (
                " If the key was replaced and the account is the same, add --same-account too."
                if batch.batch_uuid in foreign
                else ""
            )
            raise ConfigurationError(_describe_found(workspace, manifest, batch, replaced))


def _describe_found(workspace: Workspace, manifest: Path, batch: RememberedBatch, replaced: str) -> str:
    """Say where a manifest was run before, and what leads there."""
    naming = f"write 'name: {to_yaml(batch.name)}' into the manifest, since that was its name"
    there = f"add --folder {shlex.quote(batch.folder)}" if workspace.is_folder_named else naming
    anew = "To buy everything anew, add --new-folder."
    sent = "Nothing was sent: in a new folder everything is bought again."
    if RunFolder(Path(batch.folder)).is_used:
        gone = "" if batch.is_there else ", whose ledger.sqlite3 is gone: a run into it asks the server what was bought"
        return f"{manifest} was run before, into {batch.folder}{gone}. {sent} To go on there, {there}.{replaced} {anew}"
    renamed = f" {naming[0].upper()}{naming[1:]}." if batch.name != workspace.name else ""
    return (
        f"{manifest} was run before, into {batch.folder}, which is not there now. {sent} If it is on a disk that is "
        "not mounted, mount it, and run the same line again. If it was moved, add --folder and its new place."
        f"{renamed} {anew}"
    )


def _require_unlike(workspace: Workspace, neighbours: Sequence[Neighbour]) -> None:
    """Raise ConfigurationError where another folder of the account holds at least half of what is asked for."""
    alike = [one for one in neighbours if one.is_same_account and one.is_half]
    if not alike:
        return
    most = max(alike, key=_rank)
    raise ConfigurationError(
        f"This run would begin a new folder, {workspace.folder.path}, but {most.equal} of {most.asked} videos that are "
        f"asked for are already in {most.folder.path}. Nothing was sent. To go on there, {_name_way(workspace, most)}. "
        "To buy them again, add --new-folder."
    )


def _name_way(workspace: Workspace, neighbour: Neighbour) -> str:
    """Say what leads to another folder."""
    naming = f"write 'name: {to_yaml(neighbour.name)}' into the manifest"
    option = f"add --folder {shlex.quote(str(neighbour.folder.path))}"
    if neighbour.name == workspace.name:
        return option
    manifest = workspace.manifest_file
    parents = (manifest.parent, manifest.resolve().parent) if manifest and not workspace.is_folder_named else ()
    is_beside = any(_is_same(neighbour.folder.path, parent / f"{neighbour.name}.out") for parent in parents)
    return naming if is_beside else f"{naming} and {option}"


def _list_beside(workspace: Workspace) -> Iterator[Path]:
    """List the run folders beside the new one, and beside the manifest."""
    parents = [workspace.folder.path.absolute().parent]
    if workspace.manifest_file:
        parents += [workspace.manifest_file.absolute().parent, workspace.manifest_file.resolve().parent]
    for parent in dict.fromkeys(parents):
        try:
            with os.scandir(parent) as entries:
                yield from filter(_is_run_folder, (Path(entry.path) for entry in entries))
        except OSError as error:
            logger.debug("what stands in %s cannot be read: %s", parent, error)


def _is_run_folder(path: Path) -> bool:
    try:
        return RunFolder(path).is_used
    except OSError as error:
        logger.debug("%s cannot be looked into: %s", path, error)
        return False


def _unique(workspace: Workspace, places: Iterable[Path]) -> Iterator[RunFolder]:
    seen = {os.path.realpath(workspace.folder.path)}
    for place in places:
        if (real := os.path.realpath(place)) not in seen:
            seen.add(real)
            yield RunFolder(place)


def _compare(
    workspace: Workspace, folders: Iterable[RunFolder], jobs: Jobs, request: PlanRequest
) -> Iterator[Neighbour]:
    for folder in folders:
        try:
            identity = Identity.load(folder.identity)
            if identity is None or not identity.highest_attempt or identity.base_url != workspace.base_url:
                continue
            with open_reader(folder.ledger) as reader:
                if reader is None:
                    continue
                spelled = jobs.with_spellings(Spellings(reader.read_models()))
                asked, equal = _count(spelled, request, reader)
                alike = 0 if equal else _count_alike(spelled, reader)
                is_paid = reader.has_any(PAID)
        except (HedraBatchError, OSError) as error:
            logger.debug("%s is not looked into: %s", folder.path, error)
            continue
        is_same = identity.key_fingerprint == fingerprint(identity.key_salt, workspace.api_key)
        is_same = is_same or workspace.same_account
        is_at_home = identity.path == os.path.realpath(folder.path)
        if asked:
            sums = (asked, equal, alike)
            yield Neighbour(folder, identity.batch_uuid, identity.manifest, is_same, *sums, is_at_home, is_paid)


def _count(jobs: Iterable[Job], request: PlanRequest, reader: LedgerReader) -> tuple[int, int]:
    """Count what is asked for and what of it is held: of what is selected, or of all, whichever is more alike."""
    selected, everything = [0, 0], [0, 0]
    for job, latest in pair(jobs, reader):
        is_selected = matches(job.id, request.ids) and (request.first is None or selected[0] < request.first)
        for sums in (selected, everything) if is_selected else (everything,):
            sums[0] += 1
            sums[1] += is_paid_for(job, latest)
    asked, equal = max(selected, everything, key=lambda sums: sums[1] / max(sums[0], 1))
    return asked, equal


def _count_alike(jobs: Jobs, reader: LedgerReader) -> int:
    """Count what is asked for and is held in the same edition, whatever it is called there."""
    remaining, count = iter(jobs), 0
    while page := [job.sent_digests for job in islice(remaining, PAGE_JOBS)]:
        asked = frozenset[str]().union(*page)
        found = reader.find_paid(jobs.edition, sorted(asked))
        held = {digest for paid in found for digest in (paid.digest, paid.sent_digest)}
        count += sum(bool(digests & held) for digests in page)
    return count


def _is_same(one: Path, another: Path) -> bool:
    try:
        return one.samefile(another)
    except OSError:
        return False
