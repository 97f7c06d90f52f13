"""The namespace `/recording`: recorders read the feed, and attach what they recorded (SPEC section 3)."""

from typing import Any

from coordinator.domain.events import DisconnectReason, Role
from coordinator.domain.ids import SessionId, UserId
from coordinator.domain.model import Recording
from coordinator.protocol import recording_messages as messages
from coordinator.services.feed import WINDOW, Feed
from coordinator.services.recordings import Recordings
from coordinator.transports.socketio.connection import Connection
from coordinator.transports.socketio.limits import Pace
from coordinator.transports.socketio.namespace import Answer, Handler, Namespace, Outcome, Reply, Surroundings

NAMESPACE = "/recording"
ROLES = frozenset({Role.RECORDER, Role.ADMIN})


class RecordingNamespace(Namespace):
    """Recorders' connections.

    Args:
        surroundings: What every namespace works with.
        feed: What they read.
        recordings: What they attach.
    """

    def __init__(self, surroundings: Surroundings, feed: Feed, recordings: Recordings) -> None:
        handlers: dict[str, Handler[Any]] = {
            "subscribe": Handler(messages.Subscribe, self._subscribe),
            "ack": Handler(messages.Ack, self._ack, Pace.ACKS),
            "attach_recording": Handler(messages.AttachRecording, self._attach),
        }
        super().__init__(NAMESPACE, ROLES, surroundings, handlers)
        self._feed = feed
        self._recordings = recordings

    def departed(self, connection: Connection, _reason: DisconnectReason) -> None:
        """Deliver nothing more to the connection; what it has not acked is delivered again to the next."""
        self._feed.unsubscribe(connection)

    async def _subscribe(self, connection: Connection, message: messages.Subscribe) -> Answer:
        subscribed = await self._feed.subscribe(connection, message.consumer, message.after)
        reply = {
            "ok": True,
            "consumer": subscribed.consumer,
            "cursor": subscribed.cursor,
            "from": subscribed.origin,
            "window": WINDOW,
        }
        return Answer(reply, lambda: self._feed.start(connection))

    async def _ack(self, connection: Connection, message: messages.Ack) -> Outcome:
        # Many are under way at once: the feed writes down the newest, and answers them together.
        return self._acked(connection, message.cursor)

    async def _acked(self, connection: Connection, cursor: str) -> Reply:
        return {"ok": True, "cursor": await self._feed.ack(connection, cursor)}

    async def _attach(self, connection: Connection, message: messages.AttachRecording) -> Outcome:
        return self._attached(connection, message)  # acks need not wait for it

    async def _attached(self, connection: Connection, message: messages.AttachRecording) -> Reply:
        recording = Recording(user_id=UserId(message.user_id), url=message.url, start_time=message.start_time)
        attached = await self._recordings.attach(connection.actor, SessionId(message.session_id), recording)
        return {"ok": True, "seq": attached.seq}
