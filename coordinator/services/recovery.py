"""Nothing hangs: dead nodes' participants are let go, and overdue sessions are woken (SPEC section 2).

Owns what follows from the death of a node, and the sweep. A session in memory needs neither: its timers and connections
speak for themselves. These are for what nobody holds in memory, after a crash or a long idle time.
"""

import asyncio
from collections.abc import Callable, Iterable

from coordinator.domain.commands import DisconnectParticipant
from coordinator.domain.errors import NotFoundError, UnavailableError
from coordinator.domain.events import DisconnectReason
from coordinator.domain.ids import NodeId, SessionId, node_of
from coordinator.ports.clock import Clock
from coordinator.ports.projections import Projections
from coordinator.services.background import at_once
from coordinator.services.following import Following
from coordinator.services.neighbours import Neighbours
from coordinator.services.room import Room
from coordinator.services.rooms import Rooms
from coordinator.services.settlement import Settlement
from coordinator.telemetry import get_logger

_SWEEP_LIMIT = 200
_LOADS_AT_ONCE = 8
"""Sessions that are read together when their participants are let go: many have to be read within the timeout."""

_log = get_logger("recovery")


class Recovery:
    """Keeps sessions from hanging when processes die.

    Args:
        neighbours: Which nodes are alive.
        rooms: The rooms of this node.
        projections: Where sessions that nobody holds in memory are found.
        following: Finds out what other nodes have written about sessions that somebody listens to here.
        clock: Time.
        settlement: Finishes what a dead node was settling.
    """

    def __init__(
        self,
        neighbours: Neighbours,
        rooms: Rooms,
        projections: Projections,
        following: Following,
        clock: Clock,
        settlement: Settlement,
    ) -> None:
        self._neighbours = neighbours
        self._rooms = rooms
        self._projections = projections
        self._following = following
        self._settlement = settlement
        self._clock = clock
        self._unreadable: set[SessionId] = set()

    async def start(self) -> None:
        """Take up what was left when processes stopped: load every live session, let the lost participants go.

        Participants come before deadlines: a session must not start with people who are long gone.
        """
        await self._neighbours.beat()
        dead, alive = await self._neighbours.look()
        # Also those of nodes that nobody has heard of: whoever has had them may have been forgotten too early.
        await self._release(await self._projections.live(), lambda node: node not in alive)
        for node in sorted(dead):
            await self._neighbours.forget(node)

    async def go_on(self) -> None:
        """Let the lost participants go of sessions that were found since: those whose first document was never written.

        To be called once the slots have been looked through, which name these sessions.
        """
        _, alive = await self._neighbours.look()
        found = [room.session_id for room in self._rooms.loaded if room.state is not None and room.state.is_live]
        await self._release(found, lambda node: node not in alive)

    async def beat(self) -> None:
        """Say that this node is alive. If others have taken it for dead, find out what they have written."""
        if await self._neighbours.beat():
            self._following.look_at_all()

    async def look(self) -> None:
        """Deal with the nodes that no longer say that they are alive."""
        dead, _ = await self._neighbours.look()
        if not dead:
            return
        _log.warning("nodes_lost", nodes=sorted(dead))
        loaded = {room.session_id: None for room in self._rooms.loaded}
        await self._release(loaded | dict.fromkeys(await self._projections.live()), lambda node: node in dead)
        await self._settlement.settle_missed()
        for node in sorted(dead):
            await self._neighbours.forget(node)

    async def sweep(self) -> None:
        """Wake the overdue sessions that are not in memory; once loaded, their timers do the rest.

        Also finds what became of writes whose outcome was given up: nobody may ever ask for it again.
        """
        for session_id in await self._projections.due(self._clock.now(), _SWEEP_LIMIT):
            if self._rooms.peek(session_id) is None:
                await self._load(session_id)
        self._rooms.drop_idle()
        for room in self._rooms.loaded:
            if room.is_stale:
                await self._rooms.refresh(room)

    async def stop(self) -> None:
        """Say that this node is no more, after its participants were let go."""
        await self._neighbours.leave()

    async def _release(self, sessions: Iterable[SessionId], is_lost: Callable[[NodeId], bool]) -> None:
        """Disconnect every present participant whose connection belongs to a node that is lost."""
        submissions: list[asyncio.Future[int]] = []

        async def release(session_id: SessionId) -> None:
            room = await self._load(session_id, anew=True)  # of those who joined on another node, we may not have heard
            if room is None or room.state is None:
                return
            # No wait between loading and submitting: the room's overdue timers must find these commands before them.
            submissions.extend(self._rooms.submit(room, command) for command in _releases(room, is_lost))

        try:
            await at_once(_LOADS_AT_ONCE, sessions, release)
        finally:
            answers = await asyncio.gather(*submissions, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def _load(self, session_id: SessionId, *, anew: bool = False) -> Room | None:
        """Return a session's room, where it is in memory and `anew` is asked for, brought up to the journal.

        None, and it is said once, where that cannot be read: one damaged session must not keep the others from waking.
        """
        known = self._rooms.peek(session_id)
        try:
            if known is not None and anew:
                await self._rooms.refresh(known)
            return await self._rooms.room(session_id)
        except UnavailableError:
            raise
        except Exception as failure:  # noqa: BLE001
            if session_id not in self._unreadable:
                self._unreadable.add(session_id)
                if isinstance(failure, NotFoundError):
                    _log.error("session_without_journal", session=session_id, remedy="coordinator verify")
                else:
                    _log.exception("session_unreadable", session=session_id, remedy="coordinator verify")
            return None


def _releases(room: Room, is_lost: Callable[[NodeId], bool]) -> list[DisconnectParticipant]:
    assert room.state is not None
    return [
        DisconnectParticipant(
            user_id=participant.user_id,
            connection_id=participant.connection_id,
            reason=DisconnectReason.CONNECTION_LOST,
        )
        for participant in room.state.participants.values()
        if participant.is_present and is_lost(node_of(participant.connection_id))
    ]
