"""Things to store: commits, sessions, slots, registrations, consumers and more, with every field under control."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from msgspec.structs import replace

from coordinator.domain.cursors import START, CatchUpCursor, Position, cursor_text
from coordinator.domain.events import (
    Actor,
    CameraChanged,
    DisconnectReason,
    Event,
    EventBody,
    LeftReason,
    MicChanged,
    ParticipantDisconnected,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantReconnected,
    PermissionReason,
    RecordingAttached,
    RecordingConsentGranted,
    RecordingConsentRevoked,
    RecordingDisabled,
    RecordingEnabled,
    RecordingPermitted,
    RecordingWithdrawn,
    Role,
    SessionEnded,
    SessionOpened,
    SessionStarted,
    UserErased,
)
from coordinator.domain.ids import CommitId, ConnectionId, SessionId, SlotId, UserId
from coordinator.domain.ledger import GENESIS, Commit, seal
from coordinator.domain.model import (
    EndReason,
    Language,
    Level,
    Participant,
    ParticipantStatus,
    Recording,
    Recurrence,
    Registration,
    RegistrationStatus,
    Series,
    Session,
    SessionStatus,
    SlotChanges,
    TimeSlot,
)
from coordinator.ports.consumers import Consumer

NOON = datetime(2030, 3, 4, 12, 0, 0, 123_000, tzinfo=UTC)
"""An instant with milliseconds, which must survive."""
MOMENT = timedelta(milliseconds=1)
ANNA, BEN, CLEO = UserId("anna"), UserId("ben"), UserId("cléo\u2028🎙")
OWNER, OTHER_OWNER = ConnectionId("node-1"), ConnectionId("node-2")
URL = "https://bucket.r2.cloudflarestorage.com/anna.webm"

_ids = count(1)


def new_id() -> str:
    """24 hex digits that no other test has."""
    return format(next(_ids), "024x")


def new_session_id() -> SessionId:
    return SessionId(new_id())


def new_slot_id() -> SlotId:
    return SlotId(new_id())


def users(number: int) -> list[UserId]:
    """So many users."""
    return [UserId(f"user{index:02}") for index in range(number)]


OPENED = SessionOpened(
    time_slot_id=SlotId("510751075107510751075107"),
    target_language_code=Language.FRENCH,
    level=Level.B1,
    scheduled_start=NOON + timedelta(minutes=10),
    scheduled_end=NOON + timedelta(minutes=40),
    no_show_at=NOON + timedelta(minutes=20),
    min_participants=2,
    max_participants=8,
    empty_timeout_seconds=60.0,
    reconnect_grace_seconds=0.25,
)
EVERY_KIND: tuple[EventBody, ...] = (
    OPENED,
    ParticipantJoined(
        user_id=CLEO,
        connection_id=ConnectionId("node-1"),
        camera_enabled=False,
        mic_enabled=True,
        recording_consent=False,
    ),
    SessionStarted(),
    CameraChanged(user_id=CLEO, camera_enabled=True),
    MicChanged(user_id=CLEO, mic_enabled=False),
    RecordingConsentGranted(user_id=CLEO, policy_version="2030-01"),
    RecordingConsentRevoked(user_id=CLEO),
    RecordingEnabled(),
    RecordingDisabled(),
    RecordingPermitted(user_id=CLEO, reason=PermissionReason.CONSENT_GRANTED),
    RecordingWithdrawn(user_id=CLEO, reason=PermissionReason.DISCONNECTED),
    RecordingAttached(user_id=CLEO, url=URL, start_time=NOON - MOMENT),
    ParticipantDisconnected(user_id=CLEO, reason=DisconnectReason.PING_TIMEOUT, reconnect_by=NOON + MOMENT),
    ParticipantReconnected(user_id=CLEO, connection_id=ConnectionId("node-2")),
    ParticipantLeft(user_id=CLEO, reason=LeftReason.REMOVED, message='be kind, "please"'),
    SessionEnded(reason=EndReason.COMPLETED),
    UserErased(user_id=CLEO),
)


def toggles(number: int) -> tuple[EventBody, ...]:
    """So many events of a common kind."""
    return tuple(MicChanged(user_id=ANNA, mic_enabled=bool(index % 2)) for index in range(number))


def commit(
    session_id: SessionId, bodies: Sequence[EventBody] = (OPENED,), *, seq: int = 1, prev_hash: str = GENESIS
) -> Commit:
    """A commit of `bodies`, whose events are a millisecond apart."""
    actor = Actor(user_id=ANNA, role=Role.PARTICIPANT)
    events = [
        Event(session_id=session_id, seq=number, at=NOON + number * MOMENT, actor=actor, body=body)
        for number, body in enumerate(bodies, start=seq)
    ]
    return seal(CommitId(new_id()), events, prev_hash)


def chain(session_id: SessionId, sizes: Sequence[int]) -> list[Commit]:
    """A session's whole journal: commits with so many events each."""
    commits: list[Commit] = []
    seq, prev_hash = 1, GENESIS
    for size in sizes:
        bodies = (OPENED, *toggles(size - 1)) if seq == 1 else toggles(size)
        commits.append(commit(session_id, bodies, seq=seq, prev_hash=prev_hash))
        seq, prev_hash = commits[-1].last_seq + 1, commits[-1].hash
    return commits


