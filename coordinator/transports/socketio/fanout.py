"""Events of one commit to many connections: each frame is encoded once, whoever gets it."""

from collections.abc import Iterable, Sequence

from coordinator.domain.ledger import SealedEvent
from coordinator.ports.audience import Subscriber
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.server import frame


class Fanout:
    """The `Publisher` of Socket.IO connections."""

    def publish(self, subscribers: Iterable[Subscriber], events: Sequence[SealedEvent]) -> None:
        """Send `events`, in order, to each of `subscribers`."""
        by_prefix: dict[str, list[Connection]] = {}
        for subscriber in subscribers:
            assert isinstance(subscriber, Connection)
            by_prefix.setdefault(subscriber.prefix, []).append(subscriber)
        for prefix, connections in by_prefix.items():
            for sealed in events:
                packet = frame(f'{prefix}["{sealed.event.body.kind}",{sealed.json.decode()}]')
                for connection in connections:
                    connection.send(packet)
