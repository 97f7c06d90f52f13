"""What is shown over HTTP (SPEC sections 1 and 4). A field without a value is left out.

Owns which fields of the model are shown; instants are texts here, because here is where they become the wire's.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from coordinator.domain import events, model
from coordinator.domain.errors import ERRORS
from coordinator.domain.events import EVENT_TYPES, Role
from coordinator.domain.ids import UserId, participant_id
from coordinator.domain.ledger import wire_time
from coordinator.domain.model import EndReason, ParticipantStatus, RegistrationStatus, SessionStatus
from coordinator.protocol.fields import (
    DurationMinutes,
    IsActive,
    LanguageCode,
    LevelCode,
    MaxParticipants,
    MinParticipants,
    Next,
    ObjectId,
    RecordingUrl,
    RecurrenceRule,
    Timestamp,
    TimeZoneName,
    UserIdText,
)
from coordinator.protocol.messages import MAX_SEQ

Count = Annotated[int, Meta(ge=0)]
Seq = Annotated[int, Meta(ge=0, le=MAX_SEQ, description="The last event of the session's log that is applied.")]


class View(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of everything that is shown."""


V = TypeVar("V", bound=View)


class TimeSlot(View, frozen=True, kw_only=True):
    """An offered time: language, level, start and length."""

    id: ObjectId
    target_language_code: LanguageCode
    level: LevelCode
    start_time: Timestamp
    duration_minutes: DurationMinutes
    max_participants: MaxParticipants
    min_participants: MinParticipants
    recurrence: RecurrenceRule | UnsetType = UNSET
    timezone: TimeZoneName
    is_active: IsActive
    series_id: Annotated[ObjectId, Meta(description="The slot that this one repeats.")] | UnsetType = UNSET
    session_id: Annotated[ObjectId, Meta(description="Its session, once there is one.")] | UnsetType = UNSET
    registered_count: Annotated[Count, Meta(description="Seats that are booked.")]
    created_at: Timestamp
    updated_at: Timestamp


class TimeSlots(View, frozen=True, kw_only=True):
    """A page of time slots, the earliest first."""

    items: list[TimeSlot]
    next: Next | UnsetType = UNSET


class Registration(View, frozen=True, kw_only=True):
    """A user's booking of a time slot."""

    id: ObjectId
    time_slot_id: ObjectId
    user_id: UserIdText
    status: RegistrationStatus
    registered_at: Timestamp
    cancelled_at: Timestamp | UnsetType = UNSET


class Registrations(View, frozen=True, kw_only=True):
    """A page of registrations."""

    items: list[Registration]
    next: Next | UnsetType = UNSET


class Booking(Registration, frozen=True, kw_only=True):
    """A registration together with its time slot."""

    time_slot: TimeSlot


class Bookings(View, frozen=True, kw_only=True):
    """A page of a user's registrations."""

    items: list[Booking]
    next: Next | UnsetType = UNSET


class Recording(View, frozen=True, kw_only=True):
    """A recording of one participant; its start synchronises it with the others."""

    user_id: UserIdText
    url: RecordingUrl
    start_time: Timestamp


class Recordings(View, frozen=True, kw_only=True):
    """The recordings of a session, in the order in which they were attached."""

    items: list[Recording]


class Session(View, frozen=True, kw_only=True):
    """What becomes of a time slot: the live conversation."""

    id: ObjectId
    time_slot_id: ObjectId
    target_language_code: LanguageCode
    level: LevelCode
    status: SessionStatus
    recording_enabled: bool
    created_at: Timestamp
    updated_at: Timestamp
    scheduled_start: Timestamp
    scheduled_end: Timestamp
    seq: Seq
    started_at: Timestamp | UnsetType = UNSET
    ended_at: Timestamp | UnsetType = UNSET
    end_reason: EndReason | UnsetType = UNSET
    recordings: Annotated[list[Recording], Meta(description="To a participant, only its own.")]
    next_deadline: (
        Annotated[Timestamp, Meta(description="When the session changes by itself, unless something happens before.")]
        | UnsetType
    ) = UNSET


class Sessions(View, frozen=True, kw_only=True):
    """A page of sessions, the newest first."""

    items: list[Session]
    next: Next | UnsetType = UNSET


class Participant(View, frozen=True, kw_only=True):
    """A user's part in a session."""

    id: ObjectId
    session_id: ObjectId
    user_id: UserIdText
    status: ParticipantStatus
    camera_enabled: bool
    mic_enabled: bool
    recording_consent: bool
    joined_at: Timestamp
    seq: Seq
    left_at: Timestamp | UnsetType = UNSET


class Participants(View, frozen=True, kw_only=True):
    """Everyone who has ever been in a session, in the order in which they first joined."""

    items: list[Participant]


class Actor(View, frozen=True, kw_only=True):
    """Who caused an event."""

    user_id: str
    role: Role


class Event(View, frozen=True, kw_only=True):
    """An entry of a session's log. What stands in `data` depends on `type`."""

    session_id: ObjectId
    seq: Annotated[int, Meta(ge=1, le=MAX_SEQ, description="Its place in the session's order: dense, from 1.")]
    at: Timestamp
    type: Annotated[str, Meta(extra_json_schema={"enum": sorted(EVENT_TYPES)})]
    actor: Actor
    data: dict[str, Any]


class Events(View, frozen=True, kw_only=True):
    """A page of a session's log."""

    items: list[Event]
    next: Annotated[int, Meta(description="The `after` of the following page, if there is one.")] | UnsetType = UNSET


class SealedEvents(View, frozen=True, kw_only=True):
    """The same as `Events`, made of events as they were written down: each byte is what subscribers get."""

    items: list[msgspec.Raw]
    next: int | UnsetType = UNSET


