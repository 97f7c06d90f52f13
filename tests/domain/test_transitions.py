"""Every cell of both transition tables, through `evolve` and real states; anything not in them raises."""

import copy
from collections.abc import Iterable

import pytest

from coordinator.domain.events import (
    EVENT_TYPES,
    SYSTEM,
    DisconnectReason,
    Event,
    EventBody,
    LeftReason,
    ParticipantDisconnected,
    ParticipantLeft,
    PermissionReason,
    RecordingPermitted,
    RecordingWithdrawn,
    SessionEnded,
    SessionOpened,
    SessionStarted,
)
from coordinator.domain.evolve import evolve, fold
from coordinator.domain.ids import UserId
from coordinator.domain.model import EndReason, SessionStatus
from coordinator.domain.state import SessionState
from coordinator.domain.transitions import (
    PARTICIPANT_TRANSITIONS,
    REMOVAL,
    SESSION_TRANSITIONS,
    IllegalTransitionError,
    Presence,
    next_presence,
    next_status,
    participant_diagram,
    session_diagram,
)
from tests.domain.samples import joined, opened, participant_words, session_words
from tests.domain.story import GRACE, SESSION, START

# Both tables once more, as a reader of the contract would draw them. A column for each state before the event, in the
# order of the enumerations; in it the state after, by its initial. Dots are cells that do not exist.
SESSION_TABLE = """
                              (unopened) waiting active ended
    session_opened            w          .       .      .
    session_started           .          a       .      .
    session_ended             .          e       e      .
    participant_joined        .          w       a      .
    participant_disconnected  .          w       a      .
    participant_reconnected   .          w       a      .
    participant_left          .          w       a      e
    camera_changed            .          w       a      .
    mic_changed               .          w       a      .
    recording_consent_granted .          w       a      .
    recording_consent_revoked .          w       a      .
    recording_enabled         .          w       a      .
    recording_disabled        .          w       a      .
    recording_permitted       .          .       a      .
    recording_withdrawn       .          .       a      e
    recording_attached        .          .       a      e
    user_erased               .          .       .      e
"""
PARTICIPANT_TABLE = """
                              absent present away gone removed
    participant_joined        p      .       .    p    .
    participant_disconnected  .      a       .    .    .
    participant_reconnected   .      p       p    .    .
    participant_left          .      g       g    .    .
    participant_left:removed  .      r       r    r    .
    camera_changed            .      p       .    .    .
    mic_changed               .      p       a    .    .
    recording_consent_granted .      p       .    .    .
    recording_consent_revoked .      p       .    .    .
    recording_permitted       .      p       .    .    .
    recording_withdrawn       .      p       a    g    r
    recording_attached        .      p       a    g    r
    user_erased               .      p       a    g    r
"""

STATUSES: tuple[SessionStatus | None, ...] = (None, *SessionStatus)
SUBJECT = UserId("subject")
BYSTANDER = UserId("bystander")
WORDS = participant_words(SUBJECT)
ALL_WORDS = {**session_words(), **WORDS}


def evolved(state: SessionState | None, bodies: Iterable[EventBody]) -> SessionState | None:
    """Fold bare events, whether or not a decider would say them."""
    seq = 0 if state is None else state.seq
    return fold(
        (
            Event(session_id=SESSION, seq=seq + number, at=START, actor=SYSTEM, body=body)
            for number, body in enumerate(bodies, start=1)
        ),
        state,
    )


def follow(state: SessionState | None, body: EventBody) -> SessionState:
    seq = 1 if state is None else state.seq + 1
    return evolve(state, Event(session_id=SESSION, seq=seq, at=START, actor=SYSTEM, body=body))


