"""What goes over Socket.IO, as one value: namespaces, commands with their acks, what clients are sent (SPEC section 3).

Owns the list, from which `/asyncapi.json` and the TypeScript declarations of the client library are made; a test holds
it to the handlers, and to what is really sent. Must not know how any of it is done.
"""

from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from coordinator.domain.errors import (
    ERRORS,
    CoordinatorError,
    InvalidRequestError,
    NotFoundError,
    NotInSessionError,
    NotRegisteredError,
    PayloadTooLargeError,
    RateLimitedError,
    RecordingNotPermittedError,
    RemovedError,
    RoomFullError,
    SessionEndedError,
    SessionNotOpenError,
    UnavailableError,
)
from coordinator.domain.events import EVENT_TYPES, EventBody, Role
from coordinator.protocol import messages, recording_messages
from coordinator.protocol.fields import ObjectId, Timestamp, UserIdText
from coordinator.protocol.summaries import SessionSummary
from coordinator.protocol.views import Event, Participant, Seq, Session, View

# Acks.


class Refusal(View, frozen=True, kw_only=True):
    """Why nothing was done."""

    code: Annotated[str, Meta(extra_json_schema={"enum": sorted(ERRORS)})]
    message: Annotated[str, Meta(description="What is wrong and what would be right, for people.")]
    retryable: Annotated[bool, Meta(description="Whether the same message may succeed later.")]
    field: Annotated[str, Meta(description="The field that is wrong.")] | UnsetType = UNSET


class Refused(View, frozen=True, kw_only=True):
    """The ack of what was refused, and has changed nothing."""

    ok: Literal[False]
    error: Refusal


class Done(View, frozen=True, kw_only=True):
    """The ack of what is not an event."""

    ok: Literal[True]


class Acked(View, frozen=True, kw_only=True):
    """The ack of a command: its events are durable, and the last of them is `seq`."""

    ok: Literal[True]
    seq: Seq


class Snapshot(View, frozen=True, kw_only=True):
    """A session as it is, with everybody who has ever been in it."""

    session: Session
    participants: list[Participant]


class Seen(View, frozen=True, kw_only=True):
    """A session from here on: what was missed, or where too much was, a snapshot. Every later event follows."""

    ok: Literal[True]
    session_id: ObjectId
    seq: Seq
    server_time: Timestamp
    resumed: Annotated[bool, Meta(description="Whether `events` holds all that was missed.")]
    snapshot: Snapshot | UnsetType = UNSET
    events: list[Event] | UnsetType = UNSET


class Watching(View, frozen=True, kw_only=True):
    """The ack of `watch`: of one session as of `join`, of all with their summaries."""

    ok: Literal[True]
    session_id: ObjectId | UnsetType = UNSET
    seq: Seq | UnsetType = UNSET
    server_time: Timestamp
    resumed: bool | UnsetType = UNSET
    snapshot: Snapshot | UnsetType = UNSET
    events: list[Event] | UnsetType = UNSET
    sessions: list[SessionSummary] | UnsetType = UNSET


class Subscribed(View, frozen=True, kw_only=True):
    """The ack of `subscribe`: after which record the feed goes on, and how many may be unacked."""

    ok: Literal[True]
    consumer: str
    cursor: str | None
    begins: Annotated[str, Meta(description="Why there: what was chosen, kept, or is the beginning.")] = msgspec.field(
        name="from"
    )
    window: int


class Noted(View, frozen=True, kw_only=True):
    """The ack of `ack`: up to where the consumer will not be sent anything again, whatever happens."""

    ok: Literal[True]
    cursor: str


# What clients are sent beside events.


class SignalNotice(View, frozen=True, kw_only=True):
    """What another participant has sent by `signal`."""

    session_id: ObjectId
    sender: UserIdText = msgspec.field(name="from")
    data: Any


class EndingNotice(View, frozen=True, kw_only=True):
    """The session ends soon."""

    session_id: ObjectId
    seconds_left: int


class ReplacedNotice(View, frozen=True, kw_only=True):
    """A newer connection has taken this one's place; this one is closed."""

    session_id: ObjectId | UnsetType = UNSET
    consumer: str | UnsetType = UNSET


