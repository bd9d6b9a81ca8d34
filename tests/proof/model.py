"""A model of how one job is sent and paid for: every order of sends, crashes and late requests, breadth first.

The client takes no change of state but the entries of a table, which is the program's own unless a test gives another
one. The model adds when each entry is taken (`RULES`), what a crash forgets, what the network may do with a request,
and what servers may do with an id that they have seen. What a person decides is left out, but for a new attempt at a
rejected job; so are downloads: the model ends where the job is accepted, rejected or held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count
from typing import Any

from hedra_batch.decide import is_surely_unsent
from hedra_batch.ledger.ledger import IdsVerdict
from hedra_batch.state import ENDED_BADLY, TRANSITIONS, UNSENT, State

Table = Mapping[State, frozenset[State]]

#: Commits that say what will be sent, as against those that say what became of it.
BEFORE_SEND = UNSENT | {State.SENDING}


class Server(StrEnum):
    """What a server does with a second request that bears the same id."""

    REFUSES = "refuses repeats"
    BILLS = "bills repeats"
    IGNORES = "ignores ids"


class Call(StrEnum):
    """How the client's one request stands; a crash forgets it."""

    NONE = "none"
    #: SUBMITTING is written, and no byte is out.
    DUE = "due"
    WAITING = "waiting"
    #: The answer is here and not yet written down: 200.
    ACCEPTED = "accepted"
    #: 409: the server has this id already.
    REPEATED = "repeated"
    #: 400, 404, 422, moderation.
    REFUSED = "refused"
    #: 401, 402, 403, 429, or the connection was never made.
    NOT_ACCEPTED = "not accepted"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the client does about an unknown outcome; the defaults are the program's."""

    #: Whether a lost request is sent again; held otherwise.
    should_resend: bool = True
    #: What a resend waits for: an absence that was read, the end of the quiet window, the proof that ids are honoured.
    should_read: bool = True
    should_wait: bool = True
    should_prove: bool = True
    #: Whether a lost request is given up for a new attempt.
    should_take_new_id: bool = False
    #: Whether the refusal of a later send clears an earlier one whose outcome is unknown.
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
    #: Whether an attempt has the same id each time that it is reserved; otherwise the id is drawn by lot.
    has_derived_ids: bool = True
    #: Whether a person may have a rejected job tried anew.
    is_retried: bool = True
    table: Table = field(default_factory=lambda: TRANSITIONS, hash=False)
    sends_limit: int = 3
    crashes_limit: int = 2


@dataclass(frozen=True, slots=True)
class Row:
    """What the ledger says of the job's latest attempt."""

    state: State = State.NEW
    attempt: int = 1
    #: 0 while none is reserved.
    generation_id: int = 0
    has_lost_send: bool = False
    is_window_over: bool = False
    #: Held only until it is known whether the server uses our ids.
    is_unproven: bool = False

    @property
    def is_surely_unsent(self) -> bool:
        """Whether the program takes this for an attempt that the server cannot have."""
        return is_surely_unsent(self.state, int(self.has_lost_send))


