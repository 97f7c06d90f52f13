"""Short cases for a referee: what the domain says, what it would never say, and which invariant that breaks.

case = Case(running(ANNA, BEN))
with caught(Invariant.TRANSITIONS):
    case.forge(CameraChanged(user_id=ANNA, camera_enabled=False), by=acting(ANNA))
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from coordinator.domain.commands import Command
from coordinator.domain.events import (
    SYSTEM,
    Actor,
    DisconnectReason,
    Event,
    EventBody,
    LeftReason,
    ParticipantDisconnected,
    ParticipantJoined,
    ParticipantLeft,
)
from coordinator.domain.evolve import fold
from coordinator.domain.ids import CommitId, ConnectionId, UserId
from coordinator.domain.ledger import GENESIS, Commit, SealedEvent, seal
from coordinator.domain.pseudonyms import NOBODY
from coordinator.domain.state import SessionState
from coordinator.services.catching_up import Snapshot, View, snapshot_of
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    EMPTY,
    GRACE,
    SESSION,
    START,
    Story,
    laptop,
    lose,
    running,
    seconds,
)
from tests.simulation.referee import Invariant, Referee, Violation

NODE_TIMEOUT_SECONDS = 15.0


def a_referee(*, grace: float = GRACE.total_seconds(), empty: float = EMPTY.total_seconds()) -> Referee:
    """A referee of sessions with the usual rules."""
    return Referee(grace, empty, NODE_TIMEOUT_SECONDS)


@contextmanager
def caught(invariant: Invariant, facts: str | None = None) -> Iterator[None]:
    """What is done here breaks an invariant; `facts` is a pattern that the violation's text must match somewhere."""
    with pytest.raises(Violation, match=facts) as found:
        yield
    assert found.value.invariant is invariant, str(found.value)


class Case:
    """A story told to a referee, commit by commit.

    Attributes:
        story: The session as the domain has it.
        referee: Who has heard all of it.
        commits: What the referee was told of.
    """

    def __init__(self, story: Story | None = None, referee: Referee | None = None) -> None:
        self.story = story or Story()
        self.referee = referee or a_referee()
        self.commits: list[Commit] = []
        self.tell()

    @property
    def now(self) -> datetime:
        return self.story.clock

    @property
    def events(self) -> list[SealedEvent]:
        return [sealed for commit in self.commits for sealed in commit.events]

    def tell(self, at: datetime | None = None) -> None:
        """Tell the referee what has happened in the story since."""
        for events in self.story.commits[len(self.commits) :]:
            self._commit(events, at or events[-1].at)

    def given(self, *commands: Command, at: timedelta | None = None) -> "Case":
        """Let all this happen, and tell of it."""
        self.story.given(*commands, at=at)
        self.tell()
        return self

    def made(self, command: Command, at: timedelta | None = None) -> list[Event]:
        """Return what a command brings next, without telling of it: there is something to forge."""
        self.story.when(command, at)
        return self.story.commits[len(self.commits)]

    def forge(self, *bodies: EventBody, by: Actor = SYSTEM, at: timedelta | None = None) -> None:
        """Tell of a commit that the domain has not made."""
        instant = self.now if at is None else START + at
        self.put([Event(session_id=SESSION, seq=0, at=instant, actor=by, body=body) for body in bodies])

    def put(self, events: list[Event], at: datetime | None = None) -> None:
        """Tell of a commit of these events, numbered anew."""
        first = len(self.events) + 1
        self._commit([replace(event, seq=seq) for seq, event in enumerate(events, first)], at or events[-1].at)

    def next_commit(self, events: list[Event]) -> Commit:
        """Return a commit that continues the log."""
        prev_hash = self.commits[-1].hash if self.commits else GENESIS
        known = fold(sealed.event for sealed in self.events)
        aliases = known.aliases if known else NOBODY
        return seal(CommitId(f"{len(self.commits):024x}"), events, prev_hash, aliases)

    def _commit(self, events: list[Event], at: datetime) -> None:
        commit = self.next_commit(events)
        self.commits.append(commit)
        self.referee.committed(commit, at)

    def state(self, seq: int | None = None) -> SessionState:
        """The session after an event, the last if none is named."""
        state = fold(sealed.event for sealed in self.events[:seq])
        assert state is not None
        return state

    def snapshot(self, seq: int | None = None) -> Snapshot:
        return snapshot_of(self.state(seq))

    def view(self, seq: int | None = None, snapshot: Snapshot | None = None) -> View:
        """A snapshot as of an event, the last if none is named."""
        shown = snapshot or self.snapshot(seq)
        return View(SESSION, shown.session.seq if seq is None else seq, self.now, snapshot=shown)


def joined(user: UserId, via: ConnectionId | None = None, *, camera: bool = False, consents: bool = False) -> EventBody:
    return ParticipantJoined(
        user_id=user,
        connection_id=via or laptop(user),
        camera_enabled=camera,
        mic_enabled=False,
        recording_consent=consents,
    )


def lost(case: Case, user: UserId, grace: timedelta = GRACE) -> EventBody:
    return ParticipantDisconnected(
        user_id=user, reason=DisconnectReason.CONNECTION_CLOSED, reconnect_by=case.now + grace
    )


def left(user: UserId, reason: LeftReason = LeftReason.LEFT) -> EventBody:
    return ParticipantLeft(user_id=user, reason=reason)


def recorded() -> Case:
    """A running session that is recorded; Anna consents, Ben does not, Cleo is away."""
    story = running(ANNA, BEN, CLEO, recording=True, consenting=[ANNA])
    return Case(story).given(lose(CLEO), at=seconds(10))
