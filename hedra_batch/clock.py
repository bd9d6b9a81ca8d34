"""Instants as they are stored (aware, UTC, ISO 8601 with milliseconds and a Z), and the clock they are read from."""

from __future__ import annotations

import subprocess
import time
import uuid
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
#: macOS has a command instead.
_ASK_BOOT_ID = ("/usr/sbin/sysctl", "-n", "kern.bootsessionuuid")
#: Runs on while the machine sleeps. macOS has no such name: there, the monotonic clock does.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

#: Names a process where the start of the machine has no name.
_PROCESS = "process-"
_STARTED_SECONDS = time.clock_gettime(_BOOT_CLOCK)


class Clock:
    """The time of this machine: what a person calls it, and what has really passed."""

    def now(self) -> datetime:
        """Read the wall clock: aware, in UTC. A person or a time server may set it at any moment."""
        return datetime.now(UTC)

    def now_text(self) -> str:
        return to_text(self.now())

    def age_seconds(self, text: str) -> float:
        """Count the seconds by the wall clock since an instant that `to_text` wrote."""
        return (self.now() - from_text(text)).total_seconds()

    def boot_seconds(self) -> float:
        """Count the seconds since the machine was started: through sleep, and whatever becomes of the wall clock."""
        return time.clock_gettime(_BOOT_CLOCK)

    def boot_id(self) -> str:
        return _read_boot_id()

    def mark(self) -> str:
        """Write the present moment for `least_seconds_since`."""
        return f"{self.boot_id()} {self.boot_seconds():.3f}"

    def least_seconds_since(self, mark: str) -> float:
        """Count the seconds that have surely passed since a mark.

        After a restart of the machine only the time since then is sure; where starts cannot be told apart, only the
        time since this process began.
        """
        boot_id, _, seconds = mark.partition(" ")
        if boot_id == self.boot_id():
            return self.boot_seconds() - float(seconds)
        is_restart = not any(name.startswith(_PROCESS) for name in (boot_id, self.boot_id()))
        return self.boot_seconds() - (0.0 if is_restart else _STARTED_SECONDS)


@cache
def _read_boot_id() -> str:
    try:
        if _BOOT_ID.exists():
            return _BOOT_ID.read_text("ascii").strip()
        asked = subprocess.run(_ASK_BOOT_ID, capture_output=True, check=True, text=True, timeout=5)  # noqa: S603 - fixed
        return asked.stdout.strip()
    except (OSError, ValueError, subprocess.SubprocessError):
        return f"{_PROCESS}{uuid.uuid4()}"


def to_text(instant: datetime) -> str:
    """Write an instant so that texts sort as instants do."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """Read an instant that `to_text` wrote."""
    return datetime.fromisoformat(text)


#: The clock of this machine; what runs on another is given it.
CLOCK = Clock()
