"""A model of how one job is sent and paid for: every order of sends, crashes and late requests, breadth first.

What the client does is decided by `hedra_batch.decide`, the program's own module: the model has no rules of its own for
that. It adds what a crash forgets, what the network may do with a request, and what servers may do with a key that they
have seen. A worse client is one that tells the decisions something else than what is so (`Policy`). Downloads are left
out: the model ends where the job is accepted, refused or held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count
from typing import Any

from hedra_batch.decide import (
    AFTER_INTERRUPTION,
    Deduplication,
    Finding,
    Inquiry,
    Reply,
    ResendPolicy,
    after_inquiry,
    after_order,
    after_recheck,
    after_send,
    before_send,
    learn,
    may_be_followed,
)
from hedra_batch.state import HELD, TO_SEND, TRANSITIONS, UNDER_WAY, UNSENT, Cause, State

Table = Mapping[State, Mapping[State, Cause]]

#: Commits that say what will be sent, as against those that say what became of it.
BEFORE_SEND = UNSENT | TO_SEND | UNDER_WAY


class Server(StrEnum):
    """What a server does with a second request that bears the same key."""

    REFUSES = "refuses repeats"
    BILLS = "bills repeats"
    IGNORES = "ignores ids"


class Call(StrEnum):
    """How the client's one request stands; a crash forgets it."""

    NONE = "none"
    #: The send is written down, and no byte is out.
    DUE = "due"
    WAITING = "waiting"
    #: The answer is here and not yet written down: 200.
    ACCEPTED = "accepted"
    #: 409: the server has this key already.
    REPEATED = "repeated"
    #: 400, 404, 422, moderation.
    REFUSED = "refused"
    #: 404 about a file that the request names.
    UPLOAD_GONE = "upload gone"
    #: 401, 402, 403, 429, or the connection was never made.
    NOT_ACCEPTED = "not accepted"


#: What the client makes of an answer.
REPLIES = {
    Call.WAITING: Reply.UNKNOWN,
    Call.ACCEPTED: Reply.ACCEPTED,
    Call.REPEATED: Reply.UNKNOWN,
    Call.REFUSED: Reply.REFUSED,
    Call.UPLOAD_GONE: Reply.UPLOAD_GONE,
    Call.NOT_ACCEPTED: Reply.NOT_ACCEPTED,
    # Stopped before the first byte.
    Call.DUE: Reply.NOT_ACCEPTED,
}
#: Answers that the server has given.
ANSWERED = frozenset({Call.ACCEPTED, Call.REPEATED, Call.REFUSED, Call.UPLOAD_GONE, Call.NOT_ACCEPTED})


@dataclass(frozen=True, slots=True)
class Policy:
    """What the client tells the decisions; by default what is so."""

    #: Whether a lost request is sent again; held otherwise.
    should_resend: bool = True
    #: Whether it looks before it says that a request is absent, and waits for the end of the quiet window.
    should_read: bool = True
    should_wait: bool = True
    #: Whether it takes a server for one that recognises repeats only when that is proven.
    should_prove: bool = True
    #: Whether a lost request is given up for a new attempt.
    should_take_new_key: bool = False
    #: Whether the refusal of a later send is taken for that of the first.
    should_trust_refusals: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """One cell to explore: a client, a server, and how late a request may arrive."""

    policy: Policy = Policy()
    server: Server = Server.REFUSES
    #: Whether a request may arrive after the quiet window.
    is_lateness_unbounded: bool = False
    #: Whether what is written before a send is on disk before it; otherwise it gets there at some time, or never.
    has_fsync: bool = True
    #: Whether an attempt has the same key each time that it is reserved; otherwise the key is drawn by lot.
    has_derived_keys: bool = True
    #: Whether a person may have a refused job tried anew, and a held request sent again.
    is_retried: bool = True
    has_orders: bool = False
    table: Table = field(default_factory=lambda: TRANSITIONS, hash=False)
    sends_limit: int = 3
    crashes_limit: int = 2


@dataclass(frozen=True, slots=True)
class Row:
    """What the ledger says of the job's latest attempt."""

    state: State = State.NEW
    attempt: int = 1
    #: 0 while none is reserved.
    key: int = 0
    is_window_over: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Request:
    """A POST that has left the client and has not reached the server."""

    key: int
    #: Whether the client still waits for its answer.
    is_awaited: bool


