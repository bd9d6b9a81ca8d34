"""How evenly jobs are sent, and how well the slots at the server are used."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.figures import list_schedule_seconds, most_in_window, pace_ratio
from benchmarks.manifests import write_texts
from benchmarks.runs import run
from benchmarks.service import SUBMIT, Service
from benchmarks.table import Row

_PER_SECOND = 20
_PACE_SPEED = 100
_TARGET_PACE = 1.03
_TARGET_SLOTS = 1.05


def measure_pace(bench: Bench) -> list[Row]:
    """Send at a rate, and look at when the server got it."""
    submits = bench.effort.pace_submits
    folder = bench.make_folder("pace")
    manifest = write_texts(folder, submits, in_flight=200, submit=f"{_PER_SECOND}/s")
    with Service(folder, _PACE_SPEED) as service:
        run(manifest, service)
    instants = [request.at for request in service.read_requests() if request.kind == SUBMIT]
    ratio = pace_ratio(instants, _PER_SECOND)
    most = most_in_window(instants, 1.0)
    return [
        Row(
            name="pace",
            figure=f"time of {submits} submissions at {_PER_SECOND}/s",
            measured=f"{ratio:.3f}x",
            rival=f"an even pace: {(submits - 1) / _PER_SECOND:.2f} s",
            target=f"<= {_TARGET_PACE}x",
            is_met=ratio <= _TARGET_PACE,
        ),
        Row(
            name="window",
            figure="most submissions in any second of it",
            measured=str(most),
            rival=f"the limit: {_PER_SECOND}/s",
            target=f"<= {_PER_SECOND + 1}",
            is_met=most <= _PER_SECOND + 1,
        ),
    ]


def measure_slots(bench: Bench) -> list[Row]:
    """Compare the first submission to the last end with a schedule that leaves no gap."""
    effort = bench.effort
    folder = bench.make_folder("slots")
    poll = f"{effort.slots_speed}/s"
    manifest = write_texts(folder, effort.slots_jobs, in_flight=effort.slots_in_flight, poll=poll)
    with Service(folder, effort.slots_speed) as service:
        run(manifest, service)
    generations = sorted(service.read_generations(), key=lambda generation: generation.created_at)
    begin = min(request.at for request in service.read_requests() if request.kind == SUBMIT)
    took_seconds = max(generation.ends_at for generation in generations) - begin
    best_seconds = list_schedule_seconds((each.seconds for each in generations), effort.slots_in_flight)
    ratio = took_seconds / best_seconds
    return [
        Row(
            name="slots",
            figure=f"first submission to last end of {effort.slots_jobs} jobs in {effort.slots_in_flight} slots",
            measured=f"{ratio:.3f}x ({took_seconds:.1f} s, time {effort.slots_speed}x)",
            rival=f"list schedule without gaps: {best_seconds:.1f} s",
            target=f"<= {_TARGET_SLOTS}x",
            is_met=ratio <= _TARGET_SLOTS,
        )
    ]
