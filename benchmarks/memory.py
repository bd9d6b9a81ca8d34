"""The most memory that a run takes: with many generations in flight, and with a large manifest."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.figures import most_at_once, to_mib
from benchmarks.manifests import write_matrix, write_texts
from benchmarks.runs import run
from benchmarks.service import SUBMIT, Service
from benchmarks.table import Row

_TARGET_IN_FLIGHT_MIB = 150
_TARGET_LARGE_MIB = 300
_TARGET_SOAK_SHARE = 0.10
_TARGET_SOAK_MIB = 90
_UNFINISHED = 3
#: A manifest takes no more; the flag does.
_MOST_IN_MANIFEST = 1000


def measure_in_flight(bench: Bench) -> list[Row]:
    """Have as many generations in flight at once as can be, until all have ended and are here."""
    wanted = bench.effort.memory_in_flight
    folder = bench.make_folder("memory")
    manifest = write_texts(folder, wanted, in_flight=_MOST_IN_MANIFEST)
    with Service(folder, bench.effort.memory_speed) as service:
        account = run(manifest, service, "--in-flight", str(wanted))
    most = most_at_once((each.created_at, each.ends_at) for each in service.read_generations())
    peak_mib = to_mib(account.peak_bytes)
    return [
        Row(
            name="memory",
            figure=f"peak memory of a run of {wanted} jobs that are in flight together",
            measured=f"{peak_mib:.0f} MiB",
            rival=f"in flight at once: {most}",
            target=f"<= {_TARGET_IN_FLIGHT_MIB} MiB",
            is_met=peak_mib <= _TARGET_IN_FLIGHT_MIB,
        )
    ]


def measure_soak(bench: Bench) -> list[Row]:
    """Keep very many in flight for as long as it takes to make them all, at the speed of the real API."""
    effort = bench.effort
    folder = bench.make_folder("soak")
    manifest = write_texts(folder, effort.soak_jobs, in_flight=effort.soak_in_flight)
    with Service(folder, effort.soak_speed, "--generation-time", "30s") as service:
        account = run(manifest, service)
    share, peak_mib = account.cpu_seconds / account.wall_seconds, to_mib(account.peak_bytes)
    return [
        Row(
            name="soak",
            figure=f"share of a core, and peak memory, of {effort.soak_jobs} jobs, {effort.soak_in_flight} in flight",
            measured=f"{share:.0%}, {peak_mib:.0f} MiB",
            rival=f"{account.wall_seconds:.0f} s, generations of 30 s",
            target=f"<= {_TARGET_SOAK_SHARE:.0%}, <= {_TARGET_SOAK_MIB} MiB",
            is_met=share <= _TARGET_SOAK_SHARE and peak_mib <= _TARGET_SOAK_MIB,
        )
    ]


def measure_large(bench: Bench) -> list[Row]:
    """Run a large manifest for a while."""
    effort = bench.effort
    folder = bench.make_folder("memory-manifest")
    manifest = write_matrix(folder, effort.large_prompts, effort.large_images, in_flight=50)
    with Service(folder, 600) as service:
        account = run(
            manifest, service, "--max-runtime", f"{effort.large_run_seconds}s", accepted_codes=(0, _UNFINISHED)
        )
    peak_mib = to_mib(account.peak_bytes)
    return [
        Row(
            name="memory-manifest",
            figure=f"peak memory of a run of a manifest of {effort.large_jobs} jobs",
            measured=f"{peak_mib:.0f} MiB",
            rival=f"submitted in {account.wall_seconds:.0f} s: {service.count_requests()[SUBMIT]}",
            target=f"<= {_TARGET_LARGE_MIB} MiB",
            is_met=peak_mib <= _TARGET_LARGE_MIB,
        )
    ]