class DrainingNotice(View, frozen=True, kw_only=True):
    """The server is about to stop; come back after a while."""

    reconnect_after_ms: int


class Record(View, frozen=True, kw_only=True):
    """A record of the feed; ack its cursor once it is dealt with."""

    cursor: str
    event: Event


class Command(NamedTuple):
    """What a client may send.

    Attributes:
        name: The event's name.
        message: What it carries.
        reply: Its ack, unless it is `Refused`.
        refusals: What it may be refused with, beside `ANY_REFUSALS`.
    """

    name: str
    message: type[msgspec.Struct]
    reply: type[View]
    refusals: tuple[type[CoordinatorError], ...] = ()

    @property
    def codes(self) -> list[str]:
        """The codes of everything that it may be refused with."""
        return sorted({error.code for error in ANY_REFUSALS + self.refusals})


class Notice(NamedTuple):
    """What a client may be sent that has no place in a session's order."""

    name: str
    payload: type[View]


class Contract(NamedTuple):
    """A namespace.

    Attributes:
        namespace: Its path.
        purpose: What it is for.
        roles: Whose tokens may connect.
        commands: What clients send.
        events: The persisted events that come by their own names.
        notices: What else is sent.
    """

    namespace: str
    purpose: str
    roles: tuple[Role, ...]
    commands: tuple[Command, ...]
    events: tuple[type[EventBody], ...]
    notices: tuple[Notice, ...]


ANY_REFUSALS: tuple[type[CoordinatorError], ...] = (
    InvalidRequestError,
    PayloadTooLargeError,
    RateLimitedError,
    UnavailableError,
)
"""What every command may be refused with."""
_JOINING = (
    NotFoundError,
    NotInSessionError,
    NotRegisteredError,
    RemovedError,
    RoomFullError,
    SessionEndedError,
    SessionNotOpenError,
)
_SETTING = (NotInSessionError, SessionEndedError)
_STEERING = (NotFoundError, NotInSessionError, SessionEndedError)
_ATTACHING = (NotFoundError, RecordingNotPermittedError)
_DRAINING = Notice("server_draining", DrainingNotice)
_REPLACED = Notice("replaced", ReplacedNotice)
_ALL_EVENTS = tuple(EVENT_TYPES.values())

CONTRACTS = (
    Contract(
        "/rooms",
        "Participants in one live session.",
        (Role.PARTICIPANT,),
        (
            Command("join", messages.Join, Seen, _JOINING),
            Command("leave", messages.Leave, Acked, (NotFoundError, NotInSessionError)),
            Command("set_media", messages.SetMedia, Acked, _SETTING),
            Command("set_recording_consent", messages.SetRecordingConsent, Acked, _SETTING),
            Command("signal", messages.Signal, Done, (NotInSessionError,)),
            Command("sync", messages.Sync, Seen, (NotInSessionError,)),
        ),
        _ALL_EVENTS,
        (Notice("signal", SignalNotice), Notice("session_ending", EndingNotice), _REPLACED, _DRAINING),
    ),
    Contract(
        "/moderation",
        "Moderators who watch sessions and steer them.",
        (Role.MODERATOR, Role.ADMIN),
        (
            Command("watch", messages.Watch, Watching, (NotFoundError,)),
            Command("unwatch", messages.Unwatch, Done),
            Command("mute", messages.Mute, Acked, _STEERING),
            Command("remove", messages.Remove, Acked, _STEERING),
            Command("end_session", messages.EndSession, Acked, (NotFoundError,)),
            Command("set_recording", messages.SetRecording, Acked, (NotFoundError, SessionEndedError)),
        ),
        _ALL_EVENTS,
        (Notice("session_summary", SessionSummary), Notice("session_ending", EndingNotice), _DRAINING),
    ),
    Contract(
        "/recording",
        "The recording service: a durable feed of all sessions.",
        (Role.RECORDER, Role.ADMIN),
        (
            Command("subscribe", recording_messages.Subscribe, Subscribed),
            Command("ack", recording_messages.Ack, Noted),
            Command("attach_recording", recording_messages.AttachRecording, Acked, _ATTACHING),
        ),
        (),
        (Notice("record", Record), _REPLACED, _DRAINING),
    ),
)
"""Every namespace."""
