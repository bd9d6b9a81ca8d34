"""What a run would do with a job, for every way in which it can stand."""

from __future__ import annotations

import pytest

from hedra_batch.inputs import Inputs
from hedra_batch.job import Job
from hedra_batch.ledger.records import LatestAttempt
from hedra_batch.money import Money
from hedra_batch.planning.plan import PlannedJob, Reason, Rules, Step, judge, judge_left, judge_retry
from hedra_batch.planning.quote import Quote
from hedra_batch.planning.summary import PlanSummary
from hedra_batch.state import State

RULES = Rules()
JOB = Job("market", "", Inputs("A storm"), "videos/market.mp4")


def stand(
    state: State,
    *,
    prompt: str = "A storm",
    number: int = 1,
    code: str = "moderation_failed",
) -> LatestAttempt:
    return LatestAttempt(7, "", "market", number, state, Inputs(prompt).digest, None, code)


def plan_one(latest: LatestAttempt | None, rules: Rules = RULES) -> tuple[Reason, Step]:
    planned = judge(JOB, latest, rules)
    return planned.reason, planned.step


def summarize(*planned_jobs: PlannedJob | None) -> PlanSummary:
    summary = PlanSummary()
    for planned in filter(None, planned_jobs):
        summary.add(planned)
    return summary


def test_a_job_that_the_ledger_does_not_know_is_new() -> None:
    assert plan_one(None) == (Reason.NEW, Step.ADD)


@pytest.mark.parametrize(
    ("state", "reason", "step"),
    [
        (State.NEW, Reason.NEW, Step.REWRITE),
        (State.RESERVED, Reason.NEW, Step.PROCESS),
        (State.RESEND_DUE, Reason.UNKNOWN, Step.PROCESS),
        (State.RESEND_ORDERED, Reason.UNKNOWN, Step.PROCESS),
        (State.SENDING, Reason.UNKNOWN, Step.PROCESS),
        (State.RESENDING, Reason.UNKNOWN, Step.PROCESS),
        (State.RESENDING_ORDERED, Reason.UNKNOWN, Step.PROCESS),
        (State.UNKNOWN, Reason.UNKNOWN, Step.PROCESS),
        (State.ACCEPTED, Reason.RUNNING, Step.PROCESS),
        (State.OVERDUE, Reason.RUNNING, Step.PROCESS),
        (State.READY, Reason.RUNNING, Step.PROCESS),
        (State.DONE, Reason.DONE, Step.LEAVE),
        (State.REFUSED, Reason.FAILED, Step.LEAVE),
        (State.FAILED, Reason.FAILED, Step.LEAVE),
        (State.HELD_UNPROVEN, Reason.HELD, Step.PROCESS),
        (State.HELD_UNKNOWN, Reason.HELD, Step.PROCESS),
        (State.HELD_MISSING, Reason.HELD, Step.PROCESS),
        (State.HELD_LOST, Reason.HELD, Step.PROCESS),
        (State.ABANDONED, Reason.FAILED, Step.LEAVE),
    ],
)
def test_an_unchanged_job_goes_on_from_its_state(state: State, reason: Reason, step: Step) -> None:
    assert plan_one(stand(state)) == (reason, step)


@pytest.mark.parametrize(
    ("state", "plain", "rebuying"),
    [
        (State.NEW, (Reason.NEW, Step.REWRITE), (Reason.NEW, Step.REWRITE)),
        (State.RESERVED, (Reason.NEW, Step.REWRITE), (Reason.NEW, Step.REWRITE)),
        (State.RESEND_DUE, (Reason.CHANGED, Step.PROCESS), (Reason.UNKNOWN, Step.PROCESS)),
        (State.RESEND_ORDERED, (Reason.CHANGED, Step.PROCESS), (Reason.UNKNOWN, Step.PROCESS)),
        (State.UNKNOWN, (Reason.CHANGED, Step.PROCESS), (Reason.UNKNOWN, Step.PROCESS)),
        (State.ACCEPTED, (Reason.CHANGED, Step.PROCESS), (Reason.RUNNING, Step.PROCESS)),
        (State.HELD_UNPROVEN, (Reason.CHANGED, Step.PROCESS), (Reason.HELD, Step.PROCESS)),
        (State.HELD_UNKNOWN, (Reason.CHANGED, Step.PROCESS), (Reason.HELD, Step.PROCESS)),
        (State.HELD_MISSING, (Reason.CHANGED, Step.PROCESS), (Reason.HELD, Step.PROCESS)),
        (State.HELD_LOST, (Reason.CHANGED, Step.PROCESS), (Reason.HELD, Step.PROCESS)),
        (State.DONE, (Reason.CHANGED, Step.LEAVE), (Reason.NEW, Step.ADD)),
        (State.REFUSED, (Reason.NEW, Step.ADD), (Reason.NEW, Step.ADD)),
        (State.FAILED, (Reason.NEW, Step.ADD), (Reason.NEW, Step.ADD)),
        (State.ABANDONED, (Reason.CHANGED, Step.LEAVE), (Reason.NEW, Step.ADD)),
    ],
)
def test_an_edited_job_is_new_only_where_nothing_can_have_been_paid_for_it(
    state: State, plain: tuple[Reason, Step], rebuying: tuple[Reason, Step]
) -> None:
    latest = stand(state, prompt="A calm")
    assert (plan_one(latest), plan_one(latest, Rules(rebuys_changed=True))) == (plain, rebuying)


