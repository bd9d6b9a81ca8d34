"""What a key was made for that no row has: own ids, the server's echo, and all ids that are known."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping

import pytest
from recorded import make_job

from hedra_batch.job import Job
from hedra_batch.ledger.records import ListedRequest, Purchase
from hedra_batch.run.attribution import NUMBERS_AHEAD, TRIES_LIMIT, Attribution, InputsByDigest

OTHERS = frozenset({"another", "and one more"})


def list_inputs(job: Job) -> InputsByDigest:
    return {job.inputs.digest: job.inputs.fields}


def derive_key(edition: str, purchase: Purchase) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{edition} {purchase.bought_as} {purchase.digest} {purchase.number}"))


def make_key(job: Job, bought_as: str, number: int = 1) -> str:
    return derive_key(job.edition, Purchase(bought_as, number, {}, job.inputs.digest, ""))


def attribute(
    jobs: Iterable[Job],
    keys: Iterable[str],
    echoes: Mapping[str, ListedRequest],
    ids: Iterable[str] = (),
    tries_limit: int = TRIES_LIMIT,
) -> list[tuple[str, int, str]]:
    """Return under which id, as which number, and with which prompt each was bought."""
    shown = {key: echoes.get(key, ListedRequest()) for key in keys}
    tried = Attribution(shown, list_inputs, derive_key, tries_limit=tries_limit)
    found = [shown for job in jobs for shown in tried.look_at(job, None)]
    found += tried.search(ids)
    return [(one.job.id, one.purchase.number, str(one.job.inputs.values["prompt"])) for one in found]


def test_what_a_job_has_under_its_own_id_is_found_first_the_oldest_first() -> None:
    job = make_job("sea", "A sea")
    keys = [make_key(job, "sea", number) for number in (3, 1, NUMBERS_AHEAD + 1)]
    assert attribute([job], keys, {}, ["lake"]) == [("sea", 1, "A sea"), ("sea", 3, "A sea")]


@pytest.mark.parametrize("ids", [(), ("old",)])
def test_a_renamed_job_is_found_by_the_name_that_the_server_has_or_the_ledger(ids: tuple[str, ...]) -> None:
    jobs = [make_job("new", "A sea"), make_job("lake", "A lake")]
    key = make_key(jobs[0], "old", 2)
    echoes = {} if ids else {key: ListedRequest("old", "A sea")}
    assert attribute(jobs, [key, *OTHERS], echoes, ids) == [("old", 2, "A sea")]


def test_swapped_jobs_are_found_under_the_ids_of_each_other() -> None:
    jobs = [make_job("one", "A sea"), make_job("two", "A lake")]
    keys = [make_key(jobs[0], "two"), make_key(jobs[1], "one")]
    assert sorted(attribute(jobs, keys, {})) == [("one", 1, "A lake"), ("two", 1, "A sea")]


def test_what_bears_a_name_and_another_prompt_is_somebody_elses() -> None:
    job = make_job("new", "A sea")
    key = make_key(job, "old")
    assert attribute([job], [key], {key: ListedRequest("old", "A lake")}, ["old"]) == []


def test_a_name_is_tried_however_many_jobs_there_are_and_ids_within_a_limit_that_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    jobs = [make_job(f"new-{number}", f"Scene {number}") for number in range(20)]
    named, unnamed = make_key(jobs[19], "old"), make_key(jobs[18], "older")
    with caplog.at_level(logging.WARNING):
        found = attribute(jobs, [named, unnamed], {named: ListedRequest("old", "Scene 19")}, ["older"], tries_limit=10)
    assert (found, "more than can be held against all jobs" in caplog.text) == ([("old", 1, "Scene 19")], True)


def test_nothing_is_said_where_the_server_names_all(caplog: pytest.LogCaptureFixture) -> None:
    jobs = [make_job(f"new-{number}", f"Scene {number}") for number in range(20)]
    with caplog.at_level(logging.DEBUG):
        assert (
            attribute(jobs, ["another"], {"another": ListedRequest("else", "Scene 1")}, map(str, range(10_000))) == []
        )
    assert caplog.text == ""