def session(session_id: SessionId | None = None, **changes: Any) -> Session:
    """A session with nothing optional, changed as asked."""
    plain = Session(
        id=session_id or new_session_id(),
        time_slot_id=SlotId("510751075107510751075107"),
        target_language_code=Language.FRENCH,
        level=Level.B1,
        status=SessionStatus.WAITING,
        recording_enabled=False,
        created_at=NOON,
        updated_at=NOON + MOMENT,
        scheduled_start=NOON + timedelta(minutes=10),
        scheduled_end=NOON + timedelta(minutes=40),
        seq=1,
    )
    return replace(plain, **changes)


def full_session(session_id: SessionId | None = None) -> Session:
    """A session with everything optional."""
    return session(
        session_id,
        status=SessionStatus.ENDED,
        recording_enabled=True,
        seq=77,
        started_at=NOON + timedelta(minutes=10),
        ended_at=NOON + timedelta(minutes=40),
        end_reason=EndReason.COMPLETED,
        recordings=(
            Recording(user_id=ANNA, url=URL, start_time=NOON + timedelta(minutes=12)),
            Recording(user_id=CLEO, url=URL + "?2", start_time=NOON + timedelta(minutes=13)),
        ),
        next_deadline=NOON + timedelta(minutes=41),
    )


def participant(session_id: SessionId, user_id: UserId = ANNA, **changes: Any) -> Participant:
    """A participant who is there, changed as asked."""
    plain = Participant(
        session_id=session_id,
        user_id=user_id,
        status=ParticipantStatus.CONNECTED,
        camera_enabled=False,
        mic_enabled=True,
        recording_consent=False,
        joined_at=NOON,
        seq=2,
    )
    return replace(plain, **changes)


def slot(slot_id: SlotId | None = None, **changes: Any) -> TimeSlot:
    """An active slot with nothing optional, changed as asked."""
    plain = TimeSlot(
        id=slot_id or new_slot_id(),
        target_language_code=Language.SPANISH,
        level=Level.C2,
        start_time=NOON,
        duration_minutes=30,
        is_active=True,
        created_at=NOON - timedelta(days=1),
        updated_at=NOON - timedelta(hours=1),
    )
    return replace(plain, **changes)


def full_slot(slot_id: SlotId | None = None) -> TimeSlot:
    """A slot with everything optional."""
    return slot(
        slot_id,
        max_participants=50,
        min_participants=3,
        recurrence=Recurrence.WEEKLY,
        timezone="Europe/Madrid",
        series_id=new_slot_id(),
        session_id=new_session_id(),
        registered_count=7,
        series_number=3,
        settle_at=NOON + timedelta(minutes=30),
    )


def series(series_id: SlotId | None = None, **changes: Any) -> Series:
    """A running series with nothing optional, changed as asked."""
    plain = Series(
        id=series_id or new_slot_id(),
        target_language_code=Language.FRENCH,
        level=Level.A2,
        anchor="2030-03-04T12:00:00.123",
        duration_minutes=45,
        max_participants=12,
        min_participants=3,
        recurrence=Recurrence.DAILY,
        timezone="Europe/Paris",
        is_active=True,
        created_at=NOON - timedelta(days=1),
        updated_at=NOON - timedelta(hours=1),
        next_number=14,
    )
    return replace(plain, **changes)


def full_series(series_id: SlotId | None = None) -> Series:
    """A series with everything optional."""
    pending = SlotChanges(
        target_language_code=Language.ENGLISH,
        level=Level.C1,
        start_time=NOON + timedelta(days=14),
        duration_minutes=15,
        max_participants=50,
        min_participants=2,
        timezone="UTC",
        is_active=False,
    )
    return series(series_id, next_start=NOON + timedelta(days=14), pending=pending)


def registration(slot_id: SlotId, user_id: UserId = ANNA, **changes: Any) -> Registration:
    """A booking, changed as asked."""
    plain = Registration(
        id=new_id(),
        time_slot_id=slot_id,
        user_id=user_id,
        status=RegistrationStatus.REGISTERED,
        registered_at=NOON,
    )
    return replace(plain, **changes)


def consumer(name: str = "recorder", **changes: Any) -> Consumer:
    """A consumer that is about to read everything, changed as asked."""
    plain = Consumer(
        name=name,
        owner=OWNER,
        cursor=cursor_text(CatchUpCursor(Position("p"), START)),
        is_exact=True,
        scope=None,
        up_to=NOON,
    )
    return replace(plain, **changes)
