"""Which nodes are alive: heartbeats, and what their silence means (SPEC section 2: no ghosts).

Owns the beat of this node and the judgement about all others; what becomes of a dead node's participants is
`recovery`'s. Clocks of machines differ, so a node is judged by whether its heartbeat changes while this node looks, on
this node's stopwatch. Only of a node that has never been seen to beat, what its heartbeat says of the time counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from coordinator.domain.ids import NodeId
from coordinator.ports.clock import Clock
from coordinator.ports.liveness import Liveness
from coordinator.telemetry import get_logger

BEATS_PER_TIMEOUT = 6
LOOKS_PER_TIMEOUT = 15
_SILENCE_SHARE = 0.7
"""Of the timeout. Silence that began just after a look is noticed one look late, and letting go takes time as well:
all of it together is to stay within the timeout."""
_BLIND_SHARE = 0.25
"""Of the timeout. Whoever has not looked for so long cannot tell how long others have been silent."""
_REMEMBERED_TIMEOUTS = 20

_log = get_logger("neighbours")


@dataclass(slots=True)
class _Seen:
    """What is known of another node.

    Attributes:
        at: Its last heartbeat, by its own clock.
        since: When that was first seen here, by the stopwatch; moved on when this node was blind.
        has_beaten: Whether a heartbeat has been seen to follow another.
    """

    at: datetime
    since: float
    has_beaten: bool = False


class Neighbours:
    """The nodes that share the database.

    Args:
        node: This one.
        liveness: The heartbeats of all.
        clock: Time.
        timeout_seconds: Within how much time a silent node must have been found out and dealt with.
    """

    def __init__(self, node: NodeId, liveness: Liveness, clock: Clock, timeout_seconds: float) -> None:
        self._node = node
        self._liveness = liveness
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._seen: dict[NodeId, _Seen] = {}
        self._others: frozenset[NodeId] = frozenset()
        self._looked_at: float | None = None
        self._has_beaten = False

    @property
    def has_company(self) -> bool:
        """Whether another node was there when it was looked last; a dead one counts until it has been dealt with."""
        return bool(self._others)

    async def beat(self) -> bool:
        """Say that this node is alive; tell whether others have taken it for dead meanwhile.

        Raises:
            OutcomeUnknownError: The store does not answer.
        """
        was_known = await self._liveness.beat(self._node, self._clock.now())
        was_forgotten = self._has_beaten and not was_known
        self._has_beaten = True
        if was_forgotten:
            _log.warning("taken_for_dead", node=self._node)
        return was_forgotten

    async def look(self) -> tuple[set[NodeId], set[NodeId]]:
        """Return which nodes are dead and still to be dealt with, and which are alive; this one always is.

        Raises:
            OutcomeUnknownError: The store does not answer.
        """
        heartbeats = await self._liveness.heartbeats()
        now, moment = self._clock.now(), self._clock.monotonic()
        was_blind = self._looked_at is not None and moment - self._looked_at > _BLIND_SHARE * self._timeout_seconds
        self._looked_at = moment
        self._take_note(heartbeats, moment, was_blind=was_blind)
        self._others = frozenset(heartbeats) - {self._node}
        dead = {node for node in self._others if self._is_dead(self._seen[node], now, moment)}
        return dead, {self._node, *self._others} - dead

    async def forget(self, node: NodeId) -> None:
        """Drop a node whose death has been dealt with."""
        await self._liveness.forget(node)

    async def leave(self) -> None:
        """Say that this node is no more."""
        await self._liveness.forget(self._node)

    def _take_note(self, heartbeats: Mapping[NodeId, datetime], moment: float, *, was_blind: bool) -> None:
        for node, at in heartbeats.items():
            seen = self._seen.get(node)
            if seen is None:
                self._seen[node] = _Seen(at, moment)
            elif seen.at != at:
                self._seen[node] = _Seen(at, moment, has_beaten=True)
            elif was_blind:
                seen.since = moment
        # One that was forgotten is remembered for a while: if it was not dead after all, it has beaten.
        oldest = moment - _REMEMBERED_TIMEOUTS * self._timeout_seconds
        for node in [node for node, seen in self._seen.items() if node not in heartbeats and seen.since < oldest]:
            del self._seen[node]

    def _is_dead(self, seen: _Seen, now: datetime, moment: float) -> bool:
        if moment - seen.since >= _SILENCE_SHARE * self._timeout_seconds:
            return True
        return not seen.has_beaten and now - seen.at >= timedelta(seconds=self._timeout_seconds)
