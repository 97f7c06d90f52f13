"""One thing to many connections: each frame is encoded once for each namespace, whoever gets it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coordinator.domain.ledger import SealedEvent
from coordinator.ports.audience import Subscriber
from coordinator.protocol.codec import encode
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.server import frame


class Fanout:
    """The `Publisher` of Socket.IO connections."""

    def publish(self, subscribers: Iterable[Subscriber], events: Sequence[SealedEvent]) -> None:
        """Send `events`, in order, to each of `subscribers`."""
        for prefix, connections in _by_prefix(subscribers).items():
            for sealed in events:
                packet = frame(f'{prefix}["{sealed.event.body.kind}",{sealed.json.decode()}]')
                for connection in connections:
                    connection.send(packet)

    def announce(self, subscribers: Iterable[Subscriber], name: str, payload: Mapping[str, Any]) -> None:
        """Send each of `subscribers` a transient message."""
        groups = _by_prefix(subscribers)
        text = encode(payload).decode() if groups else ""
        for prefix, connections in groups.items():
            packet = frame(f'{prefix}["{name}",{text}]')
            for connection in connections:
                connection.send(packet)


def _by_prefix(subscribers: Iterable[Subscriber]) -> dict[str, list[Connection]]:
    groups: dict[str, list[Connection]] = {}
    for subscriber in subscribers:
        assert isinstance(subscriber, Connection)
        groups.setdefault(subscriber.prefix, []).append(subscriber)
    return groups
