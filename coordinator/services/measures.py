"""Numbers about what this process holds in memory, for whoever watches it. Owns how they are counted."""

from collections.abc import Iterable

from coordinator.domain.ids import NodeId, node_of
from coordinator.services.room import Room


def participants_present(rooms: Iterable[Room], node: NodeId) -> int:
    """Return how many participants are connected to a node: each to one, so that the numbers of all nodes add up."""
    return sum(
        participant.is_present and node_of(participant.connection_id) == node
        for room in rooms
        if room.state is not None
        for participant in room.state.participants.values()
    )
