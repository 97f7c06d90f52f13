"""Coordinators without transports: any number of nodes over one database in memory, on a clock that stands still.

    node = world.node("a0")
    session = await world.open_session(node, [ANNA, BEN])
    anna = node.client(ANNA, session)
    await anna.join()

A `Client` checks by itself what every subscriber is promised: after its view, each event once and in order.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from msgspec.structs import replace

from coordinator.adapters.memory.bus import MemoryBus
from coordinator.adapters.memory.clock import ManualClock, settle
from coordinator.adapters.memory.ids import SequentialIds
from coordinator.adapters.memory.journal import MemoryJournal
from coordinator.adapters.no_bus import NoBus
from coordinator.domain.commands import Command
from coordinator.domain.events import Event
from coordinator.domain.evolve import fold
from coordinator.domain.ids import NodeId, SessionId, SlotId, UserId, connection_id
from coordinator.domain.ledger import SealedEvent, find_flaws
from coordinator.domain.model import Language, Level, Registration, RegistrationStatus, TimeSlot
from coordinator.domain.slots import later_version
from coordinator.domain.state import SessionState
from coordinator.ports.audience import Subscriber
from coordinator.ports.bookings import RegistrationQuery
from coordinator.ports.bus import Bus
from coordinator.ports.catalog import Catalog, Claim
from coordinator.services.background import BackgroundTasks, every
from coordinator.services.booking import Booking
from coordinator.services.catching_up import Snapshot, snapshot_of
from coordinator.services.consents import Consents
from coordinator.services.following import Following
from coordinator.services.moderation import Moderation
from coordinator.services.neighbours import BEATS_PER_TIMEOUT, LOOKS_PER_TIMEOUT, Neighbours
from coordinator.services.openings import Openings, SessionRules
from coordinator.services.overview import Overview
from coordinator.services.participation import Participation
from coordinator.services.projector import Projector
from coordinator.services.reader import Reader
from coordinator.services.recordings import Recordings
from coordinator.services.recovery import Recovery
from coordinator.services.room import Room
from coordinator.services.rooms import Rooms
from coordinator.services.settlement import Settlement
from coordinator.services.verifier import Verifier
from coordinator.services.watching import Watching
from tests.domain.story import LOBBY, MODERATOR, START
from tests.services.clients import Client
from tests.services.faults import (
    Course,
    Line,
    ShakyBookings,
    ShakyCatalog,
    ShakyExchange,
    ShakyLiveness,
    ShakyProjections,
    Watched,
)
from tests.services.watchers import Watcher

RULES = SessionRules(lobby_minutes=10, no_show_minutes=10, empty_timeout_seconds=60, reconnect_grace_seconds=30)
NODE_TIMEOUT_SECONDS = 15
WATCHED_SESSIONS = 3
ALLOWED_HOSTS = ["r2.cloudflarestorage.com", "recordings.example"]
TICK_SECONDS = 1.0
PATIENCE_SECONDS = 5
"""Real time after which a test gives up; nothing here takes longer than the event loop needs."""

T = TypeVar("T")


async def soon(work: Awaitable[T]) -> T:
    """Wait for something that needs no time on the clock."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await work


class Megaphone:
    """A `Publisher`. A test may make it fail."""

    def __init__(self) -> None:
        self.defect: Exception | None = None

    def publish(self, subscribers: Iterable[Subscriber], events: Sequence[SealedEvent]) -> None:
        if self.defect is not None:
            raise self.defect
        for subscriber in subscribers:
            assert isinstance(subscriber, Client | Watcher)
            subscriber.tell(events)

    def announce(self, subscribers: Iterable[Subscriber], name: str, payload: Mapping[str, Any]) -> None:
        for subscriber in subscribers:
            subscriber.notify(name, payload)