@dataclass(frozen=True, slots=True, order=True)
class Request:
    """A POST that has left the client and has not reached the server."""

    generation_id: int
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
    #: The id of each charge: the one that the request bore, whatever id the server gave.
    charges: tuple[int, ...] = ()
    ids_verdict: IdsVerdict = "unproven"
    sends: int = 0
    crashes: int = 0

    @property
    def ids_at_server(self) -> frozenset[int]:
        """The ids that the server was paid for, or may yet be."""
        return frozenset(self.charges) | {request.generation_id for request in self.requests}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that can happen, and the world after it."""

    name: str
    world: World
    #: Whether it is a mishap, without which every job should end.
    is_fault: bool = False
    #: The entry of the table that the client took, if it did.
    edge: tuple[State, State] | None = None


# The client


Rule = Callable[[Setting, World], Iterator[Step]]


def reserve(setting: Setting, world: World) -> Iterator[Step]:
    """Take an id."""
    taken = world.ids_at_server | {world.durable.generation_id}
    drawn = next(number for number in count(1) if number not in taken)
    generation_id = world.row.attempt if setting.has_derived_ids else drawn
    yield Step("reserve", change_row(world, generation_id=generation_id))


def release(_: Setting, world: World) -> Iterator[Step]:
    """Make the body again."""
    if world.row.is_surely_unsent:
        yield Step("the image is gone, or the run began anew", world, is_fault=True)


def begin_send(setting: Setting, world: World) -> Iterator[Step]:
    """Write that a request will be under way."""
    if world.sends < setting.sends_limit:
        yield Step("begin to send", replace(world, call=Call.DUE, sends=world.sends + 1))


def accept(setting: Setting, world: World) -> Iterator[Step]:
    """Write that the server has it."""
    if world.call is Call.ACCEPTED:
        yield Step("answer 200", replace(hang_up(world), ids_verdict=reveal(setting)))


def reject(setting: Setting, world: World) -> Iterator[Step]:
    """Write that the server refused it for good."""
    if world.call is Call.REFUSED and can_trust_refusal(setting, world):
        yield Step("answer 422", hang_up(world))


def return_to_reserved(setting: Setting, world: World) -> Iterator[Step]:
    """Write that the server surely does not have it."""
    if world.call is Call.NOT_ACCEPTED and can_trust_refusal(setting, world):
        yield Step("answer 429", hang_up(world))
    if world.call is Call.DUE:
        yield Step("stopped before the send", hang_up(world), is_fault=True)


def mark_unknown(setting: Setting, world: World) -> Iterator[Step]:
    """Write that only reading can tell; the quiet window begins."""
    lost = change_row(hang_up(world), has_lost_send=True, is_window_over=False)
    if world.call is Call.NONE:
        yield Step("found at the start of a run", lost)
    elif world.call is Call.WAITING:
        yield Step("no answer", lost, is_fault=any(request.is_awaited for request in world.requests))
    elif world.call is not Call.DUE:
        yield Step("the answer is lost", lost, is_fault=True)
    if world.call is Call.REPEATED:
        yield Step("answer 409", replace(lost, ids_verdict=reveal(setting)))
    if world.call in (Call.REFUSED, Call.NOT_ACCEPTED) and not can_trust_refusal(setting, world):
        yield Step("refused after a lost send", lost)


def find(setting: Setting, world: World) -> Iterator[Step]:
    """Read it at the server."""
    if world.row.generation_id in world.charges:
        yield Step("found at the server", replace(world, ids_verdict=reveal(setting)))


def resend(setting: Setting, world: World) -> Iterator[Step]:
    """Send the same id again."""
    if can_resend(setting, world):
        yield Step("to be sent again", world)


def hold(setting: Setting, world: World) -> Iterator[Step]:
    """Leave it to a person, or until it is found or the server's use of ids is known."""
    if world.row.is_window_over and can_be_absent(setting, world) and not can_resend(setting, world):
        yield Step("hold", change_row(world, is_unproven=world.ids_verdict == "unproven"))


def reopen(_: Setting, world: World) -> Iterator[Step]:
    """Go on, now that the server is known to use our ids."""
    if world.row.is_unproven and world.ids_verdict == "honoured":
        yield Step("its question is answered", change_row(world, is_unproven=False))


#: When the client takes an entry of the table. The others are a person's, or belong to an upload or a download.
RULES: dict[tuple[State, State], Rule] = {
    (State.NEW, State.RESERVED): reserve,
    (State.RESERVED, State.NEW): release,
    (State.RESERVED, State.SENDING): begin_send,
    (State.SENDING, State.ACCEPTED): accept,
    (State.SENDING, State.REFUSED): reject,
    (State.SENDING, State.RESERVED): return_to_reserved,
    (State.SENDING, State.UNKNOWN): mark_unknown,
    (State.UNKNOWN, State.ACCEPTED): find,
    (State.UNKNOWN, State.RESERVED): resend,
    (State.UNKNOWN, State.HELD): hold,
    (State.HELD, State.ACCEPTED): find,
    (State.HELD, State.UNKNOWN): reopen,
}


def change_state(setting: Setting, world: World) -> Iterator[Step]:
    """Take each entry of the table whose rule holds."""
    source = world.row.state
    for target in sorted(setting.table.get(source, ())):
        rule = RULES.get((source, target))
        for step in rule(setting, world) if rule else ():
            row = replace(step.world.row, state=target)
            yield replace(step, world=write(setting, step.world, row), edge=(source, target))


