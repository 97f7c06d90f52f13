"""What may stand in a journal, and what may not: each invariant of a log, kept and broken."""

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
    ParticipantReconnected,
    RecordingAttached,
    RecordingConsentGranted,
    RecordingEnabled,
    SessionEnded,
    SessionStarted,
)
from coordinator.domain.ids import SessionId, SlotId
from coordinator.domain.ledger import SealedEvent, seal
from coordinator.domain.model import EndReason
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    DINA,
    END_IT,
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
)
from tests.simulation.court import Case, a_referee, caught, joined, left, recorded
from tests.simulation.referee import Invariant

UNBOOKED = SlotId("0" * 24)
SKEW = timedelta(seconds=0.35)


def test_a_whole_session_holds() -> None:
    case = Case().given(join(ANNA), join(BEN), join(CLEO), at=minutes(-5))
    case.given(record(), consent(ANNA, "2030-01"), consent(ANNA, "2030-02"), lose(CLEO), at=minutes(-1))
    case.given(PASS, at=minutes(0)).given(media(ANNA, camera=True, mic=True), mute(ANNA), join(BEN, phone(BEN)))
    case.given(lose(ANNA), at=minutes(1)).given(join(ANNA, phone(ANNA)), attach(ANNA, minutes(0)), at=minutes(1.2))
    case.given(leave(BEN, phone(BEN)), join(BEN), remove(BEN), revoke(ANNA, via=phone(ANNA)), at=minutes(2))
    case.given(join(DINA), record(False), lose(DINA), PASS, at=minutes(3)).given(PASS, at=minutes(30))
    case.given(attach(ANNA, minutes(0.5)), erase(ANNA), at=minutes(40))

    assert len({type(sealed.event.body) for sealed in case.events}) == 17
    summary = case.referee.summary()
    assert (summary["commits"], summary["events"]) == (len(case.commits), len(case.events))
    of_logs = ["chain", "clock", "seats", "finality", "transitions", "permission", "deadlines", "one_session"]
    assert all(summary[name] > 0 for name in of_logs)


# One dense, chained order; times.


def test_a_commit_that_does_not_follow_is_caught() -> None:
    case = Case()
    events = case.made(join(ANNA))
    with caught(Invariant.CHAIN, "2 should follow"):
        case.referee.committed(case.next_commit([replace(event, seq=event.seq + 1) for event in events]), case.now)


def test_a_gap_inside_a_commit_is_caught() -> None:
    case = Case()
    (event,) = case.made(join(ANNA))
    with caught(Invariant.CHAIN, "in place of 3"):
        case.referee.committed(case.next_commit([event, replace(event, seq=4)]), case.now)


def test_a_commit_on_another_head_is_caught() -> None:
    case = Case()
    commit = case.next_commit(case.made(join(ANNA)))
    with caught(Invariant.CHAIN, "prevHash"):
        case.referee.committed(seal(commit.id, [commit.events[0].event], "f" * 64), case.now)


def test_the_same_commit_twice_is_caught() -> None:
    case = Case()
    with caught(Invariant.CHAIN, "twice"):
        case.referee.committed(case.commits[-1], case.now)


def test_an_event_that_is_written_otherwise_than_it_is_is_caught() -> None:
    case = Case()
    commit = case.next_commit(case.made(join(ANNA)))
    (sealed,) = commit.events
    with caught(Invariant.CHAIN, "written as"):
        case.referee.committed(replace(commit, events=(SealedEvent(sealed.event, sealed.json + b" "),)), case.now)


def test_an_event_of_another_session_is_caught() -> None:
    case = Case()
    (event,) = case.made(join(ANNA))
    stray = seal(case.commits[-1].id, [replace(event, session_id=SessionId("0" * 24))], case.commits[-1].hash)
    with caught(Invariant.CHAIN):
        case.referee.committed(replace(stray, id=case.next_commit([event]).id, session_id=SESSION), case.now)


def test_times_that_run_backwards_are_caught() -> None:
    case = Case().given(join(ANNA), at=minutes(-5))
    with caught(Invariant.CLOCK):
        case.forge(joined(BEN), by=acting(BEN), at=minutes(-5) - MOMENT)


def test_a_commit_may_be_ahead_of_the_true_time_by_the_skew_and_no_more() -> None:
    for ahead, holds in ((SKEW, True), (SKEW + MOMENT, False)):
        case = Case()
        events = case.made(join(ANNA), minutes(-5))
        if holds:
            case.put(events, at=events[0].at - ahead)
        else:
            with caught(Invariant.CLOCK, "was written at"):
                case.put(events, at=events[0].at - ahead)


def test_a_commit_that_arrives_late_is_no_violation() -> None:
    case = Case()
    case.put(case.made(join(ANNA), minutes(-5)), at=START)


# Acks.


def test_an_ack_of_what_is_in_the_journal_holds_and_one_of_what_is_not_is_caught() -> None:
    case = Case().given(join(ANNA))
    case.referee.acked(SESSION, ANNA, "join", 2)
    for seq in (3, 0):
        with caught(Invariant.ACKS, f"acked with {seq}"):
            case.referee.acked(SESSION, ANNA, "join", seq)
    with caught(Invariant.ACKS):
        case.referee.acked(SessionId("0" * 24), ANNA, "join", 1)


