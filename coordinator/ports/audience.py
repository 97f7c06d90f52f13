"""Those who listen to a session: connections of whatever transport."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from coordinator.domain.ids import ConnectionId, UserId
from coordinator.domain.ledger import SealedEvent


class Subscriber(Protocol):
    """One connection that listens. Nothing here waits or raises: a dead one takes it silently."""

    @property
    def connection_id(self) -> ConnectionId:
        """The connection."""

    @property
    def user_id(self) -> UserId:
        """Whose connection it is."""

    def notify(self, name: str, payload: Mapping[str, Any]) -> None:
        """Send a transient message, in order with everything else sent to this subscriber."""

    def close(self, reason: str) -> None:
        """Close the connection after everything sent so far has gone out."""


class Publisher(Protocol):
    """Sends the events of one commit to many subscribers, encoded once."""

    def publish(self, subscribers: Iterable[Subscriber], events: Sequence[SealedEvent]) -> None:
        """Send `events`, in order, to each of `subscribers`. Nothing here waits, and nothing raises."""

    def announce(self, subscribers: Iterable[Subscriber], name: str, payload: Mapping[str, Any]) -> None:
        """Send each of `subscribers` a transient message, as `Subscriber.notify` does, encoded once."""