@dataclass(frozen=True, slots=True)
class World:
    """Everything that counts at one moment."""

    #: The ledger as the client sees it, and what a crash would leave of it.
    row: Row = Row()
    durable: Row = Row()
    call: Call = Call.NONE
    requests: tuple[Request, ...] = ()
    #: The key of each charge: the one that the request bore, whatever id the server gave.
    charges: tuple[int, ...] = ()
    deduplication: Deduplication = Deduplication.UNPROVEN
    sends: int = 0
    crashes: int = 0
    #: Whether no run is going.
    is_down: bool = False

    @property
    def keys_at_server(self) -> frozenset[int]:
        """The keys that the server was paid for, or may yet be."""
        return frozenset(self.charges) | {request.key for request in self.requests}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that can happen, and the world after it."""

    name: str
    world: World
    #: Whether it is a mishap, without which every job should end.
    is_fault: bool = False
    #: The entry of the table that the client took, if it did.
    edge: tuple[State, State] | None = None


Rule = Callable[[Setting, World], Iterator[Step]]


# The client: each change of state is what the decisions say


def reserve(setting: Setting, world: World) -> Iterator[Step]:
    """Take a key."""
    if world.row.state is State.NEW:
        taken = world.keys_at_server | {world.durable.key}
        drawn = next(number for number in count(1) if number not in taken)
        key = world.row.attempt if setting.has_derived_keys else drawn
        yield from change(setting, world, State.RESERVED, "reserve", key=key)


def begin_send(setting: Setting, world: World) -> Iterator[Step]:
    """Write that a request will be under way, or look again for what is not wanted any more."""
    state = world.row.state
    if state not in TO_SEND:
        return
    if world.sends < setting.sends_limit:
        due = replace(world, call=Call.DUE, sends=world.sends + 1)
        yield from change(setting, due, before_send(state, lambda: True), "begin to send")
    if (unwanted := before_send(state, lambda: False)) not in UNDER_WAY:
        yield from change(setting, world, unwanted, "not wanted for now", is_fault=True)


def end_send(setting: Setting, world: World) -> Iterator[Step]:
    """Write down what came of a send, or lose the answer."""
    if world.row.state not in UNDER_WAY or world.call is Call.NONE:
        return
    is_cut_short = world.call is Call.WAITING and any(request.is_awaited for request in world.requests)
    is_fault = world.call is Call.DUE or is_cut_short
    shown = world
    if world.call in (Call.ACCEPTED, Call.REPEATED):
        shown = replace(world, deduplication=learn(world.deduplication, reveal(setting)))
    yield from settle_send(setting, shown, REPLIES[world.call], f"answer: {world.call}", is_fault=is_fault)
    if world.call in ANSWERED:
        yield from settle_send(setting, world, Reply.UNKNOWN, "the answer is lost", is_fault=True)


def settle_send(setting: Setting, world: World, reply: Reply, name: str, *, is_fault: bool) -> Iterator[Step]:
    source = State.SENDING if setting.policy.should_trust_refusals else world.row.state
    target = after_send(source, reply)
    yield from change(setting, hang_up(world), target, name, is_fault=is_fault, is_window_over=False)


def inquire(setting: Setting, world: World) -> Iterator[Step]:
    """Look for a request whose outcome is unknown, and do what follows from what is found."""
    if world.row.state is not State.UNKNOWN:
        return
    for finding in list_findings(setting, world):
        if verdict := after_inquiry(describe(setting, world, finding), describe_policy(setting)):
            found = learn_from(setting, world, finding)
            name, is_fault = f"{finding} after a lost send", finding is Finding.UNTOLD
            yield from change(setting, found, verdict.state, name, is_fault=is_fault)


def recheck(setting: Setting, world: World) -> Iterator[Step]:
    """Look once more for what is held."""
    state = world.row.state
    if state not in HELD:
        return
    for finding in list_findings(setting, world):
        target = after_recheck(state, describe(setting, world, finding), describe_policy(setting))
        if target is not state:
            yield from change(setting, learn_from(setting, world, finding), target, f"{finding} while held")


def order(setting: Setting, world: World) -> Iterator[Step]:
    """Let a person have a held request sent again."""
    if setting.has_orders and world.row.state in HELD:
        for finding in list_findings(setting, world):
            target = after_order(world.row.state, describe(setting, world, finding))
            if isinstance(target, State):
                found = learn_from(setting, world, finding)
                yield from change(setting, found, target, "a person orders a send", is_fault=True)


def describe(setting: Setting, world: World, finding: Finding) -> Inquiry:
    """Tell the decisions what counts, as this client sees it."""
    policy = setting.policy
    return Inquiry(
        finding=finding if policy.should_read else Finding.ABSENT,
        is_window_over=world.row.is_window_over or not policy.should_wait,
        deduplication=world.deduplication if policy.should_prove else Deduplication.PROVEN,
        resends=world.sends - 1,
    )


def describe_policy(setting: Setting) -> ResendPolicy:
    return ResendPolicy(setting.policy.should_resend, setting.sends_limit - 1)


def list_findings(setting: Setting, world: World) -> Iterator[Finding]:
    """Say what looking can come to: a server that ignores keys may have the generation under an id of its own."""
    yield Finding.UNTOLD
    if world.row.key in world.charges:
        yield Finding.FOUND
    if world.row.key not in world.charges or setting.server is Server.IGNORES:
        yield Finding.ABSENT


def learn_from(setting: Setting, world: World, finding: Finding) -> World:
    """Keep what a finding shows of the server."""
    if finding is not Finding.FOUND:
        return world
    return replace(world, deduplication=learn(world.deduplication, reveal(setting)))


def reveal(setting: Setting) -> Deduplication:
    """Say what an answer shows of the server's use of our keys."""
    return Deduplication.NONE if setting.server is Server.IGNORES else Deduplication.PROVEN