def way_to(presence: Presence) -> list[EventBody]:
    """What brings the subject from nowhere to `presence`."""
    away = ParticipantDisconnected(
        user_id=SUBJECT, reason=DisconnectReason.CONNECTION_CLOSED, reconnect_by=START + GRACE
    )
    last_step: dict[Presence, list[EventBody]] = {
        Presence.PRESENT: [],
        Presence.AWAY: [away],
        Presence.GONE: [ParticipantLeft(user_id=SUBJECT, reason=LeftReason.LEFT)],
        Presence.REMOVED: [ParticipantLeft(user_id=SUBJECT, reason=LeftReason.REMOVED)],
    }
    return last_step[presence]


def bring(status: SessionStatus | None, presence: Presence, *, permitted: bool = False) -> SessionState | None:
    """Bring a session to `status` with the subject standing at `presence`, recordable if asked for and possible."""
    if status is None:
        return None
    bodies: list[EventBody] = [opened(), joined(BYSTANDER)]
    if presence is not Presence.ABSENT:
        bodies.append(joined(SUBJECT))
    if status is not SessionStatus.WAITING:
        bodies.append(SessionStarted())
        if permitted and presence is not Presence.ABSENT:
            bodies.append(RecordingPermitted(user_id=SUBJECT, reason=PermissionReason.SESSION_STARTED))
    if presence is not Presence.ABSENT:
        bodies.extend(way_to(presence))
    if status is SessionStatus.ENDED:
        bodies.append(SessionEnded(reason=EndReason.COMPLETED))
    state = evolved(None, bodies)
    assert state is not None
    assert state.status is status
    assert presence_of(state) is presence
    return state


def presence_of(state: SessionState) -> Presence:
    participant = state.participants.get(SUBJECT)
    return Presence.ABSENT if participant is None else participant.presence


def presence_for(word: str) -> Presence:
    """A presence in which the participant table allows `word`."""
    return next((presence for presence, allowed in PARTICIPANT_TRANSITIONS if allowed == word), Presence.PRESENT)


def assert_refused(state: SessionState | None, body: EventBody) -> None:
    untouched = copy.deepcopy(state)
    with pytest.raises(IllegalTransitionError):
        follow(state, body)
    assert state == untouched


def test_the_samples_cover_every_event_and_every_word() -> None:
    assert {type(body) for body in ALL_WORDS.values()} == set(EVENT_TYPES.values())
    assert {word for _, word in PARTICIPANT_TRANSITIONS} == set(WORDS)
    assert set(SESSION_TRANSITIONS) <= {(status, kind) for status in STATUSES for kind in EVENT_TYPES.values()}


def drawn(table: str) -> dict[str, str]:
    """A drawn table's rows: the initials of the states after each word."""
    return {word: "".join(cells) for word, *cells in map(str.split, table.strip().splitlines()[1:])}


def test_the_tables_are_those_of_the_contract() -> None:
    assert drawn(SESSION_TABLE) == {
        kind: "".join(SESSION_TRANSITIONS.get((status, body), ".")[0] for status in STATUSES)
        for kind, body in EVENT_TYPES.items()
    }
    assert drawn(PARTICIPANT_TABLE) == {
        word: "".join(PARTICIPANT_TRANSITIONS.get((presence, word), ".")[0] for presence in Presence) for word in WORDS
    }


@pytest.mark.parametrize("word", ALL_WORDS)
@pytest.mark.parametrize("status", STATUSES, ids=str)
def test_every_cell_of_the_session_table(status: SessionStatus | None, word: str) -> None:
    body = ALL_WORDS[word]
    state = bring(status, presence_for(word), permitted=isinstance(body, RecordingWithdrawn))
    target = SESSION_TRANSITIONS.get((status, type(body)))
    if target is None:
        assert_refused(state, body)
        with pytest.raises(IllegalTransitionError, match=body.kind):
            next_status(status, body)
    else:
        after = follow(state, body)
        assert after.status is target is next_status(status, body)
        assert after.seq == (0 if state is None else state.seq) + 1


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("presence", Presence)
@pytest.mark.parametrize("status", SessionStatus)
def test_every_cell_of_the_participant_table(status: SessionStatus, presence: Presence, word: str) -> None:
    body = WORDS[word]
    state = bring(status, presence, permitted=isinstance(body, RecordingWithdrawn))
    assert state is not None
    target = PARTICIPANT_TRANSITIONS.get((presence, word))
    if target is None:
        with pytest.raises(IllegalTransitionError, match=body.kind):
            next_presence(presence, body)
    else:
        assert next_presence(presence, body) is target
    if target is None or (status, type(body)) not in SESSION_TRANSITIONS:
        assert_refused(state, body)
        return
    after = follow(state, body)
    assert presence_of(after) is target
    assert after.participants[SUBJECT].seq == after.seq
    assert after.participants[BYSTANDER] == state.participants[BYSTANDER]