def begin_attempt(setting: Setting, world: World) -> Iterator[Step]:
    """Record a further attempt: once the last one has ended, or as soon as its outcome is unknown."""
    is_retried = setting.is_retried and world.row.state in ENDED_BADLY
    if is_retried or (setting.policy.should_take_new_id and world.row.state is State.UNKNOWN):
        yield Step("a new attempt", write(setting, world, Row(attempt=world.row.attempt + 1)))


def post(_: Setting, world: World) -> Iterator[Step]:
    """Let the request out, or fail to connect."""
    if world.call is Call.DUE:
        requests = (*world.requests, Request(world.row.generation_id, is_awaited=True))
        yield Step("POST", replace(world, call=Call.WAITING, requests=tuple(sorted(requests))))
        yield Step("no connection", replace(world, call=Call.NOT_ACCEPTED), is_fault=True)


def can_trust_refusal(setting: Setting, world: World) -> bool:
    """Tell whether a refusal says that the server does not have it."""
    return setting.policy.should_trust_refusals or not world.row.has_lost_send


def can_resend(setting: Setting, world: World) -> bool:
    """Tell whether the policy lets the same id be sent again now."""
    policy = setting.policy
    is_proven = world.ids_verdict == "honoured" or not policy.should_prove
    is_absent = can_be_absent(setting, world) or not policy.should_read
    is_in_time = world.row.is_window_over or not policy.should_wait
    return policy.should_resend and is_proven and is_absent and is_in_time and world.sends < setting.sends_limit


def can_be_absent(setting: Setting, world: World) -> bool:
    """Tell whether reading can find nothing: a server that ignores ids may have the generation under another one."""
    return world.row.generation_id not in world.charges or setting.server is Server.IGNORES


def reveal(setting: Setting) -> IdsVerdict:
    """Say what an answer proves about the server's use of our ids."""
    return "ignored" if setting.server is Server.IGNORES else "honoured"


def change_row(world: World, **columns: Any) -> World:
    """Change what the client will write next."""
    return replace(world, row=replace(world.row, **columns))


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
    """Forget what is not on disk; the next run begins at once."""
    if world.crashes < setting.crashes_limit:
        crashed = replace(hang_up(world), row=world.durable, crashes=world.crashes + 1)
        yield Step("crash", crashed, is_fault=True)


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
            is_refusal = call in (Call.REFUSED, Call.NOT_ACCEPTED)
            yield Step(f"a request arrives: {call}", arrived, is_fault=is_refusal)


def answer(setting: Setting, world: World, request: Request) -> Iterator[tuple[Call, tuple[int, ...]]]:
    """Say what the server may answer to a request, and the charge that it makes."""
    yield Call.REFUSED, ()
    yield Call.NOT_ACCEPTED, ()
    if setting.server is Server.REFUSES and request.generation_id in world.charges:
        yield Call.REPEATED, ()
    else:
        yield Call.ACCEPTED, (request.generation_id,)


def end_window(setting: Setting, world: World) -> Iterator[Step]:
    """Let the quiet window pass, which outlasts every request whose lateness has a bound."""
    is_running = world.row.state is State.UNKNOWN and not world.row.is_window_over
    if is_running and (setting.is_lateness_unbounded or not world.requests):
        row = replace(world.row, is_window_over=True)
        yield Step("the window ends", replace(world, row=row, durable=row), is_fault=bool(world.requests))


def prove_ids(setting: Setting, world: World) -> Iterator[Step]:
    """Learn from another job what the server does with our ids."""
    if world.ids_verdict == "unproven":
        yield Step("another job's answer", replace(world, ids_verdict=reveal(setting)))


MOVES: tuple[Rule, ...] = (change_state, begin_attempt, post, crash, flush, deliver, end_window, prove_ids)


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
    """Tell whether the job is accepted or rejected, or can neither be sent once more nor be found."""
    is_bound_reached = world.sends == setting.sends_limit and (world.row.state in UNSENT or not world.ids_at_server)
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
        steps[world] = tuple(step for move in MOVES for step in move(setting, world))
        for step in steps[world]:
            if step.world not in seen:
                seen.add(step.world)
                parents[step.world] = (world, step)
                frontier.append(step.world)
    return Exploration(setting, steps, parents)
