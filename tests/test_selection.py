"""Which jobs a command is about, looked up page by page in a real ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from recorded import accept, fail, open_ledger

from hedra_batch.inputs import Inputs
from hedra_batch.job import Job
from hedra_batch.ledger.ledger import Ledger
from hedra_batch.manifest.jobs import Jobs
from hedra_batch.manifest.loading import load_manifest
from hedra_batch.planning.plan import Reason, Rules
from hedra_batch.planning.recognition import PAGE_JOBS
from hedra_batch.planning.selection import FixedSelection, ManifestSelection, page_through, summarize
from hedra_batch.state import State

PROMPTS, VARIATIONS = 19, 53
COUNT = PROMPTS * VARIATIONS


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    opened = await open_ledger(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    path = tmp_path / "spring.yaml"
    prompts = ", ".join(f"p{number}: Scene {number}" for number in range(PROMPTS))
    path.write_text(f"version: 1\ndefaults: {{variations: {VARIATIONS}}}\nprompts: {{{prompts}}}", "utf-8")
    return load_manifest(path).jobs


def make_selection(jobs: Jobs, pattern: str = "", first: int | None = None) -> ManifestSelection:
    return ManifestSelection(jobs, Rules(), lambda job_id: pattern in job_id, first)


async def test_every_job_comes_once_in_pages(ledger: Ledger, jobs: Jobs) -> None:
    pages = [page async for page in page_through(make_selection(jobs), ledger)]
    assert [len(page) for page in pages] == [PAGE_JOBS, PAGE_JOBS, COUNT - 2 * PAGE_JOBS]
    assert len({planned.identity for page in pages for planned in page}) == COUNT


async def test_each_job_is_judged_by_how_it_stands_when_it_is_come_to(ledger: Ledger, jobs: Jobs) -> None:
    selection, last = make_selection(jobs), list(jobs)[-1]
    reasons: list[Reason] = []
    async for page in page_through(selection, ledger):
        if not reasons:
            await accept(ledger, last)
        reasons += [planned.reason for planned in page]
    assert reasons == [Reason.NEW] * (COUNT - 1) + [Reason.RUNNING]


async def test_what_the_manifest_does_not_have_is_followed_and_reviewed_whatever_became_of_it(
    ledger: Ledger, jobs: Jobs
) -> None:
    left = await accept(ledger, Job("left", "", Inputs("A calm"), "videos/left.mp4"))
    selection = make_selection(jobs)
    summary = await summarize(selection, ledger)
    await fail(ledger, left)
    reviewed = await ledger.look(lambda reader: [latest for job, latest in selection.review(reader) if job is None])
    assert [planned.label for planned in summary.sent] == ["left"]
    assert [latest and latest.state for latest in reviewed] == [State.FAILED]


@pytest.mark.parametrize(
    ("pattern", "first", "selected"), [("", 3, 3), ("v10", None, PROMPTS), ("v10", 2, 2), ("x", 2, 0)]
)
async def test_only_what_is_selected_is_looked_at(
    ledger: Ledger, jobs: Jobs, pattern: str, first: int | None, selected: int
) -> None:
    selection = make_selection(jobs, pattern, first)
    await accept(ledger, list(jobs)[5])
    summary = await summarize(selection, ledger)
    found = [job for job in jobs if selection.find_job(job.id)]
    assert (summary.selected, len(found), summary.left.total()) == (selected, selected, 0)


async def test_a_choice_stays_the_same_whatever_becomes_of_what_was_chosen(ledger: Ledger, jobs: Jobs) -> None:
    chosen = await accept(ledger, next(iter(jobs)))
    selection = FixedSelection(jobs, lambda reader: make_selection(jobs, first=1).planned_jobs(reader))
    before = await summarize(selection, ledger)
    await fail(ledger, chosen)
    again = await summarize(selection, ledger)
    [(job, latest)] = await ledger.look(lambda reader: list(selection.review(reader)))
    assert (before.reasons, again.reasons) == ({Reason.RUNNING: 1}, {Reason.RUNNING: 1})
    assert (job and job.id, latest and latest.state) == (chosen.job_id, State.FAILED)
