"""The bus: how nodes that share a database hear of each other's commits at once.

Everything on it is a hint. The journal is the truth, and whoever misses a message finds out there: losing every message
costs latency, never an event.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from coordinator.domain.ids import ConnectionId, SessionId, UserId
from coordinator.domain.ledger import Commit


class BusOutOfReachError(Exception):
    """The bus does not answer."""


class RelayedSignal(msgspec.Struct, frozen=True):
    """A signal to a participant who is connected to another node. It is not stored: lost on the way, it is lost.

    Attributes:
        session_id: The session that both are in.
        to: The recipient's connection.
        sender: Who sends it.
        data: What is sent; the coordinator does not look into it.
    """

    session_id: SessionId
    to: ConnectionId
    sender: UserId
    data: Any


Hint = Commit | RelayedSignal
"""What is sent: a commit that is durable already, or a signal."""


class BusListener(Protocol):
    """The node that listens. Nothing here waits or raises."""

    def heard(self, hint: Hint) -> None:
        """Take what another node has published to a session that is followed.

        Any hint may be missing, come twice or come out of order.
        """

    def live(self, session_id: SessionId) -> None:
        """Note that from here on, messages to this session arrive. What was published before may have been missed.

        Called each time the subscription of a followed session comes to life, also after every interruption.
        """


class Bus(Protocol):
    """One node's end of the bus. One channel per session; a node hears only the sessions that it follows.

    No method waits for the network but `run` and `ping`, and none raises because the bus is out of reach but `ping`.
    """

    @property
    def is_up(self) -> bool:
        """Whether what is published now will probably arrive."""

    def is_live(self, session_id: SessionId) -> bool:
        """Tell whether messages to a followed session arrive, as far as is known."""

    def publish(self, hints: Sequence[Hint]) -> None:
        """Send hints to whoever follows their sessions, in this order; this node does not hear them.

        While the bus is out of reach, or too much waits to be sent, they are dropped.
        """

    def follow(self, session_id: SessionId) -> None:
        """Listen to a session; harmless to repeat. `BusListener.live` says from when on."""

    def unfollow(self, session_id: SessionId) -> None:
        """Listen to a session no more; harmless if it is not followed."""

    async def run(self, listener: BusListener) -> None:
        """Be connected for ever: connect, subscribe to what is followed, and do so again after every interruption.

        Ends by cancellation only, and has let go of everything then.
        """

    async def ping(self) -> None:
        """Ask whether the bus is there.

        Raises:
            BusOutOfReachError: It does not answer in time; the message says where it was looked for, without secrets.
        """
