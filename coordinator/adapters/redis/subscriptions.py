"""Which sessions are followed, which are subscribed to, and what has to be asked of Redis next.

Owns the state of each subscription; sends nothing and hears nothing. At most one request for each session is under way,
so the confirmation that arrives is that of the last request, however often the mind was changed meanwhile.
"""

from enum import Enum, auto
from typing import NamedTuple

from coordinator.domain.ids import SessionId


class _Stage(Enum):
    SUBSCRIBING = auto()
    SUBSCRIBED = auto()
    UNSUBSCRIBING = auto()


class Changes(NamedTuple):
    """What is to be done for what is followed to be subscribed to.

    Attributes:
        subscribe: To be asked for.
        unsubscribe: To be asked for.
        revived: Nothing is to be asked for: the subscription has outlasted a short change of mind. They are live again.
    """

    subscribe: list[SessionId]
    unsubscribe: list[SessionId]
    revived: list[SessionId]


class Subscriptions:
    """The subscriptions of one node.

    Attributes:
        live: The followed sessions whose messages arrive.
    """

    def __init__(self) -> None:
        self.live: set[SessionId] = set()
        self._followed: dict[SessionId, None] = {}
        self._stages: dict[SessionId, _Stage] = {}
        self._unsettled: dict[SessionId, None] = {}
        self._is_connected = False

    def connected(self) -> None:
        """Begin anew: there is a connection on which nothing has been asked for."""
        self._is_connected = True
        self._unsettled = dict(self._followed)

    def disconnected(self) -> None:
        """Forget every subscription; what is followed remains so."""
        self._is_connected = False
        self.live.clear()
        self._stages.clear()
        self._unsettled.clear()

    def follow(self, session_id: SessionId) -> bool:
        """Follow a session; tell whether `changes` has something to say."""
        if session_id in self._followed:
            return False
        self._followed[session_id] = None
        return self._unsettle(session_id)

    def unfollow(self, session_id: SessionId) -> bool:
        """Follow a session no more; tell whether `changes` has something to say."""
        if session_id not in self._followed:
            return False
        del self._followed[session_id]
        self.live.discard(session_id)
        return self._unsettle(session_id)

    def changes(self) -> Changes:
        """Return what is to be asked for now, taking it that this is done."""
        changes = Changes([], [], [])
        unsettled, self._unsettled = self._unsettled, {}
        for session_id in unsettled:
            stage = self._stages.get(session_id)
            if session_id in self._followed:
                if stage is None:
                    self._stages[session_id] = _Stage.SUBSCRIBING
                    changes.subscribe.append(session_id)
                elif stage is _Stage.SUBSCRIBED and session_id not in self.live:
                    self.live.add(session_id)
                    changes.revived.append(session_id)
            elif stage is _Stage.SUBSCRIBED:
                self._stages[session_id] = _Stage.UNSUBSCRIBING
                changes.unsubscribe.append(session_id)
        return changes

    def subscribed(self, session_id: SessionId) -> bool:
        """Take Redis' confirmation; tell whether the session is live now. If not, `changes` has something to say."""
        self._stages[session_id] = _Stage.SUBSCRIBED
        if session_id in self._followed:
            self.live.add(session_id)
            return True
        self._unsettle(session_id)
        return False

    def unsubscribed(self, session_id: SessionId) -> bool:
        """Take Redis' confirmation; tell whether it was asked for. `changes` may have something to say."""
        was_asked_for = self._stages.pop(session_id, None) is _Stage.UNSUBSCRIBING
        if session_id in self._followed:
            self._unsettle(session_id)
        return was_asked_for

    def _unsettle(self, session_id: SessionId) -> bool:
        if self._is_connected:
            self._unsettled[session_id] = None
        return self._is_connected
