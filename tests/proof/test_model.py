"""The promise on paper: in which settings one job can be charged twice, and that each job ends where it may."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import pytest
from model import Exploration, Policy, Server, Setting, Table, World, explore, find_double_charge

from hedra_batch.decide import is_surely_unsent
from hedra_batch.state import TRANSITIONS, UNSENT, UNSETTLED, State

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

NEW_ID = Policy(should_resend=False, should_take_new_key=True)
AT_ONCE = Policy(should_read=False, should_wait=False, should_prove=False)
AFTER_WINDOW = Policy()
HOLD = Policy(should_resend=False)

SAFE, TWICE = "safe", "charged twice"
ALL_SAFE, ALL_TWICE = (SAFE,) * 6, (TWICE,) * 6

#: The program as it is, at each server, with a lateness that ends within the quiet window and with one that does not.
PROGRAMS = [
    Setting(server=server, is_lateness_unbounded=is_unbounded) for server in Server for is_unbounded in (False, True)
]
#: Where no program that sends again can be safe.
LOST_CELL = Setting(server=Server.BILLS, is_lateness_unbounded=True)
SAFE_PROGRAMS = [program for program in PROGRAMS if program != LOST_CELL]
HONOURED_PROGRAMS = [program for program in PROGRAMS if program.server is not Server.IGNORES]

FORGETFUL = Setting(has_fsync=False, has_derived_keys=False)
UNSYNCED = Setting(has_fsync=False)

#: Clients, and the verdict on each at the servers of `PROGRAMS`.
TABLE = {
    "new id": (Setting(NEW_ID), ALL_TWICE),
    "same id at once": (Setting(AT_ONCE), (SAFE, SAFE, TWICE, TWICE, TWICE, TWICE)),
    "same id after the window": (Setting(AFTER_WINDOW), (SAFE, SAFE, SAFE, TWICE, SAFE, SAFE)),
    "hold": (Setting(HOLD), ALL_SAFE),
    "new id, without fsync, random id": (replace(FORGETFUL, policy=NEW_ID), ALL_TWICE),
    "same id at once, without fsync, random id": (replace(FORGETFUL, policy=AT_ONCE), ALL_TWICE),
    "same id after the window, without fsync, random id": (replace(FORGETFUL, policy=AFTER_WINDOW), ALL_TWICE),
    "hold, without fsync, random id": (replace(FORGETFUL, policy=HOLD), ALL_TWICE),
    "same id after the window, without fsync, derived id": (
        replace(UNSYNCED, is_retried=False),
        (SAFE, SAFE, TWICE, TWICE, TWICE, TWICE),
    ),
    # With a record of the lost send, the refusal of the next one would not be believed.
    "same id after the window, without fsync, derived id, tried anew once rejected": (UNSYNCED, ALL_TWICE),
    "same id after the window, random id": (Setting(has_derived_keys=False), (SAFE, SAFE, SAFE, TWICE, SAFE, SAFE)),
}

explore_once = cache(explore)


def name_server(setting: Setting) -> str:
    return f"{setting.server}, {'unbounded' if setting.is_lateness_unbounded else 'bounded'} lateness"


@pytest.mark.parametrize("program", PROGRAMS, ids=name_server)
@pytest.mark.parametrize("row", TABLE)
def test_the_table_of_verdicts_holds(row: str, program: Setting) -> None:
    client, verdicts = TABLE[row]
    setting = replace(client, server=program.server, is_lateness_unbounded=program.is_lateness_unbounded)
    double_charge = find_double_charge(setting)
    assert (TWICE if double_charge else SAFE) == verdicts[PROGRAMS.index(program)], double_charge


# What makes the verdicts worth something


def test_the_model_goes_by_the_table_of_the_program() -> None:
    assert Setting().table is TRANSITIONS


@pytest.mark.parametrize("setting", PROGRAMS, ids=name_server)
def test_each_change_of_state_is_in_the_table_of_the_program(setting: Setting) -> None:
    for world, steps in explore_once(setting).steps.items():
        for after in (step.world for step in steps if step.world.row.attempt == world.row.attempt):
            assert after.row.state in {*TRANSITIONS[world.row.state], world.row.state}


#: What is bought and what becomes of it, up to the acceptance. A file that is refused costs nothing; a disk that is put
#: back from a backup is no part of the model.
MODELLED = UNSENT | UNSETTLED | {State.ACCEPTED, State.REFUSED, State.HELD_UNPROVEN, State.HELD_UNKNOWN}
EDGES = {(start, end) for start in MODELLED for end in TRANSITIONS[start] if end in MODELLED} - {
    (State.NEW, State.REFUSED),
    (State.NEW, State.UNKNOWN),
}


def test_each_way_of_the_table_up_to_the_acceptance_is_in_the_model() -> None:
    programs = [*PROGRAMS, *(replace(program, has_orders=True) for program in HONOURED_PROGRAMS)]
    assert set().union(*(explore_once(program).edges for program in programs)) == EDGES


@pytest.mark.parametrize("setting", PROGRAMS, ids=name_server)
def test_the_search_is_wide_and_uses_up_its_sends_and_crashes(setting: Setting) -> None:
    worlds = explore_once(setting).steps
    assert len(worlds) > 800
    assert any(world.sends == 3 and world.crashes == 2 for world in worlds)


@pytest.mark.parametrize("setting", HONOURED_PROGRAMS, ids=name_server)
def test_a_job_is_accepted_even_with_its_last_send_and_after_the_last_crash(setting: Setting) -> None:
    accepted = [world for world in explore_once(setting).steps if world.row.state is State.ACCEPTED]
    assert any(world.sends == 3 and world.crashes == 2 for world in accepted)


# What holds at every moment


def find_ids_charged_twice(exploration: Exploration) -> Iterator[World]:
    return (world for world in exploration.steps if len(set(world.charges)) < len(world.charges))


def find_unrecorded(exploration: Exploration) -> Iterator[World]:
    """Find where something is at the server, or on its way, that the disk knows nothing of."""
    for world in exploration.steps:
        is_other = bool(world.keys_at_server - {world.durable.key})
        if is_other or (world.keys_at_server and is_surely_unsent(world.durable.state)):
            yield world


def find_early_attempts(exploration: Exploration) -> Iterator[World]:
    """Find where an attempt begins though no end of the last one is on disk: a state that nothing leaves."""
    for world, steps in exploration.steps.items():
        if any(step.world.row.attempt > world.row.attempt for step in steps) and TRANSITIONS[world.durable.state]:
            yield world


Check = Callable[[Exploration], Iterator[World]]

CHECKS: list[Check] = [find_ids_charged_twice, find_unrecorded, find_early_attempts]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("setting", SAFE_PROGRAMS, ids=name_server)
def test_the_program_keeps_each_invariant_in_every_world(setting: Setting, check: Check) -> None:
    exploration = explore_once(setting)
    assert [exploration.trace(world) for world in check(exploration)] == []


@pytest.mark.parametrize("setting", [LOST_CELL], ids=name_server)
@pytest.mark.parametrize("check", [find_unrecorded, find_early_attempts])
def test_even_the_lost_cell_is_on_record(setting: Setting, check: Check) -> None:
    assert list(check(explore_once(setting))) == []


@pytest.mark.parametrize(
    ("check", "setting"),
    [
        (find_ids_charged_twice, LOST_CELL),
        (find_unrecorded, UNSYNCED),
        (find_unrecorded, Setting(NEW_ID)),
        (find_early_attempts, Setting(NEW_ID)),
    ],
)
def test_each_invariant_is_broken_by_a_worse_program(check: Check, setting: Setting) -> None:
    assert list(check(explore_once(setting)))


# That jobs end


@pytest.mark.parametrize("setting", HONOURED_PROGRAMS, ids=name_server)
def test_each_job_ends_once_the_faults_stop(setting: Setting) -> None:
    exploration = explore_once(setting)
    assert [exploration.trace(world) for world in exploration.find_endless()] == []


def test_holding_everything_is_found_to_be_no_end() -> None:
    assert explore_once(Setting(HOLD)).find_endless()


@pytest.mark.parametrize("is_unbounded", [False, True])
def test_a_lost_job_is_held_and_never_sent_again_where_ids_are_ignored(is_unbounded: bool) -> None:
    edges = explore_once(Setting(server=Server.IGNORES, is_lateness_unbounded=is_unbounded)).edges
    assert (State.UNKNOWN, State.HELD_UNKNOWN) in edges
    assert (State.UNKNOWN, State.RESEND_DUE) not in edges


# That a worse program or table gets a worse verdict


@pytest.mark.parametrize(
    ("policy", "setting"),
    [
        pytest.param(Policy(should_read=False), Setting(server=Server.BILLS), id="does not read"),
        pytest.param(Policy(should_wait=False), Setting(server=Server.BILLS), id="believes the first absence"),
        pytest.param(Policy(should_prove=False), Setting(server=Server.IGNORES), id="takes ids for honoured"),
        pytest.param(
            Policy(should_trust_refusals=True),
            # The table itself refuses that a send of what was lost once ends as one of what was not.
            Setting(is_lateness_unbounded=True, table=TRANSITIONS | {State.RESENDING: TRANSITIONS[State.SENDING]}),
            id="believes a later refusal",
        ),
    ],
)
def test_each_caution_of_the_program_prevents_a_double_charge(policy: Policy, setting: Setting) -> None:
    assert not find_double_charge(setting)
    assert find_double_charge(replace(setting, policy=policy))


def without(source: State, target: State) -> Table:
    targets = {end: cause for end, cause in TRANSITIONS[source].items() if end is not target}
    return {**TRANSITIONS, source: targets}


def test_a_table_without_the_resend_wins_the_lost_cell() -> None:
    table = without(State.UNKNOWN, State.RESEND_DUE)
    assert find_double_charge(LOST_CELL)
    assert not find_double_charge(replace(LOST_CELL, table=table))


#: A job that is not held waits in UNKNOWN all the same, and one that is held goes on by it once keys are proven. What
#: is not made again, laid aside or ordered goes on as it is.
DISPENSABLE = {
    (State.HELD_UNPROVEN, State.ACCEPTED),
    (State.HELD_UNPROVEN, State.RESEND_ORDERED),
    (State.HELD_UNKNOWN, State.RESEND_ORDERED),
    (State.UNKNOWN, State.HELD_UNKNOWN),
    (State.UNKNOWN, State.HELD_UNPROVEN),
    (State.RESERVED, State.NEW),
    (State.RESEND_DUE, State.UNKNOWN),
}


@pytest.mark.parametrize(("source", "target"), sorted(EDGES - DISPENSABLE))
def test_a_table_without_this_entry_leaves_some_job_without_an_end(source: State, target: State) -> None:
    setting = Setting(is_lateness_unbounded=True, has_orders=True, table=without(source, target))
    assert explore_once(setting).find_endless()


# What a person says


@pytest.mark.parametrize("setting", [one for one in HONOURED_PROGRAMS if one != LOST_CELL], ids=name_server)
def test_a_send_that_a_person_orders_pays_for_nothing_twice(setting: Setting) -> None:
    assert not find_double_charge(replace(setting, has_orders=True))
