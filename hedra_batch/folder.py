"""The run folder: its files, its lock, and what a person finds in it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from hedra_batch.clock import CLOCK
from hedra_batch.durable import open_own, sync_folder, write_atomically
from hedra_batch.errors import CannotCreateError, HedraBatchError, LockedError, UsageError, WriteError

#: Logs that are kept.
LOGS_KEPT = 30

#: What stands in a run folder before its first ledger does.
FIRST_NAMES = frozenset({"README.txt", "identity.json", "identity.json.part", "logs", "run.lock", "simulator"})

README = """\
This folder belongs to hedra-batch. It holds what has been paid for.

  videos/           the videos; a file here is whole and checked, but for those that end in .part
  ledger.sqlite3    what was sent, what it cost and what became of it; so are files of that name with -wal and -shm
  identity.json     the ids of this batch come from it; keep it with the ledger
  renames.jsonl     which videos count for jobs of other names now; keep it with the ledger
  summary.json      how the last run ended
  logs/             one log a run, the last {kept}
  simulator/        only in a trial with --simulate: the state of the simulated API

DELETING THIS FOLDER MEANS PAYING AGAIN: without the ledger the next run buys every video anew.
Back up ledger.sqlite3*, identity.json and renames.jsonl together, while no run is going.
A video that is missing or damaged can be downloaded again at no cost: hedra-batch fetch.
A file that ends in .moving is a video that is being renamed; the next run gives it its name.
A file that ends in .part is not a video yet; it may be deleted while no run is going.
"""
#: What a system says of a lock that another process holds.
_HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Everything that a run writes is in it."""

    path: Path

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.sqlite3"

    @property
    def identity(self) -> Path:
        return self.path / "identity.json"

    @property
    def lock_file(self) -> Path:
        return self.path / "run.lock"

    @property
    def simulator(self) -> Path:
        return self.path / "simulator"

    @property
    def is_used(self) -> bool:
        """Tell whether a run has been here."""
        return self.identity.exists() or self.ledger.exists()

    def create(self) -> None:
        """Make the folder, for its owner only, in a place that is there: one that is not may be a disk that is missing.

        Raises CannotCreateError, and UsageError for a folder of other things.
        """
        try:
            self._refuse_foreign()
            self._require_place()
            is_new = not self.identity.exists()
            self.path.mkdir(mode=0o700, exist_ok=True)
            if is_new:
                # One that was there already may be open to others.
                self.path.chmod(0o700)
            # A power cut must not take the whole folder away from under what was paid for.
            sync_folder(self.path.parent)
            (self.path / "logs").mkdir(mode=0o700, exist_ok=True)
            readme = self.path / "README.txt"
            if linked := next((path for path in (self.path / "logs", readme) if path.is_symlink()), None):
                raise UsageError(
                    f"{linked} is a symbolic link, and a run writes into its own folder only. Remove the link."
                )
            if not readme.exists():
                readme.write_text(README.format(kept=LOGS_KEPT), "utf-8")
        except OSError as error:
            raise CannotCreateError(
                f"The run folder {self.path} cannot be created: {error.strerror or error}. "
                "Choose another with --folder."
            ) from error

    def _require_place(self) -> None:
        """Raise CannotCreateError where something is missing on the way to the folder."""
        missing = [path for path in self.path.absolute().parents if not path.exists()]
        if self.path.is_symlink() and not self.path.exists():
            lost = f"it is a link to {self.path.readlink()}, which is not there"
        elif missing:
            lost = f"the folder {missing[-1]} is not there"
        else:
            return
        raise CannotCreateError(
            f"The run folder {self.path} cannot be created: {lost}. Nothing was sent. If it is on a disk that is not "
            "mounted, mount it, and run the same line again; what is paid for may be there. Else make the folder "
            f"{missing[0] if missing else 'that the link leads to'} yourself, or choose another with --folder."
        )

    def _refuse_foreign(self) -> None:
        if self.is_used or not self.path.is_dir():
            return
        foreign = sorted({path.name for path in self.path.iterdir()} - FIRST_NAMES)
        if foreign:
            raise UsageError(
                f"{self.path} holds other things ({foreign[0]}), so it cannot become a run folder. Choose another with "
                "--folder."
            )

    def require_inside(self, path: Path) -> None:
        """Raise WriteError where a link would lead a path out of the folder."""
        for level in (path, *path.parents):
            if level == self.path:
                break
            if level.is_symlink():
                raise WriteError(
                    f"{level} is a symbolic link, and results go into the run folder only. Remove the link. To store "
                    "them elsewhere, move the whole run folder and name it with --folder."
                )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder against other runs until the process ends, however it ends. Raises LockedError."""
        try:
            file = open(self.lock_file, "a+", encoding="utf-8", opener=open_own)  # noqa: SIM115 - closed below
        except OSError as error:
            raise WriteError(
                f"{self.lock_file} cannot be written: {error.strerror or error}. Nothing was sent."
            ) from error
        with file:
            if refusal := _try_lock(file):
                raise self._describe_refusal(refusal) from refusal
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()} since {CLOCK.now_text()}\n")
            file.flush()
            yield
            # The lock alone decides whether it is held; on a full disk the note may stay.
            with suppress(OSError):
                file.truncate(0)

    def _describe_refusal(self, refusal: OSError) -> HedraBatchError:
        """Tell a lock that another run holds from one that cannot be had here."""
        if refusal.errno in _HELD:
            return LockedError(
                f"Another run is using {self.path}: {self.read_holder()}. Nothing was sent. Wait until it ends."
            )
        return WriteError(
            f"{self.lock_file} cannot be locked: {refusal.strerror or refusal}. Nothing was sent: two runs at once "
            "would buy the same videos twice. Use a folder on a file system that has locks, such as a local disk."
        )

    def read_free_bytes(self) -> int:
        """Read how much the disk has room for; before the folder is made, the disk that it would be on."""
        path = next((each for each in (self.path, *self.path.absolute().parents) if each.exists()), Path("/"))
        return shutil.disk_usage(path).free

    def read_holder(self) -> str:
        try:
            return self.lock_file.read_text("utf-8").strip() or "it does not say which"
        except OSError:
            return "it does not say which"

    def is_locked(self) -> bool | None:
        """Tell whether a run is going; None where that cannot be told."""
        try:
            with self.lock_file.open("r", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError as error:
            return True if error.errno in _HELD else None
        return False

    def name_log(self) -> Path:
        """Name a new log, and delete the oldest so that LOGS_KEPT remain. Raises WriteError."""
        logs = self.path / "logs"
        try:
            for old in sorted(logs.glob("????-??-??T*Z.log"))[: -(LOGS_KEPT - 1)]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise WriteError(
                f"Old logs in {logs} cannot be deleted: {error.strerror or error}. Nothing was sent."
            ) from error
        return logs / f"{CLOCK.now_text().replace(':', '').replace('.', '')}.log"

    def read_last_run(self) -> int:
        """Read the number of the last run that ended in order; 0 where none is known."""
        try:
            number = json.loads((self.path / "summary.json").read_text("utf-8"))["run"]
        except (OSError, ValueError, LookupError, TypeError):
            return 0
        return number if isinstance(number, int) else 0

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json, whole or not at all. Raises WriteError."""
        try:
            write_atomically(self.path / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise WriteError(f"{self.path / 'summary.json'} cannot be written: {error.strerror or error}.") from error


def _try_lock(file: TextIO) -> OSError | None:
    """Take the lock, or say at once why not; a `status` that looks at it holds it for an instant only."""
    refusal: OSError | None = None
    for pause_seconds in (0.0, 0.05, 0.15):
        time.sleep(pause_seconds)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            refusal = error
            continue
        return None
    return refusal
