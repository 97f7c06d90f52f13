"""A session's own life: the lobby, the start, and every way to the end (SPEC section 2, session)."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from coordinator.domain.errors import SessionEndedError
from coordinator.domain.events import (
    SYSTEM,
    LeftReason,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantReconnected,
    SessionEnded,
    SessionStarted,
)
from coordinator.domain.model import EndReason, SessionStatus
from tests.domain.samples import joined, opened
from tests.domain.story import (
    ANNA,
    BEN,
    CLEO,
    EMPTY,
    END,
    END_IT,
    LOBBY,
    MODERATOR,
    MOMENT,
    NO_SHOW,
    OPEN,
    PASS,
    START,
    Story,
    consent,
    join,
    kinds,
    laptop,
    leave,
    lose,
    minutes,
    phone,
    record,
    running,
    said,
    seconds,
)


def test_the_lobby_opens_with_every_rule_in_the_event() -> None:
    story = Story(opened=False)
    events = story.when(OPEN, at=LOBBY)
    assert said(events) == [opened()]
    assert (events[0].seq, events[0].at, events[0].actor) == (1, START + LOBBY, SYSTEM)
    session = story.session
    assert (session.status, session.created_at, session.seq) == (SessionStatus.WAITING, START + LOBBY, 1)
    assert not session.recording_enabled
    assert not session.participants


def test_opening_again_changes_nothing_not_even_the_rules() -> None:
    story = Story()
    assert story.when(OPEN) == []
    assert story.when(replace(OPEN, max_participants=50)) == []
    assert story.session.max_participants == OPEN.max_participants


def test_nobody_waits_beyond_the_scheduled_end() -> None:
    story = Story(no_show_at=START + minutes(45))
    assert story.session.no_show_at == START + END
    assert said(story.when(PASS, at=END)) == [SessionEnded(reason=EndReason.NOT_ENOUGH_PARTICIPANTS)]


def test_a_session_opened_too_late_ends_in_the_same_commit() -> None:
    story = Story(opened=False)
    assert said(story.when(OPEN, at=NO_SHOW)) == [
        opened(),
        SessionEnded(reason=EndReason.NOT_ENOUGH_PARTICIPANTS),
    ]


def test_people_wait_in_the_lobby() -> None:
    story = Story().given(join(ANNA), join(BEN), join(CLEO), at=minutes(-5))
    assert story.when(PASS, at=-MOMENT) == []
    assert story.session.status is SessionStatus.WAITING
    assert story.session.started_at is None


class TestStart:
    def test_at_the_scheduled_start_with_enough_present(self) -> None:
        story = Story().given(join(ANNA), join(BEN), at=minutes(-5))
        events = story.when(PASS, at=minutes(0))
        assert said(events) == [SessionStarted()]
        assert events[0].actor == SYSTEM
        assert story.session.status is SessionStatus.ACTIVE
        assert story.session.started_at == START

    def test_not_with_too_few(self) -> None:
        story = Story().given(join(ANNA), at=minutes(-5))
        assert story.when(PASS, at=minutes(0)) == []
        assert story.session.status is SessionStatus.WAITING

    def test_the_last_missing_participant_starts_it_in_the_commit_of_the_join(self) -> None:
        story = Story().given(join(ANNA), at=minutes(-5))
        events = story.when(join(BEN), at=minutes(3))
        assert said(events) == [joined(BEN), SessionStarted()]
        assert story.session.started_at == START + minutes(3)

    def test_a_join_at_the_very_start_starts_it(self) -> None:
        story = Story().given(join(ANNA), at=minutes(-5))
        assert kinds(story.when(join(BEN), at=minutes(0))) == ["participant_joined", "session_started"]

    def test_a_join_a_moment_before_does_not(self) -> None:
        story = Story().given(join(ANNA), at=minutes(-5))
        assert kinds(story.when(join(BEN), at=-MOMENT)) == ["participant_joined"]

    def test_a_return_starts_it_too(self) -> None:
        story = Story().given(join(ANNA), join(BEN), at=minutes(-5)).given(lose(BEN), at=seconds(-10))
        assert story.when(PASS, at=minutes(0)) == [], "a held seat is not a present participant"
        assert said(story.when(join(BEN), at=seconds(5))) == [
            ParticipantReconnected(user_id=BEN, connection_id=laptop(BEN)),
            SessionStarted(),
        ]

    def test_a_second_connection_of_the_same_user_does_not_count_twice(self) -> None:
        story = Story().given(join(ANNA), join(ANNA, via=phone(ANNA)), at=minutes(-5))
        assert story.when(PASS, at=minutes(0)) == []

    def test_whoever_left_the_lobby_does_not_count(self) -> None:
        story = Story().given(join(ANNA), join(BEN), leave(BEN), at=minutes(-5))
        assert story.when(PASS, at=minutes(0)) == []

    def test_the_minimum_is_the_slots(self) -> None:
        story = Story(min_participants=3).given(join(ANNA), join(BEN), at=minutes(-5))
        assert story.when(PASS, at=minutes(0)) == []
        assert kinds(story.when(join(CLEO), at=minutes(1))) == ["participant_joined", "session_started"]

    def test_it_happens_once(self) -> None:
        story = running(ANNA, BEN)
        story.given(join(CLEO), at=minutes(1)).given(leave(CLEO), at=minutes(2)).given(join(CLEO), at=minutes(3))
        assert story.of_kind(SessionStarted) == [SessionStarted()]

    def test_too_few_afterwards_do_not_stop_it(self) -> None:
        story = running(ANNA, BEN).given(leave(BEN), at=minutes(1))
        assert story.when(PASS, at=minutes(20)) == []
        assert story.session.status is SessionStatus.ACTIVE


class TestNoShow:
    def test_it_ends_when_too_few_have_come(self) -> None:
        story = Story().given(join(ANNA), at=minutes(-5))
        assert story.when(PASS, at=NO_SHOW - MOMENT) == []
        events = story.when(PASS, at=NO_SHOW)
        assert said(events) == [
            SessionEnded(reason=EndReason.NOT_ENOUGH_PARTICIPANTS),
            ParticipantLeft(user_id=ANNA, reason=LeftReason.SESSION_ENDED),
        ]
        assert {event.actor for event in events} == {SYSTEM}
        assert story.session.end_reason is EndReason.NOT_ENOUGH_PARTICIPANTS
        assert story.session.ended_at == START + NO_SHOW
        assert story.session.started_at is None

    def test_it_ends_when_nobody_has_come(self) -> None:
        story = Story()
        assert said(story.when(PASS, at=NO_SHOW)) == [SessionEnded(reason=EndReason.NOT_ENOUGH_PARTICIPANTS)]

    def test_the_last_moment_is_early_enough(self) -> None:
        story = Story().given(join(ANNA), at=minutes(-5))
        assert kinds(story.when(join(BEN), at=NO_SHOW - MOMENT)) == ["participant_joined", "session_started"]
        assert story.when(PASS, at=NO_SHOW) == []

    def test_whoever_comes_then_is_too_late(self) -> None:
        story = Story().given(join(ANNA), at=minutes(-5))
        with pytest.raises(SessionEndedError):
            story.when(join(BEN), at=NO_SHOW)
        assert story.session.end_reason is EndReason.NOT_ENOUGH_PARTICIPANTS

    def test_an_empty_lobby_does_not_end_before(self) -> None:
        story = Story().given(join(ANNA), leave(ANNA), at=LOBBY)
        assert story.when(PASS, at=NO_SHOW - MOMENT) == []


class TestScheduledEnd:
    def test_it_ends_on_time_and_everyone_leaves(self) -> None:
        story = running(ANNA, BEN, CLEO).given(lose(CLEO), at=END - seconds(5))
        assert story.when(PASS, at=END - MOMENT) == []
        assert said(story.when(PASS, at=END)) == [
            SessionEnded(reason=EndReason.COMPLETED),
            *(ParticipantLeft(user_id=who, reason=LeftReason.SESSION_ENDED) for who in (ANNA, BEN, CLEO)),
        ]
        assert story.session.status is SessionStatus.ENDED
        assert story.session.ended_at == START + END

    def test_a_late_start_does_not_move_it(self) -> None:
        story = Story().given(join(ANNA), join(BEN), at=minutes(9))
        assert story.session.status is SessionStatus.ACTIVE
        assert story.when(PASS, at=END - MOMENT) == []
        assert kinds(story.when(PASS, at=END))[0] == "session_ended"

    def test_those_who_left_do_not_leave_again(self) -> None:
        story = running(ANNA, BEN).given(leave(ANNA), at=minutes(1))
        assert said(story.when(PASS, at=END)) == [
            SessionEnded(reason=EndReason.COMPLETED),
            ParticipantLeft(user_id=BEN, reason=LeftReason.SESSION_ENDED),
        ]


class TestEmptyTimeout:
    def test_it_ends_when_nobody_has_been_there_for_a_while(self) -> None:
        story = running(ANNA, BEN).given(leave(ANNA), at=minutes(5)).given(leave(BEN), at=minutes(6))
        assert story.when(PASS, at=minutes(6) + EMPTY - MOMENT) == []
        assert said(story.when(PASS, at=minutes(6) + EMPTY)) == [SessionEnded(reason=EndReason.EMPTY)]

    def test_it_counts_from_the_loss_of_the_connection_not_of_the_seat(self) -> None:
        story = running(ANNA, BEN).given(lose(ANNA), lose(BEN), at=minutes(5))
        story.given(PASS, at=minutes(5) + EMPTY)
        assert story.of_kind(ParticipantLeft) == [
            ParticipantLeft(user_id=ANNA, reason=LeftReason.TIMEOUT),
            ParticipantLeft(user_id=BEN, reason=LeftReason.TIMEOUT),
        ]
        assert story.session.end_reason is EndReason.EMPTY

    @pytest.mark.parametrize("away_for", [seconds(1), seconds(29)])
    def test_a_return_starts_the_count_afresh(self, away_for: timedelta) -> None:
        story = running(ANNA, BEN).given(leave(BEN), lose(ANNA), at=minutes(5))
        story.given(join(ANNA, via=phone(ANNA)), at=minutes(5) + away_for)
        assert story.when(PASS, at=minutes(10)) == []
        story.given(leave(ANNA, via=phone(ANNA)), at=minutes(11))
        assert story.when(PASS, at=minutes(11) + EMPTY - MOMENT) == []
        assert said(story.when(PASS, at=minutes(11) + EMPTY)) == [SessionEnded(reason=EndReason.EMPTY)]

    def test_a_newcomer_starts_the_count_afresh(self) -> None:
        story = running(ANNA, BEN).given(leave(ANNA), leave(BEN), at=minutes(5))
        story.given(join(CLEO), at=minutes(5) + EMPTY - MOMENT)
        assert story.when(PASS, at=minutes(10)) == []

    def test_one_who_stays_keeps_it_going(self) -> None:
        story = running(ANNA, BEN).given(lose(BEN), at=minutes(5))
        story.given(PASS, at=minutes(8))
        assert story.session.status is SessionStatus.ACTIVE
        assert story.session.empty_since is None

    def test_the_scheduled_end_wins_at_the_same_instant(self) -> None:
        story = running(ANNA, BEN).given(leave(ANNA), leave(BEN), at=END - EMPTY)
        assert said(story.when(PASS, at=END)) == [SessionEnded(reason=EndReason.COMPLETED)]


class TestModerator:
    def test_ends_a_waiting_session(self) -> None:
        story = Story().given(join(ANNA), at=minutes(-5))
        events = story.when(END_IT)
        assert said(events) == [
            SessionEnded(reason=EndReason.ENDED_BY_MODERATOR),
            ParticipantLeft(user_id=ANNA, reason=LeftReason.SESSION_ENDED),
        ]
        assert [event.actor for event in events] == [MODERATOR, SYSTEM]

    def test_ends_an_active_session(self) -> None:
        story = running(ANNA, BEN).given(lose(BEN), at=minutes(5))
        assert said(story.when(END_IT)) == [
            SessionEnded(reason=EndReason.ENDED_BY_MODERATOR),
            ParticipantLeft(user_id=ANNA, reason=LeftReason.SESSION_ENDED),
            ParticipantLeft(user_id=BEN, reason=LeftReason.SESSION_ENDED),
        ]
        assert story.session.end_reason is EndReason.ENDED_BY_MODERATOR

    def test_an_empty_lobby_can_be_ended(self) -> None:
        assert kinds(Story().when(END_IT)) == ["session_ended"]


class TestEnded:
    def test_is_final(self) -> None:
        story = running(ANNA, BEN).given(END_IT, at=minutes(5))
        ended = story.session
        for later in (minutes(6), END, minutes(600)):
            assert story.when(PASS, at=later) == []
            assert story.when(END_IT) == []
            assert story.when(OPEN) == []
            with pytest.raises(SessionEndedError, match="ended_by_moderator"):
                story.when(join(ANNA))
        assert story.session == ended

    def test_nothing_is_left_running(self) -> None:
        story = running(ANNA, BEN).given(lose(ANNA), lose(BEN), at=minutes(5))
        empty = story.session
        assert empty.empty_since == START + minutes(5)
        story.given(END_IT)
        assert story.session.empty_since is None
        assert story.session.seats_taken == story.session.present_count == 0
        assert all(participant.reconnect_by is None for participant in story.session.participants.values())


class TestTime:
    def test_never_runs_backwards_when_the_clock_does(self) -> None:
        story = Story().given(join(ANNA), at=minutes(-2))
        event = story.when(join(BEN), at=minutes(-4))[0]
        assert event.at == START + minutes(-2)
        story.given(consent(BEN), record(), lose(ANNA), at=minutes(-3))
        assert [event.at for event in story.log] == sorted(event.at for event in story.log)

    def test_a_seat_is_held_from_the_logs_time_on(self) -> None:
        story = Story().given(join(ANNA), join(BEN), at=minutes(-2)).given(lose(ANNA), at=minutes(-9))
        assert story.deadline == minutes(-2) + seconds(30)

    def test_a_clock_that_lags_does_not_undo_a_start(self) -> None:
        story = running(ANNA, BEN)
        assert kinds(story.when(join(CLEO), at=minutes(-3))) == ["participant_joined"]
        assert story.session.status is SessionStatus.ACTIVE

    def test_events_of_one_commit_share_their_instant(self) -> None:
        story = Story().given(join(ANNA), record(), consent(ANNA), at=minutes(-5))
        events = story.when(join(BEN), at=minutes(2))
        assert kinds(events) == ["participant_joined", "session_started", "recording_permitted"]
        assert {event.at for event in events} == {START + minutes(2)}

    def test_seq_is_dense_from_one(self) -> None:
        story = running(ANNA, BEN, recording=True, consenting=[ANNA, BEN]).given(END_IT)
        assert [event.seq for event in story.log] == list(range(1, len(story.log) + 1))
        assert story.session.seq == len(story.log)


def test_a_whole_session_in_one_view() -> None:
    story = Story().given(join(ANNA), join(BEN), at=minutes(-5)).given(PASS, at=minutes(0)).given(PASS, at=END)
    assert kinds(story.log) == [
        "session_opened",
        "participant_joined",
        "participant_joined",
        "session_started",
        "session_ended",
        "participant_left",
        "participant_left",
    ]
    assert [len(commit) for commit in story.commits] == [1, 1, 1, 1, 3]
    assert len(story.of_kind(ParticipantJoined)) == 2
