"""Given, when, then: a session told in a few words.

    story = Story().given(join(ANNA), join(BEN), at=minutes(-5))
    assert said(story.when(PASS, at=minutes(0))) == [SessionStarted()]

A story opens its session when the lobby opens, ten minutes before the scheduled start; every `at` is counted from that
start. Like the command handler, it lets what is overdue happen first, in a commit of its own. A command that is refused
raises, and the story checks that it has changed nothing.
"""

import copy
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from msgspec.structs import replace

from coordinator.domain.commands import (
    AdvanceTime,
    AttachRecording,
    Command,
    DisconnectParticipant,
    EndSession,
    EraseUser,
    JoinSession,
    LeaveSession,
    MuteParticipant,
    OpenSession,
    ReconnectParticipant,
    RemoveParticipant,
    SetMedia,
    SetRecording,
    SetRecordingConsent,
)
from coordinator.domain.deadlines import next_deadline
from coordinator.domain.decide import decide
from coordinator.domain.events import Actor, DisconnectReason, Event, EventBody, Role
from coordinator.domain.evolve import fold
from coordinator.domain.ids import CommitId, ConnectionId, SessionId, SlotId, UserId
from coordinator.domain.ledger import GENESIS, Commit, seal
from coordinator.domain.model import Language, Level
from coordinator.domain.pseudonyms import NOBODY
from coordinator.domain.state import ParticipantState, SessionState

SESSION = SessionId("5e55105e55105e55105e5510")
SLOT = SlotId("510751075107510751075107")
START = datetime(2030, 3, 4, 18, 0, tzinfo=UTC)
ANNA, BEN, CLEO, DINA = (UserId(name) for name in ("anna", "ben", "cleo", "dina"))
MODERATOR = Actor(user_id=UserId("mona"), role=Role.MODERATOR)
RECORDER = Actor(user_id=UserId("recorder"), role=Role.RECORDER)
URL = "https://bucket.r2.cloudflarestorage.com/anna.webm"
MOMENT = timedelta(milliseconds=1)
"""The smallest step of time that is told apart."""

Body = TypeVar("Body", bound=EventBody)


def minutes(count: float) -> timedelta:
    """An instant, or a length of time, in minutes from the scheduled start."""
    return timedelta(minutes=count)


def seconds(count: float) -> timedelta:
    """An instant, or a length of time, in seconds from the scheduled start."""
    return timedelta(seconds=count)


LOBBY = minutes(-10)
NO_SHOW = minutes(10)
END = minutes(30)
GRACE = seconds(30)
EMPTY = seconds(60)
OPEN = OpenSession(
    time_slot_id=SLOT,
    target_language_code=Language.FRENCH,
    level=Level.B1,
    scheduled_start=START,
    scheduled_end=START + END,
    no_show_at=START + NO_SHOW,
    min_participants=2,
    max_participants=8,
    empty_timeout_seconds=EMPTY.total_seconds(),
    reconnect_grace_seconds=GRACE.total_seconds(),
)
PASS = AdvanceTime()
"""Time passes, and what is due happens."""
END_IT = EndSession(actor=MODERATOR)


def user(number: int) -> UserId:
    """One of many users."""
    return UserId(f"user{number:02}")


def acting(who: UserId) -> Actor:
    """A participant as the cause of an event."""
    return Actor(user_id=who, role=Role.PARTICIPANT)


def laptop(who: UserId) -> ConnectionId:
    """The connection that a user has unless another is named."""
    return ConnectionId(f"node-{who}-1")


def phone(who: UserId) -> ConnectionId:
    """Another connection of the same user."""
    return ConnectionId(f"node-{who}-2")


def join(who: UserId, via: ConnectionId | None = None, *, registered: bool = True) -> JoinSession:
    return JoinSession(actor=acting(who), connection_id=via or laptop(who), registered=registered)


def leave(who: UserId, via: ConnectionId | None = None) -> LeaveSession:
    return LeaveSession(actor=acting(who), connection_id=via or laptop(who))


def lose(
    who: UserId, via: ConnectionId | None = None, reason: DisconnectReason = DisconnectReason.CONNECTION_CLOSED
) -> DisconnectParticipant:
    """The user's connection is gone."""
    return DisconnectParticipant(user_id=who, connection_id=via or laptop(who), reason=reason)


def back(who: UserId, via: ConnectionId | None = None) -> ReconnectParticipant:
    """The user's connection was not gone after all."""
    return ReconnectParticipant(actor=acting(who), connection_id=via or laptop(who))


def media(
    who: UserId, *, camera: bool | None = None, mic: bool | None = None, via: ConnectionId | None = None
) -> SetMedia:
    return SetMedia(actor=acting(who), connection_id=via or laptop(who), camera_enabled=camera, mic_enabled=mic)