class Node:
    """The services of one process."""

    def __init__(
        self,
        world: "World",
        name: str,
        *,
        max_pending: int = 1000,
        require_registration: bool = True,
        replay_limit: int = 500,
        rules: SessionRules = RULES,
        on_bus: bool = False,
    ) -> None:
        self.id = NodeId(name)
        self.course = Course()
        self.line = Line(world.journal)
        journal: Any = Watched(self.line, self.course)
        catalog: Any = Watched(world.catalog, self.course)
        bookings: Any = Watched(world.bookings, self.course)
        self.catalog: Catalog = catalog
        self.megaphone = Megaphone()
        self.ids = SequentialIds(name)
        self.errands = BackgroundTasks()
        self._loops = BackgroundTasks()
        self._connections = 0
        self.clock = clock = world.clock
        self.projector = Projector(world.projections, clock)
        self.rooms = Rooms(journal, clock, self.ids, self.projector, self.megaphone, self.errands, max_pending)
        self.bus: Bus = MemoryBus(world.exchange) if on_bus else NoBus()
        self.neighbours = Neighbours(self.id, world.liveness, clock, NODE_TIMEOUT_SECONDS)
        self.following = Following(self.rooms, self.bus, world.projections, self.neighbours, clock)
        self.settlement = Settlement(catalog, bookings, self.rooms, clock, self.errands)
        self.rooms.on_ended(self.settlement.session_ended)
        self.participation = Participation(
            self.rooms,
            self.following,
            journal,
            bookings,
            clock,
            require_registration=require_registration,
            replay_limit=replay_limit,
        )
        self.openings = Openings(catalog, bookings, self.rooms, clock, self.ids, rules, self.settlement)
        self.recovery = Recovery(self.neighbours, self.rooms, world.projections, self.following, clock, self.settlement)
        self.reader = Reader(self.rooms, journal, world.projections, bookings, lambda: self.neighbours.has_company)
        self.consents = Consents(self.rooms, journal, world.projections, clock)
        self.booking = Booking(catalog, bookings, self.reader, clock, self.ids)
        self.moderation = Moderation(self.rooms)
        self.watching = Watching(self.rooms, journal, clock, replay_limit=replay_limit, most_sessions=WATCHED_SESSIONS)
        self.overview = Overview(self.rooms, world.projections, self.megaphone, clock, self.errands)
        self.recordings = Recordings(self.rooms, self.reader, ALLOWED_HOSTS)
        self._loops.start(self.rooms.write(), f"group commit of {name}")
        self._loops.start(self.projector.run(), f"projections of {name}")
        if on_bus:
            self._loops.start(self.following.listen(), f"bus of {name}")
        self._loops.start(self.following.catch_up(), f"catching up of {name}")

    def client(self, user: UserId, session: SessionId) -> Client:
        """A new connection of a user."""
        self._connections += 1
        return Client(self, user, session, connection_id(self.id, self._connections))

    def watcher(self, user: UserId = MODERATOR.user_id) -> Watcher:
        """A new connection of a moderator."""
        self._connections += 1
        return Watcher(self, connection_id(self.id, self._connections), user)

    async def joined(self, session: SessionId, *users: UserId) -> list[Client]:
        """New connections of these users, each with a seat."""
        clients = [self.client(user, session) for user in users]
        for client in clients:
            await soon(client.join())
        return clients

    async def room(self, session: SessionId) -> Room:
        return await soon(self.rooms.room(session))

    async def submit(self, session: SessionId, command: Command) -> asyncio.Future[int]:
        """Submit a command; its answer may come later."""
        return self.rooms.submit(await self.room(session), command)

    async def do(self, session: SessionId, *commands: Command) -> int:
        """Submit commands and wait for their answers; return the last."""
        room = await self.room(session)
        return (await soon(asyncio.gather(*(self.rooms.submit(room, command) for command in commands))))[-1]

    def tick(self, seconds: float = TICK_SECONDS) -> None:
        """Do by itself what a running coordinator does every second."""
        for work in (
            self.openings.open_due,
            self.recovery.sweep,
            self.settlement.settle_due,
            self.overview.look,
            self.following.look,
        ):
            self.errands.start(every(self.clock, seconds, work, work.__name__), work.__name__)

    def beat(self) -> None:
        """Show by itself that it is alive, and look whether others are, as a running coordinator does."""
        for number, work in (
            (BEATS_PER_TIMEOUT, self.recovery.beat),
            (LOOKS_PER_TIMEOUT, self.recovery.look),
        ):
            self.errands.start(every(self.clock, NODE_TIMEOUT_SECONDS / number, work, work.__name__), work.__name__)

    async def take_up(self, seconds: float = TICK_SECONDS) -> None:
        """Start as a process does that others have died before."""
        await self.recovery.start()
        await self.openings.open_missed()
        await self.recovery.go_on()
        await self.settlement.settle_missed()
        self.tick(seconds)

    async def crash(self) -> None:
        """Stop at once, as a killed process does: nobody is told anything."""
        await self.errands.stop()
        await self._loops.stop()
        for room in self.rooms.loaded:
            room.cancel_timers()


