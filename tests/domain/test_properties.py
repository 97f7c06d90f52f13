"""Any command, at any time, by anyone: what must hold whatever happens.

A machine throws commands at one session, illegal and late ones included, on a clock that may stand still, jump or run
backwards. `Listener` knows the events alone, as the recording service does, and finds out who may be recorded.
"""

import copy
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from coordinator.domain.commands import Command
from coordinator.domain.deadlines import next_deadline, next_due, span
from coordinator.domain.decide import Decision, decide
from coordinator.domain.errors import CoordinatorError, SessionNotOpenError
from coordinator.domain.events import (
    DisconnectReason,
    Event,
    EventBody,
    LeftReason,
    ParticipantDisconnected,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantReconnected,
    RecordingAttached,
    RecordingConsentGranted,
    RecordingConsentRevoked,
    RecordingDisabled,
    RecordingEnabled,
    RecordingPermitted,
    RecordingWithdrawn,
    SessionEnded,
    SessionStarted,
)
from coordinator.domain.evolve import evolve, fold
from coordinator.domain.ids import UserId
from coordinator.domain.ledger import find_flaws, plain_data, read_event
from coordinator.domain.model import EndReason, SessionStatus
from coordinator.domain.state import SessionState
from tests.domain.erasing import erased
from tests.domain.stored import stored_form
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    DINA,
    END_IT,
    MODERATOR,
    OPEN,
    PASS,
    RECORDER,
    SESSION,
    START,
    Story,
    attach,
    consent,
    join,
    laptop,
    leave,
    lose,
    media,
    minutes,
    mute,
    phone,
    record,
    remove,
    revoke,
    salt,
    sealed_log,
    seconds,
)

Pause: TypeAlias = tuple[float, bool]

USERS = st.sampled_from([ANNA, BEN, CLEO, DINA])
VIA = st.sampled_from([laptop, laptop, phone])
MAYBE = st.sampled_from([None, True, False])
POLICIES = st.sampled_from([None, "2030-01", "2030-02"])
SECONDS = st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.001, 1.0, 5.0, 5.0, 19.999, -0.001])
PAUSES = st.tuples(SECONDS, st.booleans())
"""How far the clock moves before a command, and whether what is overdue then is decided first, as it should be."""

RULES = Story(
    opened=False,
    scheduled_end=START + minutes(6),
    no_show_at=START + minutes(2),
    max_participants=3,
    empty_timeout_seconds=40.0,
    reconnect_grace_seconds=20.0,
).opening


def earliest_of_all(state: SessionState) -> tuple[datetime, EventBody] | None:
    """The rule of `next_due`, said once more and at length: all that can come, and the first of the earliest."""
    if state.status is SessionStatus.ENDED:
        return None
    away = [(item.reconnect_by, item.user_id) for item in state.participants.values() if item.reconnect_by is not None]
    coming: list[tuple[datetime, EventBody]] = [
        (at, ParticipantLeft(user_id=who, reason=LeftReason.TIMEOUT)) for at, who in away
    ]
    if state.status is SessionStatus.WAITING:
        if state.present_count >= state.min_participants:
            coming.append((state.scheduled_start, SessionStarted()))
        coming.append((state.no_show_at, SessionEnded(reason=EndReason.NOT_ENOUGH_PARTICIPANTS)))
    else:
        coming.append((state.scheduled_end, SessionEnded(reason=EndReason.COMPLETED)))
        if state.empty_since is not None:
            empty_at = state.empty_since + span(state.empty_timeout_seconds)
            coming.append((empty_at, SessionEnded(reason=EndReason.EMPTY)))
    return min(coming, key=lambda item: item[0])


class Listener:
    """What can be known from the events alone."""

    def __init__(self) -> None:
        self.active = self.enabled = False
        self.connected: set[UserId] = set()
        self.consenting: set[UserId] = set()
        self.permitted: set[UserId] = set()

    def hear(self, event: Event) -> None:
        match event.body:
            case SessionStarted():
                self.active = True
            case SessionEnded():
                self.active = False
            case RecordingEnabled():
                self.enabled = True
            case RecordingDisabled():
                self.enabled = False
            case ParticipantJoined(user_id=user, recording_consent=consenting):
                self.connected.add(user)
                assert consenting is (user in self.consenting)
            case ParticipantReconnected(user_id=user):
                self.connected.add(user)
            case ParticipantDisconnected(user_id=user) | ParticipantLeft(user_id=user):
                self.connected.discard(user)
            case RecordingConsentGranted(user_id=user):
                self.consenting.add(user)
            case RecordingConsentRevoked(user_id=user):
                self.consenting.discard(user)
            case RecordingPermitted(user_id=user):
                assert user not in self.permitted
                self.permitted.add(user)
            case RecordingWithdrawn(user_id=user):
                self.permitted.remove(user)
            case _:
                pass

    @property
    def recordable(self) -> set[UserId]:
        """Whom the rule allows to be recorded."""
        return self.connected & self.consenting if self.active and self.enabled else set()