def test_an_ack_of_a_switch_that_was_not_switched_is_caught() -> None:
    case = Case().given(join(ANNA), media(ANNA, camera=True), media(ANNA, camera=False, mic=True))
    seq = len(case.events)
    case.referee.acked(SESSION, ANNA, "set_media", 3, {"camera_enabled": True, "mic_enabled": False})
    case.referee.acked(SESSION, ANNA, "set_media", seq, {"camera_enabled": False, "mic_enabled": True})
    with caught(Invariant.ACKS, "camera_enabled is False then, not True"):
        case.referee.acked(SESSION, ANNA, "set_media", seq, {"camera_enabled": True})
    with caught(Invariant.ACKS, "is None then"):
        case.referee.acked(SESSION, BEN, "set_recording_consent", seq, {"recording_consent": True})


def test_a_switch_acked_together_with_the_end_of_its_session_is_not_judged() -> None:
    case = Case(running(ANNA, BEN)).given(END_IT)
    case.referee.acked(SESSION, ANNA, "set_media", len(case.events), {"camera_enabled": True})


# Seats.


def test_a_held_seat_counts_and_one_too_many_is_caught() -> None:
    case = Case(Story(max_participants=2)).given(join(ANNA), join(BEN), lose(BEN))
    with caught(Invariant.SEATS, "3 of 2"):
        case.forge(joined(CLEO), by=acting(CLEO))


def test_a_seat_that_was_freed_can_be_taken() -> None:
    case = Case(Story(max_participants=2)).given(join(ANNA), join(BEN), leave(BEN), join(CLEO))
    assert case.referee.checked[Invariant.SEATS] == 3


# Ended is final.


@pytest.mark.parametrize(
    ("body", "by"),
    [
        (joined(DINA), acting(DINA)),
        (ParticipantReconnected(user_id=ANNA, connection_id=phone(ANNA)), acting(ANNA)),
        (CameraChanged(user_id=ANNA, camera_enabled=True), acting(ANNA)),
        (RecordingConsentGranted(user_id=ANNA), acting(ANNA)),
        (RecordingEnabled(), MODERATOR),
        (SessionStarted(), SYSTEM),
        (SessionEnded(reason=EndReason.ENDED_BY_MODERATOR), MODERATOR),
        (left(ANNA), acting(ANNA)),
        (left(ANNA, LeftReason.REMOVED), MODERATOR),
        (left(ANNA, LeftReason.SESSION_ENDED), MODERATOR),
    ],
    ids=lambda item: item.kind if isinstance(item, EventBody) else "",
)
def test_nothing_but_recordings_and_erasures_comes_after_the_end(body: EventBody, by: Actor) -> None:
    case = Case(running(ANNA, BEN, recording=True, consenting=[ANNA])).given(END_IT, at=minutes(5))
    case.given(attach(ANNA, minutes(1)), erase(BEN))
    with caught(Invariant.FINALITY):
        case.forge(body, by=by)


def test_someone_who_keeps_a_seat_beyond_the_end_is_caught() -> None:
    case = recorded()
    *rest, _last = case.made(END_IT)
    with caught(Invariant.FINALITY, "seats held by"):
        case.put(rest)


def test_something_between_the_end_and_its_consequences_is_caught() -> None:
    case = Case(running(ANNA, BEN))
    ended, *rest = case.made(END_IT)
    recording = Event(
        session_id=SESSION,
        seq=0,
        at=case.now,
        actor=RECORDER,
        body=RecordingAttached(user_id=ANNA, url=URL, start_time=START),
    )
    with caught(Invariant.FINALITY, "should have left"):
        case.put([ended, recording, *rest])


def test_a_seat_that_ends_before_its_session_does_is_caught() -> None:
    case = Case(running(ANNA, BEN))
    with caught(Invariant.FINALITY, "leaves with reason session_ended"):
        case.forge(left(ANNA, LeftReason.SESSION_ENDED))


# One session for each slot, and only for the registered.


def test_a_second_session_of_a_slot_is_caught() -> None:
    case = Case()
    opening = case.commits[0].events[0].event
    other = seal(case.next_commit([opening]).id, [replace(opening, session_id=SessionId("0" * 24))], "0" * 64)
    with caught(Invariant.ONE_SESSION, "were opened for slot"):
        case.referee.committed(other, case.now)


def test_a_session_of_a_slot_that_nobody_has_booked_is_caught() -> None:
    referee = a_referee()
    referee.registered(Story().session.time_slot_id, ANNA)
    case = Case(referee=referee).given(join(ANNA))
    with caught(Invariant.REGISTERED, "had not registered"):
        case.given(join(BEN))
    referee = a_referee()
    referee.registered(UNBOOKED, ANNA)
    with caught(Invariant.ONE_SESSION, "nobody had booked"):
        Case(referee=referee)
