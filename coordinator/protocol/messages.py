"""What clients may send on `/rooms` and `/moderation` (SPEC section 3); on `/recording`: `recording_messages`.

Unknown fields are refused: a misspelt one must not be ignored.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from coordinator.domain.ids import OBJECT_ID_PATTERN, USER_ID_MAX_LENGTH

MAX_SEQ = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""

SessionIdText = Annotated[str, Meta(pattern=OBJECT_ID_PATTERN, max_length=24, description="24 hexadecimal digits")]
UserIdText = Annotated[str, Meta(min_length=1, max_length=USER_ID_MAX_LENGTH)]
Seq = Annotated[int, Meta(ge=0, le=MAX_SEQ)]


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of all messages that clients send."""


# /rooms


class Join(Message, frozen=True, kw_only=True):
    """Take a seat, or come back to it; `after` is the last `seq` that the client has seen."""

    session_id: SessionIdText
    after: Seq | None = None


class Leave(Message, frozen=True, kw_only=True):
    """Give the seat back."""


class SetMedia(Message, frozen=True, kw_only=True):
    """Switch camera or microphone, at least one of them."""

    camera_enabled: bool | None = None
    mic_enabled: bool | None = None


class SetRecordingConsent(Message, frozen=True, kw_only=True):
    """Grant or revoke consent to be recorded."""

    granted: bool
    policy_version: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class Signal(Message, frozen=True, kw_only=True):
    """Relay a WebRTC offer, answer or candidate to another participant."""

    to: UserIdText
    data: Any


class Sync(Message, frozen=True, kw_only=True):
    """Ask for everything after `after` once more."""

    after: Seq


# /moderation


class Watch(Message, frozen=True, kw_only=True):
    """Listen to one session, from `after` on, or to summaries of all. Either `sessionId` or `all` is given."""

    session_id: SessionIdText | None = None
    after: Seq | None = None
    everything: bool | None = msgspec.field(name="all", default=None)


class Unwatch(Message, frozen=True, kw_only=True):
    """Listen no more, to one session or to summaries of all. Either `sessionId` or `all` is given."""

    session_id: SessionIdText | None = None
    everything: bool | None = msgspec.field(name="all", default=None)


class Mute(Message, frozen=True, kw_only=True):
    """Switch a user's microphone off."""

    session_id: SessionIdText
    user_id: UserIdText


class Remove(Message, frozen=True, kw_only=True):
    """Remove a user for the rest of the session; everybody in it sees the reason."""

    session_id: SessionIdText
    user_id: UserIdText
    reason: Annotated[str, Meta(min_length=1, max_length=500)] | None = None


class EndSession(Message, frozen=True, kw_only=True):
    """End a session now."""

    session_id: SessionIdText


class SetRecording(Message, frozen=True, kw_only=True):
    """Switch recording of a session on or off."""

    session_id: SessionIdText
    enabled: bool
