"""Each decision, in tables of cases, and that the table of transitions allows what is decided."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from hedra_batch.decide import (
    AFTER_INTERRUPTION,
    TRANSIENT_CODES,
    Deduplication,
    Finding,
    HoldReason,
    Inquiry,
    Objection,
    Reply,
    ResendPolicy,
    Verdict,
    after_denial,
    after_inquiry,
    after_order,
    after_recheck,
    after_send,
    before_send,
    first_state,
    is_possibly_paid,
    is_resend_counted,
    is_surely_unsent,
    learn,
    may_be_followed,
    may_retry,
)
from hedra_batch.state import SETTLEABLE, TO_SEND, TRANSITIONS, UNDER_WAY, Cause, State

POLICY = ResendPolicy()
#: A request that was looked for long enough on a server that recognises repeats.
ABSENT = Inquiry(Finding.ABSENT, is_window_over=True, deduplication=Deduplication.PROVEN)
FOUND = replace(ABSENT, finding=Finding.FOUND)
#: What follows for one that is absent after the whole window, or of which the server refuses to tell.
AFTER_WINDOW = [
    (ABSENT, POLICY, Verdict(State.RESEND_DUE)),
    (replace(ABSENT, resends=2), POLICY, Verdict(State.RESEND_DUE)),
    (replace(ABSENT, finding=Finding.UNTOLD), POLICY, Verdict(State.HELD_UNKNOWN, HoldReason.UNTOLD)),
    (
        replace(ABSENT, deduplication=Deduplication.UNPROVEN),
        POLICY,
        Verdict(State.HELD_UNPROVEN, HoldReason.UNPROVEN),
    ),
    (
        replace(ABSENT, deduplication=Deduplication.NONE),
        POLICY,
        Verdict(State.HELD_UNKNOWN, HoldReason.NO_DEDUPLICATION),
    ),
    (replace(ABSENT, is_wanted=False), POLICY, Verdict(State.HELD_UNKNOWN, HoldReason.UNWANTED)),
    (ABSENT, ResendPolicy(should_resend=False), Verdict(State.HELD_UNKNOWN, HoldReason.POLICY)),
    (replace(ABSENT, resends=3), POLICY, Verdict(State.HELD_UNKNOWN, HoldReason.RESENDS_USED_UP)),
    (ABSENT, ResendPolicy(resends_limit=0), Verdict(State.HELD_UNKNOWN, HoldReason.RESENDS_USED_UP)),
    (replace(ABSENT, obstacle=HoldReason.REQUEST_LOST), POLICY, Verdict(State.HELD_UNKNOWN, HoldReason.REQUEST_LOST)),
    (replace(ABSENT, obstacle=HoldReason.FILE_REFUSED), POLICY, Verdict(State.HELD_UNKNOWN, HoldReason.FILE_REFUSED)),
]


@pytest.mark.parametrize(
    ("state", "is_wanted", "following"),
    [
        (State.RESERVED, True, State.SENDING),
        (State.RESERVED, False, State.SENDING),
        (State.RESEND_DUE, True, State.RESENDING),
        # Looked for instead.
        (State.RESEND_DUE, False, State.UNKNOWN),
        # A person has ordered it.
        (State.RESEND_ORDERED, True, State.RESENDING_ORDERED),
        (State.RESEND_ORDERED, False, State.RESENDING_ORDERED),
    ],
)
def test_before_a_send(state: State, is_wanted: bool, following: State) -> None:
    assert before_send(state, lambda: is_wanted) is following
    assert following in TRANSITIONS[state]


@pytest.mark.parametrize("state", sorted(set(State) - TO_SEND))
def test_nothing_else_is_sent(state: State) -> None:
    with pytest.raises(KeyError):
        before_send(state, lambda: True)


@pytest.mark.parametrize(
    ("state", "reply", "following"),
    [
        (State.SENDING, Reply.ACCEPTED, State.ACCEPTED),
        (State.SENDING, Reply.REFUSED, State.REFUSED),
        (State.SENDING, Reply.UPLOAD_GONE, State.NEW),
        (State.SENDING, Reply.NOT_ACCEPTED, State.RESERVED),
        (State.SENDING, Reply.UNKNOWN, State.UNKNOWN),
        # No refusal of a repeat tells what became of the first send.
        (State.RESENDING, Reply.ACCEPTED, State.ACCEPTED),
        (State.RESENDING, Reply.REFUSED, State.UNKNOWN),
        (State.RESENDING, Reply.UPLOAD_GONE, State.UNKNOWN),
        (State.RESENDING, Reply.NOT_ACCEPTED, State.UNKNOWN),
        (State.RESENDING, Reply.UNKNOWN, State.UNKNOWN),
        # An order outlasts a send that did not take place.
        (State.RESENDING_ORDERED, Reply.ACCEPTED, State.ACCEPTED),
        (State.RESENDING_ORDERED, Reply.REFUSED, State.UNKNOWN),
        (State.RESENDING_ORDERED, Reply.UPLOAD_GONE, State.UNKNOWN),
        (State.RESENDING_ORDERED, Reply.NOT_ACCEPTED, State.RESEND_ORDERED),
        (State.RESENDING_ORDERED, Reply.UNKNOWN, State.UNKNOWN),
    ],
)
def test_after_a_send(state: State, reply: Reply, following: State) -> None:
    assert after_send(state, reply) is following


@pytest.mark.parametrize(("state", "reply"), list(itertools.product(sorted(UNDER_WAY), Reply)))
def test_what_follows_a_send_is_a_transition_that_an_answer_may_cause(state: State, reply: Reply) -> None:
    assert Cause.ANSWER in TRANSITIONS[state][after_send(state, reply)]


@pytest.mark.parametrize("reply", list(Reply))
def test_a_repeat_counts_unless_it_surely_was_not_accepted(reply: Reply) -> None:
    assert is_resend_counted(reply) is (reply is not Reply.NOT_ACCEPTED)


@pytest.mark.parametrize("is_window_over", [True, False])
@pytest.mark.parametrize("deduplication", list(Deduplication))
def test_what_is_found_was_accepted_whatever_else_counts(is_window_over: bool, deduplication: Deduplication) -> None:
    inquiry = Inquiry(
        Finding.FOUND, is_window_over, deduplication, is_wanted=False, resends=9, obstacle=HoldReason.UNTOLD
    )
    assert after_inquiry(inquiry, ResendPolicy(should_resend=False)) == Verdict(State.ACCEPTED)


@pytest.mark.parametrize("finding", [Finding.ABSENT, Finding.UNTOLD])
@pytest.mark.parametrize("deduplication", list(Deduplication))
def test_before_the_window_is_over_nothing_follows(finding: Finding, deduplication: Deduplication) -> None:
    assert after_inquiry(Inquiry(finding, is_window_over=False, deduplication=deduplication), POLICY) is None


@pytest.mark.parametrize(("inquiry", "policy", "verdict"), AFTER_WINDOW)
def test_after_the_window_what_is_absent_is_sent_again_or_held(
    inquiry: Inquiry, policy: ResendPolicy, verdict: Verdict
) -> None:
    assert after_inquiry(inquiry, policy) == verdict
    assert Cause.TIME in TRANSITIONS[State.UNKNOWN][verdict.state]


def test_every_reason_to_hold_is_shown_above() -> None:
    assert {verdict.reason for *_, verdict in AFTER_WINDOW} == {None, *HoldReason}


def test_whoever_proves_nothing_may_be_told_more_by_another_job_later() -> None:
    nothing_helps = replace(ABSENT, deduplication=Deduplication.UNPROVEN, is_wanted=False, resends=9)
    verdict = after_inquiry(nothing_helps, ResendPolicy(should_resend=False))
    assert verdict == Verdict(State.HELD_UNPROVEN, HoldReason.UNPROVEN)


@pytest.mark.parametrize(
    ("state", "inquiry", "following"),
    [
        (State.HELD_UNPROVEN, replace(ABSENT, deduplication=Deduplication.UNPROVEN), State.HELD_UNPROVEN),
        (State.HELD_UNPROVEN, ABSENT, State.UNKNOWN),
        (State.HELD_UNPROVEN, replace(ABSENT, deduplication=Deduplication.NONE), State.HELD_UNPROVEN),
        (State.HELD_UNPROVEN, FOUND, State.ACCEPTED),
        (State.HELD_UNKNOWN, FOUND, State.ACCEPTED),
        # Once the reason to hold is gone, nothing holds it: it was told now, wanted again, allowed, written anew.
        (State.HELD_UNKNOWN, ABSENT, State.UNKNOWN),
        (State.HELD_UNKNOWN, replace(ABSENT, finding=Finding.UNTOLD), State.HELD_UNKNOWN),
        (State.HELD_UNKNOWN, replace(ABSENT, is_window_over=False), State.HELD_UNKNOWN),
        (State.HELD_UNKNOWN, replace(ABSENT, deduplication=Deduplication.UNPROVEN), State.HELD_UNKNOWN),
        (State.HELD_UNKNOWN, replace(ABSENT, deduplication=Deduplication.NONE), State.HELD_UNKNOWN),
        (State.HELD_UNKNOWN, replace(ABSENT, is_wanted=False), State.HELD_UNKNOWN),
        (State.HELD_UNKNOWN, replace(ABSENT, resends=3), State.HELD_UNKNOWN),
        (State.HELD_UNKNOWN, replace(ABSENT, obstacle=HoldReason.REQUEST_LOST), State.HELD_UNKNOWN),
        (State.HELD_MISSING, ABSENT, State.HELD_MISSING),
        (State.HELD_MISSING, FOUND, State.ACCEPTED),
        (State.HELD_LOST, ABSENT, State.HELD_LOST),
        (State.HELD_LOST, FOUND, State.READY),
    ],
)
def test_after_another_look(state: State, inquiry: Inquiry, following: State) -> None:
    assert after_recheck(state, inquiry, POLICY) is following
    assert following is state or Cause.ANSWER in TRANSITIONS[state][following]


def test_what_the_manifest_holds_stays_held_at_another_look() -> None:
    assert after_recheck(State.HELD_UNKNOWN, ABSENT, ResendPolicy(should_resend=False)) is State.HELD_UNKNOWN


@pytest.mark.parametrize("state", [State.HELD_UNPROVEN, State.HELD_UNKNOWN])
@pytest.mark.parametrize(
    ("inquiry", "following"),
    [
        (ABSENT, State.RESEND_ORDERED),
        # A person may know more of the server, of the job and of the policy.
        (replace(ABSENT, deduplication=Deduplication.UNPROVEN), State.RESEND_ORDERED),
        (replace(ABSENT, deduplication=Deduplication.NONE), State.RESEND_ORDERED),
        (replace(ABSENT, is_wanted=False, resends=9), State.RESEND_ORDERED),
        (replace(ABSENT, finding=Finding.FOUND), State.ACCEPTED),
        (replace(ABSENT, finding=Finding.FOUND, is_window_over=False), State.ACCEPTED),
        (replace(ABSENT, finding=Finding.UNTOLD), Objection.UNTOLD),
        (replace(ABSENT, is_window_over=False), Objection.MAY_ARRIVE),
        (replace(ABSENT, obstacle=HoldReason.REQUEST_LOST), Objection.REQUEST_LOST),
    ],
)
def test_after_an_order(state: State, inquiry: Inquiry, following: State | Objection) -> None:
    assert after_order(state, inquiry) is following
    assert isinstance(following, Objection) or following in TRANSITIONS[state]


@pytest.mark.parametrize("state", sorted(set(State) - {State.HELD_UNPROVEN, State.HELD_UNKNOWN}))
def test_what_was_accepted_is_not_sent_again_by_an_order(state: State) -> None:
    assert after_order(state, ABSENT) is Objection.ACCEPTED


@pytest.mark.parametrize(
    ("state", "following"),
    [
        (State.ACCEPTED, State.HELD_MISSING),
        (State.OVERDUE, State.HELD_MISSING),
        (State.READY, State.HELD_LOST),
    ],
)
def test_after_a_denial_that_lasted(state: State, following: State) -> None:
    assert after_denial(state) is following
    assert TRANSITIONS[state][following] is Cause.TIME


@pytest.mark.parametrize(
    ("state", "following"),
    [
        (State.NEW, None),
        # Another run may have other prices and budgets.
        (State.RESERVED, State.NEW),
        # It is looked for before it is sent again.
        (State.RESEND_DUE, State.UNKNOWN),
        # A person's word stays.
        (State.RESEND_ORDERED, None),
        (State.SENDING, State.UNKNOWN),
        (State.RESENDING, State.UNKNOWN),
        (State.RESENDING_ORDERED, State.UNKNOWN),
        (State.UNKNOWN, None),
    ],
)
def test_after_an_interruption(state: State, following: State | None) -> None:
    assert AFTER_INTERRUPTION.get(state) == following
    assert following is None or Cause.TIME in TRANSITIONS[state][following]


def test_no_run_finds_a_send_under_way() -> None:
    assert UNDER_WAY <= AFTER_INTERRUPTION.keys() <= UNDER_WAY | TO_SEND


@pytest.mark.parametrize("state", list(State))
def test_a_person_gives_up_what_is_held_or_overdue(state: State) -> None:
    assert (state in SETTLEABLE) is (State.ABANDONED in TRANSITIONS[state])


@pytest.mark.parametrize("state", list(State))
def test_an_attempt_is_surely_unsent_only_when_no_send_can_have_been_accepted(state: State) -> None:
    assert is_surely_unsent(state) is (state in (State.NEW, State.RESERVED))


@pytest.mark.parametrize("state", list(State))
def test_all_may_be_paid_for_but_what_is_unsent_or_was_refused_or_refunded(state: State) -> None:
    unpaid = {State.NEW, State.RESERVED, State.REFUSED, State.FAILED}
    assert is_possibly_paid(state) is (state not in unpaid)


@pytest.mark.parametrize("state", list(State))
def test_a_further_attempt_begins_after_an_end_only(state: State) -> None:
    ended_badly = {State.REFUSED, State.FAILED, State.ABANDONED}
    assert may_be_followed(state) is (state in ended_badly)
    assert may_be_followed(state, is_changed=True) is (state in ended_badly | {State.DONE})


@pytest.mark.parametrize(
    ("state", "code", "number", "attempts", "expected"),
    [
        *((State.FAILED, code, 1, 2, True) for code in sorted(TRANSIENT_CODES)),
        (State.FAILED, "internal", 2, 3, True),
        (State.FAILED, "internal", 2, 2, False),
        (State.FAILED, "internal", 1, 1, False),
        # As where a person settles jobs: nothing is bought but what was said.
        (State.FAILED, "internal", 1, 0, False),
        (State.FAILED, "moderation_failed", 1, 2, False),
        (State.FAILED, None, 1, 2, False),
        (State.REFUSED, "internal", 1, 2, False),
        (State.ABANDONED, "internal", 1, 2, False),
        (State.DONE, "internal", 1, 2, False),
    ],
)
def test_only_a_failure_that_may_pass_is_tried_again_without_a_person(
    state: State, code: str | None, number: int, attempts: int, expected: bool
) -> None:
    assert may_retry(state, code, number, attempts) is expected


@pytest.mark.parametrize(
    ("number", "lost_attempts", "state"),
    [
        (1, 0, State.NEW),
        (1, 1, State.UNKNOWN),
        (2, 1, State.NEW),
        (2, 3, State.UNKNOWN),
        (3, 3, State.UNKNOWN),
        (4, 3, State.NEW),
    ],
)
def test_a_number_that_a_lost_ledger_may_have_used_begins_as_unknown(
    number: int, lost_attempts: int, state: State
) -> None:
    assert first_state(number, lost_attempts) is state


@pytest.mark.parametrize(
    ("known", "shown", "learnt"),
    [
        (Deduplication.UNPROVEN, Deduplication.UNPROVEN, Deduplication.UNPROVEN),
        (Deduplication.UNPROVEN, Deduplication.PROVEN, Deduplication.PROVEN),
        (Deduplication.UNPROVEN, Deduplication.NONE, Deduplication.NONE),
        (Deduplication.PROVEN, Deduplication.UNPROVEN, Deduplication.PROVEN),
        (Deduplication.PROVEN, Deduplication.PROVEN, Deduplication.PROVEN),
        (Deduplication.PROVEN, Deduplication.NONE, Deduplication.NONE),
        (Deduplication.NONE, Deduplication.UNPROVEN, Deduplication.NONE),
        # Not trusted again.
        (Deduplication.NONE, Deduplication.PROVEN, Deduplication.NONE),
        (Deduplication.NONE, Deduplication.NONE, Deduplication.NONE),
    ],
)
def test_what_an_answer_shows_of_a_server_is_learnt(
    known: Deduplication, shown: Deduplication, learnt: Deduplication
) -> None:
    assert learn(known, shown) is learnt
