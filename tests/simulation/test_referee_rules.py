"""The rules of a session, each kept and broken: transitions, real changes, permission to record, deadlines."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from coordinator.domain.events import (
    SYSTEM,
    Actor,
    CameraChanged,
    Event,
    EventBody,
    LeftReason,
    MicChanged,
    ParticipantReconnected,
    PermissionReason,
    RecordingAttached,
    RecordingConsentGranted,
    RecordingConsentRevoked,
    RecordingDisabled,
    RecordingEnabled,
    RecordingPermitted,
    RecordingWithdrawn,
    SessionEnded,
    SessionStarted,
    UserErased,
)
from coordinator.domain.ids import ConnectionId, UserId
from coordinator.domain.model import EndReason
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    DINA,
    END_IT,
    LOBBY,
    MODERATOR,
    MOMENT,
    PASS,
    RECORDER,
    SESSION,
    START,
    URL,
    Story,
    acting,
    attach,
    consent,
    erase,
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
    running,
    seconds,
)
from tests.simulation.court import Case, a_referee, caught, joined, left, lost, recorded
from tests.simulation.referee import Invariant, Violation

# Only legal events, and only real changes.


def test_nothing_comes_before_the_opening_and_no_second_one() -> None:
    opening = Case().commits[0].events[0].event.body
    with caught(Invariant.TRANSITIONS, "unopened"):
        Case(Story(opened=False)).forge(joined(ANNA), by=acting(ANNA))
    with caught(Invariant.TRANSITIONS, "waiting"):
        Case().forge(opening)


IMPOSSIBLE: dict[str, tuple[EventBody, Actor]] = {
    "joins while present": (joined(BEN, phone(BEN)), acting(BEN)),
    "joins while away": (joined(CLEO), acting(CLEO)),
    "joins after a removal": (joined(DINA), acting(DINA)),
    "joins with the camera on": (joined(UserId("eve"), camera=True), acting(UserId("eve"))),
    "joins with a consent that nobody gave": (joined(UserId("eve"), consents=True), acting(UserId("eve"))),
    "joins for somebody else": (joined(UserId("eve")), acting(BEN)),
    "joins on another user's connection": (joined(UserId("eve"), laptop(BEN)), acting(UserId("eve"))),
    "is back on the same connection": (ParticipantReconnected(user_id=BEN, connection_id=laptop(BEN)), acting(BEN)),
    "is back without a seat": (ParticipantReconnected(user_id=DINA, connection_id=phone(DINA)), acting(DINA)),
    "is back without having been there": (
        ParticipantReconnected(user_id=UserId("eve"), connection_id=ConnectionId("node-eve-1")),
        acting(UserId("eve")),
    ),
    "leaves without a seat": (left(DINA), acting(DINA)),
    "leaves by somebody else's will": (left(BEN), acting(ANNA)),
    "is removed by a participant": (left(BEN, LeftReason.REMOVED), acting(ANNA)),
    "is removed twice": (left(DINA, LeftReason.REMOVED), MODERATOR),
    "camera while away": (CameraChanged(user_id=CLEO, camera_enabled=True), acting(CLEO)),
    "camera as it was": (CameraChanged(user_id=BEN, camera_enabled=False), acting(BEN)),
    "camera switched by a moderator": (CameraChanged(user_id=BEN, camera_enabled=True), MODERATOR),
    "microphone as it was": (MicChanged(user_id=BEN, mic_enabled=False), acting(BEN)),
    "muted while silent": (MicChanged(user_id=BEN, mic_enabled=False), MODERATOR),
    "microphone switched on by a moderator": (MicChanged(user_id=BEN, mic_enabled=True), MODERATOR),
    "microphone while away": (MicChanged(user_id=CLEO, mic_enabled=True), acting(CLEO)),
    "consents while away": (RecordingConsentGranted(user_id=CLEO), acting(CLEO)),
    "consents twice": (RecordingConsentGranted(user_id=ANNA), acting(ANNA)),
    "revokes what was not given": (RecordingConsentRevoked(user_id=BEN), acting(BEN)),
    "somebody else consents": (RecordingConsentGranted(user_id=BEN), acting(ANNA)),
    "recording enabled twice": (RecordingEnabled(), MODERATOR),
    "recording disabled by a participant": (RecordingDisabled(), acting(ANNA)),
    "starts twice": (SessionStarted(), SYSTEM),
    "ended by a participant": (SessionEnded(reason=EndReason.ENDED_BY_MODERATOR), acting(ANNA)),
    "erased from a live session": (UserErased(user_id=ANNA), acting(ANNA)),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_have_happened_is_caught(name: str) -> None:
    case = recorded().given(join(DINA), remove(DINA))
    body, by = IMPOSSIBLE[name]
    with caught(Invariant.TRANSITIONS):
        case.forge(body, by=by)


def test_a_disconnection_of_somebody_who_is_away_is_caught() -> None:
    case = recorded()
    with caught(Invariant.TRANSITIONS, "cleo is away"):
        case.forge(lost(case, CLEO))


def test_someone_who_is_away_can_be_muted_but_only_once() -> None:
    case = Case(running(ANNA, BEN)).given(media(ANNA, mic=True), lose(ANNA), mute(ANNA))
    with caught(Invariant.TRANSITIONS, "was False already"):
        case.forge(MicChanged(user_id=ANNA, mic_enabled=False), by=MODERATOR)


def test_switches_are_off_after_joining_again_and_consent_is_kept() -> None:
    case = Case(running(ANNA, BEN, CLEO))
    case.given(media(ANNA, camera=True), consent(ANNA), leave(ANNA), join(ANNA))
    with caught(Invariant.TRANSITIONS, "was False already"):
        case.forge(CameraChanged(user_id=ANNA, camera_enabled=False), by=acting(ANNA))
    case = Case(running(ANNA, BEN, CLEO)).given(consent(ANNA), leave(ANNA))
    with caught(Invariant.TRANSITIONS, "consent is what it was"):
        case.forge(joined(ANNA), by=acting(ANNA))


def test_a_recording_counts_once_and_an_erased_user_has_no_new_one() -> None:
    case = recorded().given(attach(ANNA, seconds(5)))
    again = RecordingAttached(user_id=ANNA, url=URL, start_time=START + seconds(5))
    with caught(Invariant.TRANSITIONS, "had that recording"):
        case.forge(again, by=RECORDER)
    case = recorded().given(END_IT, erase(ANNA))
    with caught(Invariant.TRANSITIONS, "erased"):
        case.forge(again, by=RECORDER)


# Permission follows the rule.


@pytest.mark.parametrize(
    ("command", "at"),
    [
        (consent(BEN), 20),
        (revoke(ANNA), 20),
        (lose(ANNA), 20),
        (leave(ANNA), 20),
        (remove(ANNA), 20),
        (record(False), 20),
        (END_IT, 20),
        (PASS, 30 * 60),
    ],
    ids=lambda item: type(item).__name__,
)
def test_a_permission_that_does_not_change_with_its_cause_is_caught(command: object, at: int) -> None:
    case = recorded()
    events = case.made(command, seconds(at))  # type: ignore[arg-type]
    change = next(event for event in events if isinstance(event.body, RecordingPermitted | RecordingWithdrawn))
    place = events.index(change)
    with caught(Invariant.PERMISSION):
        case.put([event for event in events if event is not change])

    case = recorded()
    case.story.given(command, at=seconds(at))  # type: ignore[arg-type]
    with caught(Invariant.PERMISSION, "its commit does not change the permission"):
        case.put(events[:place])


def test_a_permission_without_cause_is_caught() -> None:
    for user, body in ((ANNA, RecordingWithdrawn), (ANNA, RecordingPermitted), (BEN, RecordingPermitted)):
        with caught(Invariant.PERMISSION, "cause"):
            recorded().forge(body(user_id=user, reason=PermissionReason.CONSENT_GRANTED))


def test_a_permission_before_the_start_is_caught() -> None:
    case = Case().given(join(ANNA), record())
    (granted,) = case.made(consent(ANNA))
    body = RecordingPermitted(user_id=ANNA, reason=PermissionReason.CONSENT_GRANTED)
    with caught(Invariant.PERMISSION):
        case.put([granted, Event(session_id=SESSION, seq=0, at=case.now, actor=SYSTEM, body=body)])


def test_a_permission_for_another_reason_than_its_cause_is_caught() -> None:
    case = recorded()
    granted, permitted = case.made(consent(BEN))
    body = RecordingPermitted(user_id=BEN, reason=PermissionReason.JOINED)
    with caught(Invariant.PERMISSION, "its reason is joined"):
        case.put([granted, replace(permitted, body=body)])


def test_a_recording_of_a_time_without_permission_is_caught() -> None:
    case = recorded().given(revoke(ANNA), at=seconds(20))
    case.given(consent(ANNA), at=seconds(30)).given(PASS, at=seconds(45))
    times = {ANNA: [(-0.001, False), (0, True), (19.999, True), (20, False), (30, True), (45, True), (45.001, False)]}
    times[BEN] = [(5, False)]
    for user, instants in times.items():
        for instant, holds in instants:
            body = RecordingAttached(user_id=user, url=f"{URL}{instant}", start_time=START + seconds(instant))
            if holds:
                case.forge(body, by=RECORDER)
            else:
                with caught(Invariant.PERMISSION, "could not be recorded"):
                    Case(case.story).forge(body, by=RECORDER)


# Deadlines.


def test_a_session_that_opens_before_its_lobby_does_is_caught() -> None:
    opening = Case().commits[0].events[0].event
    with caught(Invariant.DEADLINES, "lobby"):
        Case(Story(opened=False)).put([replace(opening, at=START + LOBBY - MOMENT)])


def test_a_session_under_other_rules_is_caught() -> None:
    with caught(Invariant.DEADLINES, "grace and empty timeout"):
        Case(Story(), a_referee(grace=31))
    with caught(Invariant.DEADLINES, "grace and empty timeout"):
        Case(Story(), a_referee(empty=61))
    with caught(Invariant.DEADLINES, "noShowAt"):
        Case(Story(no_show_at=START - MOMENT))


@pytest.mark.parametrize(
    ("story", "body", "due"),
    [
        (Story().given(join(ANNA), join(BEN)), SessionStarted(), minutes(0)),
        (Story(), SessionEnded(reason=EndReason.NOT_ENOUGH_PARTICIPANTS), minutes(10)),
        (running(ANNA, BEN), SessionEnded(reason=EndReason.COMPLETED), minutes(30)),
        (running(ANNA, BEN).given(leave(ANNA), leave(BEN)), SessionEnded(reason=EndReason.EMPTY), seconds(60)),
        (running(ANNA, BEN).given(lose(ANNA)), left(ANNA, LeftReason.TIMEOUT), seconds(30)),
    ],
    ids=["start", "no show", "end", "empty", "grace"],
)
def test_a_deadline_that_comes_early_or_is_passed_over_is_caught(story: Story, body: EventBody, due: timedelta) -> None:
    with caught(Invariant.DEADLINES, "early"):
        Case(story).forge(body, at=due - MOMENT)
    late = Case(story)
    with caught(Invariant.DEADLINES, "passes over"):
        late.forge(RecordingEnabled(), by=MODERATOR, at=due)
    kept = Case(story).given(PASS, at=due)
    assert type(kept.commits[-1].events[0].event.body) is type(body)
    with pytest.raises(Violation):
        kept.forge(body, at=due)


def test_a_commit_that_leaves_a_deadline_undone_is_caught() -> None:
    case = Case().given(join(ANNA), at=minutes(-5))
    joins, _started = case.made(join(BEN), minutes(1))
    with caught(Invariant.DEADLINES, "leaves undone"):
        case.put([joins])


def test_a_later_deadline_before_an_earlier_one_is_caught() -> None:
    case = Case(running(ANNA, BEN)).given(lose(ANNA), at=minutes(5)).given(lose(BEN), at=minutes(5.1))
    with caught(Invariant.DEADLINES, "passes over"):
        case.forge(left(BEN, LeftReason.TIMEOUT), at=minutes(5.6))


@pytest.mark.parametrize(
    ("story", "body"),
    [
        (Story().given(join(ANNA)), SessionStarted()),
        (Story().given(join(ANNA), join(BEN), lose(BEN)), SessionStarted()),
        (Story(), SessionEnded(reason=EndReason.COMPLETED)),
        (Story(), SessionEnded(reason=EndReason.EMPTY)),
        (running(ANNA, BEN), SessionEnded(reason=EndReason.NOT_ENOUGH_PARTICIPANTS)),
        (running(ANNA, BEN).given(leave(ANNA)), SessionEnded(reason=EndReason.EMPTY)),
        (running(ANNA, BEN), left(ANNA, LeftReason.TIMEOUT)),
        (running(ANNA, BEN, CLEO).given(leave(ANNA)), left(ANNA, LeftReason.TIMEOUT)),
    ],
)
def test_a_deadline_that_does_not_stand_is_caught(story: Story, body: EventBody) -> None:
    with caught(Invariant.DEADLINES):
        Case(story).forge(body)


def test_no_show_where_enough_are_there_is_caught() -> None:
    case = Case(Story(no_show_at=START)).given(join(ANNA), join(BEN))
    with caught(Invariant.DEADLINES, "which is enough"):
        case.forge(SessionEnded(reason=EndReason.NOT_ENOUGH_PARTICIPANTS), at=minutes(0))


def test_someone_who_comes_back_begins_the_empty_time_anew() -> None:
    case = Case(running(ANNA, BEN)).given(leave(ANNA), leave(BEN), at=minutes(1))
    case.given(join(ANNA), leave(ANNA), at=minutes(1.5))
    with caught(Invariant.DEADLINES, "early"):
        case.forge(SessionEnded(reason=EndReason.EMPTY), at=minutes(2))


def test_another_grace_than_the_rules_give_is_caught() -> None:
    case = Case(running(ANNA, BEN))
    with caught(Invariant.DEADLINES, "reconnectBy"):
        case.forge(lost(case, ANNA, grace=seconds(31)))
