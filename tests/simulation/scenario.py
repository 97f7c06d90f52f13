"""What is to happen in one story, drawn from its seed: the nodes, the slots, the people, and what goes wrong when.

Owns the draw; must not know how any of it is brought about. The same seed always gives the same scenario.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from tests.simulation.network import Moment

RECONNECT_GRACE_SECONDS = 5.0
EMPTY_TIMEOUT_SECONDS = 8.0
NODE_TIMEOUT_SECONDS = 6.0
LOBBY_MINUTES = 10.0
SLOT_MINUTES = 15
MOST_SKEW_SECONDS = 0.3
_MOST_DRIFT = 0.001


class Kind(StrEnum):
    """What can go wrong."""

    CRASH = "crash"
    """A process dies at an instant, and another is started in its place."""
    CRASH_AT_CALL = "crash at a call"
    """A process dies just before or just after one of its calls to a store, and another is started in its place."""
    STOP = "planned stop"
    """A process is told to stop, does so in its own way, and another is started in its place."""
    PAUSE = "pause"
    """A process stands still for a while."""
    PARTITION = "partition"
    """A node cannot reach the stores for a while."""
    OUTAGE = "store outage"
    """Nobody can reach the stores for a while."""
    MISHAPS = "mishaps"
    """For a while, calls to the stores get lost, are not answered, or arrive late."""
    STORM = "latency storm"
    """For a while, calls to the stores take long."""
    BUS_DOWN = "bus down"
    """There is no bus for a while."""
    BUS_FLAKY = "flaky bus"
    """For a while, messages on the bus get lost, come twice, or are overtaken."""
    BUS_CUT = "bus cut"
    """A node loses its connection to the bus, and comes back."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        at: When it begins, in seconds.
        kind: What.
        node: Which node, where it concerns one.
        seconds: How long it lasts; of a crash or a stop, how long until another process is started.
        measure: How bad it is: the average latency in seconds, or the share of calls or messages.
        moment: Of a crash at a call, when.
        method: Of a crash at a call, which calls count; empty: all.
        call: Of a crash at a call, which of those that count, from then on.
    """

    at: float
    kind: Kind
    node: int = 0
    seconds: float = 0.0
    measure: float = 0.0
    moment: Moment = Moment.BEFORE
    method: str = ""
    call: int = 0


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """A slot.

    Attributes:
        starts_in: When it starts, in seconds from the beginning of the story; may lie before.
        seats: Its seats.
        least: Present participants needed to start.
        booked: How many users have booked it.
        strangers: How many users try to join who have not.
    """

    starts_in: float
    seats: int
    least: int
    booked: int
    strangers: int


@dataclass(frozen=True, slots=True)
class NodePlan:
    """A node: how wrong its clock is, and when it is started first."""

    ahead_seconds: float
    drift: float
    starts_at: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story.

    Attributes:
        seed: What it was drawn from.
        nodes: The nodes.
        slots: The slots.
        moderators: How many watch.
        restless: How much each participant does, in actions per second.
        fickleness: The share of those whose connection is gone who do not come back.
        replay_limit: Missed events up to which they are replayed instead of a snapshot.
        no_show_minutes: How long after its start a session waits for enough participants.
        has_bus: Whether there is a bus at all.
        faults: What goes wrong.
        closes_at: When everybody goes home; by then nothing is wrong any more.
    """

    seed: int
    nodes: tuple[NodePlan, ...]
    slots: tuple[SlotPlan, ...]
    moderators: int
    restless: float
    fickleness: float
    replay_limit: int
    no_show_minutes: float
    has_bus: bool
    faults: tuple[Fault, ...] = field(default_factory=tuple)
    closes_at: float = 40.0