def consent(who: UserId, policy: str | None = None, via: ConnectionId | None = None) -> SetRecordingConsent:
    return SetRecordingConsent(actor=acting(who), connection_id=via or laptop(who), granted=True, policy_version=policy)


def revoke(who: UserId, policy: str | None = None, via: ConnectionId | None = None) -> SetRecordingConsent:
    return SetRecordingConsent(
        actor=acting(who), connection_id=via or laptop(who), granted=False, policy_version=policy
    )


def mute(who: UserId) -> MuteParticipant:
    return MuteParticipant(actor=MODERATOR, user_id=who)


def remove(who: UserId, message: str | None = None) -> RemoveParticipant:
    return RemoveParticipant(actor=MODERATOR, user_id=who, message=message)


def record(enabled: bool = True) -> SetRecording:
    return SetRecording(actor=MODERATOR, enabled=enabled)


def attach(who: UserId, start: timedelta, url: str = URL) -> AttachRecording:
    """A recording of `who` that begins at `start`, counted from the scheduled start like every `at`."""
    return AttachRecording(actor=RECORDER, user_id=who, url=url, start_time=START + start)


def erase(who: UserId) -> EraseUser:
    return EraseUser(user_id=who)


def salt(number: int) -> str:
    """One of many salts, each unlike the others."""
    return f"5a17{number:028x}"


def sealed_log(commits: Iterable[list[Event]]) -> list[Commit]:
    """Commits as the journal gets them."""
    sealed: list[Commit] = []
    state: SessionState | None = None
    for number, events in enumerate(commits):
        prev_hash = sealed[-1].hash if sealed else GENESIS
        sealed.append(seal(CommitId(f"{number:024x}"), events, prev_hash, state.aliases if state else NOBODY))
        state = fold(events, state)
    return sealed


def said(events: Iterable[Event]) -> list[EventBody]:
    """What happened, without when and by whom."""
    return [event.body for event in events]


def kinds(events: Iterable[Event]) -> list[str]:
    """What happened, by name only."""
    return [event.body.kind for event in events]


class Story:
    """A session and all that has happened in it. Rules other than the usual ones are given by name."""

    def __init__(self, *, opened: bool = True, **rules: Any) -> None:
        self.opening = replace(OPEN, **rules)
        self.clock = START + LOBBY
        self.state: SessionState | None = None
        self.commits: list[list[Event]] = []
        self.decisions = 0
        if opened:
            self.given(self.opening)

    @property
    def log(self) -> list[Event]:
        """Every event so far."""
        return [event for commit in self.commits for event in commit]

    def sealed(self) -> list[Commit]:
        """Every commit so far, as the journal gets them."""
        return sealed_log(self.commits)

    @property
    def session(self) -> SessionState:
        """The session, which has been opened."""
        assert self.state is not None
        return self.state

    @property
    def deadline(self) -> timedelta | None:
        """When the session will next change by itself, counted from the scheduled start."""
        deadline = next_deadline(self.session)
        return None if deadline is None else deadline - START

    def participant(self, who: UserId) -> ParticipantState:
        """A user who has joined at least once."""
        return self.session.participants[who]

    def of_kind(self, kind: type[Body]) -> list[Body]:
        """Every event of one kind so far."""
        return [event.body for event in self.log if isinstance(event.body, kind)]

    def given(self, *commands: Command, at: timedelta | None = None) -> "Story":
        """Let all this happen, at one instant."""
        for command in commands:
            self.when(command, at=at)
        return self

    def when(self, command: Command, at: timedelta | None = None) -> list[Event]:
        """Let the command happen and return its events; what was overdue before it is only in the log."""
        if at is not None:
            self.clock = START + at
        if self.state is not None and not isinstance(command, AdvanceTime):
            self._decide(PASS)
        return self._decide(command)

    def _decide(self, command: Command) -> list[Event]:
        before = self.state
        untouched = copy.deepcopy(before)
        self.decisions += 1
        try:
            decision = decide(SESSION, before, command, self.clock, salt(self.decisions))
        finally:
            assert before == untouched, "deciding must not change the state it is given"
        self.state = decision.state
        if decision.events:
            self.commits.append(decision.events)
        return decision.events


def running(*users: UserId, recording: bool = False, consenting: Iterable[UserId] = (), **rules: Any) -> Story:
    """A session that has started on time with these users in it (at least two)."""
    story = Story(**rules).given(*(join(who) for who in users), at=minutes(-5))
    story.given(*(consent(who) for who in consenting))
    if recording:
        story.given(record())
    story.given(PASS, at=minutes(0))
    assert story.session.started_at == START
    return story