class Consent(View, frozen=True, kw_only=True):
    """A grant or a revocation of a user's consent to be recorded, as the journal holds it."""

    session_id: ObjectId
    seq: Annotated[int, Meta(ge=1, le=MAX_SEQ, description="Its place in the session's order.")]
    at: Timestamp
    type: Literal["recording_consent_granted", "recording_consent_revoked"]
    granted: Annotated[bool, Meta(description="Whether consent was granted, or revoked.")]
    policy_version: Annotated[str, Meta(description="The policy that the user was shown.")] | UnsetType = UNSET
    actor: Actor
    commit_hash: Annotated[str, Meta(description="The hash of the commit that holds it: it covers all before it.")]


class Consents(View, frozen=True, kw_only=True):
    """A page of a user's consents, the oldest session first. Before the last, a page may be short, or even empty."""

    items: list[Consent]
    next: Next | UnsetType = UNSET


class JournalHead(View, frozen=True, kw_only=True):
    """Where the journal of a session ended when it was read: whoever has this knows if any of it changes later."""

    session_id: ObjectId
    seq: Annotated[int, Meta(ge=1, le=MAX_SEQ, description="The last event.")]
    head_hash: Annotated[str, Meta(description="The hash of the last commit, which covers all before it.")]
    commits: Annotated[int, Meta(ge=1, description="How many commits there were.")]


class ConsentHistory(View, frozen=True, kw_only=True):
    """All consents of a user, and the sessions that they were taken from: every one that the user has a part in."""

    user_id: UserIdText
    exported_at: Timestamp
    items: list[Consent]
    sessions: list[JournalHead]


class IceServer(View, frozen=True, kw_only=True):
    """A STUN or TURN server, as `RTCPeerConnection` takes it."""

    urls: list[str]
    username: str | UnsetType = UNSET
    credential: str | UnsetType = UNSET


class IceServers(View, frozen=True, kw_only=True):
    """What helps browsers to reach each other."""

    ice_servers: list[IceServer]
    expires_at: Annotated[Timestamp, Meta(description="When the credentials end.")] | UnsetType = UNSET


class Health(View, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(View, frozen=True, kw_only=True):
    """Whether everything that is needed answers."""

    status: Literal["ready", "unavailable", "draining"]
    checks: dict[str, Literal["ok", "out of reach"]]


class Problem(View, frozen=True, kw_only=True):
    """Why a request was refused (RFC 9457)."""

    type: Annotated[str, Meta(description="Always `about:blank`: `code` tells what it is.")] = "about:blank"
    title: Annotated[str, Meta(description="The status in words.")]
    status: Annotated[int, Meta(ge=400, le=599, description="The HTTP status.")]
    detail: Annotated[str, Meta(description="What is wrong and what would be right, for people.")]
    code: Annotated[str, Meta(description="What it is, for programs.", extra_json_schema={"enum": sorted(ERRORS)})]
    retryable: Annotated[bool, Meta(description="Whether the same request may succeed later.")]
    field: Annotated[str, Meta(description="The field, parameter or header that is wrong.")] | UnsetType = UNSET


def slot_view(slot: model.TimeSlot) -> TimeSlot:
    """Show a time slot."""
    return _view(TimeSlot, slot)


def registration_view(registration: model.Registration) -> Registration:
    """Show a registration."""
    return _view(Registration, registration)


def booking_view(registration: model.Registration, slot: model.TimeSlot) -> Booking:
    """Show a registration with its slot."""
    return _view(Booking, registration, time_slot=slot_view(slot))


def recording_view(recording: model.Recording) -> Recording:
    """Show a recording."""
    return _view(Recording, recording)


def session_view(session: model.Session, only_of: UserId | None = None) -> Session:
    """Show a session, with all recordings or only those of one user."""
    return _view(Session, session, recordings=list(recording_views(session.recordings, only_of)))


def recording_views(recordings: Iterable[model.Recording], only_of: UserId | None = None) -> Iterable[Recording]:
    """Show recordings, all or only those of one user."""
    return (recording_view(item) for item in recordings if only_of is None or item.user_id == only_of)


def participant_view(participant: model.Participant) -> Participant:
    """Show a participant, with its id. Field by field: a join shows everybody who is there."""
    return Participant(
        id=participant_id(participant.session_id, participant.user_id),
        session_id=participant.session_id,
        user_id=participant.user_id,
        status=participant.status,
        camera_enabled=participant.camera_enabled,
        mic_enabled=participant.mic_enabled,
        recording_consent=participant.recording_consent,
        joined_at=wire_time(participant.joined_at),
        seq=participant.seq,
        left_at=UNSET if participant.left_at is None else wire_time(participant.left_at),
    )


def consent_view(event: events.Event, commit_hash: str) -> Consent:
    """Show a grant or a revocation."""
    body = event.body
    assert isinstance(body, events.RecordingConsentGranted | events.RecordingConsentRevoked)
    granted = isinstance(body, events.RecordingConsentGranted)
    return Consent(
        session_id=event.session_id,
        seq=event.seq,
        at=wire_time(event.at),
        type="recording_consent_granted" if granted else "recording_consent_revoked",
        granted=granted,
        policy_version=UNSET if body.policy_version is None else body.policy_version,
        actor=Actor(user_id=event.actor.user_id, role=event.actor.role),
        commit_hash=commit_hash,
    )


def encode_view(view: View) -> bytes:
    """Return a view as JSON text."""
    return msgspec.json.encode(view)


def _view(kind: type[V], shown: model.Model, **more: object) -> V:
    """Take from a model what a view of it shows; `more` is what the model has not, or not like this."""
    for name in kind.__struct_fields__:
        if name not in more and (value := getattr(shown, name)) is not None:
            more[name] = wire_time(value) if isinstance(value, datetime) else value
    return kind(**more)
