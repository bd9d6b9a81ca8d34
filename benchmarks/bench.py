"""Where a benchmark works, and how much it does."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much each measurement does. Speeds are how much faster than the real API its simulation is."""

    #: Times that the program and its rival take turns.
    cpu_pairs: int
    cpu_jobs: int
    #: Files as large as long videos, and how often they are fetched by each.
    files: int
    files_mb: int
    files_pairs: int
    pace_submits: int
    slots_jobs: int
    slots_in_flight: int
    #: Here and below, read requests are allowed as much faster than once a second.
    slots_speed: int
    reads_jobs: int
    reads_in_flight: int
    #: Close to 1: times of the program's own, such as the shortest from one read to the next, do not scale.
    reads_speed: int
    #: Generations of twenty seconds that are followed at the speed of the real API, and how many at once.
    short_jobs: int
    short_in_flight: int
    short_speed: int
    #: Generations that run for hours, as far as the program is concerned.
    soak_jobs: int
    soak_in_flight: int
    soak_speed: int
    #: Generations that are in flight together.
    memory_in_flight: int
    memory_speed: int
    #: Prompts and images of the large manifest: their product is the number of its jobs.
    large_prompts: int
    large_images: int
    large_run_seconds: int
    #: Runs of a command of which the median is taken.
    repeats: int
    resume_repeats: int
    stall_jobs: int

    @property
    def large_jobs(self) -> int:
        """Jobs of the large manifest."""
        return self.large_prompts * self.large_images


#: What the figures are taken from.
FULL = Effort(
    cpu_pairs=5,
    cpu_jobs=2000,
    files=12,
    files_mb=50,
    files_pairs=3,
    pace_submits=600,
    slots_jobs=400,
    slots_in_flight=50,
    slots_speed=10,
    reads_jobs=800,
    reads_in_flight=200,
    reads_speed=2,
    short_jobs=800,
    short_in_flight=150,
    short_speed=1,
    soak_jobs=9000,
    soak_in_flight=1000,
    soak_speed=1,
    memory_in_flight=10_000,
    memory_speed=1,
    large_prompts=250,
    large_images=400,
    large_run_seconds=30,
    repeats=10,
    resume_repeats=3,
    stall_jobs=2000,
)

#: Shows that everything can be run, and no more.
SHORT = Effort(
    cpu_pairs=1,
    cpu_jobs=100,
    files=2,
    files_mb=2,
    files_pairs=1,
    pace_submits=30,
    slots_jobs=30,
    slots_in_flight=10,
    slots_speed=120,
    reads_jobs=40,
    reads_in_flight=20,
    reads_speed=60,
    short_jobs=30,
    short_in_flight=15,
    short_speed=20,
    soak_jobs=100,
    soak_in_flight=50,
    soak_speed=20,
    memory_in_flight=100,
    memory_speed=80,
    large_prompts=10,
    large_images=100,
    large_run_seconds=1,
    repeats=2,
    resume_repeats=1,
    stall_jobs=100,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """A folder to work in, and how much to do."""

    folder: Path
    effort: Effort

    def make_folder(self, name: str) -> Path:
        """Make a folder for one run."""
        folder = self.folder / name
        folder.mkdir()
        return folder

    def tell(self, text: str) -> None:
        """Say what is going on."""
        print(text, file=sys.stderr, flush=True)