class AnySession(RuleBasedStateMachine):
    """One session under a storm of commands."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = START
        self.state: SessionState | None = None
        self.commits: list[list[Event]] = []
        self.listener = Listener()

    @property
    def log(self) -> list[Event]:
        return [event for commit in self.commits for event in commit]

    @initialize(chapter=st.sampled_from(range(4)), late=st.sampled_from([False] * 7 + [True]))
    def begin(self, chapter: int, late: bool) -> None:
        """Begin anywhere in the life of a session: unopened, in the lobby, running, or running and recorded."""
        self.clock = START + (minutes(3) if late else -seconds(10))
        if chapter >= 1:
            self.decide(RULES)
        if chapter >= 2 and not late:
            self.decide(join(ANNA))
            self.decide(join(BEN))
            self.happen(PASS, (10.0, False))
        if chapter >= 3 and not late:
            for command in (record(), consent(ANNA), consent(BEN)):
                self.decide(command)

    @rule(pause=PAUSES)
    def open(self, pause: Pause) -> None:
        self.happen(RULES, pause)

    @rule(pause=PAUSES)
    def other_rules(self, pause: Pause) -> None:
        if self.state is not None:
            self.happen(OPEN, pause)

    @rule(pause=PAUSES, who=USERS, via=VIA, registered=st.sampled_from([True, True, True, False]))
    def join(self, pause: Pause, who: UserId, via: Any, registered: bool) -> None:
        self.happen(join(who, via(who), registered=registered), pause)

    @rule(pause=PAUSES, who=st.sampled_from([[ANNA, BEN], [BEN, CLEO, DINA]]))
    def join_together(self, pause: Pause, who: list[UserId]) -> None:
        for one in who:
            self.happen(join(one), pause)
            pause = (0.0, True)

    @rule(pause=PAUSES, who=USERS, via=VIA)
    def leave(self, pause: Pause, who: UserId, via: Any) -> None:
        self.happen(leave(who, via(who)), pause)

    @rule(pause=PAUSES, who=USERS, via=VIA, reason=st.sampled_from(DisconnectReason))
    def lose(self, pause: Pause, who: UserId, via: Any, reason: DisconnectReason) -> None:
        self.happen(lose(who, via(who), reason), pause)

    @rule(pause=PAUSES, who=USERS, via=VIA, camera=MAYBE, mic=MAYBE)
    def switch_media(self, pause: Pause, who: UserId, via: Any, camera: bool | None, mic: bool | None) -> None:
        self.happen(media(who, camera=camera, mic=mic, via=via(who)), pause)

    @rule(pause=PAUSES, who=USERS, via=VIA, granted=st.sampled_from([True, True, False]), policy=POLICIES)
    def set_consent(self, pause: Pause, who: UserId, via: Any, granted: bool, policy: str | None) -> None:
        self.happen((consent if granted else revoke)(who, policy, via(who)), pause)

    @rule(step=st.sampled_from([0.0, 0.001, 10.0, 19.999, 20.0, 39.999, 40.0, 120.0, 400.0, -30.0]))
    def time_passes(self, step: float) -> None:
        self.happen(PASS, (step, False))
        assert self.state is None or not (deadline := next_deadline(self.state)) or deadline > self.clock

    @rule(pause=PAUSES, who=USERS)
    def mute(self, pause: Pause, who: UserId) -> None:
        before = {} if self.state is None else self.state.participants
        on = {user for user, participant in before.items() if participant.mic_enabled}
        self.happen(mute(who), (pause[0], False))
        after = {} if self.state is None else self.state.participants
        assert {user for user, participant in after.items() if participant.mic_enabled} <= on

    @rule(pause=PAUSES, who=USERS)
    def remove(self, pause: Pause, who: UserId) -> None:
        self.happen(remove(who), pause)

    @rule(pause=PAUSES, enabled=st.sampled_from([True, True, False]))
    def record(self, pause: Pause, enabled: bool) -> None:
        self.happen(record(enabled), pause)

    @rule(pause=PAUSES, who=USERS, ago=st.sampled_from([0, 1, 20, 60, 300]), url=st.sampled_from("ab"))
    def attach(self, pause: Pause, who: UserId, ago: int, url: str) -> None:
        start = self.clock - START - timedelta(seconds=ago)
        self.happen(attach(who, start, url=f"https://x.r2.cloudflarestorage.com/{url}"), pause)

    @rule(pause=PAUSES, really=st.sampled_from([False] * 7 + [True]))
    def end(self, pause: Pause, really: bool) -> None:
        if really:
            self.happen(END_IT, pause)

    def happen(self, command: Command, pause: Pause) -> None:
        """Let time pass, then try the command; if it is not refused, repeating it must change nothing."""
        step, overdue_first = pause
        self.clock += timedelta(seconds=step)
        if overdue_first and self.state is not None:
            self.decide(PASS)
        try:
            self.decide(command)
        except SessionNotOpenError:
            assert self.state is None
            return
        except CoordinatorError:
            return
        try:
            assert self.decide(command).events == [], "a repeated command must change nothing"
        except CoordinatorError:
            # What was overdue came after the command, in its commit, and may have taken the ground from under it.
            assert not overdue_first

    def decide(self, command: Command) -> Decision:
        before = self.state
        untouched = copy.deepcopy(before)
        try:
            decision = decide(SESSION, before, command, self.clock, salt(len(self.commits)))
        finally:
            assert before == untouched, "deciding must not change the state that it is given"
        if decision.events:
            self.check(before, decision)
            self.commits.append(decision.events)
        else:
            assert decision.state is before
        self.state = decision.state
        return decision

    def check(self, before: SessionState | None, decision: Decision) -> None:
        """Check one commit: dense, in time, foldable, storable, and final if it comes after the end."""
        assert decision.state == fold(decision.events, before)
        last = self.log[-1] if self.commits else None
        for event in decision.events:
            assert event.seq == (1 if last is None else last.seq + 1)
            assert last is None or event.at >= last.at
            assert read_event(SESSION, stored_event(event)) == event
            if isinstance(event.body, RecordingAttached):
                assert was_recordable(self.log, event.body)
            self.listener.hear(event)
            last = event
        if before is not None and before.status is SessionStatus.ENDED:
            assert {type(event.body) for event in decision.events} == {RecordingAttached}
        ended = [place for place, event in enumerate(decision.events) if isinstance(event.body, SessionEnded)]
        if ended:
            for event in decision.events[ended[0] + 1 :]:
                assert isinstance(event.body, RecordingWithdrawn | ParticipantLeft)
                assert event.body.reason.value == LeftReason.SESSION_ENDED.value

    @invariant()
    def permission_follows_the_rule(self) -> None:
        assert self.listener.permitted == self.listener.recordable
        if self.state is not None:
            for user, participant in self.state.participants.items():
                assert participant.is_permitted is (user in self.listener.permitted)
                assert participant.is_permitted is self.state.may_be_recorded(participant)
                assert participant.is_present is (user in self.listener.connected)

    @invariant()
    def seats_never_exceed_the_maximum(self) -> None:
        if self.state is not None:
            assert self.state.present_count <= self.state.seats_taken <= self.state.max_participants

    @invariant()
    def ended_is_final_and_only_then_is_there_no_deadline(self) -> None:
        if self.state is not None:
            ended = self.state.status is SessionStatus.ENDED
            assert (next_deadline(self.state) is None) is ended
            assert [isinstance(event.body, SessionEnded) for event in self.log].count(True) == ended
            assert not ended or self.state.seats_taken == 0

    @invariant()
    def the_next_deadline_is_the_earliest_of_all(self) -> None:
        if self.state is not None:
            assert next_due(self.state) == earliest_of_all(self.state)

    @invariant()
    def an_empty_active_session_is_counted_down(self) -> None:
        if self.state is not None:
            empty = self.state.status is SessionStatus.ACTIVE and self.state.present_count == 0
            assert (self.state.empty_since is not None) is empty

    def teardown(self) -> None:
        state: SessionState | None = None
        for event in self.log:
            state = evolve(state, event)
        assert state == self.state, "the log is the truth, and all of it"
        assert find_flaws(SESSION, stored_form(sealed_log(self.commits))) == []
        if state is not None:
            self.erase_someone(state)

    def erase_someone(self, state: SessionState) -> None:
        """End the session, and erase one of those who were in it or acted on it; what must hold is checked there."""
        if state.is_live:
            self.decide(END_IT)
        users = [*state.participants, MODERATOR.user_id, RECORDER.user_id]
        erased(self.commits, users[len(self.log) % len(users)], looks=2)


def stored_event(event: Event) -> dict[str, Any]:
    """An event as the journal hands it back, with a field of a later version in its data."""
    return {
        "seq": event.seq,
        "type": event.body.kind,
        "at": event.at,
        "actor": {"userId": event.actor.user_id, "role": event.actor.role.value},
        "data": {**plain_data(event.body), "addedLater": 1},
        "salt": event.salt,
    }


def was_recordable(log: list[Event], recording: RecordingAttached) -> bool:
    """Tell from the log alone whether a recording begins while its user could be recorded."""
    since = None
    for event in log:
        match event.body:
            case RecordingPermitted(user_id=user) if user == recording.user_id:
                since = event.at
            case RecordingWithdrawn(user_id=user) if user == recording.user_id and since is not None:
                if since <= recording.start_time < event.at:
                    return True
                since = None
            case _:
                pass
    return since is not None and since <= recording.start_time


TestAnySession = AnySession.TestCase
TestAnySession.settings = settings(max_examples=200)
