"""Gives the files of renamed jobs their new names, all of one change together, and finishes what a kill left of that.

The ledger claims the new names first. Then every file goes to a name made of its attempt's number, so that two can swap
theirs, and from there to its new one; folders are synced and the ledger told after each step.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from hedra_batch.durable import make_folders, move_aside, sync_folder
from hedra_batch.errors import WriteError
from hedra_batch.folder import RunFolder
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.ledger.reading import LedgerReader
from hedra_batch.ledger.records import ClaimedFile, FileMove, Reassignment
from hedra_batch.run.part_file import name_part
from hedra_batch.state import State

#: A file on the disk, whatever its names: device and number.
_Node = tuple[int, int]


def list_takes(wanted: str) -> Iterator[str]:
    """Yield the file names that a result may have: a paid file is never overwritten, so then a further take."""
    path = PurePosixPath(wanted)
    takes = (path.with_suffix(f".take{take}{path.suffix}").as_posix() for take in itertools.count(2))
    return itertools.chain([wanted], takes)


async def rename_results(ledger: Ledger, folder: RunFolder, change: Reassignment) -> None:
    """Have attempts count for other jobs, and give their files the names that those jobs want. Raises WriteError."""
    wanted = {moved.attempt_key: job.output for moved, job in change.moves}
    names = await ledger.look(lambda reader: _try_to_choose_names(reader, folder, wanted))
    await ledger.reassign(change, names)
    await finish_renames(ledger, folder)


async def finish_renames(ledger: Ledger, folder: RunFolder) -> None:
    """Bring the files to their new names whose renaming has begun. Raises WriteError."""
    moves = await ledger.look(lambda reader: reader.find_moves())
    if not moves:
        return
    try:
        _stage([move for move in moves if not move.is_staged], folder)
        await ledger.record_staged([move.attempt_key for move in moves if not move.is_staged])
        names = _place(moves, folder)
    except OSError as error:
        raise WriteError(
            f"A video of a renamed job cannot be renamed in {folder.path}: {error.strerror or error}. No video is "
            "lost. Put that right, then run the same line again: it goes on where it stopped."
        ) from error
    await ledger.record_moved(names)


def _try_to_choose_names(reader: LedgerReader, folder: RunFolder, wanted: dict[int, str]) -> dict[int, str]:
    """Choose the new names. Raises WriteError for a file that cannot be looked at, which is no fault of the ledger."""
    try:
        return _choose_names(reader, folder, wanted)
    except OSError as error:
        raise WriteError(
            f"A video of a renamed job cannot be looked at: {error.filename or folder.path}: "
            f"{error.strerror or error}. No video is lost. Put that right, then run the same line again."
        ) from error


def _choose_names(reader: LedgerReader, folder: RunFolder, wanted: dict[int, str]) -> dict[int, str]:
    """Choose the new names of all files together; a file that is not where it was left stays as it is."""
    claims = [
        claim
        for claim in reader.find_claimed(list(wanted))
        if claim.wanted_output != wanted[claim.attempt_key] and _can_move(claim, folder)
    ]
    leaving = {claim.attempt_key for claim in claims}
    nodes = {node for claim in claims if (node := _find_node(folder.path / claim.output))}
    chosen: set[str] = set()
    names = {}
    for claim in claims:
        for name in list_takes(wanted[claim.attempt_key]):
            owner = reader.find_owner(name)
            if name in chosen or (owner is not None and owner not in leaving):
                continue
            if _is_free(folder.path / name, nodes):
                break
        folder.require_inside(folder.path / name)
        chosen.add(name)
        names[claim.attempt_key] = name
    return {claim.attempt_key: names[claim.attempt_key] for claim in claims if names[claim.attempt_key] != claim.output}


def _can_move(claim: ClaimedFile, folder: RunFolder) -> bool:
    """Tell whether a name can be given up: that of a file which is there, or which is still to be fetched."""
    path = folder.path / claim.output
    folder.require_inside(path)
    return claim.state is not State.DONE or _is_plain(path)


def _find_node(path: Path) -> _Node | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


def _is_free(path: Path, leaving: set[_Node]) -> bool:
    """Tell whether nothing has a name, or only what leaves it."""
    node = _find_node(path)
    return node is None or node in leaving


def _stage(moves: Sequence[FileMove], folder: RunFolder) -> None:
    """Move the files that are still under their old names."""
    for move in moves:
        old, staged = folder.path / move.output, _name_staged(move, folder)
        folder.require_inside(old)
        if not os.path.lexists(staged) and _is_plain(old):
            old.rename(staged)
        # What had arrived of a video that is not whole yet arrives anew.
        name_part(old).unlink(missing_ok=True)
    _sync_all(folder.path / move.output for move in moves)


def _place(moves: Sequence[FileMove], folder: RunFolder) -> dict[int, str]:
    """Give the files that left their old names the new ones; returns the names that they have."""
    names = {}
    for move in moves:
        staged = _name_staged(move, folder)
        names[move.attempt_key] = move.moving_to
        if not os.path.lexists(staged):
            continue
        new = folder.path / move.moving_to
        folder.require_inside(new)
        make_folders(new.parent, folder.path)
        if os.path.lexists(new):
            # Somebody has put it there meanwhile.
            move_aside(new)
        staged.rename(new)
    _sync_all(folder.path / name for move in moves for name in (move.output, move.moving_to))
    return names


def _name_staged(move: FileMove, folder: RunFolder) -> Path:
    return (folder.path / move.output).with_name(f"attempt-{move.attempt_key}.moving")


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _sync_all(paths: Iterable[Path]) -> None:
    for parent in sorted({path.parent for path in paths}):
        if parent.is_dir():
            sync_folder(parent)