def change(
    setting: Setting, world: World, target: State, name: str, *, is_fault: bool = False, **columns: Any
) -> Iterator[Step]:
    """Take an entry of the table, if it is there."""
    source = world.row.state
    if target in setting.table.get(source, ()):
        row = replace(world.row, state=target, **columns)
        yield Step(name, write(setting, world, row), is_fault, (source, target))


def begin_attempt(setting: Setting, world: World) -> Iterator[Step]:
    """Record a further attempt: once the last one has ended, or as soon as its outcome is unknown."""
    is_retried = setting.is_retried and may_be_followed(world.row.state)
    if is_retried or (setting.policy.should_take_new_key and world.row.state is State.UNKNOWN):
        yield Step("a new attempt", write(setting, world, Row(attempt=world.row.attempt + 1)))


def post(_: Setting, world: World) -> Iterator[Step]:
    """Let the request out, or fail to connect."""
    if world.call is Call.DUE:
        requests = (*world.requests, Request(world.row.key, is_awaited=True))
        yield Step("POST", replace(world, call=Call.WAITING, requests=tuple(sorted(requests))))
        yield Step("no connection", replace(world, call=Call.NOT_ACCEPTED), is_fault=True)


def hang_up(world: World) -> World:
    """Wait for no answer any more; the request itself goes on."""
    requests = tuple(sorted(replace(request, is_awaited=False) for request in world.requests))
    return replace(world, call=Call.NONE, requests=requests)


def write(setting: Setting, world: World, row: Row) -> World:
    """Commit a row: on disk at once, unless this client does not sync what comes before a send."""
    is_synced = setting.has_fsync or row.state not in BEFORE_SEND
    return replace(world, row=row, durable=row if is_synced else world.durable)


# Everything else: the disk, the network, the server, time


def crash(setting: Setting, world: World) -> Iterator[Step]:
    """Forget what is not on disk."""
    if world.crashes < setting.crashes_limit:
        left = replace(hang_up(world), row=world.durable, crashes=world.crashes + 1, is_down=True)
        yield Step("crash", left, is_fault=True)


def recover(setting: Setting, world: World) -> Iterator[Step]:
    """Begin the next run, which first settles what it finds half-way."""
    if not world.is_down:
        return
    world, state = replace(world, is_down=False), world.row.state
    if state not in AFTER_INTERRUPTION:
        yield Step("the next run", world)
        return
    columns = {"is_window_over": False} if state in UNDER_WAY else {}
    yield from change(setting, world, AFTER_INTERRUPTION[state], "the next run settles it", **columns)


def flush(_: Setting, world: World) -> Iterator[Step]:
    """Bring to disk what was not synced, as a system does at a time of its own."""
    if world.durable != world.row:
        yield Step("flush", replace(world, durable=world.row))


def deliver(setting: Setting, world: World) -> Iterator[Step]:
    """Let any request arrive, in any order, or get lost."""
    for request in sorted(set(world.requests)):
        requests = list(world.requests)
        requests.remove(request)
        without = replace(world, requests=tuple(requests))
        yield Step("a request is lost", without, is_fault=True)
        for call, charged in answer(setting, world, request):
            arrived = replace(without, charges=tuple(sorted(world.charges + charged)))
            arrived = replace(arrived, call=call) if request.is_awaited else arrived
            is_refusal = call in (Call.REFUSED, Call.UPLOAD_GONE, Call.NOT_ACCEPTED)
            yield Step(f"a request arrives: {call}", arrived, is_fault=is_refusal)


