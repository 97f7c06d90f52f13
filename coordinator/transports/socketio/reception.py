"""Where what clients say arrives, by whichever road: events find the namespace that answers them.

Owns what both roads share: which namespaces there are, what an event must look like, what happens to a client that
comes and goes. Whoever sends something else than an event has to do with the road itself.
"""

from typing import NamedTuple

from coordinator.domain.errors import CoordinatorError, InvalidRequestError, PayloadTooLargeError
from coordinator.domain.events import DisconnectReason
from coordinator.protocol.codec import encode, refusal
from coordinator.transports.socketio.client import Client
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.handshake import Connections
from coordinator.transports.socketio.namespace import Namespace
from coordinator.transports.socketio.wire import packets
from coordinator.transports.socketio.wire.packets import Event, read_packet


class EngineLimits(NamedTuple):
    """What Engine.IO tells a client when it opens.

    Attributes:
        most_bytes: The largest message that is read, to refuse it by code; a larger one ends the connection.
        ping_interval_seconds: How often a client is asked whether it is there.
        ping_timeout_seconds: How long it may take to answer.
    """

    most_bytes: int
    ping_interval_seconds: float
    ping_timeout_seconds: float


class Reception:
    """The namespaces, and the way to them.

    Args:
        connections: All connections of this node.
        message_bytes: The largest message that is handled.

    Attributes:
        namespaces: By name.
    """

    def __init__(self, connections: Connections, message_bytes: int) -> None:
        self._connections = connections
        self._message_bytes = message_bytes
        self.namespaces: dict[str, Namespace] = {}
        self._refused_events: frozenset[str] = frozenset()
        self._refusal: CoordinatorError | None = None

    def serve(self, namespace: Namespace) -> None:
        """Let clients connect to a namespace."""
        self.namespaces[namespace.name] = namespace

    def refuse(self, events: frozenset[str], error: CoordinatorError) -> None:
        """From now on, refuse these events."""
        self._refused_events, self._refusal = events, error

    def arrived(self, client: Client) -> None:
        """Note that a client is there, and has to say who it is."""
        self._connections.await_handshake(client)

    def departed(self, client: Client, reason: DisconnectReason) -> None:
        """Let all of a client go that is gone, or about to be."""
        for connection in client.connections:
            self.dismiss(connection, reason)
        self._connections.gone(client)

    def dismiss(self, connection: Connection, reason: DisconnectReason) -> None:
        """Let a connection go that is closed; a reason of this server's own goes before `reason`."""
        self.namespaces[connection.namespace].dismiss(connection, reason)

    async def answered(self) -> None:
        """Wait until everything that was asked is answered."""
        for namespace in self.namespaces.values():
            await namespace.answered()

    def take(self, client: Client, text: str) -> packets.Packet | None:
        """Take a Socket.IO packet, a message of Engine.IO that begins with a 4, and answer it if it is an event.

        Returns:
            What is no event, and has to do with the road itself.
        """
        size = (len(text) if text.isascii() else len(text.encode())) - 1
        if size > self._message_bytes:
            return self._refuse_size(client, text, size)
        packet = read_packet(text)
        if type(packet) is Event:
            connection = client.on(packet.namespace)
            if connection is None:
                return None  # nobody is heard before being connected
            if packet.name in self._refused_events:
                assert self._refusal is not None
                connection.acknowledge(packet.id, encode(refusal(self._refusal)))
            else:
                self.namespaces[packet.namespace].receive(connection, packet)
            return None
        if isinstance(packet, packets.BadEvent):
            return self._refuse(client, packet.namespace, packet.id, InvalidRequestError(packet.problem))
        return packet

    def _refuse_size(self, client: Client, text: str, size: int) -> packets.Packet | None:
        problem = f"a message may have {self._message_bytes} bytes, this one has {size}"
        address = packets.address_of_event(text)
        if address is None:
            return packets.Malformed(problem)
        return self._refuse(client, *address, PayloadTooLargeError(problem))

    @staticmethod
    def _refuse(
        client: Client, namespace: str, packet_id: int | None, error: CoordinatorError
    ) -> packets.Packet | None:
        connection = client.on(namespace)
        if connection is None:
            return packets.Malformed(error.message)  # from someone who may not send any event
        connection.acknowledge(packet_id, encode(refusal(error)))
        return None