@pytest.mark.parametrize("presence", Presence)
@pytest.mark.parametrize("word", session_words())
def test_no_event_about_the_session_moves_a_participant(word: str, presence: Presence) -> None:
    for status in SessionStatus:
        if (status, EVENT_TYPES[word]) in SESSION_TRANSITIONS:
            state = bring(status, presence)
            assert presence_of(follow(state, ALL_WORDS[word])) is presence


def test_status_and_presence_never_run_backwards() -> None:
    order = [None, *SessionStatus]
    for (status, _), status_after in SESSION_TRANSITIONS.items():
        assert order.index(status_after) >= order.index(status)
    for (presence, word), presence_after in PARTICIPANT_TRANSITIONS.items():
        assert presence_after is not Presence.ABSENT
        assert presence is not Presence.REMOVED or presence_after is Presence.REMOVED, word


@pytest.mark.parametrize("presence", [p for p in Presence if p is not Presence.ABSENT])
def test_nothing_is_withdrawn_from_a_user_who_could_not_be_recorded(presence: Presence) -> None:
    state = bring(SessionStatus.ACTIVE, presence, permitted=False)
    assert_refused(state, RecordingWithdrawn(user_id=SUBJECT, reason=PermissionReason.LEFT))


@pytest.mark.parametrize("seq", [0, 1, 2, 3, 5, 6])
def test_an_event_out_of_order_does_not_follow(seq: int) -> None:
    state = evolved(None, [opened(), joined(BYSTANDER), joined(SUBJECT)])
    untouched = copy.deepcopy(state)
    event = Event(session_id=SESSION, seq=seq, at=START, actor=SYSTEM, body=SessionStarted())
    with pytest.raises(IllegalTransitionError, match="expected 4"):
        evolve(state, event)
    assert state == untouched


def test_a_log_begins_with_its_first_event() -> None:
    event = Event(session_id=SESSION, seq=2, at=START, actor=SYSTEM, body=opened())
    with pytest.raises(IllegalTransitionError, match="expected 1"):
        evolve(None, event)
    assert fold([]) is None


def test_a_session_opens_once() -> None:
    for status in SessionStatus:
        assert (status, SessionOpened) not in SESSION_TRANSITIONS


def test_the_session_diagram_shows_every_change_of_status() -> None:
    assert session_diagram().splitlines() == [
        "stateDiagram-v2",
        "    [*] --> waiting: session_opened",
        "    waiting --> active: session_started",
        "    waiting --> ended: session_ended",
        "    active --> ended: session_ended",
        "    ended --> [*]",
    ]


def test_the_participant_diagram_shows_every_change_of_presence() -> None:
    assert participant_diagram().splitlines() == [
        "stateDiagram-v2",
        "    [*] --> absent",
        "    absent --> present: participant_joined",
        "    gone --> present: participant_joined",
        "    present --> away: participant_disconnected",
        "    away --> present: participant_reconnected",
        "    present --> present: participant_reconnected",
        "    present --> gone: participant_left",
        "    away --> gone: participant_left",
        "    present --> removed: participant_left removed",
        "    away --> removed: participant_left removed",
        "    gone --> removed: participant_left removed",
        "    removed --> [*]",
    ]


def test_removal_is_the_only_word_that_is_not_a_kind() -> None:
    assert {word for word in WORDS if word not in EVENT_TYPES} == {REMOVAL}
