"""One thing to many connections: each event is encoded once for each namespace, whoever gets it.

The events of one commit go out together: however many they are, each connection takes one piece.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coordinator.domain.ledger import SealedEvent
from coordinator.ports.audience import Subscriber
from coordinator.protocol.codec import encode
from coordinator.transports.socketio.client import Frames
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.wire import packets


class Fanout:
    """The `Publisher` of Socket.IO connections."""

    def publish(self, subscribers: Iterable[Subscriber], events: Sequence[SealedEvent]) -> None:
        """Send `events`, in order, to each of `subscribers`."""
        made: dict[str, Frames] = {}
        for connection in subscribers:
            assert isinstance(connection, Connection)
            namespace = connection.namespace
            frames = made.get(namespace)
            if frames is None:
                texts = [packets.event_packet(namespace, sealed.event.body.kind, sealed.json) for sealed in events]
                frames = made[namespace] = Frames(texts)
            if not connection.is_closed:  # as `send_all` does, without another call for each of them
                connection.client.send_all(frames)

    def announce(self, subscribers: Iterable[Subscriber], name: str, payload: Mapping[str, Any]) -> None:
        """Send each of `subscribers` a transient message."""
        made: dict[str, Frames] = {}
        json: bytes | None = None
        for connection in subscribers:
            assert isinstance(connection, Connection)
            namespace = connection.namespace
            frames = made.get(namespace)
            if frames is None:
                json = encode(payload) if json is None else json
                frames = made[namespace] = Frames([packets.event_packet(namespace, name, json)])
            connection.send_all(frames)
