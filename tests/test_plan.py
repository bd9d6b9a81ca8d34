"""What a run would do with a job, for every way in which it can stand."""

from __future__ import annotations

import pytest

from hedra_batch.job import Inputs, Job, State
from hedra_batch.ledger.rows import Standing
from hedra_batch.pipeline.plan import Plan, Reason, Step, make_plan, make_retry_plan

JOB = Job("market", "", Inputs("A storm"), "videos/market.mp4")


def stand(state: State, *, prompt: str = "A storm", unknown_sends: int = 0, number: int = 1) -> Standing:
    return Standing(7, "", "market", number, state, Inputs(prompt).digest, unknown_sends, "internal")


def plan_one(standing: Standing | None, *, rebuys_changed: bool = False) -> tuple[Reason, Step]:
    [entry] = make_plan([JOB], [standing] if standing else [], rebuys_changed=rebuys_changed).entries
    return entry.reason, entry.step


def test_a_job_that_the_ledger_does_not_know_is_new() -> None:
    assert plan_one(None) == (Reason.NEW, Step.ADD)


@pytest.mark.parametrize(
    ("state", "reason", "step"),
    [
        (State.NEW, Reason.NEW, Step.REWRITE),
        (State.RESERVED, Reason.NEW, Step.CARRY),
        (State.SUBMITTING, Reason.UNKNOWN, Step.CARRY),
        (State.UNKNOWN, Reason.UNKNOWN, Step.CARRY),
        (State.ACCEPTED, Reason.RUNNING, Step.CARRY),
        (State.STUCK, Reason.RUNNING, Step.CARRY),
        (State.READY, Reason.RUNNING, Step.CARRY),
        (State.DONE, Reason.DONE, Step.LEAVE),
        (State.REJECTED, Reason.FAILED, Step.LEAVE),
        (State.FAILED, Reason.FAILED, Step.LEAVE),
        (State.HELD, Reason.HELD, Step.CARRY),
    ],
)
def test_an_unchanged_job_goes_on_from_its_state(state: State, reason: Reason, step: Step) -> None:
    assert plan_one(stand(state)) == (reason, step)


@pytest.mark.parametrize(
    ("state", "unknown_sends", "plain", "rebuying"),
    [
        (State.NEW, 0, (Reason.NEW, Step.REWRITE), (Reason.NEW, Step.REWRITE)),
        (State.RESERVED, 0, (Reason.NEW, Step.REWRITE), (Reason.NEW, Step.REWRITE)),
        (State.RESERVED, 1, (Reason.CHANGED, Step.LEAVE), (Reason.UNKNOWN, Step.CARRY)),
        (State.UNKNOWN, 1, (Reason.CHANGED, Step.LEAVE), (Reason.UNKNOWN, Step.CARRY)),
        (State.ACCEPTED, 0, (Reason.CHANGED, Step.LEAVE), (Reason.RUNNING, Step.CARRY)),
        (State.HELD, 1, (Reason.CHANGED, Step.LEAVE), (Reason.HELD, Step.CARRY)),
        (State.DONE, 0, (Reason.CHANGED, Step.LEAVE), (Reason.NEW, Step.ADD)),
        (State.REJECTED, 0, (Reason.NEW, Step.ADD), (Reason.NEW, Step.ADD)),
        (State.FAILED, 0, (Reason.NEW, Step.ADD), (Reason.NEW, Step.ADD)),
    ],
)
def test_an_edited_job_is_new_only_where_nothing_can_have_been_paid_for_it(
    state: State, unknown_sends: int, plain: tuple[Reason, Step], rebuying: tuple[Reason, Step]
) -> None:
    standing = stand(state, prompt="A calm", unknown_sends=unknown_sends)
    assert (plan_one(standing), plan_one(standing, rebuys_changed=True)) == (plain, rebuying)


@pytest.mark.parametrize("state", list(State))
def test_a_job_that_left_the_manifest_is_followed_only_when_it_was_sent_and_has_not_ended(state: State) -> None:
    followed = {State.SUBMITTING, State.UNKNOWN, State.ACCEPTED, State.STUCK, State.READY, State.HELD}
    assert bool(make_plan([], [stand(state)]).entries) is (state in followed)


def test_jobs_that_are_not_selected_are_in_no_plan() -> None:
    assert not make_plan([JOB], [stand(State.ACCEPTED)], is_selected=lambda job_id: job_id == "other").entries


def test_the_first_n_leave_other_jobs_alone() -> None:
    assert not make_plan([], [stand(State.ACCEPTED)], selects_others=False).entries


@pytest.mark.parametrize(
    ("state", "number", "step"),
    [
        (State.FAILED, 1, Step.ADD),
        (State.REJECTED, 2, Step.ADD),
        (State.RESERVED, 2, Step.CARRY),
        (State.ACCEPTED, 2, Step.CARRY),
        (State.ACCEPTED, 1, None),
        (State.NEW, 1, None),
        (State.DONE, 2, None),
    ],
)
def test_retry_takes_failed_jobs_and_what_an_earlier_retry_began(state: State, number: int, step: Step | None) -> None:
    plan = make_retry_plan([JOB], [stand(state, number=number)], lambda _: True)
    assert [entry.step for entry in plan.entries] == ([step] if step else [])


def test_retry_leaves_jobs_alone_that_left_the_manifest() -> None:
    assert not make_retry_plan([], [stand(State.FAILED)], lambda _: True).entries


def test_the_line_before_the_first_post_says_what_will_be_bought() -> None:
    jobs = [Job(f"job-{number}", "", Inputs("x"), "v.mp4") for number in range(240)]
    said = make_plan(jobs, [stand(State.ACCEPTED)]).describe()
    assert said == "240 new videos, 0 running, 0 done, 1 left the manifest"


def test_an_empty_plan_has_nothing_to_carry() -> None:
    assert not Plan().to_carry