@pytest.mark.parametrize("state", list(State))
def test_a_job_that_left_the_manifest_is_followed_only_when_it_was_sent_and_has_not_ended(state: State) -> None:
    unsent_or_ended = {State.NEW, State.RESERVED, State.DONE, State.REFUSED, State.FAILED, State.ABANDONED}
    assert bool(judge_left(stand(state))) is (state not in unsent_or_ended)


@pytest.mark.parametrize(
    ("state", "number", "step"),
    [
        (State.FAILED, 1, Step.ADD),
        (State.REFUSED, 2, Step.ADD),
        (State.RESERVED, 2, Step.PROCESS),
        (State.ACCEPTED, 2, Step.PROCESS),
        (State.ACCEPTED, 1, None),
        (State.NEW, 1, None),
        (State.DONE, 2, None),
    ],
)
def test_retry_takes_failed_jobs_and_what_an_earlier_retry_began(state: State, number: int, step: Step | None) -> None:
    planned = judge_retry(JOB, stand(state, number=number), RULES, lambda _: True)
    assert (planned and planned.step) == step


def test_the_line_before_the_first_post_says_what_will_be_bought() -> None:
    jobs = [Job(f"job-{number}", "", Inputs("x"), "v.mp4") for number in range(240)]
    summary = summarize(*(judge(job, None, RULES) for job in jobs), judge_left(stand(State.ACCEPTED)))
    said = [Quote([(Money(30), summary.bought)], Money(9120)).describe(), *summary.describe_rest()]
    assert ", ".join(said) == ("240 new videos, about 7,200 credits (30 each), balance 9,120, 1 left the manifest")


@pytest.mark.parametrize(
    ("code", "number", "attempts", "step"),
    [
        ("internal", 1, 2, Step.ADD),
        ("unavailable", 1, 2, Step.ADD),
        ("moderation_output_transient", 2, 3, Step.ADD),
        ("internal", 2, 2, Step.LEAVE),
        ("internal", 1, 1, Step.LEAVE),
        ("moderation_failed", 1, 2, Step.LEAVE),
        ("moderation_likeness", 1, 2, Step.LEAVE),
        ("unknown", 1, 2, Step.LEAVE),
    ],
)
def test_only_a_passing_reason_gets_another_attempt_by_itself(
    code: str, number: int, attempts: int, step: Step
) -> None:
    latest = stand(State.FAILED, number=number, code=code)
    assert plan_one(latest, Rules(attempts=attempts))[1] is step


def test_after_a_lost_ledger_a_job_is_unknown_and_not_new() -> None:
    assert plan_one(None, Rules(lost_attempts=1)) == (Reason.UNKNOWN, Step.RECOVER)


@pytest.mark.parametrize(
    ("prices", "balance", "said"),
    [
        ([], None, "no new videos"),
        ([30], 9120, "1 new video, about 30 credits (30 each), balance 9,120"),
        ([20, 30], None, "2 new videos, about 50 credits (20 to 30 each), balance unknown"),
        ([20, None], 5, "2 new videos, 1 of them for about 20 credits (20 each), 1 of unknown price, balance 5"),
        ([None, None], 5, "2 new videos, price unknown, balance 5"),
        ([0], 5, "1 new video, about 0 credits (0 each), balance 5"),
    ],
)
def test_a_price_that_is_not_known_is_said_and_not_counted_as_nothing(
    prices: list[int | None], balance: int | None, said: str
) -> None:
    assert Quote([(to_money(price), 1) for price in prices], to_money(balance)).describe() == said


def to_money(amount: int | None) -> Money | None:
    return None if amount is None else Money(amount)