def draw(seed: int) -> Scenario:
    """Draw the scenario of a seed."""
    random = Random(f"scenario {seed}")
    nodes = tuple(_node(random, number) for number in range(random.choice((2, 2, 3))))
    ends_at = random.uniform(15.0, 30.0)
    faults = [_fault(random, ends_at, len(nodes)) for _ in range(random.randint(1, 6))]
    return Scenario(
        seed=seed,
        nodes=nodes,
        slots=tuple(_slot(random, ends_at) for _ in range(random.choice((1, 1, 1, 2, 2, 3)))),
        moderators=random.choice((0, 1, 1, 2)),
        restless=random.choice((0.1, 0.3, 0.7, 1.5)),
        fickleness=random.choice((0.0, 0.02, 0.1)),
        replay_limit=random.choice((3, 20, 500)),
        no_show_minutes=SLOT_MINUTES - random.choice((0.0, 3.0, 6.0)) / 60,
        has_bus=random.random() < 0.8,
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
        closes_at=max([ends_at, *(fault.at + fault.seconds for fault in faults)]) + random.uniform(1.0, 4.0),
    )


def _node(random: Random, number: int) -> NodePlan:
    return NodePlan(
        ahead_seconds=random.uniform(-MOST_SKEW_SECONDS, MOST_SKEW_SECONDS),
        drift=random.uniform(-_MOST_DRIFT, _MOST_DRIFT),
        starts_at=random.random() if number else 0.0,
    )


def _slot(random: Random, ends_at: float) -> SlotPlan:
    seats = random.randint(2, 4)
    length = SLOT_MINUTES * 60.0
    is_ending = random.random() < 0.6  # within the story; others are young, and end for other reasons
    return SlotPlan(
        starts_in=random.uniform(8.0, ends_at + 3.0) - length if is_ending else random.uniform(-2.0, 8.0),
        seats=seats,
        least=random.randint(1, 2),
        booked=seats + random.choice((0, 1, 1)),
        strangers=random.choice((0, 0, 0, 1)),
    )


def _fault(random: Random, ends_at: float, nodes: int) -> Fault:
    kind = random.choices(_KINDS, _WEIGHTS)[0]
    at, node = random.uniform(0.0, ends_at), random.randrange(nodes)
    match kind:
        case Kind.CRASH | Kind.STOP:
            return Fault(at, kind, node, seconds=random.choice((0.1, 1.0, 4.0, 9.0)))
        case Kind.CRASH_AT_CALL:
            seconds, moment = random.choice((0.1, 1.0, 4.0)), random.choice((Moment.BEFORE, Moment.AFTER))
            method, calls = random.choice((("", 40), ("append", 8), ("write", 8), ("settle", 2), ("forget", 1)))
            return Fault(at, kind, node, seconds, moment=moment, method=method, call=random.randint(1, calls))
        case Kind.PAUSE | Kind.PARTITION:
            return Fault(at, kind, node, seconds=random.choice((0.5, 2.0, 5.0, 7.0, 12.0)) * random.uniform(0.7, 1.3))
        case Kind.OUTAGE:
            return Fault(at, kind, seconds=random.uniform(0.3, 8.0))
        case Kind.MISHAPS:
            return Fault(at, kind, seconds=random.uniform(3.0, 15.0), measure=random.choice((0.02, 0.05, 0.15)))
        case Kind.STORM:
            return Fault(at, kind, seconds=random.uniform(2.0, 10.0), measure=random.choice((0.05, 0.15, 0.4)))
        case Kind.BUS_DOWN:
            return Fault(at, kind, seconds=random.uniform(0.5, 8.0))
        case Kind.BUS_FLAKY:
            return Fault(at, kind, seconds=random.uniform(3.0, 15.0), measure=random.choice((0.05, 0.2, 0.6)))
        case Kind.BUS_CUT:
            return Fault(at, kind, node)


_KIND_WEIGHTS = {
    Kind.CRASH: 3,
    Kind.CRASH_AT_CALL: 5,
    Kind.STOP: 2,
    Kind.PAUSE: 3,
    Kind.PARTITION: 3,
    Kind.OUTAGE: 1,
    Kind.MISHAPS: 3,
    Kind.STORM: 2,
    Kind.BUS_DOWN: 1,
    Kind.BUS_FLAKY: 3,
    Kind.BUS_CUT: 1,
}
_KINDS, _WEIGHTS = list(_KIND_WEIGHTS), list(_KIND_WEIGHTS.values())