def answer(setting: Setting, world: World, request: Request) -> Iterator[tuple[Call, tuple[int, ...]]]:
    """Say what the server may answer to a request, and the charge that it makes."""
    yield Call.REFUSED, ()
    yield Call.UPLOAD_GONE, ()
    yield Call.NOT_ACCEPTED, ()
    if setting.server is Server.REFUSES and request.key in world.charges:
        yield Call.REPEATED, ()
    else:
        yield Call.ACCEPTED, (request.key,)


def end_window(setting: Setting, world: World) -> Iterator[Step]:
    """Let the quiet window pass, which outlasts every request whose lateness has a bound."""
    is_running = world.row.state is State.UNKNOWN and not world.row.is_window_over
    if is_running and (setting.is_lateness_unbounded or not world.requests):
        row = replace(world.row, is_window_over=True)
        yield Step("the window ends", replace(world, row=row, durable=row), is_fault=bool(world.requests))


def prove_keys(setting: Setting, world: World) -> Iterator[Step]:
    """Learn from another job what the server does with our keys."""
    if world.deduplication is Deduplication.UNPROVEN:
        yield Step("another job's answer", replace(world, deduplication=reveal(setting)))


#: What the client does while a run is going.
CLIENT: tuple[Rule, ...] = (reserve, begin_send, end_send, inquire, recheck, order, begin_attempt, post)
#: What happens whether a run is going or not.
OTHERS: tuple[Rule, ...] = (recover, flush, deliver, end_window, prove_keys)


# The search


@dataclass(frozen=True, slots=True)
class Exploration:
    """All worlds that can come about in one setting."""

    setting: Setting
    #: What can happen in each world.
    steps: dict[World, tuple[Step, ...]]
    #: The first way found to each world, by its last step; the beginning has none.
    parents: dict[World, tuple[World, Step]]

    @property
    def edges(self) -> set[tuple[State, State]]:
        """The entries of the table that were taken."""
        return {step.edge for steps in self.steps.values() for step in steps if step.edge}

    def trace(self, world: World) -> list[str]:
        """Tell a shortest way to a world."""
        names: list[str] = []
        while world in self.parents:
            world, step = self.parents[world]
            names.append(step.name)
        return names[::-1]

    def find_endless(self) -> list[World]:
        """Find the worlds from which the job may never end although nothing fails any more."""
        forward = {world: {step.world for step in steps if not step.is_fault} for world, steps in self.steps.items()}
        backward: dict[World, list[World]] = {}
        for world, following in forward.items():
            for next_world in following:
                backward.setdefault(next_world, []).append(world)
        ending = {world for world in forward if has_ended(self.setting, world)}
        frontier = list(ending)
        while frontier:
            for world in backward.get(frontier.pop(), []):
                if world not in ending and forward[world] <= ending:
                    ending.add(world)
                    frontier.append(world)
        return [world for world in forward if world not in ending]


def has_ended(setting: Setting, world: World) -> bool:
    """Tell whether the job is accepted or refused, or can neither be sent once more nor be found."""
    can_send = world.sends < setting.sends_limit
    is_bound_reached = not can_send and (world.row.state in UNSENT | TO_SEND or not world.keys_at_server)
    return is_bound_reached or world.row.state in (State.ACCEPTED, State.REFUSED)


def is_charged_twice(world: World) -> bool:
    """Tell whether the one job was paid for more than once."""
    return len(world.charges) > 1


def find_double_charge(setting: Setting) -> list[str]:
    """Find a shortest way to be charged twice; empty when there is none."""
    exploration = explore(setting, is_goal=is_charged_twice)
    return next((exploration.trace(world) for world in exploration.parents if is_charged_twice(world)), [])


def explore(setting: Setting, is_goal: Callable[[World], bool] = lambda _: False) -> Exploration:
    """Visit every world that can come about, nearest first, or all those before a goal."""
    start = World()
    steps: dict[World, tuple[Step, ...]] = {}
    parents: dict[World, tuple[World, Step]] = {}
    frontier, seen = deque([start]), {start}
    while frontier and not is_goal(frontier[0]):
        world = frontier.popleft()
        moves = OTHERS if world.is_down else (*CLIENT, crash, *OTHERS)
        steps[world] = tuple(step for move in moves for step in move(setting, world))
        for step in steps[world]:
            if step.world not in seen:
                seen.add(step.world)
                parents[step.world] = (world, step)
                frontier.append(step.world)
    return Exploration(setting, steps, parents)