class World:
    """One database, one clock, and the nodes that share them. It begins when the lobby of a slot at `START` opens."""

    def __init__(self, logs: Sequence[Mapping[str, Any]]) -> None:
        self.logs = logs
        self.clock = ManualClock(START + LOBBY)
        self.journal = MemoryJournal()
        self.exchange = ShakyExchange()
        self.catalog = ShakyCatalog()
        self.bookings = ShakyBookings()
        self.projections = ShakyProjections()
        self.liveness = ShakyLiveness()
        self.verifier = Verifier(self.journal, self.projections, self.clock)
        self.nodes: list[Node] = []
        self.tolerated: set[str] = set()
        """Log events of defects that the test brings about."""
        self._ids = SequentialIds("5107")

    def node(self, name: str, **settings: Any) -> Node:
        """Start another node."""
        self.nodes.append(Node(self, name, **settings))
        return self.nodes[-1]

    async def slot(self, users: Iterable[UserId] = (), *, start: datetime = START, **fields: Any) -> SlotId:
        """Offer a slot of half an hour, booked by these users."""
        slot = TimeSlot(
            id=SlotId(self._ids.new_id()),
            target_language_code=Language.FRENCH,
            level=Level.B1,
            start_time=start,
            duration_minutes=30,
            is_active=True,
            created_at=self.clock.now(),
            updated_at=self.clock.now(),
        )
        await self.catalog.add_slot(replace(slot, **fields))
        for user in users:
            await self.register(slot.id, user)
        return slot.id

    async def register(
        self, slot: SlotId, user: UserId, status: RegistrationStatus = RegistrationStatus.REGISTERED
    ) -> None:
        registration = Registration(
            id=self._ids.new_id(), time_slot_id=slot, user_id=user, status=status, registered_at=self.clock.now()
        )
        await self.bookings.add(registration)

    async def deactivate(self, slot: SlotId, node: Node | None = None) -> None:
        """Withdraw a slot, durably; what follows from it is still to be settled."""
        catalog = self.catalog if node is None else node.catalog
        found = await catalog.slot(slot)
        assert found is not None
        now = self.clock.now()
        withdrawn = replace(found, is_active=False, updated_at=later_version(found.updated_at, now), settle_at=now)
        if found.is_active:
            assert await catalog.change_slot(withdrawn, found.updated_at, unopened=False)

    async def claim(self, slot: SlotId, session: SessionId) -> None:
        """Name the session of a slot, as the first step of opening it."""
        (claimed,) = await self.catalog.claim_sessions([Claim(await self.found(slot), session)])
        assert claimed.session_id == session

    async def found(self, slot: SlotId) -> TimeSlot:
        """The slot as it is stored."""
        found = await self.catalog.slot(slot)
        assert found is not None
        return found

    async def statuses(self, slot: SlotId) -> dict[UserId, str]:
        """What has become of the slot's registrations."""
        page = await self.bookings.page(RegistrationQuery(slot_id=slot, limit=1000))
        return {registration.user_id: str(registration.status) for registration in page}

    async def open_session(self, node: Node, users: Iterable[UserId], **fields: Any) -> SessionId:
        """Open the session of a new slot that these users have booked."""
        slot = await self.slot(users, **fields)
        await soon(node.openings.open_due())
        session = await self.session_of(slot)
        assert session is not None
        return session

    async def session_of(self, slot: SlotId) -> SessionId | None:
        return (await self.found(slot)).session_id

    async def log(self, session: SessionId) -> list[Event]:
        """The session's events, after the proof that its journal is dense and chained."""
        stored = await self.journal.stored(session)
        assert find_flaws(session, stored) == []
        return [sealed.event for commit in await self.journal.read(session) for sealed in commit.events]

    async def kinds(self, session: SessionId) -> list[str]:
        """The session's events by name, after the same proof."""
        return [event.body.kind for event in await self.log(session)]

    async def state(self, session: SessionId) -> SessionState:
        """The session's state as the journal tells it."""
        state = fold(await self.log(session))
        assert state is not None
        return state

    async def expected_documents(self, session: SessionId) -> Snapshot:
        """What the projections must hold in the end."""
        return snapshot_of(await self.state(session))

    async def documents(self, session: SessionId) -> Snapshot:
        """What the projections hold."""
        found = await self.projections.session(session)
        assert found is not None
        return Snapshot(session=found, participants=list(await self.projections.participants(session)))

    async def at(self, since_start: timedelta) -> None:
        """Move time forward to an instant, counted from `START`."""
        await self.clock.advance_to(START + since_start)

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        await settle()

    async def close(self) -> None:
        for node in self.nodes:
            await node.crash()
