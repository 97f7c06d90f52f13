"""What other nodes do to the sessions that somebody listens to here (SPEC section 2: one order on every node).

Owns this node's part on the bus, and finding out what the bus has not told. Three roads lead to what another node has
written, each slower and surer than the one before:

1. Its commit arrives on the bus, is the very next one, and is taken as it is.
2. Something is missing, or a subscription has just come to life: the journal is read.
3. Nothing has arrived at all: twice a second the documents' `seq` tell which sessions have moved on, and for those the
   journal is read. This needs no bus, and is done only while there are other nodes.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from coordinator.domain.errors import NotFoundError, UnavailableError
from coordinator.domain.ids import ConnectionId, SessionId, UserId
from coordinator.domain.ledger import Commit
from coordinator.ports.bus import Bus, BusListener, Hint, RelayedSignal
from coordinator.ports.clock import Clock
from coordinator.ports.projections import Projections
from coordinator.services.background import at_once
from coordinator.services.neighbours import Neighbours
from coordinator.services.room import Room
from coordinator.services.rooms import Rooms
from coordinator.telemetry import get_logger

LOOK_SECONDS = 0.5
"""How late the commit of another node is at most, where nothing is heard from the bus and the documents are on time."""
_READS_AT_ONCE = 8
_RETRY_SECONDS = 0.5

_log = get_logger("following")


@dataclass(slots=True)
class Roads:
    """How the commits of other nodes came here so far: plain numbers, so that counting costs nothing.

    Attributes:
        heard: Commits that were taken as they arrived on the bus.
        catch_ups: Times that the journal of a session was read because something was, or might be, missing.
    """

    heard: int = 0
    catch_ups: int = 0


class Following(BusListener):
    """Keeps the rooms with listeners up to date with what other nodes write.

    Args:
        rooms: The rooms of this node.
        bus: Where nodes hear of each other's commits.
        projections: How far each session is, as far as the documents know.
        neighbours: Whether there are other nodes.
        clock: Time.

    Attributes:
        roads: How the commits of other nodes came here.
    """

    def __init__(self, rooms: Rooms, bus: Bus, projections: Projections, neighbours: Neighbours, clock: Clock) -> None:
        self._rooms = rooms
        self._bus = bus
        self._projections = projections
        self._neighbours = neighbours
        self._clock = clock
        self.roads = Roads()
        self._behind: dict[SessionId, None] = {}
        self._wake = asyncio.Event()
        self._unreadable: set[SessionId] = set()
        rooms.on_written(self._publish)
        rooms.on_listened(bus.follow)
        rooms.on_dropped(self._let_go)

    async def listen(self) -> None:
        """Listen to the bus, for ever."""
        await self._bus.run(self)

    async def catch_up(self) -> None:
        """Read what was missed, for ever; while the database is away, go on trying."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._behind:
                try:
                    await at_once(_READS_AT_ONCE, list(self._behind), self._catch_up)
                except UnavailableError as error:
                    _log.warning("catching_up_late", sessions=len(self._behind), error=str(error))
                    await self._clock.sleep(_RETRY_SECONDS)

    async def look(self) -> None:
        """Find out which sessions other nodes have moved on without our hearing of it.

        Raises:
            OutcomeUnknownError: The database does not answer.
        """
        if not self._neighbours.has_company:
            return
        rooms = {room.session_id: room for room in self._rooms.loaded if room.has_listeners}
        if not rooms:
            return
        stored = await self._projections.seqs(rooms.keys())
        self._suspect(session_id for session_id, seq in stored.items() if seq > rooms[session_id].seq)

    def look_at_all(self) -> None:
        """Read the journal of everything that is listened to: there is reason to think that much was missed."""
        self._suspect(room.session_id for room in self._rooms.loaded if room.has_listeners)

    def heard(self, hint: Hint) -> None:
        """Take what another node has published."""
        if isinstance(hint, RelayedSignal):
            self._hand_over(hint)
        elif not self._take(hint):
            self._suspect([hint.session_id])

    def live(self, session_id: SessionId) -> None:
        """Read what was published before the subscription came to life."""
        self._suspect([session_id])

    def relay(self, room: Room, to: ConnectionId, sender: UserId, data: Any) -> None:
        """Send a signal to a connection of another node.

        Raises:
            UnavailableError: The bus is out of reach, or there is none.
        """
        if not self._bus.is_up:
            raise UnavailableError("the recipient is connected to another node, which is out of reach; try again")
        self._bus.publish([RelayedSignal(session_id=room.session_id, to=to, sender=sender, data=data)])

    def _publish(self, commits: Sequence[Commit]) -> None:
        # Who has come just now finds out by itself what was not sent to it.
        if self._neighbours.has_company:
            self._bus.publish(commits)

    def _take(self, commit: Commit) -> bool:
        try:
            is_complete = self._rooms.take(commit)
        except Exception:  # noqa: BLE001 - a hint decides nothing: what the journal says, and whether it can be read, does
            _log.exception("hint_not_taken", session=commit.session_id)
            return False
        self.roads.heard += is_complete
        return is_complete

    def _hand_over(self, signal: RelayedSignal) -> None:
        room = self._rooms.peek(signal.session_id)
        recipient = None if room is None else room.subscribers.get(signal.to)
        if recipient is not None:
            payload = {"sessionId": signal.session_id, "from": signal.sender, "data": signal.data}
            recipient.notify("signal", payload)

    def _let_go(self, session_id: SessionId) -> None:
        self._bus.unfollow(session_id)
        self._behind.pop(session_id, None)
        self._unreadable.discard(session_id)

    def _suspect(self, sessions: Iterable[SessionId]) -> None:
        self._behind.update(dict.fromkeys(sessions))
        if self._behind:
            self._wake.set()

    async def _catch_up(self, session_id: SessionId) -> None:
        # First, so that what is heard of it meanwhile makes another round.
        self._behind.pop(session_id, None)
        room = self._rooms.peek(session_id)
        if room is None:
            return
        self.roads.catch_ups += 1
        try:
            await self._rooms.refresh(room)
        except UnavailableError:
            self._behind[session_id] = None
            raise
        except NotFoundError:
            return
        except Exception:  # noqa: BLE001 - one damaged session must not keep the others from catching up
            if session_id not in self._unreadable:
                self._unreadable.add(session_id)
                _log.exception("session_unreadable", session=session_id, remedy="coordinator verify")
