"""What the live state looks like as the documents of the data model (SPEC section 1)."""

from datetime import timedelta

import pytest

from coordinator.domain.commands import Command
from coordinator.domain.deadlines import next_deadline
from coordinator.domain.ids import UserId
from coordinator.domain.model import EndReason, Participant, ParticipantStatus, Recording, Session, SessionStatus
from coordinator.domain.state import participant_record, session_record
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    END_IT,
    GRACE,
    LOBBY,
    OPEN,
    PASS,
    SESSION,
    START,
    URL,
    Story,
    attach,
    consent,
    join,
    leave,
    lose,
    media,
    minutes,
    record,
    remove,
    running,
)


def session_of(story: Story) -> Session:
    return session_record(story.session, next_deadline(story.session))


def participant_of(story: Story, who: UserId) -> Participant:
    return participant_record(story.session, story.participant(who))


def test_a_session_in_the_lobby() -> None:
    assert session_of(Story()) == Session(
        id=SESSION,
        time_slot_id=OPEN.time_slot_id,
        target_language_code=OPEN.target_language_code,
        level=OPEN.level,
        status=SessionStatus.WAITING,
        recording_enabled=False,
        created_at=START + LOBBY,
        updated_at=START + LOBBY,
        scheduled_start=OPEN.scheduled_start,
        scheduled_end=OPEN.scheduled_end,
        seq=1,
        next_deadline=OPEN.no_show_at,
    )


def test_a_session_that_has_ended() -> None:
    story = running(ANNA, BEN, recording=True, consenting=[ANNA]).given(attach(ANNA, minutes(1)), at=minutes(2))
    session = session_of(story.given(END_IT, at=minutes(5)))
    assert session.status is SessionStatus.ENDED
    assert (session.started_at, session.ended_at) == (START, START + minutes(5))
    assert (session.end_reason, session.next_deadline) == (EndReason.ENDED_BY_MODERATOR, None)
    assert (session.created_at, session.updated_at) == (START + LOBBY, START + minutes(5))
    assert session.recordings == (Recording(user_id=ANNA, url=URL, start_time=START + minutes(1)),)
    assert session.recording_enabled
    assert session.seq == len(story.log)


def test_a_participant() -> None:
    story = running(ANNA, BEN, consenting=[ANNA]).given(media(ANNA, camera=True, mic=True), at=minutes(1))
    assert participant_of(story, ANNA) == Participant(
        session_id=SESSION,
        user_id=ANNA,
        status=ParticipantStatus.CONNECTED,
        camera_enabled=True,
        mic_enabled=True,
        recording_consent=True,
        joined_at=START + minutes(-5),
        seq=len(story.log),
    )


def test_those_present_are_waiting_until_all_flip_together() -> None:
    story = Story().given(join(ANNA), join(BEN), join(CLEO), lose(CLEO), at=-GRACE / 2)
    assert [participant_of(story, who).status for who in (ANNA, BEN, CLEO)] == ["waiting", "waiting", "disconnected"]
    started = story.when(PASS, at=timedelta(0))[0]
    assert [participant_of(story, who).status for who in (ANNA, BEN, CLEO)] == [
        "connected",
        "connected",
        "disconnected",
    ]
    assert participant_of(story, ANNA).seq == participant_of(story, BEN).seq == started.seq
    assert participant_of(story, CLEO).seq < started.seq, "a document that does not change is not written"


@pytest.mark.parametrize("command", [leave(ANNA), lose(ANNA), remove(ANNA), END_IT], ids=lambda c: type(c).__name__)
def test_whoever_is_not_present_is_disconnected_since_then(command: Command) -> None:
    story = running(ANNA, BEN).given(command, at=minutes(3))
    participant = participant_of(story, ANNA)
    assert (participant.status, participant.left_at) == (ParticipantStatus.DISCONNECTED, START + minutes(3))
    story.given(PASS, at=minutes(4))
    assert participant_of(story, ANNA).left_at == START + minutes(3)


@pytest.mark.parametrize("departure", [leave(ANNA), lose(ANNA)], ids=["left", "lost"])
def test_whoever_returns_is_connected_again(departure: Command) -> None:
    story = running(ANNA, BEN).given(departure, at=minutes(3)).given(join(ANNA), at=minutes(3))
    participant = participant_of(story, ANNA)
    assert (participant.status, participant.left_at) == (ParticipantStatus.CONNECTED, None)
    assert participant.joined_at == START + minutes(-5)


def test_a_participants_seq_is_that_of_the_last_event_that_changed_it() -> None:
    story = running(ANNA, BEN)
    before = participant_of(story, BEN).seq
    last = story.when(consent(ANNA))[-1].seq
    assert (participant_of(story, ANNA).seq, participant_of(story, BEN).seq) == (last, before)
    story.given(record(), at=minutes(1))
    assert participant_of(story, ANNA).seq == len(story.log), "recording_permitted concerns her"
    assert participant_of(story, BEN).seq == before
