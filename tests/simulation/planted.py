"""Defects to plant into the coordinator, one at a time: the simulation must find each of them.

Owns what each defect changes. Every one patches the code that runs, so when that code has changed and the patch no
longer bites, the test that plants it fails.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from msgspec.structs import replace

from coordinator.adapters.memory.catalog import MemoryCatalog
from coordinator.adapters.memory.projections import MemoryProjections
from coordinator.domain import decide
from coordinator.domain.commands import AdvanceTime, Command, DisconnectParticipant, ReconnectParticipant
from coordinator.domain.deadlines import next_due
from coordinator.domain.events import SYSTEM, ParticipantReconnected
from coordinator.domain.ids import CommitId, SessionId
from coordinator.domain.ledger import GENESIS, Commit, SealedEvent, seal
from coordinator.domain.model import Participant, Session, TimeSlot
from coordinator.domain.state import SessionState
from coordinator.ports.journal import OutcomeUnknownError
from coordinator.services.committer import GroupCommitter
from coordinator.services.following import Following
from coordinator.services.insistence import Insistence
from coordinator.services.projector import Projector
from coordinator.services.recovery import Recovery
from coordinator.services.room import Room
from coordinator.services.settlement import Settlement
from tests.simulation.network import Moment
from tests.simulation.scenario import Fault, Kind, Scenario, SlotPlan
from tests.simulation.verdicts import Invariant


class Plant(NamedTuple):
    """A defect.

    Attributes:
        what: What is wrong.
        patches: What it changes: an object, the name of its attribute, what stands there instead.
        breaks: The invariants that it can break; whichever comes first is found.
        bias: Makes a scenario into one in which it shows sooner.
    """

    what: str
    patches: Sequence[tuple[Any, str, Any]]
    breaks: frozenset[Invariant]
    bias: Callable[[Scenario], Scenario] = lambda scenario: scenario


async def _answer_before_writing(self: GroupCommitter, batches: list[Any]) -> None:
    for batch in batches:
        self._answer(batch)
    await _WRITE(self, batches)


def _take_whatever_comes(self: GroupCommitter, room: Room, commit: Commit) -> bool:
    if commit.seq > room.seq and room.state is not None:
        room.state = replace(room.state, seq=commit.seq - 1)
        self._apply(room, commit)
    return True


async def _write_in_any_order(
    self: MemoryProjections, sessions: Sequence[Session], participants: Sequence[Participant]
) -> None:
    await asyncio.sleep(0)
    for participant in participants:
        self._participants.setdefault(participant.session_id, {})[participant.user_id] = participant
    for session in sessions:
        self._sessions[session.id] = session


def _disconnect_whoever_is_there(decision: Any, state: SessionState, command: DisconnectParticipant) -> None:
    participant = state.participants.get(command.user_id)
    if participant is not None and participant.is_present:
        _DISCONNECT(decision, state, replace(command, connection_id=participant.connection_id))


def _advance_in_any_case(decision: Any, state: SessionState, _command: AdvanceTime) -> None:
    due = next_due(state)
    if due is not None:
        decision.say(SYSTEM, due[1])


async def _append_again(self: GroupCommitter, commits: list[Commit]) -> set[CommitId] | None:
    try:
        return set(await self._journal.append(commits))
    except OutcomeUnknownError:
        pass
    try:
        for commit in commits:
            head = await self._journal.head(commit.session_id)
            last, prev_hash = (0, GENESIS) if head is None else (head.seq, head.hash)
            events = [replace(sealed.event, seq=seq) for seq, sealed in enumerate(commit.events, last + 1)]
            await self._journal.append([seal(CommitId(self._ids.new_id()), events, prev_hash)])
    except OutcomeUnknownError:
        return None
    return set()


def _recent_but_one(self: Room, after: int) -> Sequence[SealedEvent] | None:
    found = _RECENT_AFTER(self, after)
    return None if found is None else found[1:]


async def _settle_without_looking(self: Settlement, slot: TimeSlot, state: SessionState | None) -> None:
    if state is not None:
        await self._record_attendance(slot, state)


def _come_alive(_self: Following, _session_id: SessionId) -> None:
    pass


async def _look_where_nothing_is_heard(self: Following) -> None:
    rooms = {room.session_id: room for room in self._rooms.loaded if room.has_listeners}
    silent = [session_id for session_id in rooms if not self._bus.is_live(session_id)]
    if silent and self._neighbours.has_company:
        stored = await self._projections.seqs(silent)
        self._suspect(session_id for session_id, seq in stored.items() if seq > rooms[session_id].seq)


async def _load_what_is_known(self: Recovery, session_id: SessionId, *, anew: bool = False) -> Room | None:
    return await _LOAD(self, session_id, anew=False)


def _return_in_any_case(decision: Any, state: SessionState, command: ReconnectParticipant) -> None:
    user, connection = command.actor.user_id, command.connection_id
    participant = state.participants.get(user)
    if participant is not None and participant.holds_seat and participant.connection_id != connection:
        decision.say(command.actor, ParticipantReconnected(user_id=user, connection_id=connection))
    else:
        _RECONNECT(decision, state, command)


def _insist_for_ever(self: Insistence, room: Room, command: Command, _is_wanted: Callable[[], bool]) -> None:
    _BEGIN_FIRST(self, room, command, lambda: True)


def _claim_again(self: MemoryCatalog, slot: TimeSlot, session_id: SessionId) -> TimeSlot | None:
    claimed = self._slots[slot.id] = replace(self._slots[slot.id], session_id=session_id, settle_at=slot.end_time)
    return claimed


async def _flush_once(self: Projector) -> None:
    rooms = list(self._dirty.values())
    try:
        await _FLUSH(self)
    except OutcomeUnknownError:
        for room in rooms:
            room.projected_seq = room.seq
        raise


def _cut_off_for_long(scenario: Scenario) -> Scenario:
    cuts = Fault(2.0, Kind.PARTITION, 0, 12.0), Fault(17.0, Kind.PARTITION, 1, 12.0)
    slots = tuple(dataclasses.replace(slot, starts_in=1.0) for slot in scenario.slots)
    return dataclasses.replace(scenario, slots=slots, has_bus=True, restless=0.7, faults=cuts, closes_at=36.0)


def _quiet_with_a_bus_that_comes_and_goes(scenario: Scenario) -> Scenario:
    cuts = [Fault(2.0 + 2.0 * number, Kind.BUS_CUT, number % len(scenario.nodes)) for number in range(10)]
    return dataclasses.replace(
        scenario, has_bus=True, restless=0.05, moderators=2, faults=tuple(cuts), closes_at=max(scenario.closes_at, 30.0)
    )


def _dies_of_letting_people_in(scenario: Scenario) -> Scenario:
    death = Fault(0.1, Kind.CRASH_AT_CALL, 0, 60.0, moment=Moment.AFTER, method="append", call=2 + scenario.seed % 2)
    return dataclasses.replace(
        scenario,
        nodes=tuple(dataclasses.replace(node, starts_at=0.0) for node in scenario.nodes),
        slots=(SlotPlan(starts_in=3.0, seats=2, least=2, booked=2, strangers=0),) * 3,
        has_bus=False,
        restless=0.05,
        fickleness=0.9,
        moderators=2,
        faults=(death,),
        closes_at=25.0,
    )


_A_STATE_OF_ITS_OWN = frozenset(
    {
        Invariant.VIEWS,
        Invariant.SNAPSHOTS,
        Invariant.DOCUMENTS,
        Invariant.CHAIN,
        Invariant.SEATS,
        Invariant.TRANSITIONS,
        Invariant.DEADLINES,
    }
)
"""What can break where a node takes something else for the session than the journal has."""
_RECONNECT = decide._HANDLERS[ReconnectParticipant]
_BEGIN_FIRST = Insistence.begin_first
_WRITE = GroupCommitter._write
_DISCONNECT = decide._HANDLERS[DisconnectParticipant]
_RECENT_AFTER = Room.recent_after
_LOAD = Recovery._load
_FLUSH = Projector.flush

PLANTS: Mapping[str, Plant] = {
    "ack-before-durable": Plant(
        "commands are answered before their events are written",
        [(GroupCommitter, "_write", _answer_before_writing)],
        frozenset({Invariant.ACKS}),
    ),
    "gap-on-the-bus": Plant(
        "what comes over the bus is applied, whether or not it is the next commit",
        [(GroupCommitter, "take", _take_whatever_comes)],
        _A_STATE_OF_ITS_OWN,
    ),
    "late-document": Plant(
        "a document is written, whether or not it is newer than the stored one",
        [(MemoryProjections, "write", _write_in_any_order)],
        frozenset({Invariant.DOCUMENTS}),
    ),
    "late-disconnect": Plant(
        "a connection that is gone takes the seat with it, whoever holds it by then",
        [(decide, "_HANDLERS", {**decide._HANDLERS, DisconnectParticipant: _disconnect_whoever_is_there})],
        frozenset({Invariant.SEATED, Invariant.TRANSITIONS}),
    ),
    "early-deadline": Plant(
        "a timer that goes off brings the next deadline about, whether or not it has come",
        [(decide, "_HANDLERS", {**decide._HANDLERS, AdvanceTime: _advance_in_any_case})],
        frozenset({Invariant.DEADLINES}),
    ),
    "blind-retry": Plant(
        "an append of unknown outcome is made again after whatever is there, without looking",
        [(GroupCommitter, "_append", _append_again)],
        frozenset({Invariant.CLOCK, Invariant.TRANSITIONS, Invariant.DEADLINES, Invariant.CHAIN, Invariant.FINALITY}),
    ),
    "resume-off-by-one": Plant(
        "who resumes is not given the first event after its last",
        [(Room, "recent_after", _recent_but_one)],
        frozenset({Invariant.VIEWS}),
    ),
    "early-attendance": Plant(
        "attendance is recorded without looking whether the session has ended",
        [(Settlement, "_settle_active", _settle_without_looking)],
        frozenset({Invariant.ATTENDANCE, Invariant.REGISTERED}),
    ),
    "deaf-subscription": Plant(
        "a subscription that comes to life is taken for one that has missed nothing",
        [(Following, "live", _come_alive), (Following, "look", _look_where_nothing_is_heard)],
        frozenset({Invariant.CAUGHT_UP}),
        _quiet_with_a_bus_that_comes_and_goes,
    ),
    "stale-release": Plant(
        "the participants of a dead node are let go as they are known, without reading the journal",
        [(Recovery, "_load", _load_what_is_known)],
        frozenset({Invariant.GHOSTS}),
        _dies_of_letting_people_in,
    ),
    "late-return": Plant(
        "a connection that was taken for lost takes the seat back, whoever holds it, though it be gone by then",
        [
            (decide, "_HANDLERS", {**decide._HANDLERS, ReconnectParticipant: _return_in_any_case}),
            (Insistence, "begin_first", _insist_for_ever),
        ],
        frozenset({Invariant.GHOSTS, Invariant.SEATED, Invariant.TRANSITIONS}),
        _cut_off_for_long,
    ),
    "claimed-twice": Plant(
        "a slot is given a session, whether or not it has one",
        [(MemoryCatalog, "_claim", _claim_again)],
        frozenset({Invariant.ONE_SESSION}),
    ),
    "forgotten-document": Plant(
        "documents that could not be written count as written",
        [(Projector, "flush", _flush_once)],
        # Deadlines that nobody has in memory are found by the documents.
        frozenset({Invariant.DOCUMENTS, Invariant.DEADLINES}),
    ),
}
"""The defects, by name."""


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Let a defect be there meanwhile; None: none."""
    with ExitStack() as patches:
        for target, attribute, instead in PLANTS[name].patches if name is not None else ():
            patches.enter_context(patch.object(target, attribute, instead))
        yield
